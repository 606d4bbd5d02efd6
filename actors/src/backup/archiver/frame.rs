//! A frame of the archive before it is compressed, and what is recorded with it.

use actix::Message;
use intellistor_storage::manifest::{Listed, Problem};
use intellistor_storage::memory::buffers::Buffer;
use intellistor_storage::state::Cursor;

use crate::link::Reply;

/// What is known of the entries that end in some part of the archive. Travels with its bytes, so that it is committed
/// when, and only when, they are.
#[derive(Debug, Default)]
pub struct Recorded {
    /// What ends in this part, in the order of the walk.
    pub entries: Vec<Listed>,
    /// Entries that were skipped or changed.
    pub problems: Vec<Problem>,
    /// Where the part ends in the walk.
    pub cursor: Cursor,
}

impl Recorded {
    /// Adds what a later part recorded.
    pub fn append(&mut self, mut later: Self) {
        self.entries.append(&mut later.entries);
        self.problems.append(&mut later.problems);
        self.cursor = later.cursor;
    }

    /// What the records take in memory, about, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let entries = self.entries.iter().map(listed_bytes).sum::<u64>();
        entries + self.problems.iter().map(problem_bytes).sum::<u64>()
    }
}

/// What a record takes in memory, about, in bytes.
pub(crate) fn listed_bytes(listed: &Listed) -> u64 {
    match listed {
        Listed::Entry { entry, .. } => entry.memory_bytes(),
        Listed::Unchanged { .. } => size_of::<Listed>() as u64,
        Listed::Pieces(chunks) => (size_of::<Listed>() + size_of_val(chunks.as_slice())) as u64,
    }
}

/// What a record takes in memory, about, in bytes.
pub(crate) fn problem_bytes(problem: &Problem) -> u64 {
    (size_of::<Problem>() + problem.relative_path.len() + problem.reason.len()) as u64
}

/// At most one frame's worth of tar; none, where entries that add nothing to the archive were recorded.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FrameArchived {
    /// Order in the archive.
    pub seq: u64,
    pub tar: Buffer,
    /// The entries that end in it.
    pub recorded: Recorded,
    /// Whether this frame is the tar end marker.
    pub last: bool,
}
