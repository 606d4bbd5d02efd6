//! Groups entries and the frames that they need into ranges.

use std::ops::Range;

use actix::Message;
use intellistor_storage::archive::{ArchiveSet, FrameRef};
use intellistor_storage::manifest::Entry;

use crate::link::Reply;
use crate::threaded::StageError;

/// The most sealed bytes of a range. Several are in flight at once: more and smaller ones hide a store's latency better than
/// fewer and larger ones in the same memory.
pub const RANGE_SEALED_BYTES: u64 = (2 << 20) + (64 << 10);
/// The most tar bytes of a range: what compresses well must not grow beyond memory when it is opened.
pub const RANGE_TAR_BYTES: u64 = 4 << 20;
/// The most entries of a range.
pub const RANGE_ENTRIES: usize = 512;

/// What the entries of a range take in memory at most, in bytes, unless one alone takes more.
pub const RANGE_ENTRIES_BYTES: u64 = 1 << 20;

/// Adjacent frames of one archive, fetched with one request, and the entries whose content begins in them.
///
/// An entry may also use the last frame of an earlier range: the last one before that had any.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangePlanned {
    /// Counts from 0 in the order of the plan.
    pub seq: u64,
    /// Frames without a gap; empty when the entries need none.
    pub frames: Vec<FrameRef>,
    /// Entries to restore, in order; the last one's content may continue in later ranges.
    pub entries: Vec<Entry>,
    /// Whether the next range begins with more content of this range's last entry or, where it has none, of an earlier one's.
    pub continues_in_next: bool,
    /// Whether the plan ends here.
    pub last: bool,
}

/// How large a range may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    sealed_bytes: u64,
    tar_bytes: u64,
    entries: usize,
    entries_bytes: u64,
}

/// The range that is being built. Entries go in with [`add`](Self::add); ranges that are full come out.
///
/// The extractor holds, besides a range's own frames, the last frame before the range: so a frame that two entries share
/// is fetched once, even where a range ends between them.
#[derive(Debug)]
pub struct RangeBuilder<'a> {
    archives: &'a ArchiveSet,
    limits: Limits,
    seq: u64,
    /// The last frame of the ranges before, numbered as in the set.
    before: Option<usize>,
    frames: Range<usize>,
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
            tar_bytes: RANGE_TAR_BYTES,
            entries: RANGE_ENTRIES,
            entries_bytes: RANGE_ENTRIES_BYTES,
        };
        Self::with_limits(archives, limits)
    }

    fn with_limits(archives: &'a ArchiveSet, limits: Limits) -> Self {
        Self {
            archives,
            limits,
            seq: 0,
            before: None,
            frames: 0..0,
            sealed_bytes: 0,
            tar_bytes: 0,
            entries: Vec::new(),
            entries_bytes: 0,
        }
    }

    /// Adds an entry and the frames that hold its content, which may fill any number of ranges.
    ///
    /// # Errors
    /// [`Error::Integrity`](intellistor_storage::Error::Integrity) when the entry points outside the archive; else what `full` answers.
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
        if self.frames.contains(&frame) || self.before == Some(frame) {
            return Ok(());
        }
        let found = self.archives.frame(frame);
        let (sealed, tar) = (found.end() - found.offset, u64::from(found.tar_bytes));
        let fits = frame == self.frames.end
            && found.archive == self.archives.frame(self.frames.start).archive
            && self.sealed_bytes + sealed <= self.limits.sealed_bytes
            && self.tar_bytes + tar <= self.limits.tar_bytes;
        if !self.frames.is_empty() && !fits {
            full(self.close(continues, false))?;
        }
        if self.frames.is_empty() {
            self.frames = frame..frame;
        }
        self.frames.end += 1;
        self.sealed_bytes += sealed;
        self.tar_bytes += tar;
        Ok(())
    }

    fn close(&mut self, continues_in_next: bool, last: bool) -> RangePlanned {
        let frames: Vec<FrameRef> = self.frames.clone().map(|frame| self.archives.frame(frame)).collect();
        if !frames.is_empty() {
            self.before = Some(self.frames.end - 1);
        }
        let entries = std::mem::take(&mut self.entries);
        let range = RangePlanned { seq: self.seq, frames, entries, continues_in_next, last };
        self.seq += 1;
        self.frames = 0..0;
        (self.sealed_bytes, self.tar_bytes, self.entries_bytes) = (0, 0, 0);
        range
    }
}

#[cfg(test)]
pub(crate) mod tests;
