//! One job, from its recorded state until the backup exists.
//!
//! Each step starts from the state in the ledger, and the next state is recorded when the step is done. A new job, a
//! resumed one and a retried one therefore take the same path.
//!
//! | state | step |
//! | --- | --- |
//! | scanning | `scan` |
//! | transferring | `transfer` |
//! | sealing | `complete` |
//! | publishing, and later | `publish` |

mod complete;
mod publish;
mod scan;
mod transfer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use intellistor_actors::progress::Progress;
use intellistor_storage::manifest::{Base, RootRecord};
use intellistor_storage::objects::SharedStore;
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{BaseReference, Job, JobBase, Queue};
use intellistor_storage::{Error as StorageError, StoreErrorKind};
use intellistor_telemetry::names::span;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::advice::with_advice;
use crate::agent::failure_action::FailureAction;
use crate::agent::hooks;
use crate::agent::monitor;
use crate::agent::open_job::OpenJob;
use crate::agent::reconcile::reconcile;
use crate::agent::setup::RunSetup;
use crate::alerts;
use crate::error::{Error, Result};
use crate::lifecycle::locking;
use crate::operations::base::{BaseChoice, BaseSearch, LocalManifest};
use crate::operations::copies::Copies;
use crate::operations::provenance::overtaken;
use crate::operations::report::BackupReport;
use crate::operations::root_span::labelled;
use crate::operations::snapshotting::RunSnapshots;
use crate::operations::sources;
use crate::policy::VssMode;
use publish::Publisher;

/// A stopped run waits this long for any other answer than those of parts in flight.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// How a run of a job ended.
#[derive(Debug)]
pub(super) enum JobOutcome {
    /// The backup exists.
    Published(Box<BackupReport>),
    Stopped(FailureAction, Error),
}

impl JobOutcome {
    pub(super) fn stopped(error: Error) -> Self {
        Self::Stopped(FailureAction::of(&error), error)
    }
}

pub(super) struct JobRun<'a> {
    setup: RunSetup<'a>,
    job: &'a OpenJob,
    store: SharedStore,
    copies: Copies,
    /// The job's base, once it is open; within, `None` for a full backup.
    base: Option<Option<Arc<Base>>>,
    local: LocalManifest,
    /// The folders of earlier backups, the newest first.
    earlier_roots: Vec<Vec<RootRecord>>,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    started: Instant,
    /// Whether the policy is known to be this machine's.
    is_claimed: bool,
    /// Whether the policy's `before` has run.
    is_prepared: bool,
    /// What files are read in, once they are prepared.
    snapshots: Option<RunSnapshots>,
    /// Recorded parts that the store was found to have when this run began.
    reused_parts: Option<u32>,
    /// Whether the store was found to have other parts than were recorded.
    saw_other_parts: bool,
    notices: Vec<String>,
    warnings: Vec<String>,
}

/// What a job's run leaves besides its outcome.
pub(super) struct JobRunEnd {
    pub(super) copies: Copies,
    pub(super) reused_parts: Option<u32>,
    pub(super) notices: Vec<String>,
}

impl<'a> JobRun<'a> {
    /// A job is copied where it was begun to be, and where this run is asked to.
    pub(super) fn new(
        setup: &RunSetup<'a>,
        queue: &Queue,
        job: &'a OpenJob,
        cancel: CancellationToken,
    ) -> Result<Self> {
        let recorded = job.ledger.job().copy_to;
        let folders = [recorded.as_deref(), setup.options.copy_to.as_deref()];
        let mut copies = Copies::new(folders.into_iter().flatten());
        if !setup.options.new_store {
            copies.expect(|folder| queue.known_store(folder))?;
        }
        Ok(Self {
            setup: *setup,
            job,
            store: labelled(setup.catalog.store.clone()),
            copies,
            base: None,
            local: LocalManifest::new(&setup.home.queue_folder(&setup.policy.policy_id)),
            earlier_roots: earlier_roots(queue)?,
            progress: setup.options.run.progress.clone(),
            cancel,
            started: Instant::now(),
            is_claimed: false,
            is_prepared: false,
            snapshots: None,
            reused_parts: None,
            saw_other_parts: false,
            notices: Vec::new(),
            warnings: job.warnings.clone(),
        })
    }

    pub(super) fn end(self) -> JobRunEnd {
        let Self { copies, reused_parts, notices, .. } = self;
        JobRunEnd { copies, reused_parts, notices }
    }

    /// Claims the policy for this machine. Before that, nothing is written into the store.
    pub(super) async fn claim(&mut self) -> Result<()> {
        if !self.is_claimed {
            let (catalog, policy_id) = (self.setup.catalog, &self.setup.policy.policy_id);
            locking::check(&*catalog.store, self.setup.policy).await?;
            let claim = catalog.claim(policy_id, self.setup.options.take_over).await?;
            self.warnings.extend(alerts::of_claim(claim, policy_id, catalog.machine.host()));
            self.is_claimed = true;
        }
        Ok(())
    }

    /// Runs until the backup exists, or nothing more can be done now.
    pub(super) async fn run(&mut self) -> JobOutcome {
        let cancel = self.cancel.clone();
        let attempts = self.setup.attempts;
        let (mut attempt, mut checkpoint) = (0, self.checkpoint());
        loop {
            attempt += 1;
            let overdue = async {
                cancel.cancelled().await;
                tokio::time::sleep(STOP_TIMEOUT).await;
            };
            let attempted = tokio::select! {
                biased;
                attempted = self.attempt() => attempted,
                () = overdue => Err(Error::Interrupted),
            };
            let error = match attempted {
                Ok(report) => return JobOutcome::Published(Box::new(report)),
                Err(error) => self.explain(error).await,
            };
            let now = self.checkpoint();
            if std::mem::replace(&mut checkpoint, now) != now {
                attempt = 1;
            }
            match FailureAction::of(&error) {
                FailureAction::Retry if attempt < attempts.attempts => {}
                FailureAction::Retry => {
                    return JobOutcome::Stopped(FailureAction::after_last_attempt(&error), error);
                }
                action => return JobOutcome::Stopped(action, error),
            }
            let pause = attempts.pause(attempt);
            let reason = with_advice(&error);
            tracing::warn!(error = %reason, attempt, pause_ms = pause.as_millis() as u64, "the run failed; trying again");
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return JobOutcome::Stopped(FailureAction::Pause, Error::Interrupted);
            }
        }
    }

    /// How far the job is: a change is progress.
    fn checkpoint(&self) -> (JobState, u32) {
        (self.job.ledger.job().state, self.job.ledger.part_count())
    }

    /// An upload that is gone, and whose archive exists, was completed by another machine.
    async fn explain(&self, error: Error) -> Error {
        let key = self.job.ledger.job().name.archive_key();
        let is_gone = matches!(&error, Error::Storage(StorageError::Store(store)) if store.kind == StoreErrorKind::UploadGone);
        if is_gone && matches!(self.store.head(&key).await, Ok(Some(_))) {
            return overtaken(&*self.store, &key);
        }
        error
    }

    async fn attempt(&mut self) -> Result<BackupReport> {
        self.check_cancelled()?;
        self.claim().await?;
        let OpenJob { ledger, header, .. } = self.job;
        let found = reconcile(ledger, header, &*self.store).await?;
        self.notices.extend(found.notice);
        if found.has_other_parts && std::mem::replace(&mut self.saw_other_parts, true) {
            return Err(overtaken(&*self.store, &ledger.job().name.archive_key()));
        }
        self.reused_parts.get_or_insert(ledger.part_count());
        self.prepare_files().await?;
        loop {
            self.check_cancelled()?;
            let done = match ledger.job().state {
                JobState::Queued => JobEvent::Started,
                JobState::Scanning => {
                    self.scan().await?;
                    JobEvent::Scanned
                }
                JobState::Transferring => {
                    let base = self.base().await?;
                    self.read_files(base).await?;
                    JobEvent::ArchiveCommitted
                }
                JobState::Sealing => {
                    let complete = complete::complete(self.job, &*self.store);
                    complete.instrument(info_span!(span::COMPLETE)).await?;
                    JobEvent::ArchiveCompleted
                }
                JobState::Publishing => {
                    let base = self.base().await?;
                    let publisher = self.publisher();
                    let publish = publisher.publish(base, self.warnings.clone(), self.started);
                    let report = publish.instrument(info_span!(span::MANIFEST)).await?;
                    ledger.advance(JobEvent::ManifestPut { warnings: !report.is_complete() })?;
                    return Ok(report);
                }
                JobState::ShippingLogs(_) | JobState::Ended(_) => return self.publisher().published().await,
            };
            let state = ledger.advance(done)?;
            tracing::info!(state = state.name(), "job state changed");
            let folder = self.setup.home.queue_folder(&self.setup.policy.policy_id);
            monitor::write_progress(&folder, ledger, &self.progress);
        }
    }

    /// Runs the policy's `before`, once in a run that will still read files. Also in one that resumes: a service that was
    /// stopped for the earlier run may be running again, and a file that has changed since is archived anew.
    async fn prepare_files(&mut self) -> Result<()> {
        let ledger = &self.job.ledger;
        let reads_files = match ledger.job().state {
            JobState::Queued | JobState::Scanning => true,
            JobState::Transferring => !transfer::is_closed(ledger)?,
            _ => false,
        };
        if reads_files && !self.is_prepared {
            hooks::before(self.setup.policy, ledger, &self.cancel).await?;
            self.is_prepared = true;
        }
        if reads_files && !self.snapshots.as_ref().is_some_and(RunSnapshots::are_held) {
            self.take_snapshots().await?;
        }
        Ok(())
    }

    /// Takes what the policy's `vss` asks for, after the hook that may write what is to be in it. Files of a job that is
    /// resumed were recorded in a snapshot that is gone.
    async fn take_snapshots(&mut self) -> Result<()> {
        let RunSetup { policy, options, .. } = self.setup;
        let snapshots = RunSnapshots::take(policy, &options.run.snapshots, &self.cancel).await?;
        let ledger = &self.job.ledger;
        let job = ledger.job();
        // A walk is made again from its beginning, and says all of it.
        if job.state == JobState::Transferring
            && let Some(note) = snapshots.resumed_note(&job.views)
        {
            tracing::info!("{note}");
            ledger.update(|job| {
                snapshots.add_to(&mut job.findings);
                job.findings.notes.retain(|known| *known != note);
                job.findings.notes.push(note);
            })?;
        }
        self.snapshots = Some(snapshots);
        Ok(())
    }

    /// Under `vss: required`, nothing is sent, and the policy is not claimed, before its snapshots are there.
    pub(super) async fn require_snapshots(&mut self) -> Result<()> {
        if self.setup.policy.vss == Some(VssMode::Required) { self.prepare_files().await } else { Ok(()) }
    }

    /// Gives back the snapshots of a run that stopped before its last read.
    pub(super) async fn release_snapshots(&mut self) {
        if let Some(snapshots) = self.snapshots.take() {
            snapshots.end(false).await;
        }
    }

    /// Makes the archive, and gives back the snapshots.
    async fn read_files(&mut self, base: Option<Arc<Base>>) -> Result<()> {
        let policy = self.setup.policy;
        let Self { job, store, copies, progress, cancel, snapshots, .. } = self;
        // None are taken for an archive that an earlier run has completed.
        let snapshots = &*snapshots.get_or_insert_with(|| RunSnapshots::none(policy));
        let source = transfer::Source { policy, snapshots };
        transfer::transfer(job, source, store, copies, base, progress, cancel).await?;
        let problems = snapshots.end(true).await;
        if !problems.is_empty() {
            job.ledger.update(|job| job.findings.warnings.extend(problems))?;
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// What the job is based on: chosen once and recorded, then opened as it was recorded.
    async fn base(&mut self) -> Result<Option<Arc<Base>>> {
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        let ledger = &self.job.ledger;
        let job = ledger.job();
        let base = match job.base {
            Some(JobBase { backup: Some(base), .. }) => {
                Some(self.search().reopen(&base.name, base.manifest_sha256, base.numbers).await?)
            }
            None if job.state == JobState::Scanning => self.choose_base().await?,
            // A full backup; also the job of a build that knew no other.
            _ => None,
        };
        self.base = Some(base.clone());
        Ok(base)
    }

    /// Ordering law (must): what the job is based on is recorded before anything is compared with it.
    async fn choose_base(&self) -> Result<Option<Arc<Base>>> {
        let choice = self.search().choose(self.setup.options.full).await?;
        let BaseChoice { base, alerts, notes } = choice;
        let reference = base.as_ref().map(|base| BaseReference {
            name: base.manifest().head().name.clone(),
            manifest_sha256: base.manifest().document_sha256(),
            numbers: base.numbers().to_vec(),
        });
        self.job.ledger.update(|job| job.base = Some(JobBase { backup: reference, alerts, notes }))?;
        Ok(base)
    }

    fn search(&self) -> BaseSearch<'_> {
        let RunSetup { catalog, recipients, policy, .. } = self.setup;
        let Self { store, copies, local, .. } = self;
        BaseSearch { catalog, store: &**store, recipients, policy, copies, local: Some(local) }
    }

    async fn scan(&mut self) -> Result<()> {
        let base = self.base().await?;
        let RunSetup { policy, home, .. } = self.setup;
        // The agent's own folder is not backed up.
        let excludes = sources::excludes(policy, &*self.store, &self.copies.folders(), Some(home.path()))?;
        let none = RunSnapshots::none(policy);
        let snapshots = self.snapshots.as_ref().unwrap_or(&none);
        scan::scan(&self.job.ledger, policy, snapshots, excludes, base, &self.earlier_roots, &self.cancel)
            .await
    }

    fn publisher(&self) -> Publisher<'_> {
        let RunSetup { catalog, recipients, policy, .. } = self.setup;
        let Self { job, store, copies, local, cancel, .. } = self;
        let (form, lock, prune_after) = (policy.manifest, policy.lock, policy.prune_after);
        Publisher {
            job,
            store: &**store,
            catalog,
            recipients,
            copies,
            form,
            lock,
            prune_after,
            local,
            cancel,
        }
    }
}

fn earlier_roots(queue: &Queue) -> Result<Vec<Vec<RootRecord>>> {
    let roots = |job: Job| Some(job.summary::<BackupReport>()?.roots);
    Ok(queue.history()?.into_iter().filter_map(roots).collect())
}
