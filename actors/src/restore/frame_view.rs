//! The frames of a range, while files of it are being written.

use std::sync::Arc;

use crate::restore::memory::MemoryShare;
use crate::restore::opener::FrameOpened;
use crate::restore::planner::ranges::id;

/// The frames that a range's entries need. Each holds its share of memory until nothing refers to it any more, and the
/// entries' share is held until the last file of the range is written.
#[derive(Debug, Clone)]
pub struct FrameView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By archive and place.
    frames: Vec<Arc<FrameOpened>>,
    _share: MemoryShare,
}

impl FrameView {
    pub(crate) fn new(mut frames: Vec<Arc<FrameOpened>>, share: MemoryShare) -> Self {
        frames.sort_unstable_by_key(|opened| id(&opened.frame));
        Self(Arc::new(Inner { frames, _share: share }))
    }

    /// The frame that holds a position of an archive's tar stream.
    pub(crate) fn at(&self, archive: u32, position: u64) -> Option<&FrameOpened> {
        let frames = &self.0.frames;
        let after = frames.partition_point(|opened| id(&opened.frame) <= (archive, position));
        let found = frames[..after].last()?;
        let holds = found.frame.archive == archive
            && position - found.frame.tar_offset < u64::from(found.frame.tar_bytes);
        holds.then_some(&**found)
    }
}
