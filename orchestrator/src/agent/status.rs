//! A policy's status: what its runs do now, how the last ones ended, and what is wrong. Its serde form is a row of
//! `intellistor-agent status --format json`, whose times are RFC 3339 in UTC.

use chrono::{DateTime, Utc};
use intellistor_storage::objects::UnfinishedUpload;
use intellistor_storage::state::Job;
use serde::Serialize;

use super::health::{Health, PolicyState, Reason};
use super::latest_run::LatestRun;
use super::monitor::RunProgress;
use super::store_status::StoreStatus;
use super::times::{from_ms, to_the_second, to_the_second_if_any};
use crate::lifecycle::RetentionOutlook;
use crate::operations::report::BackupReport;
use crate::schedule::ScheduleEntry;

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

/// An upload that was begun and not completed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UploadStatus {
    /// The archive's key.
    pub key: String,
    /// Where the store tells.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub began: Option<DateTime<Utc>>,
}

impl Figures {
    pub(super) fn new(report: &BackupReport) -> Self {
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
    pub(super) fn new(job: &Job) -> Self {
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
    pub(super) fn stopped(job: &Job, progress: Option<&RunProgress>) -> Self {
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
