//! The frames of a range, while files of it are being written.

use std::sync::Arc;

use intellistor_storage::archive::FrameRef;

use crate::restore::fetcher::MemoryShare;
use crate::restore::opener::FrameOpened;

/// The frames of a range, ascending, and the last one before it. Their share of memory is held until the last file of
/// the range is written; the one before it is 1 MiB beside that.
#[derive(Debug, Clone)]
pub struct FrameView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    before: Option<Arc<FrameOpened>>,
    frames: Vec<Arc<FrameOpened>>,
    _share: MemoryShare,
}

impl FrameView {
    pub(crate) fn new(
        before: Option<Arc<FrameOpened>>,
        frames: Vec<FrameOpened>,
        share: MemoryShare,
    ) -> Self {
        Self(Arc::new(Inner { before, frames: frames.into_iter().map(Arc::new).collect(), _share: share }))
    }

    /// The last of them, which the next range may need, too.
    pub(crate) fn last(&self) -> Option<Arc<FrameOpened>> {
        self.0.frames.last().or(self.0.before.as_ref()).cloned()
    }

    /// The frame that holds a position of an archive's tar stream.
    pub(crate) fn at(&self, archive: u32, position: u64) -> Option<&FrameOpened> {
        let Inner { before, frames, .. } = &*self.0;
        let holds = |opened: &&Arc<FrameOpened>| {
            let FrameRef { archive: found, tar_offset, tar_bytes, .. } = opened.frame;
            found == archive && tar_offset <= position && position - tar_offset < u64::from(tar_bytes)
        };
        // A range is within one archive.
        let after = frames.partition_point(|opened| opened.frame.tar_offset <= position);
        let found = frames[..after].last().filter(holds).or_else(|| before.as_ref().filter(holds));
        found.map(|opened| &**opened)
    }
}
