//! A policy's status: its run, its job, its last result. Its serde form is a row of `intellistor-agent status --json`.

use chrono::{DateTime, Local};
use intellistor_actors::progress::ProgressSnapshot;
use intellistor_storage::objects::UnfinishedUpload;
use intellistor_storage::state::{Job, Snapshot, View};
use serde::{Deserialize, Serialize, Serializer};

use crate::lifecycle::RetentionOutlook;
use crate::operations::report::BackupReport;

/// What a policy's runs do now, and did last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyStatus {
    /// The policy's id.
    pub policy: String,
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
    /// Logs that are not in the store yet.
    pub logs_to_send: usize,
    /// What retention has left, and what goes next, as the run that made the newest backup found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionOutlook>,
    /// Until when the store lets no one delete the newest backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
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
    /// In local time.
    #[serde(serialize_with = "to_the_second")]
    pub began: DateTime<Local>,
    /// In local time.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub ended: Option<DateTime<Local>>,
    /// Files in its backup.
    pub files: Option<u64>,
    /// Bytes of content in its backup.
    pub bytes: Option<u64>,
    /// Wall time of the run that published it.
    pub seconds: Option<f64>,
    /// Why its last run stopped.
    pub error: Option<String>,
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
    /// In local time, where the store tells.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub began: Option<DateTime<Local>>,
}

impl PolicyStatus {
    pub(super) fn new(policy: String, snapshot: Snapshot, progress: Option<RunProgress>) -> Self {
        let (running, holder, View { job, history, outbox }) = match snapshot {
            Snapshot::Running(holder, view) => (true, holder, view),
            Snapshot::Idle(view) => (false, None, view),
        };
        let job = job.filter(|_| !running);
        let activity = match (running, &job) {
            (true, _) => Activity::Running,
            (false, Some(_)) => Activity::Stopped,
            (false, None) => Activity::Idle,
        };
        let last_backup: Option<(_, BackupReport)> =
            history.iter().find_map(|job| Some((JobStatus::new(job), job.summary()?)));
        let newest = last_backup.as_ref().map(|(_, backup)| backup);
        Self {
            policy,
            activity,
            pid: holder.map(|holder| holder.pid),
            job: job.map(|job| JobStatus::stopped(&job, progress.as_ref())),
            progress: progress.filter(|_| activity != Activity::Idle),
            last: history.first().map(JobStatus::new),
            logs_to_send: outbox,
            retention: newest.and_then(|backup| backup.retention.clone()),
            locked_until: newest.and_then(|backup| backup.locked_until.clone()),
            last_backup,
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
            began: local(job.began_ms),
            ended: job.ended_ms.map(local),
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
        Self { key: found.upload.key, began: found.began_ms.map(local) }
    }
}

fn local(ms: i64) -> DateTime<Local> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().with_timezone(&Local)
}

/// RFC 3339.
fn to_the_second<S: Serializer>(time: &DateTime<Local>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%:z"))
}

fn to_the_second_if_any<S: Serializer>(
    time: &Option<DateTime<Local>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to_the_second(time, serializer),
        None => serializer.serialize_none(),
    }
}
