//! What crosses two actors. Messages are data, named by what has happened; `seq` counts from 0 without gaps.

use actix::Message;
use bytes::Bytes;
use intellistor_storage::Hashed;
use intellistor_storage::archive::{FrameRef, SegmentRecord};
use intellistor_storage::manifest::{Entry, Listed, Problem};
use intellistor_storage::memory::buffers::Buffer;
use intellistor_storage::objects::PartReceipt;
use intellistor_storage::state::Cursor;
use tokio::sync::OwnedSemaphorePermit;

use crate::backup::read_ahead::Opened;
use crate::restore::writer::{Frames, PlacedFile};
use crate::source::Walked;

/// A stage downstream has stopped; the reason is in [`Failures`](crate::link::Failures).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a later stage has stopped")]
pub struct Stopped;

/// What a stage answers: the message was taken over, or the pipeline is coming down.
pub type Reply = Result<(), Stopped>;

/// Command to the first stage: walk the roots, or read the walk that was kept.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct Scan;

/// A batch of the walk, in archive order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesScanned {
    /// Index in the walk of the first of them.
    pub first: u64,
    /// Entries and problems, in the order of the walk.
    pub walked: Vec<Walked>,
    /// Whether this batch ends the walk.
    pub last: bool,
}

/// A batch of the walk, with what was opened ahead.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesOpened {
    /// As in [`FilesScanned`].
    pub first: u64,
    /// Entries and problems, in the order of the walk.
    pub steps: Vec<(Option<Opened>, Walked)>,
    /// Whether this batch ends the walk.
    pub last: bool,
}

/// What became certain while a stretch of the archive was made; travels with its bytes, so that it is
/// committed when, and only when, they are.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Entries whose last byte lies in the stretch.
    pub entries: Vec<Entry>,
    /// Entries that were skipped or changed.
    pub problems: Vec<Problem>,
    /// Where the stretch ends in the walk.
    pub cursor: Cursor,
}

impl Recorded {
    /// Adds what a later stretch recorded.
    pub fn append(&mut self, mut later: Self) {
        self.entries.append(&mut later.entries);
        self.problems.append(&mut later.problems);
        self.cursor = later.cursor;
    }
}

/// At most one frame's worth of tar.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FrameArchived {
    /// Order in the archive.
    pub seq: u64,
    /// The bytes.
    pub tar: Buffer,
    /// What ended in them.
    pub recorded: Recorded,
    /// Whether this frame is the tar end marker.
    pub last: bool,
}

/// A frame as one gzip member. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FrameCompressed {
    /// Order in the archive.
    pub seq: u64,
    /// The gzip member.
    pub gzip: Buffer,
    /// Size of what it holds.
    pub tar_bytes: u32,
    /// As in [`FrameArchived`].
    pub recorded: Recorded,
    /// As in [`FrameArchived`].
    pub last: bool,
}

/// A part ready for the store.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct SegmentSealed {
    /// Number, place, salt, digest and frames.
    pub segment: SegmentRecord,
    /// The bytes; those of the first part begin with the archive's header.
    pub body: Hashed,
    /// What ended in it.
    pub listed: Listed,
    /// Where it ends in the walk.
    pub cursor: Cursor,
    /// Whether it closes the archive.
    pub last: bool,
}

/// A part that the store holds. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct PartUploaded {
    /// As in [`SegmentSealed`].
    pub segment: SegmentRecord,
    /// What the store answered.
    pub receipt: PartReceipt,
    /// As in [`SegmentSealed`].
    pub listed: Listed,
    /// As in [`SegmentSealed`].
    pub cursor: Cursor,
    /// As in [`SegmentSealed`].
    pub last: bool,
    /// The part's share of what may be on its way. Ordering law (must): given back when the part is committed.
    pub slot: OwnedSemaphorePermit,
}

/// Command to the planner: read the manifest and plan what to fetch.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct Plan;

/// Frames that lie one after the other in the archive, and the entries that begin with them.
///
/// An entry may also use the last frame of an earlier run: the last one before that had any.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RunPlanned {
    /// Order of the plan.
    pub seq: u64,
    /// Frames without a gap; empty when the entries need none.
    pub frames: Vec<FrameRef>,
    /// Entries to restore, in order; the last one's content may go on in later runs.
    pub entries: Vec<Entry>,
    /// Whether the next run begins with more content of the last entry of this run or, where it has none, of an earlier one.
    pub goes_on: bool,
    /// Whether the plan ends here.
    pub last: bool,
}

/// A run's share of the memory that a restore may use; free again when it is dropped.
#[derive(Debug, Default)]
pub struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    /// Gives back what exceeds `left`.
    pub fn shrink_to(&mut self, left: usize) {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(left)));
        }
    }
}

impl From<OwnedSemaphorePermit> for Share {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }
}

/// A run with its bytes from the store.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RunFetched {
    /// What was asked for.
    pub run: RunPlanned,
    /// From the first frame's length field to the last frame's tag; less when the archive is cut short.
    pub sealed: Bytes,
    /// Held until the run is written.
    pub share: Share,
}

/// A frame, or why its bytes cannot be used.
#[derive(Debug)]
pub struct FrameOpened {
    /// Where it lies.
    pub frame: FrameRef,
    /// Its tar bytes.
    pub tar: Result<Buffer, intellistor_storage::Error>,
}

/// A run whose frames are open. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RunOpened {
    /// Order of the plan.
    pub seq: u64,
    /// Each by itself, so that a damaged one costs only the entries in it.
    pub frames: Vec<FrameOpened>,
    /// As in [`RunPlanned`].
    pub entries: Vec<Entry>,
    /// As in [`RunPlanned`].
    pub goes_on: bool,
    /// As in [`RunPlanned`].
    pub last: bool,
    /// As in [`RunFetched`].
    pub share: Share,
}

/// Files for a writer, in the order in which it writes them.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesPlaced {
    /// What holds their content, or as much of it as has come.
    pub frames: Frames,
    /// Whether more of the file that this writer has begun comes first.
    pub continues: bool,
    /// The files to begin.
    pub files: Vec<PlacedFile>,
    /// Whether the content of the last file goes on in a later message.
    pub goes_on: bool,
}
