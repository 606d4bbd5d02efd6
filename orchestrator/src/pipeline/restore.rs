//! The stages of a restore.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use intellistor_actors::globs::PathGlobs;
use intellistor_actors::link::Failures;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::extractor::{Extracted, Extractor, ExtractorConfig};
use intellistor_actors::restore::fetcher::{Fetcher, FetcherConfig};
use intellistor_actors::restore::opener::{FrameOpener, FrameOpenerConfig};
use intellistor_actors::restore::planner::{Plan, Planner, PlannerConfig};
use intellistor_actors::restore::writer::{Writer, WriterConfig};
use intellistor_actors::target::Target;
use intellistor_storage::archive::{ArchiveIndex, Opener};
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::SharedStore;
use intellistor_telemetry::names::span;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::error::Result;
use crate::pipeline::system::{cores, finish, on_thread};

/// A pipeline that shuts down waits this long for its last stages to clean up.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct RestorePipeline {
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) index: Arc<ArchiveIndex>,
    pub(crate) opener: Opener,
    pub(crate) only: Option<PathGlobs>,
    pub(crate) store: SharedStore,
    pub(crate) key: String,
    pub(crate) target: Target,
    pub(crate) progress: Arc<Progress>,
}

impl RestorePipeline {
    /// Runs until the last entry is written. Must be called on an actor system.
    pub(crate) async fn run(self, cancel: &CancellationToken) -> Result<Extracted> {
        let (failures, failed) = Failures::channel();
        let (done, mut extracted) = oneshot::channel();
        let stage = |span| failures.within(span);
        let plan = stage(info_span!(span::PLAN, intellistor.stage.busy = Empty));
        let fetch = stage(info_span!(span::FETCH));
        let open = stage(info_span!(span::OPEN, intellistor.stage.busy = Empty));
        let extract = stage(info_span!(span::EXTRACT, intellistor.stage.busy = Empty));

        let (alive, mut writers_gone) = mpsc::channel(1);
        let writer = WriterConfig {
            out: self.target.out().to_owned(),
            alive,
            failures: extract.clone(),
            progress: self.progress.clone(),
        };
        let writers = Writer::start(cores(), &writer);
        drop(writer);
        let extractor = ExtractorConfig {
            target: self.target,
            writers: writers.iter().map(|writer| writer.clone().recipient()).collect(),
            done,
            failures: extract,
            progress: self.progress.clone(),
        };
        let extractor = on_thread(move || Extractor::new(extractor));
        let opener =
            FrameOpenerConfig { opener: self.opener, next: extractor.clone().recipient(), failures: open };
        let opener = SyncArbiter::start(cores(), move || FrameOpener::new(opener.clone()));
        let fetcher = Fetcher::new(FetcherConfig {
            store: self.store,
            key: self.key,
            next: opener.clone().recipient(),
            failures: fetch,
            progress: self.progress.clone(),
        })
        .start();
        let planner = PlannerConfig {
            manifest: self.manifest,
            index: self.index,
            only: self.only,
            next: fetcher.clone().recipient(),
            failures: plan,
            progress: self.progress,
        };
        let planner = on_thread(move || Planner::new(planner));
        let first = planner.send(Plan);
        let ended = finish(first, &mut extracted, &failures, failed, cancel).await;
        failures.stop();
        drop((writers, extractor, opener, fetcher, planner));
        // A writer may be in the middle of a file, and removes its temporary name.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, writers_gone.recv()).await;
        ended
    }
}
