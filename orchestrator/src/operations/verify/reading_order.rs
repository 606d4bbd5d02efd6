//! Which entries are checked while an archive is read from its first byte to its last, and which are not.
//!
//! An archive has its entries in the order of their paths, as the manifest does: nearly all content is checked by the pass
//! that checks every byte. What was moved, what is there once for several entries, and what is spread over archives is read
//! again, frame by frame.

use std::sync::Arc;

use intellistor_actors::restore::planner::EntryFilter;
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::{ArchiveSet, FRAME_BYTES};
use intellistor_storage::manifest::{Entry, EntryKind};

/// Where the pass over each archive is. Given the same entries it always answers the same.
#[derive(Debug)]
pub(super) struct ReadingOrder {
    archives: Arc<ArchiveSet>,
    positions: Vec<Position>,
}

#[derive(Debug)]
struct Position {
    /// The frame that was read last, numbered as in the set.
    frame: usize,
    /// Content of entries that were left out, for they are far ahead of it.
    left_out: u64,
}

impl ReadingOrder {
    pub(super) fn new(archives: Arc<ArchiveSet>) -> Self {
        let first = |number| archives.frames_holding(number, 0, 1).map_or(0, |frames| frames.start);
        let position = |number| Position { frame: first(number), left_out: 0 };
        let positions = archives.numbers().map(position).collect();
        Self { archives, positions }
    }

    /// The archive with whose pass the next entry is checked: its own where it has no content. `None` when it has to be
    /// read by itself.
    ///
    /// # Errors
    /// [`StorageError::Integrity`] when it points outside the archives.
    pub(super) fn archive_of(&mut self, entry: &Entry) -> Result<Option<u32>, StorageError> {
        let mut extents = entry.extents.iter().filter(|extent| extent.length > 0);
        let first = extents.next().filter(|_| entry.kind == EntryKind::File);
        let Some(first) = first else { return Ok(Some(0)) };
        let number = first.archive;
        let frames = self.archives.frames_holding(number, first.offset, first.length)?;
        let Position { frame, left_out } = &mut self.positions[number as usize];
        let (start, mut end) = (frames.start, frames.end - 1);
        if start < *frame {
            return Ok(None);
        }
        for extent in extents {
            if extent.archive != number {
                return Ok(None);
            }
            let frames = self.archives.frames_holding(number, extent.offset, extent.length)?;
            if frames.start < end {
                return Ok(None);
            }
            end = frames.end - 1;
        }
        // A file that was moved may be far ahead, and what comes before it would all have to be read again. So what is jumped
        // over must be worth less than what was left out for it.
        let jumped = (start - *frame).saturating_sub(1) as u64 * FRAME_BYTES as u64;
        *left_out = left_out.saturating_add(entry.size);
        if *left_out < jumped {
            return Ok(None);
        }
        (*frame, *left_out) = (end, 0);
        Ok(Some(number))
    }
}

/// Plans those that have to be read by themselves.
impl EntryFilter for ReadingOrder {
    fn wants(&mut self, entry: &Entry) -> bool {
        // The planner refuses what is outside the archives.
        self.archive_of(entry).map_or(true, |archive| archive.is_none())
    }
}
