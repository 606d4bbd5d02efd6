//! The stages of a backup, and of the scan that a job makes before.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use intellistor_actors::backup::archiver::{Archiver, ArchiverConfig, Resume};
use intellistor_actors::backup::compressor::{Compressor, CompressorConfig};
use intellistor_actors::backup::encryptor::{Encryptor, EncryptorConfig};
use intellistor_actors::backup::read_ahead::{ReadAhead, ReadAheadConfig};
use intellistor_actors::backup::scan_reader::{ScanReader, ScanReaderConfig};
use intellistor_actors::backup::scan_recorder::{ScanRecorder, ScanRecorderConfig};
use intellistor_actors::backup::scanner::{FilesScanned, Scan, Scanner, ScannerConfig};
use intellistor_actors::backup::sequencer::{Book, Sequencer};
use intellistor_actors::backup::uploader::{Slots, Uploader, UploaderConfig};
use intellistor_actors::link::Failures;
use intellistor_actors::progress::Progress;
use intellistor_actors::source::{Excludes, Root};
use intellistor_storage::archive::{Compression, SegmentSealer};
use intellistor_storage::objects::{SharedStore, Upload};
use intellistor_storage::state::{Ledger, Scanned};
use intellistor_telemetry::names::span;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::error::Result;
use crate::pipeline::system::{cores, finish, on_thread};

/// Where the archiver learns what to archive.
#[derive(Debug)]
pub(crate) enum WalkSource {
    /// From a walk over these roots.
    Disk { roots: Vec<Root>, excludes: Excludes },
    /// From the walk that was kept, from this step on.
    Ledger { ledger: Ledger, from: u64 },
}

impl WalkSource {
    /// Starts the first stage.
    fn start(self, next: Recipient<FilesScanned>, failures: Failures) -> Recipient<Scan> {
        match self {
            Self::Disk { roots, excludes } => {
                let failures = failures.within(info_span!(span::SCAN, intellistor.stage.busy = Empty));
                let config = ScannerConfig { roots, excludes, next, failures };
                on_thread(move || Scanner::new(config)).recipient()
            }
            Self::Ledger { ledger, from } => {
                let config = ScanReaderConfig { ledger, from, next, failures };
                on_thread(move || ScanReader::new(config)).recipient()
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct BackupPipeline<B> {
    pub(crate) walk: WalkSource,
    pub(crate) resume: Resume,
    pub(crate) compression: Compression,
    pub(crate) sealer: SegmentSealer,
    pub(crate) store: SharedStore,
    pub(crate) upload: Upload,
    /// Where parts are committed, from `next_part` on.
    pub(crate) book: B,
    pub(crate) next_part: u32,
    pub(crate) progress: Arc<Progress>,
    /// How long parts in flight may take to arrive when the pipeline is stopped early.
    pub(crate) last_parts: Duration,
}

impl<B: Book> BackupPipeline<B> {
    /// Runs to the last committed part. Must be called on an actor system.
    pub(crate) async fn run(self, cancel: &CancellationToken) -> Result<B> {
        let (failures, failed) = Failures::channel();
        let (done, mut committed) = oneshot::channel();
        let compressors = cores();
        let archive = failures.within(info_span!(span::ARCHIVE, intellistor.stage.busy = Empty));
        let seal = failures.within(info_span!(span::SEAL, intellistor.stage.busy = Empty));
        let upload = failures.within(info_span!(span::UPLOAD, intellistor.stage.busy = Empty));

        let sequencer = {
            let (failures, book, next) = (upload.clone(), self.book, self.next_part);
            on_thread(move || Sequencer::new(book, next, done, failures))
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
        let encryptor = {
            let (sealer, next) = (self.sealer, uploader.clone().recipient());
            let failures = seal.clone();
            on_thread(move || Encryptor::new(EncryptorConfig { sealer, next, failures }))
        };
        let compressor = CompressorConfig {
            compression: self.compression,
            next: encryptor.clone().recipient(),
            failures: seal,
        };
        let compressor = SyncArbiter::start(compressors, move || Compressor::new(compressor.clone()));
        let archiver = ArchiverConfig {
            next: compressor.clone().recipient(),
            window: 2 * compressors + 2,
            failures: archive,
            progress: self.progress,
            resume: self.resume,
        };
        let archiver = on_thread(move || Archiver::new(archiver));
        let ahead = ReadAheadConfig { next: archiver.clone().recipient(), failures: failures.clone() };
        let ahead = on_thread(move || ReadAhead::new(ahead));
        let first = self.walk.start(ahead.clone().recipient(), failures.clone());
        let ended = finish(first.send(Scan), &mut committed, &failures, failed, cancel).await;
        if ended.is_err() {
            // Parts in flight are half sent already: let them arrive and be committed.
            let _ = tokio::time::timeout(self.last_parts, slots.all_landed()).await;
        }
        failures.stop();
        drop((sequencer, uploader, encryptor, compressor, archiver, ahead, first));
        ended
    }
}

/// Walks the roots and keeps what is found in a job's ledger. Must be called on an actor system.
pub(crate) async fn scan(
    roots: Vec<Root>,
    excludes: Excludes,
    ledger: Ledger,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Scanned> {
    let (failures, failed) = Failures::channel();
    let (done, mut scanned) = oneshot::channel();
    let recorder = ScanRecorderConfig { ledger, done, failures: failures.clone(), progress };
    let recorder = on_thread(move || ScanRecorder::new(recorder));
    let walk = WalkSource::Disk { roots, excludes };
    let first = walk.start(recorder.clone().recipient(), failures.clone());
    let ended = finish(first.send(Scan), &mut scanned, &failures, failed, cancel).await;
    failures.stop();
    drop((recorder, first));
    ended
}
