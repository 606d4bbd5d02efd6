//! What is constant in every manifest.

/// The version that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;
pub(super) const FORMAT: &str = "intellistor-manifest";
/// The line before the first entry, with its end.
pub(super) const LISTS_START: &str = "\"entries\":[\n";
/// The line before the first security descriptor, with its end; it comes before the entries, where there are any.
pub(super) const SECURITY_START: &str = "\"security\":[\n";
pub(super) const TRAILER_START: &str = ",\n\"hmac_sha256\":\"";
pub(super) const TRAILER_END: &str = "\"}\n";
pub(super) const TRAILER_BYTES: usize = TRAILER_START.len() + 64 + TRAILER_END.len();
