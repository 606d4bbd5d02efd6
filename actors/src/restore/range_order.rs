//! Puts opened ranges back into the order of the plan, and keeps the frames that later ones reuse.
//!
//! The planner alone decides which frames these are, and every range says which of them to drop: what is kept here is what
//! the plan counts on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use intellistor_storage::manifest::Entry;

use crate::restore::frame_view::FrameView;
use crate::restore::opener::{FrameOpened, RangeOpened};
use crate::restore::planner::ranges::{FrameId, id};

/// A range whose turn it is, with all frames that it needs.
#[derive(Debug)]
pub(crate) struct OrderedRange {
    pub(crate) frames: FrameView,
    pub(crate) entries: Vec<Entry>,
    pub(crate) continues_in_next: bool,
    pub(crate) last: bool,
}

/// Ranges that wait for an earlier one, and the window of frames.
#[derive(Debug, Default)]
pub(crate) struct RangeOrder {
    waiting: BTreeMap<u64, RangeOpened>,
    next_seq: u64,
    window: HashMap<FrameId, Arc<FrameOpened>>,
}

impl RangeOrder {
    pub(crate) fn put(&mut self, range: RangeOpened) {
        self.waiting.insert(range.seq, range);
    }

    /// The next range of the plan, if it is here.
    pub(crate) fn next(&mut self) -> Option<OrderedRange> {
        let range = self.waiting.remove(&self.next_seq)?;
        self.next_seq += 1;
        let RangeOpened { frames, reused, dropped, entries, continues_in_next, last, share, .. } = range;
        let mut needed = frames;
        needed.extend(reused.iter().filter_map(|id| self.window.get(id)).cloned());
        self.window.extend(needed.iter().map(|opened| (id(&opened.frame), opened.clone())));
        for id in dropped {
            self.window.remove(&id);
        }
        let frames = FrameView::new(needed, share);
        Some(OrderedRange { frames, entries, continues_in_next: continues_in_next && !last, last })
    }
}
