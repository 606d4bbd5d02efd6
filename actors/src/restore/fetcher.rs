//! Fetches ranges of frames from the store, several at a time.
//!
//! - **In:** [`RangePlanned`], in order. **Out:** [`RangeFetched`], in the order in which the store answers.
//! - **Bound:** a [`MemoryBudget`] for everything from here to the disk. A range takes its share, sealed and opened,
//!   before it is fetched, in the order of the plan, and its frames hold theirs as long as they exist: a range that the store
//!   delays keeps later ones from piling up. At most [`IN_FLIGHT`] requests at once.
//! - **Blocks:** never; it waits for the network on an arbiter.
//! - **Survives a crash:** nothing, and nothing needs to.
//!
//! A store that delivers fewer bytes than asked is not an error here: the frames that lack bytes are damaged, and the others
//! are restored. The same goes for an archive that is missing, where the backup has others: it is asked for once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use bytes::Bytes;
use futures::future::try_join_all;
use intellistor_storage::archive::{ArchiveSet, FrameRef};
use intellistor_storage::manifest::Entry;
use intellistor_storage::objects::SharedStore;
use intellistor_storage::{Error, StoreErrorKind};
use intellistor_telemetry::metrics;
use intellistor_telemetry::names::span;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, info_span};

use crate::link::{Failures, Reply, Stopped};
use crate::progress::Progress;
use crate::restore::memory::{FRAME_SHARE, MemoryBudget, MemoryShare};
use crate::restore::planner::ranges::{RANGE_ENTRIES_BYTES, RangePlanned};

/// The most requests at once.
pub const IN_FLIGHT: usize = 8;

/// Why none of a request's bytes are there.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Names the archive.
    pub what: String,
    pub reason: &'static str,
}

/// A range with its bytes from the store.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct RangeFetched {
    pub range: RangePlanned,
    /// For each of its requests, from the first frame's length field to the last frame's tag; less when the archive is cut
    /// short.
    pub sealed: Vec<Result<Bytes, Lost>>,
    /// Released with the frames and, for the entries, when the range is written.
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
    shared: Arc<Shared>,
    budget: MemoryBudget,
    memory: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    config: FetcherConfig,
    requests: Semaphore,
    /// Archives that the store does not have.
    missing: Mutex<HashSet<u32>>,
}

/// What a range's entries take: a whole share for few ones, too, since the writers keep something of each.
pub(crate) fn entries_bytes(range: &RangePlanned) -> u64 {
    range.entries.iter().map(Entry::memory_bytes).sum::<u64>().max(RANGE_ENTRIES_BYTES)
}

impl Fetcher {
    /// A fetcher with all its memory free.
    pub fn new(config: FetcherConfig) -> Self {
        let budget = MemoryBudget::of(&config.archives);
        let (requests, missing) = (Semaphore::new(IN_FLIGHT), Mutex::default());
        let shared = Arc::new(Shared { config, requests, missing });
        Self { shared, budget, memory: Arc::new(Semaphore::new(budget.permits())) }
    }
}

impl Actor for Fetcher {
    type Context = Context<Self>;
}

impl Handler<RangePlanned> for Fetcher {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, range: RangePlanned, _: &mut Self::Context) -> Self::Result {
        let (shared, memory, budget) = (self.shared.clone(), self.memory.clone(), self.budget);
        Box::pin(async move {
            let failures = &shared.config.failures;
            if failures.is_draining() {
                return Err(Stopped);
            }
            let sealed: u64 = range.frames.iter().map(|frame| frame.end() - frame.offset).sum();
            let bytes = sealed + entries_bytes(&range) + range.frames.len() as u64 * FRAME_SHARE;
            let share = memory.acquire_many_owned(budget.permits_for(bytes) as u32).await;
            let share = share.map_err(|_| Stopped)?.into();
            let span = failures.span();
            let fetching = async move {
                // A failure is reported inside; the planner learns of it when the pipeline comes down.
                let _ = shared.fetch(range, share).await;
            };
            actix::spawn(fetching.instrument(span));
            Ok(())
        })
    }
}

impl Shared {
    async fn fetch(&self, range: RangePlanned, share: MemoryShare) -> Reply {
        let requests = range.requests().map(|frames| self.request(frames));
        let sealed = try_join_all(requests).await?;
        let fetched = RangeFetched { range, sealed, share };
        self.config.next.send(fetched).await.map_err(|_| Stopped)?
    }

    /// Fetches adjacent frames.
    async fn request(&self, frames: &[FrameRef]) -> Result<Result<Bytes, Lost>, Stopped> {
        let FetcherConfig { store, archives, failures, progress, .. } = &self.config;
        let [first, ..] = frames else { return Ok(Ok(Bytes::new())) };
        let last = frames.last().unwrap_or(first);
        let key = archives.key(first.archive).map_err(|error| failures.report(error))?;
        let lost = || {
            let reason = "it is missing in the store; this part of the backup is lost with it";
            Lost { what: format!("archive {key}"), reason }
        };
        let _request = self.requests.acquire().await.map_err(|_| Stopped)?;
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).contains(&first.archive) {
            return Ok(Err(lost()));
        }
        let bytes = first.offset..last.end();
        let span = info_span!(span::FETCH_RANGE, intellistor.range.size = (bytes.end - bytes.start) as i64);
        match store.get_range(key, bytes).instrument(span).await {
            Ok(sealed) => {
                progress.stored_bytes.add(sealed.len() as u64);
                metrics::received(sealed.len() as u64);
                Ok(Ok(sealed))
            }
            Err(Error::Store(error))
                if error.kind == StoreErrorKind::NotFound && archives.numbers().len() > 1 =>
            {
                self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(first.archive);
                Ok(Err(lost()))
            }
            Err(error) => Err(failures.report(error)),
        }
    }
}
