//! Groups entries and the frames that they need into ranges.

use actix::Message;
use intellistor_storage::archive::{ArchiveSet, FrameRef};
use intellistor_storage::manifest::Entry;

use crate::link::Reply;
use crate::restore::memory::MemoryBudget;
use crate::threaded::StageError;

/// The most sealed bytes of a request, and of a range where it is one. Several are in flight at once: more and smaller ones
/// hide a store's latency better than fewer and larger ones in the same memory.
pub const RANGE_SEALED_BYTES: u64 = (2 << 20) + (64 << 10);
/// The most tar bytes of a range: what compresses well must not grow beyond memory when it is opened.
pub const RANGE_TAR_BYTES: u64 = 4 << 20;
/// The most sealed bytes of a range of several requests: as many frames as its tar bytes allow, also where they do not
/// compress. So far the plan looks ahead for frames that one request can fetch together.
const SPREAD_SEALED_BYTES: u64 = 2 * RANGE_SEALED_BYTES;
/// The most entries of a range.
pub const RANGE_ENTRIES: usize = 512;

/// What the entries of a range take in memory at most, in bytes, unless one alone takes more.
pub const RANGE_ENTRIES_BYTES: u64 = 1 << 20;

/// Names a frame: its archive, and where its bytes begin in the tar stream of that.
pub type FrameId = (u32, u64);

pub(crate) fn id(frame: &FrameRef) -> FrameId {
    (frame.archive, frame.tar_offset)
}

/// Entries, and the frames that hold their content: those to fetch, and those of earlier ranges.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangePlanned {
    /// Counts from 0 in the order of the plan.
    pub seq: u64,
    /// Frames to fetch, by archive and place; empty when the entries need none.
    pub frames: Vec<FrameRef>,
    /// Frames of earlier ranges that these entries need, too.
    pub reused: Vec<FrameId>,
    /// Frames, also of this range, that no later one reuses.
    pub dropped: Vec<FrameId>,
    /// Entries to restore, in order; the last one's content may continue in later ranges.
    pub entries: Vec<Entry>,
    /// Whether the next range begins with more content of this range's last entry or, where it has none, of an earlier one's.
    pub continues_in_next: bool,
    /// Whether the plan ends here.
    pub last: bool,
}

impl RangePlanned {
    /// Its frames as the store is asked for them: adjacent ones of an archive together.
    pub fn requests(&self) -> impl Iterator<Item = &[FrameRef]> {
        let mut frames = &self.frames[..];
        std::iter::from_fn(move || {
            let first = frames.first()?;
            let belongs = |i: usize| {
                i == 0 || {
                    is_next(&frames[i - 1], &frames[i])
                        && frames[i].end() - first.offset <= RANGE_SEALED_BYTES
                }
            };
            let request;
            (request, frames) = frames.split_at((0..frames.len()).take_while(|i| belongs(*i)).count());
            Some(request)
        })
    }
}

/// Whether a frame is right behind another one, but for what holds no content.
fn is_next(frame: &FrameRef, next: &FrameRef) -> bool {
    frame.archive == next.archive && frame.tar_offset + u64::from(frame.tar_bytes) == next.tar_offset
}

/// How large a range may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    sealed_bytes: u64,
    spread_sealed_bytes: u64,
    tar_bytes: u64,
    entries: usize,
    entries_bytes: u64,
    window_frames: usize,
}

/// A frame that was requested, and the range that used it last.
#[derive(Debug, Clone, Copy)]
struct Requested {
    frame: usize,
    used_in: u64,
}

/// The range that is being built. Entries go in with [`add`](Self::add); ranges that are full come out.
///
/// The frames that were used last stay in a window, also while other archives are read in between: a frame that several
/// entries need is fetched once, as long as they are not far from each other.
#[derive(Debug)]
pub struct RangeBuilder<'a> {
    archives: &'a ArchiveSet,
    limits: Limits,
    seq: u64,
    /// The frames that later ranges may use, numbered as in the set; the one that was used last comes last.
    window: Vec<Requested>,
    /// Frames to fetch.
    frames: Vec<usize>,
    /// Whether they are adjacent, in their order.
    is_one_request: bool,
    reused: Vec<usize>,
    sealed_bytes: u64,
    tar_bytes: u64,
    entries: Vec<Entry>,
    entries_bytes: u64,
}

impl<'a> RangeBuilder<'a> {
    /// A builder over the frames of `archives`.
    pub fn new(archives: &'a ArchiveSet) -> Self {
        let limits = Limits {
            sealed_bytes: RANGE_SEALED_BYTES,
            spread_sealed_bytes: SPREAD_SEALED_BYTES,
            tar_bytes: RANGE_TAR_BYTES,
            entries: RANGE_ENTRIES,
            entries_bytes: RANGE_ENTRIES_BYTES,
            window_frames: MemoryBudget::of(archives).window_frames,
        };
        Self::with_limits(archives, limits)
    }

    fn with_limits(archives: &'a ArchiveSet, limits: Limits) -> Self {
        Self {
            archives,
            limits,
            seq: 0,
            window: Vec::new(),
            frames: Vec::new(),
            is_one_request: true,
            reused: Vec::new(),
            sealed_bytes: 0,
            tar_bytes: 0,
            entries: Vec::new(),
            entries_bytes: 0,
        }
    }

    /// Adds an entry and the frames that hold its content, which may fill any number of ranges.
    ///
    /// # Errors
    /// [`Error::Integrity`](intellistor_storage::Error::Integrity) when the entry points outside the archives; else what `full` answers.
    pub fn add(
        &mut self,
        entry: Entry,
        full: &mut dyn FnMut(RangePlanned) -> Reply,
    ) -> Result<(), StageError> {
        let mut needed = Vec::with_capacity(entry.extents.len());
        for extent in &entry.extents {
            needed.push(self.archives.frames_holding(extent.archive, extent.offset, extent.length)?);
        }
        let entry_bytes = entry.memory_bytes();
        let has_room = self.entries.len() < self.limits.entries
            && self.entries_bytes.saturating_add(entry_bytes) <= self.limits.entries_bytes;
        if !self.entries.is_empty() && !has_room {
            full(self.close(false, false))?;
        }
        let mut needed = needed.into_iter().flatten();
        // The entry goes where its first frame is, so that it is the last of its range when more frames follow.
        if let Some(first) = needed.next() {
            self.need(first, false, full)?;
        }
        self.entries.push(entry);
        self.entries_bytes += entry_bytes;
        for frame in needed {
            self.need(frame, true, full)?;
        }
        Ok(())
    }

    /// The last range, which may be empty.
    pub fn finish(mut self) -> RangePlanned {
        self.close(false, true)
    }

    /// Adds a frame. `continues` says that the last entry needs it, and has an earlier one already.
    fn need(&mut self, frame: usize, continues: bool, full: &mut dyn FnMut(RangePlanned) -> Reply) -> Reply {
        if let Some(at) = self.window.iter().rposition(|requested| requested.frame == frame) {
            if self.window[at].used_in != self.seq {
                self.window[at].used_in = self.seq;
                self.reused.push(frame);
            }
            self.window[at..].rotate_left(1);
            return Ok(());
        }
        let found = self.archives.frame(frame);
        let (sealed, tar) = (found.end() - found.offset, u64::from(found.tar_bytes));
        let continues_request = self
            .frames
            .last()
            .is_none_or(|last| *last + 1 == frame && self.archives.frame(*last).archive == found.archive);
        let is_one_request = self.is_one_request && continues_request;
        let most = if is_one_request { self.limits.sealed_bytes } else { self.limits.spread_sealed_bytes };
        let fits = self.sealed_bytes + sealed <= most && self.tar_bytes + tar <= self.limits.tar_bytes;
        if !self.frames.is_empty() && !fits {
            full(self.close(continues, false))?;
        } else {
            self.is_one_request = is_one_request;
        }
        self.frames.push(frame);
        self.window.push(Requested { frame, used_in: self.seq });
        self.sealed_bytes += sealed;
        self.tar_bytes += tar;
        Ok(())
    }

    fn close(&mut self, continues_in_next: bool, last: bool) -> RangePlanned {
        // The numbers of a set go up with the archive and the place in it.
        self.frames.sort_unstable();
        let frames: Vec<FrameRef> = self.frames.drain(..).map(|frame| self.archives.frame(frame)).collect();
        let archives = self.archives;
        let reused = self.reused.drain(..).map(|frame| id(&archives.frame(frame))).collect();
        let more = self.window.len().saturating_sub(self.limits.window_frames);
        let dropped = self.window.drain(..more).map(|old| id(&archives.frame(old.frame))).collect();
        let entries = std::mem::take(&mut self.entries);
        let range = RangePlanned { seq: self.seq, frames, reused, dropped, entries, continues_in_next, last };
        self.seq += 1;
        self.is_one_request = true;
        (self.sealed_bytes, self.tar_bytes, self.entries_bytes) = (0, 0, 0);
        range
    }
}

#[cfg(test)]
pub(crate) mod tests;
