//! The stages of a restore.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use intellistor_actors::globs::PathGlobs;
use intellistor_actors::link::Failures;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::restore::extractor::{Extractor, ExtractorConfig};
use intellistor_actors::restore::fetcher::{Fetcher, FetcherConfig};
use intellistor_actors::restore::opener::FrameOpener;
use intellistor_actors::restore::planner::{BackupRoot, Plan, Planner, PlannerConfig};
use intellistor_actors::restore::writer::{Writer, WriterConfig};
use intellistor_actors::target::Target;
use intellistor_actors::threaded::Threaded;
use intellistor_storage::archive::{ArchiveSet, Opener};
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::SharedStore;
use intellistor_telemetry::names::span;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::error::Result;
use crate::pipeline::system::{cores, finish};

/// A pipeline that shuts down waits this long for its writers to remove temporary files.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct RestorePipeline {
    pub(crate) manifest: Arc<VerifiedManifest>,
    pub(crate) archives: Arc<ArchiveSet>,
    pub(crate) only: Option<PathGlobs>,
    /// The root of the backup that goes to the target; all without one.
    pub(crate) root: Option<BackupRoot>,
    pub(crate) without_access_lists: bool,
    pub(crate) store: SharedStore,
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
        let writer =
            WriterConfig { out: self.target.out().to_owned(), alive, progress: self.progress.clone() };
        let start = |config: WriterConfig| Threaded::start(extract.clone(), move || Writer::new(config));
        let writers: Vec<_> = (0..cores()).map(|_| start(writer.clone())).collect();
        drop(writer);
        let inspector = self.target.inspector();
        let extractor = ExtractorConfig {
            target: self.target,
            writers: writers.iter().map(|writer| writer.clone().recipient()).collect(),
            done,
            progress: self.progress.clone(),
        };
        let extractor = Threaded::start(extract, move || Extractor::new(extractor));
        let (frames, next) = (Opener::new(self.archives.clone()), extractor.clone().recipient());
        let opener =
            Threaded::start_many(cores(), open, move || FrameOpener::new(frames.clone(), next.clone()));
        let fetcher = Fetcher::new(FetcherConfig {
            store: self.store,
            archives: self.archives.clone(),
            next: opener.clone().recipient(),
            failures: fetch,
            progress: self.progress.clone(),
        })
        .start();
        let planner = PlannerConfig {
            manifest: self.manifest,
            archives: self.archives,
            only: self.only,
            filter: None,
            root: self.root,
            without_access_lists: self.without_access_lists,
            inspector: Some(inspector),
            next: fetcher.clone().recipient(),
            progress: self.progress,
        };
        let planner = Threaded::start(plan, move || Planner::new(planner));
        let first = planner.send(Plan);
        let ended = finish(first, &mut extracted, &failures, failed, cancel).await;
        failures.stop();
        drop((writers, extractor, opener, fetcher, planner));
        // A writer may be writing a file, and then removes its temporary name.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, writers_gone.recv()).await;
        ended
    }
}
