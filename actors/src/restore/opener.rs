//! Decrypts and decompresses frames, one thread for each core.
//!
//! - **In:** [`RangeFetched`], in any order among the threads. **Out:** [`RangeOpened`].
//! - **Bound:** a range's memory is accounted for by the share that travels with it. Here every frame gets its own part of
//!   it, and the sealed bytes' part is given back. Each thread holds one sealed frame more while it opens it: 1 MiB for each core.
//! - **Blocks:** on the processor, for which it has a thread for each core.
//! - **Survives a crash:** nothing, and nothing needs to.

use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::archive::{FrameRef, Opener};
use intellistor_storage::manifest::Entry;
use intellistor_storage::memory::buffers::Buffer;

use crate::link::{Failures, Link, Reply};
use crate::restore::fetcher::{RangeFetched, entries_bytes};
use crate::restore::memory::MemoryShare;
use crate::restore::planner::ranges::{FrameId, RangePlanned};
use crate::threaded::{StageError, ThreadStage};

/// A frame, or why its bytes cannot be used.
#[derive(Debug)]
pub struct FrameOpened {
    pub frame: FrameRef,
    /// Its tar bytes.
    pub tar: Result<Buffer, Error>,
    /// Released with it.
    pub share: MemoryShare,
}

/// A range whose frames are open. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangeOpened {
    /// Order of the plan.
    pub seq: u64,
    /// Each by itself, so that a damaged one costs only the entries in it.
    pub frames: Vec<Arc<FrameOpened>>,
    /// As in [`RangePlanned`].
    pub reused: Vec<FrameId>,
    /// As in [`RangePlanned`].
    pub dropped: Vec<FrameId>,
    /// As in [`RangePlanned`].
    pub entries: Vec<Entry>,
    /// As in [`RangePlanned`].
    pub continues_in_next: bool,
    /// As in [`RangePlanned`].
    pub last: bool,
    /// The entries' share of the memory.
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
        let mut frames = Vec::with_capacity(range.frames.len());
        for (request, sealed) in range.requests().zip(sealed) {
            let start = request.first().map_or(0, |frame| frame.offset);
            for frame in request {
                let tar = match &sealed {
                    Ok(sealed) => self.opener.open(frame, framed(sealed, start, frame)),
                    Err(lost) => Err(Error::integrity(lost.what.clone(), lost.reason)),
                };
                frames.push(Arc::new(FrameOpened { frame: *frame, tar, share: share.split_frame() }));
            }
        }
        share.shrink_to(entries_bytes(&range));
        let RangePlanned { seq, reused, dropped, entries, continues_in_next, last, .. } = range;
        let opened = RangeOpened { seq, frames, reused, dropped, entries, continues_in_next, last, share };
        Ok(self.next.send(opened)?)
    }
}

/// A frame's bytes among those of its request; fewer, or none, when the store had no more.
fn framed<'a>(sealed: &'a [u8], start: u64, frame: &FrameRef) -> &'a [u8] {
    let within =
        |offset: u64| usize::try_from(offset - start).map_or(sealed.len(), |at| at.min(sealed.len()));
    &sealed[within(frame.offset)..within(frame.end())]
}
