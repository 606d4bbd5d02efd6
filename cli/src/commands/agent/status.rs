//! `status`: where every policy stands.

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::{DateTime, Local};
use clap::Args;
use intellistor::agent::{PolicyStatus, RunProgress};
use intellistor::schedule::ScheduleInfo;
use intellistor::state::{Job, Snapshot, View};
use intellistor::{Agent, BackupReport, Policy, is_policy_id};
use serde::Serialize;

use super::schedule;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::{Done, unwritable};
use crate::session::Session;
use crate::units::{counted, duration};
use indicatif::{BinaryBytes, HumanCount};

/// Show where every policy stands: its run, its job, its last result
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent status
  intellistor-agent status --json
  intellistor-agent status --policy policy.yaml    also looks into the store for uploads that were not finished")]
pub(crate) struct Status {
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only this policy
    #[arg(long, value_name = "ID", conflicts_with = "policy")]
    policy_id: Option<String>,
    /// Only the policy of this file; its store is asked for uploads that were not finished, whose parts are billed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    policies: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    policy: String,
    /// `running`, `stopped` (a job waits to be resumed) or `idle`.
    activity: &'static str,
    /// Of the run that is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// Of the run that is active, or of the one that was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<RunProgress>,
    /// The job that waits to be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobRow>,
    /// The last job that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<JobRow>,
    logs_to_send: usize,
    /// When it runs next, where the system's scheduler knows it.
    schedule: Option<ScheduleInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished_uploads: Option<Vec<UploadRow>>,
}

#[derive(Serialize)]
struct JobRow {
    state: String,
    timestamp: String,
    backup_id: String,
    runs: u32,
    began: String,
    ended: Option<String>,
    files: Option<u64>,
    bytes: Option<u64>,
    seconds: Option<f64>,
    error: Option<String>,
}

#[derive(Serialize)]
struct UploadRow {
    key: String,
    began: Option<String>,
}

pub(crate) async fn run(command: &Status, session: &Session) -> Result<Done, Failure> {
    let agent = home::agent(&session.environment)?;
    let policy = command.policy.as_deref().map(Policy::load).transpose()?;
    let chosen = policy.as_ref().map(|policy| policy.policy_id.clone()).or_else(|| command.policy_id.clone());
    let ids = match chosen {
        Some(id) if !is_policy_id(&id) => {
            return Err(Failure::configuration(format!("{id:?} is no policy's id")));
        }
        Some(id) => vec![id],
        None => agent.policies().map_err(Failure::engine("cannot list the policies"))?,
    };
    let schedules = schedule::known(&session.environment).await;
    let mut policies = Vec::new();
    for id in ids {
        let status = agent.status(&id).map_err(Failure::engine(format!("cannot look at policy {id}")))?;
        let schedule = schedules.iter().find(|schedule| schedule.policy_id == id).cloned();
        policies.push(Row { schedule, ..row(status) });
    }
    if let (Some(policy), [row]) = (&policy, policies.as_mut_slice()) {
        row.unfinished_uploads = Some(unfinished(&agent, policy, session).await?);
    }
    if command.json {
        return Done::document(&Document { policies }, Exit::Success);
    }
    let text = table(&policies);
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(|e| unwritable(&e))?;
    Ok(Done::Written)
}

async fn unfinished(agent: &Agent, policy: &Policy, session: &Session) -> Result<Vec<UploadRow>, Failure> {
    let catalog = session.open_catalog(policy).await?;
    let found = session.unless_cancelled(agent.unfinished_uploads(&catalog, &policy.policy_id)).await;
    let found = found.map_err(Failure::engine("cannot list the unfinished uploads"))?;
    let row = |found: intellistor::UnfinishedUpload| UploadRow {
        key: found.upload.key,
        began: found.began_ms.map(moment),
    };
    Ok(found.into_iter().map(row).collect())
}

fn row(status: PolicyStatus) -> Row {
    let PolicyStatus { policy_id, queue, progress } = status;
    let empty = Row {
        policy: policy_id,
        activity: "idle",
        pid: None,
        progress,
        job: None,
        last: None,
        logs_to_send: 0,
        schedule: None,
        unfinished_uploads: None,
    };
    let is_stopped = matches!(&queue, Snapshot::Idle(View { job: Some(_), .. }));
    match queue {
        Snapshot::Running(holder, View { history, outbox, .. }) => Row {
            activity: "running",
            pid: holder.map(|holder| holder.pid),
            last: history.into_iter().next().map(JobRow::from),
            logs_to_send: outbox,
            ..empty
        },
        Snapshot::Idle(View { job, history, outbox }) => Row {
            activity: if is_stopped { "stopped" } else { "idle" },
            job: job.map(|job| JobRow::at(job, empty.progress.as_ref())),
            progress: empty.progress.filter(|_| is_stopped),
            last: history.into_iter().next().map(JobRow::from),
            logs_to_send: outbox,
            ..empty
        },
    }
}

impl JobRow {
    /// A job that was stopped. A run that was killed has told its progress later than it wrote the job down.
    fn at(job: Job, progress: Option<&RunProgress>) -> Self {
        let row = Self::from(job);
        match progress.filter(|progress| progress.timestamp == row.timestamp) {
            Some(progress) => Self { state: progress.state.clone(), ..row },
            None => row,
        }
    }
}

impl From<Job> for JobRow {
    fn from(job: Job) -> Self {
        let report = job.summary::<BackupReport>();
        Self {
            state: job.state.name().to_owned(),
            timestamp: job.name.timestamp,
            backup_id: job.name.backup_id,
            runs: job.runs,
            began: moment(job.began_ms),
            ended: job.ended_ms.map(moment),
            files: report.as_ref().map(|report| report.totals.files),
            bytes: report.as_ref().map(|report| report.totals.bytes),
            seconds: report.as_ref().map(|report| report.seconds),
            error: job.last_error,
        }
    }
}

/// RFC 3339 in this machine's time, to the second.
fn moment(ms: i64) -> String {
    let moment = DateTime::from_timestamp_millis(ms).unwrap_or_default().with_timezone(&Local);
    moment.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No policy has run here. `intellistor-agent run --policy FILE` runs one.\n".to_owned();
    }
    let mut cells = vec![["POLICY", "NOW", "NEXT RUN", "LAST RUN", "RESULT"].map(str::to_owned)];
    for row in rows {
        let last = row.last.as_ref();
        let when =
            last.map_or_else(|| "-".to_owned(), |last| short(last.ended.as_ref().unwrap_or(&last.began)));
        let result = last.map_or_else(|| "-".to_owned(), result);
        let next = row.schedule.as_ref().and_then(|schedule| schedule.next_run.as_deref());
        cells.push([row.policy.clone(), now(row), next.map_or_else(|| "-".to_owned(), short), when, result]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [policy, now, next, when, result] in &cells {
        let [a, b, c, d] = widths;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{policy:a$}  {now:b$}  {next:c$}  {when:d$}  {result}");
    }
    for row in rows {
        let _ = write!(text, "{}", details(row));
    }
    text
}

/// `2026-11-24 02:03`.
fn short(moment: &str) -> String {
    moment.get(..16).unwrap_or(moment).replace('T', " ")
}

fn now(row: &Row) -> String {
    let stopped = if row.job.is_some() { "stopped at " } else { "" };
    match (&row.progress, &row.job) {
        (Some(progress), _) => {
            let RunProgress { state, bytes, total_bytes, .. } = progress;
            let share = (bytes * 100).checked_div(*total_bytes).map_or_else(String::new, |percent| {
                let (done, total) = (BinaryBytes(*bytes), BinaryBytes((*total_bytes).max(*bytes)));
                format!(", {} %, {done}/{total}", percent.min(100))
            });
            format!("{stopped}{state}{share}")
        }
        (None, Some(job)) => format!("{stopped}{}", job.state),
        (None, None) => row.activity.to_owned(),
    }
}

fn result(job: &JobRow) -> String {
    match (job.files, job.bytes, job.seconds) {
        (Some(files), Some(bytes), Some(seconds)) => {
            format!(
                "{}: {}, {}, {}",
                job.state,
                counted(files, "file"),
                BinaryBytes(bytes),
                duration(seconds)
            )
        }
        _ => job.state.clone(),
    }
}

/// What is worth a line of its own.
fn details(row: &Row) -> String {
    let mut lines = Vec::new();
    if let Some(job) = &row.job {
        let since = short(&job.began);
        let error = job.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        let runs = counted(job.runs.into(), "run");
        lines.push(format!("the job of {since} is unfinished and will be resumed, after {runs}{error}"));
    }
    if let Some(error) =
        row.last.as_ref().filter(|last| last.state == "failed").and_then(|last| last.error.as_ref())
    {
        lines.push(format!("the last job failed: {error}"));
    }
    if row.logs_to_send > 0 {
        let logs = counted(row.logs_to_send as u64, "log");
        lines.push(format!("{logs} could not be sent to the store yet"));
    }
    for upload in row.unfinished_uploads.iter().flatten() {
        let since = upload.began.as_deref().map_or("an unknown time".to_owned(), short);
        lines.push(format!("an upload of {} is unfinished since {since}; its parts are billed", upload.key));
    }
    if let Some(progress) = row.progress.as_ref().filter(|progress| progress.total_entries > 0) {
        let (done, all) = (HumanCount(progress.entries), HumanCount(progress.total_entries));
        lines.push(format!("{done} of {all} entries, {} in the store", BinaryBytes(progress.stored_bytes)));
    }
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "\n{}: {}", row.policy, intellistor_telemetry::Escaped(line));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor::schedule::Kept;

    fn idle(policy: &str) -> Row {
        row(PolicyStatus {
            policy_id: policy.to_owned(),
            queue: Snapshot::Idle(View::default()),
            progress: None,
        })
    }

    fn job(state: &'static str) -> JobRow {
        JobRow {
            state: state.to_owned(),
            timestamp: "20261123T020000Z".to_owned(),
            backup_id: "b".to_owned(),
            runs: 2,
            began: "2026-11-23T02:00:00-03:00".to_owned(),
            ended: None,
            files: Some(1234),
            bytes: Some(5 << 20),
            seconds: Some(12.0),
            error: Some("no\nnetwork".to_owned()),
        }
    }

    fn scheduled(policy: &str) -> ScheduleInfo {
        ScheduleInfo {
            policy_id: policy.to_owned(),
            cron: Some("0 2 * * *".to_owned()),
            next_run: Some("2026-11-24T02:00:00-03:00".to_owned()),
            last_result: None,
            enabled: true,
            running: None,
            kept: Kept::Crontab,
            place: "crontab".to_owned(),
        }
    }

    #[test]
    fn a_person_sees_what_runs_what_waits_and_what_failed() {
        let progress = RunProgress {
            state: "transferring".to_owned(),
            bytes: 1 << 20,
            total_bytes: 4 << 20,
            ..RunProgress::default()
        };
        let rows = [
            Row { progress: Some(progress), activity: "running", ..idle("running-one") },
            Row { job: Some(job("transferring")), activity: "stopped", ..idle("stopped-one") },
            Row {
                last: Some(job("completed")),
                logs_to_send: 1,
                schedule: Some(scheduled("idle-one")),
                ..idle("idle-one")
            },
        ];
        let expected = "\
POLICY       NOW                                    NEXT RUN          LAST RUN          RESULT
running-one  transferring, 25 %, 1.00 MiB/4.00 MiB  -                 -                 -
stopped-one  stopped at transferring                -                 -                 -
idle-one     idle                                   2026-11-24 02:00  2026-11-23 02:00  completed: 1,234 files, 5.00 MiB, 12 s

stopped-one: the job of 2026-11-23 02:00 is unfinished and will be resumed, after 2 runs: no\\nnetwork

idle-one: 1 log could not be sent to the store yet
";
        assert_eq!(table(&rows), expected);
        assert!(table(&[]).contains("run --policy"));
    }
}
