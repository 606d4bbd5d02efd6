//! Fetches ranges of frames from the store, several at a time.
//!
//! - **In:** [`RangePlanned`], in order. **Out:** [`RangeFetched`], in the order in which the store answers.
//! - **Bound:** [`MEMORY_BYTES`] for everything from here to the disk. A range takes its share, sealed and opened,
//!   before it is fetched, in the order of the plan, and holds it until it is written: a range that the store
//!   delays keeps later ones from piling up. 40 MiB are eight ranges that do not compress, in flight
//!   from the store at once; that hides a request's latency, and it is a third of the 128 MiB that a restore may use.
//! - **Blocks:** never; it waits for the network on an arbiter.
//! - **Survives a crash:** nothing, and nothing needs to.
//!
//! A store that delivers fewer bytes than asked is not an error here: the frames that lack bytes are damaged,
//! and the others are restored.

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use intellistor_storage::archive::ArchiveSet;
use intellistor_storage::manifest::Entry;
use intellistor_storage::objects::SharedStore;
use intellistor_telemetry::metrics;
use intellistor_telemetry::names::span;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument as _, info_span};

use crate::link::{Failures, Reply, Stopped};
use crate::progress::Progress;
use crate::restore::planner::ranges::{RANGE_ENTRIES_BYTES, RangePlanned};

/// The most bytes of ranges, sealed or opened, between the store and the disk.
pub const MEMORY_BYTES: u64 = 40 << 20;
/// The most requests at once.
pub const IN_FLIGHT: usize = 8;

/// A range's share of the memory that a restore may use; free again when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryShare(Option<OwnedSemaphorePermit>);

impl MemoryShare {
    /// Gives back what exceeds `left`.
    pub fn shrink_to(&mut self, left: usize) {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(left)));
        }
    }
}

impl From<OwnedSemaphorePermit> for MemoryShare {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }
}

/// A range with its bytes from the store.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangeFetched {
    pub range: RangePlanned,
    /// From the first frame's length field to the last frame's tag; less when the archive is cut short.
    pub sealed: Bytes,
    /// Released when the range is written.
    pub share: MemoryShare,
}

/// What the fetcher needs.
#[derive(Debug)]
pub struct FetcherConfig {
    pub store: SharedStore,
    /// Their keys.
    pub archives: Arc<ArchiveSet>,
    pub next: Recipient<RangeFetched>,
    pub failures: Failures,
    /// Counts delivered bytes.
    pub progress: Arc<Progress>,
}

/// The stage that reads planned byte ranges from the store, several at a time.
#[derive(Debug)]
pub struct Fetcher {
    config: Arc<FetcherConfig>,
    memory: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

/// Permits for so many bytes, one for each KiB.
pub(crate) fn permits(bytes: u64) -> usize {
    bytes.min(MEMORY_BYTES).div_ceil(1 << 10) as usize
}

/// What a range takes once it is opened.
pub(crate) fn opened_bytes(range: &RangePlanned) -> u64 {
    // A whole share for few entries, too: the writers keep something of each.
    let entries = range.entries.iter().map(Entry::memory_bytes).sum::<u64>().max(RANGE_ENTRIES_BYTES);
    entries + range.frames.iter().map(|frame| u64::from(frame.tar_bytes)).sum::<u64>()
}

impl Fetcher {
    /// A fetcher with all its memory free.
    pub fn new(config: FetcherConfig) -> Self {
        Self {
            config: Arc::new(config),
            memory: Arc::new(Semaphore::new(permits(MEMORY_BYTES))),
            requests: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }
}

impl Actor for Fetcher {
    type Context = Context<Self>;
}

impl Handler<RangePlanned> for Fetcher {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, range: RangePlanned, _: &mut Self::Context) -> Self::Result {
        let (config, memory, requests) = (self.config.clone(), self.memory.clone(), self.requests.clone());
        Box::pin(async move {
            if config.failures.is_draining() {
                return Err(Stopped);
            }
            let sealed: u64 = range.frames.iter().map(|frame| frame.end() - frame.offset).sum();
            let bytes = sealed + opened_bytes(&range);
            let share = memory.acquire_many_owned(permits(bytes) as u32).await.map_err(|_| Stopped)?.into();
            let span = config.failures.span();
            let fetching = async move {
                // A failure is reported inside; the planner learns of it when the pipeline comes down.
                let _ = fetch(&config, &requests, range, share).await;
            };
            actix::spawn(fetching.instrument(span));
            Ok(())
        })
    }
}

async fn fetch(
    config: &FetcherConfig,
    requests: &Semaphore,
    range: RangePlanned,
    share: MemoryShare,
) -> Reply {
    let sealed = match (range.frames.first(), range.frames.last()) {
        (Some(first), Some(last)) => {
            let _request = requests.acquire().await.map_err(|_| Stopped)?;
            let bytes = first.offset..last.end();
            let key = config.archives.key(first.archive).map_err(|error| config.failures.report(error))?;
            let span =
                info_span!(span::FETCH_RANGE, intellistor.range.size = (bytes.end - bytes.start) as i64);
            let fetched = config.store.get_range(key, bytes).instrument(span).await;
            fetched.map_err(|error| config.failures.report(error))?
        }
        _ => Bytes::new(),
    };
    config.progress.stored_bytes.add(sealed.len() as u64);
    metrics::received(sealed.len() as u64);
    config.next.send(RangeFetched { range, sealed, share }).await.map_err(|_| Stopped)?
}
