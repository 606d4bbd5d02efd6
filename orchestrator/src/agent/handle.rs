//! [`Agent`]: runs, resumes and cancels jobs of policies, and reports their status.

use std::path::{Path, PathBuf};

use chrono::Utc;
use intellistor_storage::Error as StorageError;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::layout::TIMESTAMP;
use intellistor_storage::keys::{OpensBackups, Recipients};
use intellistor_storage::objects::RetryPolicy;
use intellistor_storage::state::job::JobEvent;
use intellistor_storage::state::{self, Queue};
use intellistor_telemetry::run_log;
use tracing::Instrument as _;

use crate::advice::with_advice;
use crate::agent::abandon::abandon;
use crate::agent::assess::PolicyRecords;
use crate::agent::begin::next_time;
use crate::agent::close::close;
use crate::agent::failed_start::{self, FailedStart};
use crate::agent::failure_action::ATTEMPTS;
use crate::agent::health::AllowedAges;
use crate::agent::home::Home;
use crate::agent::log::AgentLog;
use crate::agent::log_list::LogList;
use crate::agent::notices::RunNotices;
use crate::agent::report::{AgentOptions, AgentReport, Cancelled};
use crate::agent::run::run;
use crate::agent::setup::RunSetup;
use crate::agent::status::{PolicyStatus, UploadStatus};
use crate::agent::store_status::StoreStatus;
use crate::agent::{known_stores, monitor, notices};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::locking;
use crate::notify::NotifySettings;
use crate::operations::list::list;
use crate::operations::sources::check_copy;
use crate::policy::Policy;
use crate::schedule::ScheduleEntry;

/// Runs policies. All its state is in its home folder.
#[derive(Debug, Clone)]
pub struct Agent {
    home: Home,
    attempts: RetryPolicy,
}

impl Agent {
    /// An agent with its home in `home`, which need not exist.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: Home::new(home.into()), attempts: ATTEMPTS }
    }

    /// Retries a run that makes no progress this often.
    #[must_use]
    pub fn with_attempts(self, attempts: RetryPolicy) -> Self {
        Self { attempts, ..self }
    }

    /// The logs of a policy's runs on this machine.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn logs(&self, policy_id: &str) -> Result<LogList> {
        let folder = self.logs_folder(policy_id);
        let logs = LogList::read(policy_id.to_owned(), folder.clone());
        Ok(logs.map_err(StorageError::io("list the logs in", &folder))?)
    }

    /// The folder of a policy's logs.
    pub fn logs_folder(&self, policy_id: &str) -> PathBuf {
        self.home.logs_folder(policy_id)
    }

    /// Finishes the policy's job, or makes a backup; both, if the job was begun more than `resume.fresh_after` ago.
    ///
    /// # Errors
    /// `Busy`, at once, when another run of the policy is active; those of the state folder, and of a run that could not
    /// begin. Any other failure is in the report.
    pub async fn run(
        &self,
        catalog: &Catalog,
        recipients: &Recipients,
        policy: &Policy,
        options: AgentOptions,
    ) -> Result<AgentReport> {
        policy.check()?;
        let catalog = &catalog.under(policy);
        let folder = self.home.create(&policy.policy_id)?;
        let mut queue = Queue::open(&folder)?;
        let notices = RunNotices::begin(&self.home, policy, &options.notify, catalog.machine.host(), &queue);
        // Before anything is written to the store, a log included.
        if let Err(error) = check(&queue, catalog, policy, &options) {
            let reason = with_advice(&error);
            let log = self.log_failed_start(&mut queue, &policy.policy_id, &reason)?;
            warn_all(notices.failed_start(&reason, Some(log)).await);
            return Err(error);
        }
        // Requests are left only while the queue is locked: an earlier one was meant for another run.
        monitor::clear_requests(&folder);
        let (home, attempts, options) = (&self.home, self.attempts, &options);
        let setup = RunSetup { home, attempts, catalog, recipients, policy, options };
        match self.run_jobs(&setup, &mut queue).await {
            Ok(mut report) => {
                notices.ended(&mut report, catalog.url()).await;
                Ok(report)
            }
            Err(error) => {
                warn_all(notices.failed_start(&with_advice(&error), None).await);
                Err(error)
            }
        }
    }

    /// Finishes the job that was found, and begins another where that one is old, or there was none.
    async fn run_jobs(&self, setup: &RunSetup<'_>, queue: &mut Queue) -> Result<AgentReport> {
        let found = queue.job()?;
        let began_ms = found.as_ref().map(|ledger| ledger.job().began_ms);
        let first = run(setup, queue, found).await?;
        let age_ms = began_ms.map_or(0, |began| Utc::now().timestamp_millis() - began);
        let is_old =
            u128::try_from(age_ms).is_ok_and(|age| age > setup.policy.resume.fresh_after.as_millis());
        if first.resumed.is_none() || first.outcome.is_err() || !is_old {
            return Ok(first);
        }
        let fresh = run(setup, queue, None).await?;
        Ok(AgentReport { finished_first: Some(Box::new(first)), ..fresh })
    }

    /// Whether there is a job to resume that no run works on.
    ///
    /// # Errors
    /// Those of the state folder.
    pub fn has_unfinished_job(&self, policy_id: &str) -> Result<bool> {
        let folder = self.home.queue_folder(policy_id);
        if !folder.exists() {
            return Ok(false);
        }
        match Queue::open(&self.home.create(policy_id)?) {
            Err(StorageError::Busy { .. }) => Ok(false),
            opened => Ok(opened?.job()?.is_some()),
        }
    }

    /// Records why a run could not begin, for `status` and in a log of its own that the next run ships. Returns the log's
    /// path.
    ///
    /// # Errors
    /// `Busy`; those of the state folder.
    pub fn record_failed_start(&self, policy_id: &str, reason: &str) -> Result<PathBuf> {
        self.log_failed_start(&mut Queue::open(&self.home.create(policy_id)?)?, policy_id, reason)
    }

    /// Tells those whom the policy names that a run could not begin. Answers which notices failed.
    pub async fn notify_failed_start(
        &self,
        policy: &Policy,
        settings: &NotifySettings,
        reason: &str,
        log: Option<PathBuf>,
    ) -> Vec<String> {
        notices::failed_start(&self.home, policy, settings, reason, log).await
    }

    fn log_failed_start(&self, queue: &mut Queue, policy_id: &str, reason: &str) -> Result<PathBuf> {
        let (waiting, logs) = (queue.job()?, self.logs_folder(policy_id));
        let time = next_time(queue, waiting.as_ref(), &logs, Utc::now())?;
        let log = AgentLog::open(&logs, policy_id, &time.format(TIMESTAMP).to_string())?;
        log.span().in_scope(|| tracing::error!(error = reason, "the run could not begin"));
        let failed = FailedStart {
            at_ms: Utc::now().timestamp_millis(),
            error: reason.to_owned(),
            log: Some(log.path()),
        };
        let record = failed_start::of_policy(&self.home.queue_folder(policy_id));
        if let Err(error) = failed_start::write(&record, &failed) {
            tracing::debug!(%error, "the failed start is in its log alone");
        }
        log.enqueue(queue)?;
        queue.write_view(waiting.as_ref());
        Ok(log.path())
    }

    /// Records why a run could not begin whose policy is unknown: its file could not be read, or not its environment file.
    /// [`statuses`](Self::statuses) finds it by the file's path, which the policy's schedule has.
    ///
    /// # Errors
    /// Those of the home folder.
    pub fn record_unread_policy(&self, policy: &Path, reason: &str) -> Result<()> {
        let home = self.home.path();
        failed_start::remove_old(home);
        let record = failed_start::of_file(home, policy);
        let failed =
            FailedStart { at_ms: Utc::now().timestamp_millis(), error: reason.to_owned(), log: None };
        Ok(failed_start::write(&record, &failed).map_err(StorageError::io("write", &record))?)
    }

    /// The policies that have run here, by name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn policies(&self) -> Result<Vec<String>> {
        self.home.policies()
    }

    /// A policy's status, as far as it is known without the scheduler. Changes nothing, and can be asked while a run is
    /// active.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn status(&self, policy_id: &str) -> Result<PolicyStatus> {
        self.status_with(policy_id, None, AllowedAges::default())
    }

    /// A policy's status, with what its scheduler knows.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn status_with(
        &self,
        policy_id: &str,
        schedule: Option<ScheduleEntry>,
        ages: AllowedAges,
    ) -> Result<PolicyStatus> {
        let (folder, logs) = (self.home.queue_folder(policy_id), self.logs_folder(policy_id));
        let file = schedule.as_ref().and_then(|schedule| schedule.policy_path.as_deref());
        let records = [
            Some(failed_start::of_policy(&folder)),
            file.map(|file| failed_start::of_file(self.home.path(), file)),
        ];
        let newest_log = run_log::list(&logs).map_err(StorageError::io("list the logs in", &logs))?.pop();
        let records = PolicyRecords {
            snapshot: state::snapshot(&folder)?,
            progress: monitor::read_progress(&folder),
            failed_starts: records
                .into_iter()
                .flatten()
                .filter_map(|record| failed_start::read(&record))
                .collect(),
            newest_log,
        };
        Ok(PolicyStatus::new(policy_id.to_owned(), records, schedule, ages))
    }

    /// As [`status_with`](Self::status_with); a state that cannot be read is a status as well.
    pub fn status_of(
        &self,
        policy_id: &str,
        schedule: Option<ScheduleEntry>,
        ages: AllowedAges,
    ) -> PolicyStatus {
        self.status_with(policy_id, schedule, ages)
            .unwrap_or_else(|error| PolicyStatus::unreadable(policy_id.to_owned(), with_advice(&error)))
    }

    /// The status of each policy that has run here or is scheduled. One whose state cannot be read is among them.
    ///
    /// # Errors
    /// Those of the home folder.
    pub fn statuses(&self, schedules: &[ScheduleEntry], ages: AllowedAges) -> Result<Vec<PolicyStatus>> {
        let mut ids = self.policies()?;
        ids.extend(schedules.iter().map(|schedule| schedule.policy_id.clone()));
        ids.sort();
        ids.dedup();
        let of = |id: String| {
            let schedule = schedules.iter().find(|schedule| schedule.policy_id == id).cloned();
            self.status_of(&id, schedule, ages)
        };
        Ok(ids.into_iter().map(of).collect())
    }

    /// What the policy's store has, beside what this machine remembers.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store_status(
        &self,
        catalog: &Catalog,
        policy_id: &str,
        keys: Option<&dyn OpensBackups>,
        remembered: &PolicyStatus,
    ) -> Result<StoreStatus> {
        let listed = list(catalog, policy_id, keys).await?;
        let newest = remembered.last_good.as_ref();
        let newest = newest.map(|good| (good.figures.timestamp.as_str(), good.figures.backup_id.as_str()));
        Ok(StoreStatus::new(&listed, newest))
    }

    /// The policy's uploads that are not completed: parts of a job to be resumed, or what another machine or a crash has
    /// left. They are billed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unfinished_uploads(&self, catalog: &Catalog, policy_id: &str) -> Result<Vec<UploadStatus>> {
        let found = catalog.store.list_uploads(&BackupName::policy_prefix(policy_id)).await?;
        Ok(found.into_iter().map(UploadStatus::from).collect())
    }

    /// Ends the policy's job for good, and removes what it has sent. A run that is active is asked to.
    ///
    /// # Errors
    /// Those of the state folder.
    pub async fn cancel(&self, catalog: &Catalog, policy: &Policy) -> Result<Cancelled> {
        let policy_id = &policy.policy_id;
        let catalog = &catalog.under(policy);
        let folder = self.home.create(policy_id)?;
        let mut queue = match Queue::open(&folder) {
            Err(StorageError::Busy { .. }) => {
                let requested = monitor::request_cancel(&folder);
                requested.map_err(StorageError::io("write a request into", &folder))?;
                return Ok(Cancelled::Requested);
            }
            opened => opened?,
        };
        let Some(ledger) = queue.job()? else { return Ok(Cancelled::NoJob) };
        let log = AgentLog::open(&self.logs_folder(policy_id), policy_id, &ledger.job().name.timestamp)?;
        let end = async {
            tracing::warn!("the job is cancelled on request");
            let leftover = abandon(&ledger, catalog, JobEvent::Cancelled).await?;
            close(&mut queue, ledger, &log, catalog).await?;
            Ok::<_, Error>(leftover)
        };
        Ok(Cancelled::Done { leftover: end.instrument(log.span()).await? })
    }
}

/// Those of a run that has no report.
fn warn_all(failures: Vec<String>) {
    failures.iter().for_each(|failure| tracing::warn!("{failure}"));
}

/// Refuses a store that is not the one it was or cannot do what the policy asks, paths that overlap, and a copy in the store.
fn check(queue: &Queue, catalog: &Catalog, policy: &Policy, options: &AgentOptions) -> Result<()> {
    if !options.new_store {
        known_stores::check(queue, &*catalog.store)?;
    }
    locking::check_capabilities(&*catalog.store, policy)?;
    policy.check_overlap()?;
    options.copy_to.iter().try_for_each(|copy| check_copy(&*catalog.store, copy))
}
