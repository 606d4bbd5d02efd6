//! One job from wherever it stands to its end.
//!
//! Every step is taken from the state that the ledger holds, and the state moves on when the step is done. So a
//! job that begins, one that goes on after a crash, and one that is tried again take the same way.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use intellistor_actors::backup::archiver::Resume;
use intellistor_actors::backup::links::LinkTable;
use intellistor_actors::progress::Progress;
use intellistor_actors::source::{Walked, make_roots};
use intellistor_storage::archive::{Header, SegmentRecord, SegmentSealer, equal_part_bytes};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::keys::{DataKey, Recipients};
use intellistor_storage::manifest::{
    EntryKind, ManifestDraft, PartEntries, Problem, ProblemKind, RootRecord,
};
use intellistor_storage::objects::{RetryPolicy, SharedStore, Upload};
use intellistor_storage::state::Ledger;
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::{Spool, StoreErrorKind};
use intellistor_telemetry::names::span;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use super::supervisor::Verdict;
use super::{recovery, watch};
use crate::alerts;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::copies::{Copies, Source};
use crate::operations::report::BackupReport;
use crate::operations::{identity, publish, sources};
use crate::pipeline::{BackupPipeline, WalkSource, on_system, scan};
use crate::policy::Policy;

/// How long parts that are on their way may take to arrive when a run is stopped. Whoever stops it waits 10 s.
const LAST_PARTS: Duration = Duration::from_secs(8);
/// How long a stopped run waits for an answer of any other kind.
const LAST_WORD: Duration = Duration::from_secs(9);

/// What a job's run works with.
#[derive(Debug)]
pub(super) struct JobRun {
    pub(super) ledger: Ledger,
    pub(super) policy: Policy,
    /// The agent's own folder, which is not backed up.
    pub(super) home: PathBuf,
    /// The folders of earlier backups, the newest first.
    pub(super) before: Vec<Vec<RootRecord>>,
    pub(super) store: SharedStore,
    pub(super) catalog: Catalog,
    pub(super) recipients: Recipients,
    pub(super) take_over: bool,
    pub(super) copies: Copies,
    pub(super) header: Header,
    pub(super) data_key: DataKey,
    pub(super) progress: Arc<Progress>,
    pub(super) cancel: CancellationToken,
    pub(super) attempts: RetryPolicy,
    pub(super) started: Instant,
    /// How many recorded parts the store was found to have, when this run began.
    pub(super) kept: OnceLock<u32>,
    /// Whether the store was found to have other parts than were recorded.
    pub(super) saw_others: AtomicBool,
    /// What a person should know besides.
    pub(super) notices: Mutex<Vec<String>>,
    /// What a person has to look at although the backup is made.
    pub(super) alerts: Mutex<Vec<String>>,
    /// Whether this run knows that the policy is this machine's.
    pub(super) claimed: OnceLock<()>,
    /// Where others can see how far it is.
    pub(super) folder: PathBuf,
}

/// How a run of a job ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The backup exists.
    Published(Box<BackupReport>),
    /// It does not; `Verdict` says what becomes of the job.
    Stopped(Verdict, Error),
}

impl JobRun {
    /// Runs until the backup exists, or until nothing more can be done now.
    pub(super) async fn run(&self) -> Ended {
        let (mut attempt, mut checkpoint) = (0, self.checkpoint());
        loop {
            attempt += 1;
            let too_long = async {
                self.cancel.cancelled().await;
                tokio::time::sleep(LAST_WORD).await;
            };
            let attempted = tokio::select! {
                biased;
                attempted = self.attempt() => attempted,
                () = too_long => Err(Error::Interrupted),
            };
            let error = match attempted {
                Ok(report) => return Ended::Published(report),
                Err(error) => self.explained(error).await,
            };
            let now = self.checkpoint();
            if std::mem::replace(&mut checkpoint, now) != now {
                attempt = 1;
            }
            match Verdict::of(&error) {
                Verdict::Retry if attempt < self.attempts.attempts => {}
                Verdict::Retry => return Ended::Stopped(Verdict::after_the_last_attempt(&error), error),
                verdict => return Ended::Stopped(verdict, error),
            }
            let pause = self.attempts.pause(attempt);
            tracing::warn!(%error, attempt, pause_ms = pause.as_millis() as u64, "the run failed; trying again");
            let waited = self.cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
            if waited.is_none() {
                return Ended::Stopped(Verdict::Pause, Error::Interrupted);
            }
        }
    }

    /// How far the job has come: whatever is more is progress.
    fn checkpoint(&self) -> (JobState, u32) {
        (self.ledger.job().state, self.ledger.part_count())
    }

    /// An upload that is gone, and whose archive is there, was completed by somebody else.
    async fn explained(&self, error: Error) -> Error {
        let key = self.ledger.job().name.archive_key();
        if is_gone(&error) && matches!(self.store.head(&key).await, Ok(Some(_))) {
            return publish::overtaken(&*self.store, &key);
        }
        error
    }

    async fn attempt(&self) -> Result<Box<BackupReport>> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        self.claim().await?;
        let found = recovery::reconcile(&self.ledger, &self.header, &*self.store).await?;
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).extend(found.told);
        if found.has_others && self.saw_others.swap(true, Ordering::Relaxed) {
            return Err(publish::overtaken(&*self.store, &self.ledger.job().name.archive_key()));
        }
        self.kept.get_or_init(|| self.ledger.part_count());
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let next = match self.ledger.job().state {
                JobState::Queued => JobEvent::Started,
                JobState::Scanning => {
                    self.scan().await?;
                    JobEvent::Scanned
                }
                JobState::Transferring => {
                    self.transfer().await?;
                    JobEvent::ArchiveCommitted
                }
                JobState::Sealing => {
                    self.seal().instrument(info_span!(span::COMPLETE)).await?;
                    JobEvent::ArchiveCompleted
                }
                JobState::Publishing => {
                    let report = self.publish().instrument(info_span!(span::MANIFEST)).await?;
                    self.ledger.advance(JobEvent::ManifestPut { warnings: !report.is_complete() })?;
                    return Ok(report);
                }
                JobState::ShippingLogs(_) | JobState::Ended(_) => return self.published().await,
            };
            let state = self.ledger.advance(next)?;
            tracing::info!(state = state.name(), "job state changed");
            watch::tell(&self.folder, &self.ledger, &self.progress);
        }
    }

    /// Makes the policy this machine's. Until then nothing is written into the store.
    pub(super) async fn claim(&self) -> Result<()> {
        if self.claimed.get().is_none() {
            let claim = self.catalog.claim(&self.policy.policy_id, self.take_over).await?;
            let alert = alerts::of_claim(claim, &self.policy.policy_id, self.catalog.machine.host());
            self.alerts.lock().unwrap_or_else(PoisonError::into_inner).extend(alert);
            self.claimed.get_or_init(|| ());
        }
        Ok(())
    }

    async fn scan(&self) -> Result<()> {
        let excludes =
            sources::excludes(&self.policy, &*self.store, &self.copies.folders(), Some(&self.home))?;
        self.ledger.clear_scan()?;
        let (roots, met) = (make_roots(&self.policy.paths), excludes.clone());
        let (ledger, progress) = (self.ledger.clone(), Arc::new(Progress::default()));
        let cancel = self.cancel.clone();
        let scanned =
            on_system("scan", move || async move { scan(roots, excludes, ledger, progress, &cancel).await })
                .await?;
        tracing::info!(entries = scanned.entries, bytes = scanned.bytes, "scanned");
        let findings = sources::findings(&self.policy, &met, &self.before);
        Ok(self.ledger.update(|job| (job.scanned, job.findings) = (Some(scanned), findings))?)
    }

    /// Whether the last part that is recorded closes the archive.
    fn is_closed(&self) -> Result<bool> {
        Ok(self.ledger.last_part()?.is_some_and(|(part, _)| part.last))
    }

    async fn transfer(&self) -> Result<()> {
        if self.is_closed()? {
            // The run before died when all was committed, but for the job's state.
            return Ok(());
        }
        // A disk that is not mounted would look like a folder from which everything has vanished.
        self.policy.check_paths()?;
        let upload = self.upload().await?;
        if self.ledger.job().scanned.is_none_or(|scanned| scanned.steps != self.ledger.step_count()) {
            return Err(self.ledger.damaged("steps of the walk are missing").into());
        }
        let (position, resume) = self.position()?;
        let next_part = position.as_ref().map_or(1, |last| last.number + 1);
        let sent: Vec<_> = self.ledger.parts()?.into_iter().map(|part| part.segment).collect();
        let store = self.copies.tee(&self.store, &upload.key, &sent).await;
        let (header, data_key) = (self.header.clone(), self.data_key.clone());
        // The scan is recorded, so a run that resumes makes parts of the same size.
        let expected = self.ledger.job().scanned.map_or(0, |scanned| scanned.bytes);
        let equal = self.store.wants_equal_parts().then(|| equal_part_bytes(expected));
        let pipeline = BackupPipeline {
            walk: WalkSource::Ledger { ledger: self.ledger.clone(), from: resume.cursor.entry },
            resume,
            compression: self.policy.compression,
            sealer: match &position {
                Some(last) => SegmentSealer::resume(header, data_key, last),
                None => SegmentSealer::new(header, data_key),
            }
            .with_equal_parts(equal),
            store,
            upload,
            book: self.ledger.clone(),
            next_part,
            progress: self.progress.clone(),
            last_parts: LAST_PARTS,
        };
        let cancel = self.cancel.clone();
        on_system("backup", move || async move { pipeline.run(&cancel).await.map(drop) }).await
    }

    /// The job's upload. Ordering law (must): the job, and with it the archive's key, is recorded before the upload
    /// begins, so that one which a crash leaves unrecorded is found by its key.
    async fn upload(&self) -> Result<Upload> {
        if let Some(upload) = self.ledger.job().upload {
            return Ok(upload);
        }
        let upload = self.store.begin_upload(&self.ledger.job().name.archive_key()).await?;
        Failpoint::UploadBegun.reached();
        self.ledger.update(|job| job.upload = Some(upload.clone()))?;
        Failpoint::UploadRecorded.reached();
        Ok(upload)
    }

    /// Where the committed parts end: the last of them, and what the archiver has to know. The progress begins there.
    fn position(&self) -> Result<(Option<SegmentRecord>, Resume)> {
        if let Some(scanned) = self.ledger.job().scanned {
            self.progress.total_entries.raise_to(scanned.entries);
            self.progress.total_bytes.raise_to(scanned.bytes);
        }
        let Some((last, cursor)) = self.ledger.last_part()? else { return Ok((None, Resume::default())) };
        let (mut count, mut bytes) = (0, 0);
        let entries = (1..=last.segment.number).flat_map(|number| {
            let (listed, failed) = match self.ledger.committed(number) {
                Ok(listed) => (listed, None),
                Err(error) => (PartEntries::default(), Some(Err(error))),
            };
            listed.entries.into_unpacked().chain(failed)
        });
        let entries = entries.inspect(|entries| {
            for entry in entries.iter().flatten() {
                count += 1;
                let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
                bytes = u64::saturating_add(bytes, size);
            }
        });
        let links = LinkTable::rebuild(self.ledger.scan::<Walked>(0), cursor.entry, entries)?;
        self.progress.entries.raise_to(count);
        self.progress.bytes.raise_to(bytes);
        let tar_bytes = self.ledger.tar_bytes();
        Ok((Some(last.segment), Resume { tar_bytes, cursor, links }))
    }

    async fn seal(&self) -> Result<()> {
        let job = self.ledger.job();
        if !self.is_closed()? {
            return Err(self.ledger.damaged("the archive's last parts are missing").into());
        }
        let Some(upload) = job.upload else {
            return Err(Error::Defect("a job without an upload is to be sealed".to_owned()));
        };
        let parts = self.ledger.parts()?;
        let parts: Vec<_> = parts.iter().map(|part| (&part.segment, &part.receipt)).collect();
        publish::archive(&*self.store, &self.header, &upload, &parts).await?;
        // One whose beginning was never heard of, since the answer was lost and the request repeated.
        if let Err(error) = recovery::abort_strays(&*self.store, &upload.key).await {
            tracing::warn!(%error, "cannot look for abandoned uploads");
        }
        Ok(())
    }

    async fn publish(&self) -> Result<Box<BackupReport>> {
        let mut draft = ManifestDraft::default();
        for part in self.ledger.parts()? {
            let listed = self.ledger.committed(part.segment.number)?;
            for problems in listed.problems.unpack() {
                for Problem { relative_path, reason, kind } in problems? {
                    if kind == ProblemKind::Note {
                        continue;
                    }
                    tracing::warn!(path = relative_path, reason, ?kind, "skipped or changed");
                }
            }
            draft.commit(part.segment, listed)?;
        }
        let (findings, segments) = (self.ledger.job().findings, draft.segments().to_vec());
        let published = publish::manifest(
            &*self.store,
            &self.header,
            &self.data_key,
            draft,
            findings,
            &self.catalog,
            &self.recipients,
        );
        let published = published.await?;
        let of_copies = self.copy(&segments, published.manifest.document()).await?;
        let mut report = published.report;
        report.seconds = self.started.elapsed().as_secs_f64();
        let alerts = std::mem::take(&mut *self.alerts.lock().unwrap_or_else(PoisonError::into_inner));
        report.warnings.splice(0..0, alerts);
        report.warnings.extend(of_copies);
        let summary = serde_json::to_string(&report).map_err(|e| Error::Defect(e.to_string()))?;
        self.ledger.update(|job| job.summary = Some(summary))?;
        Ok(Box::new(report))
    }

    async fn copy(&self, segments: &[SegmentRecord], manifest: &Spool) -> Result<Vec<String>> {
        let segments = &segments.iter().collect::<Vec<_>>()[..];
        let (store, header, data_key) = (&*self.store, &self.header, &self.data_key);
        self.copies.complete(Source { store, header, data_key, segments }, manifest, &self.cancel).await
    }

    /// The report of a backup that an earlier run has published, and the copies that this one is asked for.
    async fn published(&self) -> Result<Box<BackupReport>> {
        let summary = self.ledger.job().summary.unwrap_or_default();
        let mut report: BackupReport = serde_json::from_str(&summary)
            .map_err(|e| Error::Defect(format!("the job's summary cannot be read: {e}")))?;
        if self.copies.is_empty() {
            return Ok(Box::new(report));
        }
        let segments: Vec<_> = self.ledger.parts()?.into_iter().map(|part| part.segment).collect();
        let found = {
            let segments: Vec<_> = segments.iter().collect();
            identity::manifest(&*self.store, &self.header, &self.data_key, &segments).await?
        };
        match found {
            Some(found) => {
                let warnings = self.copy(&segments, found.document()).await?;
                report.warnings.retain(|warning| !warnings.contains(warning));
                report.warnings.extend(warnings);
            }
            None => report.warnings.push(format!(
                "the backup was not copied: {} is not in the store as it was put there",
                report.key_manifest
            )),
        }
        Ok(Box::new(report))
    }
}

/// Whether the store knows an upload no more.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Storage(intellistor_storage::Error::Store(store)) if store.kind == StoreErrorKind::UploadGone)
}
