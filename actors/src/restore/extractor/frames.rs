//! The frames of a run, while files of it are being written.

use std::sync::Arc;

use crate::restore::fetcher::Share;
use crate::restore::opener::FrameOpened;

/// The frames at hand: those of a run, ascending, and the last one before it. Their share of memory is held until
/// the last file of the run is written; the one before it is 1 MiB beside that.
#[derive(Debug, Clone)]
pub struct Frames(Arc<AtHand>);

#[derive(Debug)]
struct AtHand {
    before: Option<Arc<FrameOpened>>,
    run: Vec<Arc<FrameOpened>>,
    _share: Share,
}

impl Frames {
    pub(crate) fn new(before: Option<Arc<FrameOpened>>, run: Vec<FrameOpened>, share: Share) -> Self {
        Self(Arc::new(AtHand { before, run: run.into_iter().map(Arc::new).collect(), _share: share }))
    }

    /// The last of them, which the next run may need, too.
    pub(crate) fn last(&self) -> Option<Arc<FrameOpened>> {
        self.0.run.last().or(self.0.before.as_ref()).cloned()
    }

    /// The frame that holds a place in the tar stream.
    pub(crate) fn holding(&self, position: u64) -> Option<&FrameOpened> {
        let AtHand { before, run, .. } = &*self.0;
        let holds = |opened: &&Arc<FrameOpened>| {
            let start = opened.frame.tar_offset;
            start <= position && position - start < u64::from(opened.frame.tar_bytes)
        };
        let past = run.partition_point(|opened| opened.frame.tar_offset <= position);
        let found = run[..past].last().filter(holds).or_else(|| before.as_ref().filter(holds));
        found.map(|opened| &**opened)
    }
}
