//! Groups entries and the frames that they need into runs.

use std::ops::Range;

use actix::Message;
use intellistor_storage::Error;
use intellistor_storage::archive::{ArchiveIndex, FrameRef};
use intellistor_storage::manifest::Entry;

use crate::link::Reply;

/// The most sealed bytes of a run. Several are on their way at once: more and smaller ones hide a store's latency better than
/// fewer and larger ones in the same memory.
pub const RUN_SEALED_BYTES: u64 = (2 << 20) + (64 << 10);
/// The most tar bytes of a run: what compresses well must not grow beyond memory when it is opened.
pub const RUN_TAR_BYTES: u64 = 4 << 20;
/// The most entries of a run.
pub const RUN_ENTRIES: usize = 512;

/// What the entries of a run take in memory at most, in bytes, unless one alone takes more.
pub const RUN_ENTRIES_BYTES: u64 = 1 << 20;

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

/// How large a run may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    sealed_bytes: u64,
    tar_bytes: u64,
    entries: usize,
    entries_bytes: u64,
}

/// The run that is being built. Entries go in with [`add`](Self::add); runs that are full come out.
///
/// Whoever writes the entries keeps, besides a run's own frames, the last frame that came before the run: so a
/// frame that neighbours share is fetched once, even where a run ends between them.
#[derive(Debug)]
pub struct Runs<'a> {
    index: &'a ArchiveIndex,
    limits: Limits,
    seq: u64,
    /// The last frame of the runs that came out.
    kept: Option<usize>,
    frames: Range<usize>,
    sealed_bytes: u64,
    tar_bytes: u64,
    entries: Vec<Entry>,
    entries_bytes: u64,
}

impl<'a> Runs<'a> {
    /// Runs over the frames of `index`.
    pub fn new(index: &'a ArchiveIndex) -> Self {
        let limits = Limits {
            sealed_bytes: RUN_SEALED_BYTES,
            tar_bytes: RUN_TAR_BYTES,
            entries: RUN_ENTRIES,
            entries_bytes: RUN_ENTRIES_BYTES,
        };
        Self::with_limits(index, limits)
    }

    fn with_limits(index: &'a ArchiveIndex, limits: Limits) -> Self {
        Self {
            index,
            limits,
            seq: 0,
            kept: None,
            frames: 0..0,
            sealed_bytes: 0,
            tar_bytes: 0,
            entries: Vec::new(),
            entries_bytes: 0,
        }
    }

    /// Adds an entry and the frames that hold its content, which may fill any number of runs.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the entry points outside the archive; else what `full` answers.
    pub fn add(&mut self, entry: Entry, full: &mut dyn FnMut(RunPlanned) -> Reply) -> Result<Reply, Error> {
        let mut stretches = Vec::with_capacity(entry.extents.len());
        for extent in &entry.extents {
            if extent.archive != 0 {
                let reason =
                    format!("an extent lies in archive {}, which this backup does not name", extent.archive);
                return Err(Error::integrity(
                    format!("the manifest's entry {}", entry.relative_path),
                    reason,
                ));
            }
            stretches.push(self.index.frames_holding(extent.offset, extent.length)?);
        }
        let entry_bytes = entry.memory_bytes();
        let has_room = self.entries.len() < self.limits.entries
            && self.entries_bytes.saturating_add(entry_bytes) <= self.limits.entries_bytes;
        if !self.entries.is_empty()
            && !has_room
            && let Err(stopped) = full(self.close(false, false))
        {
            return Ok(Err(stopped));
        }
        let mut needed = stretches.into_iter().flatten();
        // The entry goes where its first frame is, so that it is the last of its run when more frames follow.
        if let Some(first) = needed.next()
            && let Err(stopped) = self.need(first, false, full)
        {
            return Ok(Err(stopped));
        }
        self.entries.push(entry);
        self.entries_bytes += entry_bytes;
        for frame in needed {
            if let Err(stopped) = self.need(frame, true, full) {
                return Ok(Err(stopped));
            }
        }
        Ok(Ok(()))
    }

    /// The last run, which may be empty.
    pub fn finish(mut self) -> RunPlanned {
        self.close(false, true)
    }

    /// `goes_on` says that the last entry needs the frame, and that an earlier one is there already.
    fn need(&mut self, frame: usize, goes_on: bool, full: &mut dyn FnMut(RunPlanned) -> Reply) -> Reply {
        if self.frames.contains(&frame) || self.kept == Some(frame) {
            return Ok(());
        }
        let place = self.index.frame(frame);
        let (sealed, tar) = (place.end() - place.offset, u64::from(place.tar_bytes));
        let fits = frame == self.frames.end
            && self.sealed_bytes + sealed <= self.limits.sealed_bytes
            && self.tar_bytes + tar <= self.limits.tar_bytes;
        if !self.frames.is_empty() && !fits {
            full(self.close(goes_on, false))?;
        }
        if self.frames.is_empty() {
            self.frames = frame..frame;
        }
        self.frames.end += 1;
        self.sealed_bytes += sealed;
        self.tar_bytes += tar;
        Ok(())
    }

    fn close(&mut self, goes_on: bool, last: bool) -> RunPlanned {
        let frames: Vec<FrameRef> = self.frames.clone().map(|frame| self.index.frame(frame)).collect();
        if !frames.is_empty() {
            self.kept = Some(self.frames.end - 1);
        }
        let entries = std::mem::take(&mut self.entries);
        let run = RunPlanned { seq: self.seq, frames, entries, goes_on, last };
        self.seq += 1;
        self.frames = 0..0;
        (self.sealed_bytes, self.tar_bytes, self.entries_bytes) = (0, 0, 0);
        run
    }
}

#[cfg(test)]
pub(crate) mod tests;
