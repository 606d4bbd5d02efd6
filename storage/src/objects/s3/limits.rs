//! The upper and lower limits of S3. (User guide, "Amazon S3 multipart upload limits".)

use crate::objects::capabilities::PartLimits;

/// Of each part but the last.
pub(crate) const MIN_PART_BYTES: u64 = 5 << 20;
/// Of a part, and of an object that is put whole.
pub(crate) const MAX_PART_BYTES: u64 = 5 << 30;
/// Parts of an upload; their numbers begin at 1.
pub(crate) const MAX_PARTS: u32 = 10_000;

/// Where parts may differ in size.
pub(crate) const PARTS: PartLimits =
    PartLimits { min_bytes: MIN_PART_BYTES, max_bytes: MAX_PART_BYTES, max_parts: MAX_PARTS, equal: false };
