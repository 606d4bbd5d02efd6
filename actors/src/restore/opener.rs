//! Decrypts and decompresses frames, one thread for each core.
//!
//! - **In:** [`RangeFetched`], in any order among the threads. **Out:** [`RangeOpened`].
//! - **Bound:** a range's memory is accounted for by the share that travels with it; the sealed bytes' part of it
//!   is given back here. Each thread holds one sealed frame more while it opens it: 1 MiB for each core.
//! - **Blocks:** on the processor, for which it has a thread for each core.
//! - **Survives a crash:** nothing, and nothing needs to.

use actix::prelude::*;
use intellistor_storage::archive::{FrameRef, Opener};
use intellistor_storage::manifest::Entry;
use intellistor_storage::memory::buffers::Buffer;

use crate::link::{Failures, Link, Reply};
use crate::restore::fetcher::{MemoryShare, RangeFetched, opened_bytes, permits};
use crate::restore::planner::ranges::RangePlanned;
use crate::threaded::{StageError, ThreadStage};

/// A frame, or why its bytes cannot be used.
#[derive(Debug)]
pub struct FrameOpened {
    pub frame: FrameRef,
    /// Its tar bytes.
    pub tar: Result<Buffer, intellistor_storage::Error>,
}

/// A range whose frames are open. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangeOpened {
    /// Order of the plan.
    pub seq: u64,
    /// Each by itself, so that a damaged one costs only the entries in it.
    pub frames: Vec<FrameOpened>,
    /// As in [`RangePlanned`].
    pub entries: Vec<Entry>,
    /// As in [`RangePlanned`].
    pub continues_in_next: bool,
    /// As in [`RangePlanned`].
    pub last: bool,
    /// As in [`RangeFetched`].
    pub share: MemoryShare,
}

/// One of the threads that open frames.
#[derive(Debug)]
pub struct FrameOpener {
    opener: Opener,
    next: Link<RangeOpened>,
}

impl FrameOpener {
    /// An opener; every thread makes its own.
    pub fn new(opener: Opener, next: Recipient<RangeOpened>) -> Self {
        Self { opener, next: Link::new(next, 1) }
    }
}

impl ThreadStage for FrameOpener {
    type In = RangeFetched;
    const NAME: &'static str = "opener";

    fn handle(&mut self, fetched: RangeFetched, _: &Failures) -> Result<(), StageError> {
        let RangeFetched { range, sealed, mut share } = fetched;
        let start = range.frames.first().map_or(0, |frame| frame.offset);
        let open = |frame: &FrameRef| {
            let tar = self.opener.open(frame, framed(&sealed, start, frame));
            FrameOpened { frame: *frame, tar }
        };
        let frames = range.frames.iter().map(open).collect();
        drop(sealed);
        share.shrink_to(permits(opened_bytes(&range)));
        let RangePlanned { seq, entries, continues_in_next, last, .. } = range;
        Ok(self.next.send(RangeOpened { seq, frames, entries, continues_in_next, last, share })?)
    }
}

/// A frame's bytes among those of its range; fewer, or none, when the store had no more.
fn framed<'a>(sealed: &'a [u8], start: u64, frame: &FrameRef) -> &'a [u8] {
    let within =
        |offset: u64| usize::try_from(offset - start).map_or(sealed.len(), |at| at.min(sealed.len()));
    &sealed[within(frame.offset)..within(frame.end())]
}
