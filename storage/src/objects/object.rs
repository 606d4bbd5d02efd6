//! What a store says about an object.

use std::path::PathBuf;
use std::time::SystemTime;

/// An object that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Relative to the store.
    pub key: String,
    pub bytes: u64,
    /// When it was put, in Unix milliseconds by the store's clock, where the store says so.
    pub modified_ms: Option<i64>,
}

/// One page of a listing, in ascending order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<ObjectInfo>,
    /// Whether a further page follows; ask for it with the last key of this one.
    pub more: bool,
}

/// The digest of an object that was made of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composite {
    /// SHA-256 over the parts' SHA-256 digests.
    pub sha256: [u8; 32],
    /// How many parts there were.
    pub parts: u32,
}

/// A folder of this machine that a store keeps objects in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFolder {
    pub path: PathBuf,
    /// Which store it is; `None` when it has never been written to.
    pub id: Option<String>,
}

pub(crate) fn unix_ms(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
