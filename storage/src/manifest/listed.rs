//! What ended in a part of the archive, as a job's ledger and a manifest's draft have it.

use serde::{Deserialize, Serialize};

use super::entry::Entry;

/// One record of what ended in a part, in the order of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are entries, and a box for each would cost more than it saves"
)]
pub enum Listed {
    /// An entry with all that the manifest says of it.
    Entry { entry: Entry, change: Change },
    /// Entries of the base that are taken over as they are, by their index in its list.
    Unchanged { first: u64, count: u64 },
    /// Chunks of a large file that is not complete: what a resumed run need not store again. No manifest has them.
    Pieces(Vec<StoredChunk>),
}

/// How an entry differs from the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The base has nothing under its path, or there is no base.
    New,
    /// The base has another content under its path, or something of another kind.
    Changed,
    /// The base has its content under its path, and other metadata.
    Touched,
    /// Its path is new; its content is in the base, under a path that is gone.
    Moved,
    /// It is as the base has it.
    Unchanged,
}

/// A chunk that this archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// First half of its BLAKE3 digest.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 16],
    /// Its length in bytes.
    pub length: u64,
    /// Where it begins in the tar stream of this archive.
    pub offset: u64,
}
