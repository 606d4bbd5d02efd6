//! The stages of both directions, wired downstream first, on a thread of their own.
//!
//! The pipeline is the unit of restart: the first stage that fails stops all, and its report is the error.
//!
//! Every address is held until the last stage has given its outcome, and with them every stage's link: actix
//! (0.13.5, `sync.rs`) passes over a queued message whose sender no longer waits for the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use actix::prelude::*;
use intellistor_actors::archiver::{Archiver, ArchiverConfig};
use intellistor_actors::compressor::{Compressor, CompressorConfig};
use intellistor_actors::encryptor::{Encryptor, EncryptorConfig};
use intellistor_actors::extractor::{Extracted, Extractor, ExtractorConfig};
use intellistor_actors::fetcher::{Fetcher, FetcherConfig};
use intellistor_actors::globs::PathGlobs;
use intellistor_actors::link::{Failure, Failures, panic_message};
use intellistor_actors::messages::{Plan, Reply, Scan};
use intellistor_actors::opener::{FrameOpener, FrameOpenerConfig};
use intellistor_actors::planner::{Planner, PlannerConfig};
use intellistor_actors::progress::Progress;
use intellistor_actors::scanner::{Scanner, ScannerConfig};
use intellistor_actors::sequencer::{Committed, Sequencer};
use intellistor_actors::source::{Excludes, Root};
use intellistor_actors::target::Target;
use intellistor_actors::uploader::{Uploader, UploaderConfig};
use intellistor_storage::archive::{ArchiveIndex, Compression, Opener, SegmentSealer};
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::{SharedStore, Upload};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// More compressors would need more frames in memory than the promise of 128 MiB has room for.
const MOST_COMPRESSORS: usize = 8;

/// How long a pipeline that comes down waits for its last stage to clean up.
const LAST_WORD: Duration = Duration::from_secs(5);

/// How many threads may compute at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(MOST_COMPRESSORS)
}

/// Runs a job on a thread with an actor system of its own; stages and store connections live and die with it.
pub(crate) async fn on_system<T, F>(name: &str, job: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (done, outcome) = oneshot::channel();
    let work = move || {
        let run = || System::new().block_on(job());
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            Err(Failure::Panic { stage: "store", message }.into())
        });
        // The caller has dropped the operation.
        let _ = done.send(ended);
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|e| Error::Defect(format!("cannot start a thread: {e}")))?;
    outcome.await.unwrap_or_else(|_| Err(Error::Defect("the pipeline's thread vanished".to_owned())))
}

/// A stage that blocks gets a thread.
fn on_thread<A>(make: impl FnOnce() -> A + Send + 'static) -> Addr<A>
where
    A: Actor<Context = SyncContext<A>>,
{
    let make = Mutex::new(Some(make));
    SyncArbiter::start(1, move || {
        let make = make.lock().unwrap_or_else(PoisonError::into_inner).take();
        make.expect("one thread makes one actor")()
    })
}

/// Everything that the stages of a backup need.
#[derive(Debug)]
pub(crate) struct BackupPipeline {
    pub(crate) roots: Vec<Root>,
    pub(crate) excludes: Excludes,
    pub(crate) compression: Compression,
    pub(crate) sealer: SegmentSealer,
    pub(crate) store: SharedStore,
    pub(crate) upload: Upload,
    pub(crate) progress: Arc<Progress>,
}

impl BackupPipeline {
    /// Runs to the last committed part. Must be called on an actor system.
    pub(crate) async fn run(self, cancel: &CancellationToken) -> Result<Committed> {
        let (failures, failed) = Failures::channel();
        let (done, mut committed) = oneshot::channel();
        let compressors = cores();

        let sequencer = {
            let failures = failures.clone();
            on_thread(move || Sequencer::new(done, failures))
        };
        let uploader = Uploader::new(UploaderConfig {
            store: self.store,
            upload: self.upload,
            next: sequencer.clone().recipient(),
            failures: failures.clone(),
            progress: self.progress.clone(),
        })
        .start();
        let encryptor = {
            let (sealer, next) = (self.sealer, uploader.clone().recipient());
            let failures = failures.clone();
            on_thread(move || Encryptor::new(EncryptorConfig { sealer, next, failures }))
        };
        let compressor = CompressorConfig {
            compression: self.compression,
            next: encryptor.clone().recipient(),
            failures: failures.clone(),
        };
        let compressor = SyncArbiter::start(compressors, move || Compressor::new(compressor.clone()));
        let archiver = ArchiverConfig {
            next: compressor.clone().recipient(),
            window: 2 * compressors + 2,
            failures: failures.clone(),
            progress: self.progress,
        };
        let archiver = on_thread(move || Archiver::new(archiver));
        let scanner = ScannerConfig {
            roots: self.roots,
            excludes: self.excludes,
            next: archiver.clone().recipient(),
            failures: failures.clone(),
        };
        let scanner = on_thread(move || Scanner::new(scanner));
        let first = scanner.send(Scan);
        let ended = finish(first, &mut committed, &failures, failed, cancel).await;
        drop((sequencer, uploader, encryptor, compressor, archiver, scanner));
        ended
    }
}

/// Everything that the stages of a restore need.
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

        let extractor = ExtractorConfig {
            target: self.target,
            done,
            failures: failures.clone(),
            progress: self.progress.clone(),
        };
        let extractor = on_thread(move || Extractor::new(extractor));
        let opener = FrameOpenerConfig {
            opener: self.opener,
            next: extractor.clone().recipient(),
            failures: failures.clone(),
        };
        let opener = SyncArbiter::start(cores(), move || FrameOpener::new(opener.clone()));
        let fetcher = Fetcher::new(FetcherConfig {
            store: self.store,
            key: self.key,
            next: opener.clone().recipient(),
            failures: failures.clone(),
            progress: self.progress.clone(),
        })
        .start();
        let planner = PlannerConfig {
            manifest: self.manifest,
            index: self.index,
            only: self.only,
            next: fetcher.clone().recipient(),
            failures: failures.clone(),
            progress: self.progress,
        };
        let planner = on_thread(move || Planner::new(planner));
        let first = planner.send(Plan);
        let ended = finish(first, &mut extracted, &failures, failed, cancel).await;
        drop((extractor, opener, fetcher, planner));
        if !extracted.is_terminated() {
            // The extractor may be amid a file, whose temporary name goes with it.
            let _ = tokio::time::timeout(LAST_WORD, extracted).await;
        }
        ended
    }
}

/// Waits for the end of a pipeline: its outcome, the first failure, or a cancellation.
pub(crate) async fn finish<T>(
    first: impl Future<Output = Result<Reply, MailboxError>>,
    outcome: &mut oneshot::Receiver<T>,
    failures: &Failures,
    mut failed: mpsc::UnboundedReceiver<Failure>,
    cancel: &CancellationToken,
) -> Result<T> {
    let vanished = || Error::Defect("a stage ended without a word".to_owned());
    let ended = async {
        // The outcome comes from the last stage; until then the first one only says that it has handed over all.
        let (_, outcome) = futures::join!(first, outcome);
        outcome.map_err(|_| vanished())
    };
    let ended = tokio::select! {
        biased;
        Some(failure) = failed.recv() => Err(failure.into()),
        () = cancel.cancelled() => Err(Error::Interrupted),
        ended = ended => ended,
    };
    failures.stop();
    ended
}
