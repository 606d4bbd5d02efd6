//! The stages that read the content of a backup without restoring it.

use std::sync::Arc;

use actix::prelude::*;
use intellistor_actors::link::Failures;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::content_stage::{ContentSink, ContentStage};
use intellistor_actors::restore::fetcher::{Fetcher, FetcherConfig};
use intellistor_actors::restore::opener::FrameOpener;
use intellistor_actors::restore::planner::{EntryFilter, Plan, Planner, PlannerConfig};
use intellistor_actors::threaded::Threaded;
use intellistor_storage::archive::{ArchiveSet, Opener};
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::SharedStore;
use intellistor_telemetry::names::span;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::error::Result;
use crate::pipeline::system::{cores, finish};

#[derive(Debug)]
pub(crate) struct ContentPipeline<S> {
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) archives: Arc<ArchiveSet>,
    /// Which entries to read; all without it.
    pub(crate) filter: Option<Box<dyn EntryFilter>>,
    pub(crate) store: SharedStore,
    /// Takes the entries.
    pub(crate) sink: S,
    pub(crate) progress: Arc<Progress>,
}

impl<S: ContentSink> ContentPipeline<S> {
    /// Runs until the sink has the last entry, and gives it back. Must be called on an actor system.
    pub(crate) async fn run(self, cancel: &CancellationToken) -> Result<S> {
        let (failures, failed) = Failures::channel();
        let (done, mut outcome) = oneshot::channel();
        let plan = failures.within(info_span!(span::PLAN, intellistor.stage.busy = Empty));
        let fetch = failures.within(info_span!(span::FETCH));
        let open = failures.within(info_span!(span::OPEN, intellistor.stage.busy = Empty));
        let extract = failures.within(info_span!(span::EXTRACT, intellistor.stage.busy = Empty));

        let (sink, progress) = (self.sink, self.progress.clone());
        let content = Threaded::start(extract, move || ContentStage::new(sink, done, progress));
        let (frames, next) = (Opener::new(self.archives.clone()), content.clone().recipient());
        let opener =
            Threaded::start_many(cores(), open, move || FrameOpener::new(frames.clone(), next.clone()));
        let fetcher = Fetcher::new(FetcherConfig {
            store: self.store,
            archives: self.archives.clone(),
            next: opener.clone().recipient(),
            failures: fetch,
            progress: self.progress,
        })
        .start();
        let planner = PlannerConfig {
            manifest: self.manifest,
            archives: self.archives,
            only: None,
            filter: self.filter,
            root: None,
            without_access_lists: false,
            inspector: None,
            next: fetcher.clone().recipient(),
            // The operation has the totals.
            progress: Arc::default(),
        };
        let planner = Threaded::start(plan, move || Planner::new(planner));
        let ended = finish(planner.send(Plan), &mut outcome, &failures, failed, cancel).await;
        failures.stop();
        drop((content, opener, fetcher, planner));
        ended
    }
}
