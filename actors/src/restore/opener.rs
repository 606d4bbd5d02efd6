//! Decrypts and decompresses frames, one thread for each core.
//!
//! - **In:** [`RunFetched`], in any order among the threads. **Out:** [`RunOpened`].
//! - **Bound:** a run's memory is accounted for by the share that travels with it; the sealed bytes' part of it
//!   is given back here. Each thread holds one sealed frame more while it opens it: 1 MiB for each core.
//! - **Blocks:** on the processor; that is why it lives on a `SyncArbiter`.
//! - **Survives a crash:** nothing, and nothing needs to.

use actix::prelude::*;
use intellistor_storage::archive::{FrameRef, Opener};
use intellistor_storage::manifest::Entry;
use intellistor_storage::memory::buffers::Buffer;

use crate::link::{Failures, Link, Reply};
use crate::restore::fetcher::{RunFetched, Share, opened_bytes, permits};
use crate::restore::planner::runs::RunPlanned;

/// A frame, or why its bytes cannot be used.
#[derive(Debug)]
pub struct FrameOpened {
    /// Where it lies.
    pub frame: FrameRef,
    /// Its tar bytes.
    pub tar: Result<Buffer, intellistor_storage::Error>,
}

/// A run whose frames are open. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RunOpened {
    /// Order of the plan.
    pub seq: u64,
    /// Each by itself, so that a damaged one costs only the entries in it.
    pub frames: Vec<FrameOpened>,
    /// As in [`RunPlanned`].
    pub entries: Vec<Entry>,
    /// As in [`RunPlanned`].
    pub goes_on: bool,
    /// As in [`RunPlanned`].
    pub last: bool,
    /// As in [`RunFetched`].
    pub share: Share,
}

/// What an opener needs.
#[derive(Debug, Clone)]
pub struct FrameOpenerConfig {
    /// Opens the archive's frames.
    pub opener: Opener,
    /// The extractor.
    pub next: Recipient<RunOpened>,
    /// Where to report.
    pub failures: Failures,
}

/// One of the threads.
#[derive(Debug)]
pub struct FrameOpener {
    opener: Opener,
    next: Link<RunOpened>,
    failures: Failures,
}

impl FrameOpener {
    /// An opener; every thread makes its own.
    pub fn new(config: FrameOpenerConfig) -> Self {
        Self { opener: config.opener, next: Link::new(config.next, 1), failures: config.failures }
    }
}

impl Actor for FrameOpener {
    type Context = SyncContext<Self>;
}

impl Handler<RunFetched> for FrameOpener {
    type Result = Reply;

    fn handle(&mut self, fetched: RunFetched, _: &mut Self::Context) -> Reply {
        let Self { opener, next, failures } = self;
        failures.guard("opener", || {
            let RunFetched { run, sealed, mut share } = fetched;
            let start = run.frames.first().map_or(0, |frame| frame.offset);
            let open = |frame: &FrameRef| {
                let tar = opener.open(frame, framed(&sealed, start, frame));
                FrameOpened { frame: *frame, tar }
            };
            let frames = run.frames.iter().map(open).collect();
            drop(sealed);
            share.shrink_to(permits(opened_bytes(&run)));
            let RunPlanned { seq, entries, goes_on, last, .. } = run;
            let opened = RunOpened { seq, frames, entries, goes_on, last, share };
            Ok(next.send(opened))
        })
    }
}

/// A frame's bytes among those of its run; fewer, or none, when the store had no more.
fn framed<'a>(sealed: &'a [u8], start: u64, frame: &FrameRef) -> &'a [u8] {
    let within =
        |offset: u64| usize::try_from(offset - start).map_or(sealed.len(), |at| at.min(sealed.len()));
    &sealed[within(frame.offset)..within(frame.end())]
}
