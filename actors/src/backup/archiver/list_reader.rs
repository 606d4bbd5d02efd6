//! Reads chunk lists out of the archives that the base names.
//!
//! - **In:** where a list is. **Out:** its bytes.
//! - **Bound:** [`CACHED_FRAMES`] opened frames of 1 MiB: the lists of files that were archived one after the other lie side by
//!   side. One request at a time, of at most [`RANGE_FRAMES`] frames.
//! - **Blocks:** on the store, from the archiver's thread; the requests run on the pipeline's own runtime.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use intellistor_storage::archive::{ArchiveSet, Opener};
use intellistor_storage::manifest::Extent;
use intellistor_storage::memory::buffers::Buffer;
use intellistor_storage::objects::SharedStore;
use intellistor_storage::{Error, Result};
use tokio::runtime::Handle;

/// Opened frames that are kept.
const CACHED_FRAMES: usize = 4;
/// Frames of a request.
const RANGE_FRAMES: usize = 8;

/// Fetches and opens the frames that lists are in.
pub(crate) struct ListReader {
    archives: Arc<ArchiveSet>,
    store: SharedStore,
    runtime: Handle,
    opener: Opener,
    /// The latest last.
    opened: VecDeque<(usize, Buffer)>,
}

impl ListReader {
    /// A reader of `archives` in `store`, whose requests `runtime` drives: not that of the thread that reads.
    pub(crate) fn new(archives: Arc<ArchiveSet>, store: SharedStore, runtime: Handle) -> Self {
        let opener = Opener::new(archives.clone());
        Self { archives, store, runtime, opener, opened: VecDeque::new() }
    }

    /// The bytes of a list, of at most `most` bytes.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Integrity`] when an archive is not the one that was sealed.
    pub(crate) fn read(&mut self, extent: &Extent, most: usize) -> Result<Vec<u8>> {
        let Extent { archive, offset, length, .. } = *extent;
        if length > most as u64 {
            return Err(Error::integrity("a chunk list", "it is longer than a list can be"));
        }
        let frames = self.archives.frames_holding(archive, offset, length)?;
        let mut list = Vec::with_capacity(length as usize);
        for start in frames.clone().step_by(RANGE_FRAMES) {
            let range = start..frames.end.min(start + RANGE_FRAMES);
            self.read_range(range, offset..offset + length, &mut list)?;
        }
        if list.len() as u64 != length {
            return Err(Error::integrity("a chunk list", "its archive ends before it does"));
        }
        Ok(list)
    }

    /// Adds what `frames` have of `wanted` to `list`.
    fn read_range(&mut self, frames: Range<usize>, wanted: Range<u64>, list: &mut Vec<u8>) -> Result<()> {
        let is_cached = |frame| self.opened.iter().any(|(opened, _)| *opened == frame);
        let mut sealed = None;
        if !frames.clone().all(is_cached) {
            let (first, last) = (self.archives.frame(frames.start), self.archives.frame(frames.end - 1));
            let key = self.archives.key(first.archive)?;
            let fetched = self.store.get_range(key, first.offset..last.end());
            sealed = Some((first.offset, self.runtime.block_on(fetched)?));
        }
        for number in frames {
            let frame = self.archives.frame(number);
            if let Some((start, bytes)) = &sealed {
                let cut = || Error::integrity("an archive", "it ends before a chunk list does");
                let range = (frame.offset - start) as usize..(frame.end() - start) as usize;
                let opened = self.opener.open(&frame, bytes.get(range).ok_or_else(cut)?)?;
                self.opened.retain(|(kept, _)| *kept != number);
                self.opened.push_back((number, opened));
                if self.opened.len() > CACHED_FRAMES {
                    self.opened.pop_front();
                }
            }
            let opened = self.opened.iter().find(|(opened, _)| *opened == number);
            let (_, tar) = opened.ok_or_else(|| Error::integrity("a chunk list", "a frame is missing"))?;
            let from = wanted.start.saturating_sub(frame.tar_offset).min(tar.len() as u64) as usize;
            let until = wanted.end.saturating_sub(frame.tar_offset).min(tar.len() as u64) as usize;
            list.extend_from_slice(tar.get(from..until).unwrap_or_default());
        }
        Ok(())
    }
}

impl fmt::Debug for ListReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListReader").field("archives", &self.archives.numbers()).finish_non_exhaustive()
    }
}
