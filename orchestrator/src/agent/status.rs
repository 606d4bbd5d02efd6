//! A policy's status: what its runs do now, how the last ones ended, and what is wrong. Its serde form is a row of
//! `intellistor-agent status --format json`, whose times are RFC 3339 in UTC.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use intellistor_actors::progress::ProgressSnapshot;
use intellistor_storage::objects::UnfinishedUpload;
use intellistor_storage::state::{Job, Snapshot, View};
use intellistor_telemetry::run_log::LogFile;
use serde::{Deserialize, Serialize, Serializer};

use super::failed_start::FailedStart;
use super::health::{AllowedAges, Health, PolicyState, Reason, reasons};
use super::latest_run::{Evidence, LatestRun, latest_run};
use super::store_status::StoreStatus;
use crate::cron::{Cron, missed_starts};
use crate::lifecycle::RetentionOutlook;
use crate::operations::report::BackupReport;
use crate::schedule::ScheduleEntry;
use crate::zone::Zone;

/// Runs whose figures are shown.
const TREND: usize = 7;

/// What a policy's runs do now, and did last.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PolicyStatus {
    /// The policy's id.
    pub policy: String,
    /// What is to be known of it, in a word.
    pub state: PolicyState,
    pub health: Health,
    /// Why it needs a person, the worst first.
    pub reasons: Vec<Reason>,
    /// What its runs do now.
    pub activity: Activity,
    /// Process id of the active run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Of the active run, or of the one that was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<RunProgress>,
    /// The job that waits to be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobStatus>,
    /// The last job that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<JobStatus>,
    /// The last run, by the newest of what the queue, the logs and the scheduler know.
    pub last_run: Option<LatestRun>,
    /// The last run that made a backup.
    pub last_good: Option<GoodRun>,
    #[serde(serialize_with = "to_the_second_if_any")]
    pub next_run: Option<DateTime<Utc>>,
    /// Starts of its schedule since the last run that did not happen.
    pub missed: Option<Missed>,
    /// The last backups, oldest first.
    pub trend: Vec<Figures>,
    /// How much content the newest of them has more than the oldest, in percent.
    pub growth_percent: Option<i64>,
    /// Logs that are not in the store yet.
    pub logs_to_send: usize,
    /// What retention has left, and what goes next, as the run that made the newest backup found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionOutlook>,
    /// Until when the store lets no one delete the newest backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
    /// When it runs next, where the system's scheduler knows it.
    pub schedule: Option<ScheduleEntry>,
    /// Uploads that are not completed, where the store was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished_uploads: Option<Vec<UploadStatus>>,
    /// What the store has, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
    /// The newest backup that is remembered, and the job that made it.
    #[serde(skip)]
    pub last_backup: Option<(JobStatus, BackupReport)>,
}

/// What a policy's runs do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// A run is active.
    Running,
    /// A job waits to be resumed.
    Stopped,
    /// No run is active, and no job waits.
    #[default]
    Idle,
}

/// A job, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// Its state, by name.
    pub state: String,
    /// Names its runs.
    pub timestamp: String,
    /// Names its backup.
    pub backup_id: String,
    /// How many runs have worked on it.
    pub runs: u32,
    #[serde(serialize_with = "to_the_second")]
    pub began: DateTime<Utc>,
    #[serde(serialize_with = "to_the_second_if_any")]
    pub ended: Option<DateTime<Utc>>,
    /// Files in its backup.
    pub files: Option<u64>,
    /// Bytes of content in its backup.
    pub bytes: Option<u64>,
    /// Wall time of the run that published it.
    pub seconds: Option<f64>,
    /// Why its last run stopped.
    pub error: Option<String>,
}

/// A run that made a backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GoodRun {
    /// When it ended.
    #[serde(serialize_with = "to_the_second")]
    pub at: DateTime<Utc>,
    pub age_seconds: u64,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Figures of a backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub timestamp: String,
    pub backup_id: String,
    /// Wall time of the run that published it.
    pub seconds: f64,
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes that were stored for it.
    pub archive_bytes: u64,
    /// Entries that were skipped or changed, and warnings.
    pub problems: u64,
}

/// Starts that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missed {
    #[serde(serialize_with = "to_the_second")]
    pub first: DateTime<Utc>,
    #[serde(serialize_with = "to_the_second")]
    pub last: DateTime<Utc>,
    pub count: usize,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The job's state, by name.
    pub state: String,
    /// Names the run.
    pub timestamp: String,
    #[serde(flatten)]
    pub counters: ProgressSnapshot,
    /// When this was written, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// An upload that was begun and not completed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UploadStatus {
    /// The archive's key.
    pub key: String,
    /// Where the store tells.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub began: Option<DateTime<Utc>>,
}

/// What is on this machine of a policy.
#[derive(Debug)]
pub(super) struct PolicyRecords {
    pub(super) snapshot: Snapshot,
    pub(super) progress: Option<RunProgress>,
    pub(super) failed_starts: Vec<FailedStart>,
    pub(super) newest_log: Option<LogFile>,
}

impl PolicyStatus {
    pub(super) fn new(
        policy: String,
        records: PolicyRecords,
        schedule: Option<ScheduleEntry>,
        ages: AllowedAges,
    ) -> Self {
        let PolicyRecords { snapshot, progress, failed_starts, newest_log } = records;
        let (running, holder, View { job, history, last_good, outbox }) = match snapshot {
            Snapshot::Running(holder, view) => (true, holder, view),
            Snapshot::Idle(view) => (false, None, view),
        };
        let job = job.filter(|_| !running);
        let last_run = latest_run(&Evidence {
            stopped: job.as_ref(),
            ended: history.first(),
            progress: progress.as_ref(),
            failed_starts,
            newest_log,
            schedule: schedule.as_ref(),
            running,
        });
        let activity = match (running, &job) {
            (true, _) => Activity::Running,
            (false, Some(_)) => Activity::Stopped,
            (false, None) => Activity::Idle,
        };
        let backups: Vec<(JobStatus, BackupReport)> = history
            .iter()
            .chain(&last_good)
            .filter_map(|job| Some((JobStatus::new(job), job.summary()?)))
            .collect();
        let now = Utc::now();
        let cron = schedule.as_ref().and_then(|schedule| Cron::parse(schedule.cron.as_deref()?).ok());
        let last_good = backups.first().map(|(job, report)| {
            let at = job.ended.unwrap_or(job.began);
            let age_seconds = (now - at).num_seconds().try_into().unwrap_or(0);
            GoodRun { at, age_seconds, figures: Figures::new(report) }
        });
        let newest = backups.first().map(|(_, report)| report);
        let mut status = Self {
            policy,
            activity,
            pid: holder.map(|holder| holder.pid),
            job: job.map(|job| JobStatus::stopped(&job, progress.as_ref())),
            progress: progress.filter(|_| activity != Activity::Idle),
            last: history.first().map(JobStatus::new),
            last_good,
            trend: backups.iter().take(TREND).rev().map(|(_, report)| Figures::new(report)).collect(),
            logs_to_send: outbox,
            retention: newest.and_then(|backup| backup.retention.clone()),
            locked_until: newest.and_then(|backup| backup.locked_until.clone()),
            next_run: schedule.as_ref().and_then(|schedule| time(schedule.next_run.as_deref()?)),
            last_backup: backups.into_iter().next(),
            last_run,
            schedule,
            ..Self::default()
        };
        status.growth_percent = growth_percent(&status.trend);
        if let Some(cron) = &cron {
            let since = status.schedule.as_ref().and_then(|schedule| time(schedule.since.as_deref()?));
            status.missed = status.missed_starts(cron, since);
        }
        status.judge(ages.or_of(cron.as_ref(), now), now);
        status
    }

    /// A policy whose state cannot be read.
    pub(super) fn unreadable(policy: String, error: String) -> Self {
        let (health, state) = (Health::Unknown, PolicyState::Unreadable);
        let text = format!("its state cannot be read: {error}");
        Self { policy, health, state, reasons: vec![Reason { health, state, text }], ..Self::default() }
    }

    /// Starts of a schedule that was made at `since` and that no run has answered since. None while a run is active, which
    /// answers them, and of a disabled schedule.
    pub fn missed_starts(&self, cron: &Cron, since: Option<DateTime<Utc>>) -> Option<Missed> {
        let is_off = self.schedule.as_ref().is_some_and(|schedule| !schedule.enabled);
        if self.activity == Activity::Running || is_off {
            return None;
        }
        let now = Zone::of_this_machine().now();
        let zone = now.timezone();
        // Of a schedule whose age is unknown, the last run is the first that is known.
        let active = self.last_run.as_ref().map(|run| run.at().with_timezone(&zone));
        let since = since.map(|since| since.with_timezone(&zone)).or_else(|| active.clone())?;
        let missed = missed_starts(cron, active, since, now)?;
        Some(Missed { first: missed.first.to_utc(), last: missed.last.to_utc(), count: missed.count })
    }

    /// With what its store has.
    #[must_use]
    pub fn with_store(mut self, store: StoreStatus, uploads: Vec<UploadStatus>) -> Self {
        self.reasons.extend(store.reason());
        self.reasons.sort_by(|a, b| b.health.cmp(&a.health));
        (self.store, self.unfinished_uploads) = (Some(store), Some(uploads));
        self.summarize();
        self
    }

    /// Looks for what is wrong.
    pub(super) fn judge(&mut self, ages: AllowedAges, now: DateTime<Utc>) {
        self.reasons = reasons(self, ages, now);
        self.summarize();
    }

    fn summarize(&mut self) {
        let worst = self.reasons.first();
        self.health = worst.map_or(Health::Ok, |reason| reason.health);
        self.state = match (worst, self.activity) {
            (Some(reason), _) => reason.state,
            (None, Activity::Running) => PolicyState::Running,
            (None, _) => PolicyState::Ok,
        };
    }
}

fn growth_percent(trend: &[Figures]) -> Option<i64> {
    let [oldest, .., newest] = trend else { return None };
    let (before, now) = (i128::from(oldest.bytes), i128::from(newest.bytes));
    ((now - before) * 100).checked_div(before)?.try_into().ok()
}

impl Figures {
    fn new(report: &BackupReport) -> Self {
        Self {
            timestamp: report.name.timestamp.clone(),
            backup_id: report.name.backup_id.clone(),
            seconds: report.seconds,
            files: report.totals.files,
            bytes: report.totals.bytes,
            archive_bytes: report.archive_bytes,
            problems: report.problem_count(),
        }
    }
}

impl JobStatus {
    fn new(job: &Job) -> Self {
        let report = job.summary::<BackupReport>();
        Self {
            state: job.state.name().to_owned(),
            timestamp: job.name.timestamp.clone(),
            backup_id: job.name.backup_id.clone(),
            runs: job.runs,
            began: from_ms(job.began_ms),
            ended: job.ended_ms.map(from_ms),
            files: report.as_ref().map(|report| report.totals.files),
            bytes: report.as_ref().map(|report| report.totals.bytes),
            seconds: report.as_ref().map(|report| report.seconds),
            error: job.last_error.clone(),
        }
    }

    /// A killed run may have written its progress after it last recorded its job.
    fn stopped(job: &Job, progress: Option<&RunProgress>) -> Self {
        let mut status = Self::new(job);
        if let Some(progress) = progress.filter(|progress| progress.timestamp == status.timestamp) {
            status.state.clone_from(&progress.state);
        }
        status
    }
}

impl From<UnfinishedUpload> for UploadStatus {
    fn from(found: UnfinishedUpload) -> Self {
        Self { key: found.upload.key, began: found.began_ms.map(from_ms) }
    }
}

pub(super) fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn time(rfc3339: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(rfc3339).ok().map(|time| time.to_utc())
}

/// RFC 3339.
pub(super) fn to_the_second<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

pub(super) fn to_the_second_if_any<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to_the_second(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn path_if_any<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(serializer)
}
