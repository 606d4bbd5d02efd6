//! The stages of a backup, and of the scan that a job makes before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use intellistor_actors::backup::archiver::{Archiver, ArchiverConfig, BaseConfig, BaseRemarks, Resume};
use intellistor_actors::backup::changes::{Changes, ChangesConfig, FilesCompared};
use intellistor_actors::backup::compressor::Compressor;
use intellistor_actors::backup::encryptor::Encryptor;
use intellistor_actors::backup::read_ahead::ReadAhead;
use intellistor_actors::backup::scan_reader::{MovedRoot, ScanReader};
use intellistor_actors::backup::scan_recorder::ScanRecorder;
use intellistor_actors::backup::scanner::{Scan, Scanner};
use intellistor_actors::backup::sequencer::{CommitLog, Sequencer};
use intellistor_actors::backup::uploader::{Slots, Uploader, UploaderConfig};
use intellistor_actors::link::Failures;
use intellistor_actors::progress::Progress;
use intellistor_actors::source::Excludes;
use intellistor_actors::threaded::Threaded;
use intellistor_storage::archive::{Compression, SegmentSealer};
use intellistor_storage::keys::ContentKey;
use intellistor_storage::manifest::Base;
use intellistor_storage::objects::{SharedStore, Upload};
use intellistor_storage::state::{Ledger, Scanned};
use intellistor_telemetry::names::span;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::error::Result;
use crate::pipeline::system::{cores, finish};

/// Where the archiver learns what to archive.
#[derive(Debug)]
pub(crate) enum WalkSource {
    /// From a walk over the roots of `changes`, compared with its base.
    Disk { excludes: Excludes, changes: Box<ChangesConfig> },
    /// From a recorded walk, from this step on, with its roots where they are now.
    Ledger { ledger: Ledger, from: u64, moved: Vec<MovedRoot> },
}

impl WalkSource {
    /// Starts the first stage.
    fn start(self, next: Recipient<FilesCompared>, failures: Failures) -> Recipient<Scan> {
        match self {
            Self::Disk { excludes, changes } => {
                let roots = changes.roots.clone();
                let failures = failures.within(info_span!(span::SCAN, intellistor.stage.busy = Empty));
                let changes =
                    Threaded::start(failures.clone(), move || Changes::new(*changes, next)).recipient();
                Threaded::start(failures, move || Scanner::new(roots, excludes, changes)).recipient()
            }
            Self::Ledger { ledger, from, moved } => {
                Threaded::start(failures, move || ScanReader::new(ledger, from, moved, next)).recipient()
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct BackupPipeline<L> {
    pub(crate) walk: WalkSource,
    pub(crate) resume: Resume,
    /// The backup that entries are taken over from.
    pub(crate) base: Option<Arc<Base>>,
    /// Gets what a person should know of the base.
    pub(crate) remarks: Arc<Mutex<BaseRemarks>>,
    /// The base's, or a new one.
    pub(crate) content_key: ContentKey,
    pub(crate) compression: Compression,
    pub(crate) sealer: SegmentSealer,
    pub(crate) store: SharedStore,
    pub(crate) upload: Upload,
    /// Where parts are committed, from `next_part` on.
    pub(crate) log: L,
    pub(crate) next_part: u32,
    pub(crate) progress: Arc<Progress>,
    /// How long parts in flight may take to arrive when the pipeline is stopped early.
    pub(crate) in_flight_timeout: Duration,
}

impl<L: CommitLog> BackupPipeline<L> {
    /// Runs to the last committed part. Must be called on an actor system.
    pub(crate) async fn run(self, cancel: &CancellationToken) -> Result<L> {
        let (failures, failed) = Failures::channel();
        let (done, mut committed) = oneshot::channel();
        let compressors = cores();
        let archive = failures.within(info_span!(span::ARCHIVE, intellistor.stage.busy = Empty));
        let seal = failures.within(info_span!(span::SEAL, intellistor.stage.busy = Empty));
        let upload = failures.within(info_span!(span::UPLOAD, intellistor.stage.busy = Empty));

        let (store, remarks) = (self.store.clone(), self.remarks);
        let base = self.base.map(|base| BaseConfig { base, store, runtime: Handle::current(), remarks });
        let sequencer = {
            let (log, next) = (self.log, self.next_part);
            Threaded::start(upload.clone(), move || Sequencer::new(log, next, done))
        };
        let slots = Slots::default();
        let uploader = Uploader::new(UploaderConfig {
            store: self.store,
            upload: self.upload,
            next: sequencer.clone().recipient(),
            slots: slots.clone(),
            failures: upload,
            progress: self.progress.clone(),
        })
        .start();
        let (sealer, next) = (self.sealer, uploader.clone().recipient());
        let encryptor = Threaded::start(seal.clone(), move || Encryptor::new(sealer, next));
        let (compression, next) = (self.compression, encryptor.clone().recipient());
        let compressor =
            Threaded::start_many(compressors, seal, move || Compressor::new(compression, next.clone()));
        let archiver = ArchiverConfig {
            next: compressor.clone().recipient(),
            window: 2 * compressors + 2,
            progress: self.progress,
            resume: self.resume,
            base,
            content_key: self.content_key,
        };
        let archiver = Threaded::start(archive, move || Archiver::new(archiver));
        let next = archiver.clone().recipient();
        let ahead = Threaded::start(failures.clone(), move || ReadAhead::new(next));
        let first = self.walk.start(ahead.clone().recipient(), failures.clone());
        let ended = finish(first.send(Scan), &mut committed, &failures, failed, cancel).await;
        if ended.is_err() {
            // Parts in flight are partly sent already: let them arrive and be committed.
            let _ = tokio::time::timeout(self.in_flight_timeout, slots.wait_until_idle()).await;
        }
        failures.stop();
        drop((sequencer, uploader, encryptor, compressor, archiver, ahead, first));
        ended
    }
}

/// Walks the roots, compares what is found with the base and records it in a job's ledger. Must be called on an actor system.
pub(crate) async fn scan(
    changes: ChangesConfig,
    excludes: Excludes,
    ledger: Ledger,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Scanned> {
    let (failures, failed) = Failures::channel();
    let (done, mut scanned) = oneshot::channel();
    let recorder = Threaded::start(failures.clone(), move || ScanRecorder::new(ledger, done, progress));
    let walk = WalkSource::Disk { excludes, changes: Box::new(changes) };
    let first = walk.start(recorder.clone().recipient(), failures.clone());
    let ended = finish(first.send(Scan), &mut scanned, &failures, failed, cancel).await;
    failures.stop();
    drop((recorder, first));
    ended
}
