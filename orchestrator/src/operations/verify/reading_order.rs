//! Which entries are checked while an archive is read from its first byte to its last, and which are not.
//!
//! An archive has its entries in the order of their paths, as the manifest does: nearly all content is checked by the pass
//! that checks every byte. What was moved, what is there once for several entries, and what is spread over archives is read
//! again, frame by frame.

use std::sync::Arc;

use intellistor_actors::restore::planner::EntryFilter;
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::{ArchiveSet, FRAME_BYTES};
use intellistor_storage::manifest::Entry;

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
    /// Entries that were left out since, for they are far ahead of it: the nearest frame of them, and their content.
    ahead: usize,
    left_out: u64,
}

impl ReadingOrder {
    pub(super) fn new(archives: Arc<ArchiveSet>) -> Self {
        let first = |number| archives.frames_holding(number, 0, 1).map_or(0, |frames| frames.start);
        let position = |number| Position { frame: first(number), ahead: usize::MAX, left_out: 0 };
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
        let first = extents.next().filter(|_| entry.kind.has_content());
        let Some(first) = first else { return Ok(Some(0)) };
        let number = first.archive;
        if extents.clone().any(|extent| extent.archive != number) {
            self.pass_over(entry)?;
            return Ok(None);
        }
        let frames = self.archives.frames_holding(number, first.offset, first.length)?;
        let Position { frame, ahead, left_out } = &mut self.positions[number as usize];
        let (start, mut end) = (frames.start, frames.end - 1);
        if start < *frame {
            return Ok(None);
        }
        for extent in extents {
            let frames = self.archives.frames_holding(number, extent.offset, extent.length)?;
            if frames.start < end {
                return Ok(None);
            }
            end = frames.end - 1;
        }
        // A file that was moved may be far ahead, and what comes before it would all have to be read again. So what is jumped
        // over must be worth less than what was left out for it.
        *ahead = start.min(*ahead);
        let jumped = (*ahead - *frame).saturating_sub(1) as u64 * FRAME_BYTES as u64;
        *left_out = left_out.saturating_add(entry.size);
        if *left_out < jumped {
            return Ok(None);
        }
        (*frame, *ahead, *left_out) = (end, usize::MAX, 0);
        Ok(Some(number))
    }

    /// What is spread over archives is read by itself. In each archive the next entries are behind its content there, which is
    /// no jump then.
    fn pass_over(&mut self, entry: &Entry) -> Result<(), StorageError> {
        /// Between two pieces of a large file there are at most so many frames of what was replaced.
        const NEAR: usize = 64;
        for extent in entry.extents.iter().filter(|extent| extent.length > 0) {
            let frames = self.archives.frames_holding(extent.archive, extent.offset, extent.length)?;
            let position = &mut self.positions[extent.archive as usize];
            if (position.frame..=position.frame + NEAR).contains(&frames.start) {
                position.frame = frames.end - 1;
                if position.ahead <= position.frame {
                    // The pass is beyond what was left out: it cannot go back for it.
                    (position.ahead, position.left_out) = (usize::MAX, 0);
                }
            }
        }
        Ok(())
    }
}

/// Plans those that have to be read by themselves.
impl EntryFilter for ReadingOrder {
    fn wants(&mut self, entry: &Entry) -> bool {
        // The planner refuses what is outside the archives.
        self.archive_of(entry).map_or(true, |archive| archive.is_none())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use intellistor_storage::archive::{FrameRecord, Header, SegmentRecord};
    use intellistor_storage::catalog::layout::BackupName;
    use intellistor_storage::keys::DataKey;
    use intellistor_storage::manifest::Extent;

    use intellistor_storage::manifest::EntryKind;

    use super::*;

    /// Archives with so many frames of 1 MiB each.
    fn order(frames: &[usize]) -> ReadingOrder {
        let mut archives = ArchiveSet::default();
        for frames in frames {
            let header = Header::new(&BackupName::default(), Vec::new());
            let frame = FrameRecord { sealed_bytes: 100, tar_bytes: FRAME_BYTES as u32 };
            let bytes = header.encoded().len() as u64 + 36 + 104 * *frames as u64;
            let (salt, sha256, frames) = ([0; 32], [0; 32], vec![frame; *frames]);
            let segment = SegmentRecord { number: 1, offset: 0, bytes, salt, sha256, frames };
            archives.add(String::new(), header, DataKey::generate(), &[segment]).unwrap();
        }
        ReadingOrder::new(Arc::new(archives))
    }

    /// A file of some KiB at places in archives, in KiB.
    fn file(extents: &[(u32, u64, u64)]) -> Entry {
        let extent = |&(archive, offset, length): &(u32, u64, u64)| Extent {
            archive,
            offset: offset << 10,
            length: length << 10,
            at: None,
        };
        let size = extents.iter().map(|(_, _, length)| length << 10).sum();
        Entry { size, extents: extents.iter().map(extent).collect(), ..Entry::default() }
    }

    #[test]
    fn what_an_archive_has_in_the_order_of_the_manifest_is_checked_with_it() {
        let mut order = order(&[9, 9]);
        for (extents, expected) in [
            (&[(0, 0, 1500)][..], Some(0)),
            (&[(1, 0, 100)], Some(1)),
            (&[], Some(0)),
            // In a frame that is at hand.
            (&[(0, 1100, 10)], Some(0)),
            (&[(0, 10, 10)], None),
            (&[(0, 1500, 10), (1, 200, 10)], None),
            (&[(0, 1600, 10), (0, 3000, 10)], Some(0)),
            (&[(0, 4000, 10), (0, 2000, 10)], None),
            (&[(1, 100, 5000)], Some(1)),
        ] {
            assert_eq!(order.archive_of(&file(extents)).unwrap(), expected, "{extents:?}");
        }
        let link = Entry { kind: EntryKind::Hardlink, ..file(&[(0, 0, 1)]) };
        assert_eq!(order.archive_of(&link).unwrap(), Some(0));
        assert!(
            order.archive_of(&file(&[(2, 0, 1)])).is_err()
                && order.archive_of(&file(&[(0, 9000, 999)])).is_err()
        );
    }

    #[test]
    fn what_follows_a_file_that_is_spread_over_archives_is_no_jump() {
        let mut order = order(&[9, 200]);
        let spread = file(&[(1, 0, 50 << 10), (0, 0, 100), (1, 60 << 10, 40 << 10)]);
        assert_eq!(order.archive_of(&spread).unwrap(), None);
        assert_eq!(order.archive_of(&file(&[(1, 100 << 10, 10)])).unwrap(), Some(1));
        assert_eq!(order.archive_of(&file(&[(0, 100, 10)])).unwrap(), Some(0));
        assert_eq!(order.archive_of(&file(&[(1, 50 << 10, 10)])).unwrap(), None, "the pass is beyond");
    }

    /// Found by a run of random days: the nearest file that was left out was behind the pass then, and the jump less than
    /// nothing.
    #[test]
    fn a_file_that_is_spread_over_archives_may_take_the_pass_beyond_one_that_was_left_out() {
        let mut order = order(&[9, 200]);
        assert_eq!(order.archive_of(&file(&[(1, 30 << 10, 100)])).unwrap(), None, "far ahead");
        let spread = file(&[(1, 20 << 10, 20 << 10), (0, 0, 100)]);
        assert_eq!(order.archive_of(&spread).unwrap(), None);
        assert_eq!(order.archive_of(&file(&[(1, 190 << 10, 100)])).unwrap(), None, "far ahead again");
        assert_eq!(order.archive_of(&file(&[(1, 30 << 10, 100)])).unwrap(), None, "the pass is beyond");
        assert_eq!(order.archive_of(&file(&[(1, 40 << 10, 100)])).unwrap(), Some(1));
    }

    #[test]
    fn a_file_that_was_moved_does_not_make_the_pass_skip_what_others_need() {
        let mut order = order(&[3, 200]);
        assert_eq!(order.archive_of(&file(&[(1, 0, 100)])).unwrap(), Some(1));
        assert_eq!(order.archive_of(&file(&[(1, 150 << 10, 100)])).unwrap(), None, "far ahead");
        assert_eq!(order.archive_of(&file(&[(1, 100, 100)])).unwrap(), Some(1));
        // What is jumped over was of files that are gone.
        let after = (0..200).map(|i| order.archive_of(&file(&[(1, (100 << 10) + i * 512, 512)])).unwrap());
        let after: Vec<_> = after.collect();
        let first = after.iter().position(|archive| archive.is_some()).unwrap();
        assert!(first < 200 && after[first..].iter().all(|archive| *archive == Some(1)), "{first}");
    }
}
