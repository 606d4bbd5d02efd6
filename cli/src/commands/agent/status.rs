//! `status`: the state of every policy.

use std::fmt::{Display, Write as _};
use std::path::PathBuf;

use chrono::{DateTime, TimeZone};
use clap::Args;
use intellistor::agent::{Activity, JobStatus, PolicyStatus, RunProgress, UploadStatus};
use intellistor::schedule::ScheduleEntry;
use intellistor::{Agent, Policy, ProgressSnapshot, RetentionOutlook, is_policy_id};
use serde::Serialize;

use super::schedule;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::{Done, unwritable};
use crate::session::Session;
use crate::units::{counted, duration};
use indicatif::{BinaryBytes, HumanCount};

/// Show the state of every policy: its run, its job, its last result
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent status
  intellistor-agent status --json
  intellistor-agent status --policy policy.yaml    also looks for unfinished uploads in the store")]
pub(crate) struct Status {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only this policy
    #[arg(long, value_name = "ID", conflicts_with = "policy")]
    policy_id: Option<String>,
    /// Only the policy in this file; also lists the unfinished uploads in its store, whose parts are billed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    policies: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    status: PolicyStatus,
    /// When it runs next, where the system's scheduler knows it.
    schedule: Option<ScheduleEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished_uploads: Option<Vec<UploadStatus>>,
}

pub(crate) async fn run(command: &Status, session: &Session) -> Result<Done, Failure> {
    let agent = home::agent(&session.environment)?;
    let policy = command.policy.as_deref().map(Policy::load).transpose()?;
    let chosen = policy.as_ref().map(|policy| policy.policy_id.clone()).or_else(|| command.policy_id.clone());
    let ids = match chosen {
        Some(id) if !is_policy_id(&id) => {
            return Err(Failure::configuration(format!(
                "{id:?} is not a policy id, which has at most 64 letters, digits, `.`, `_` and `-`, and begins with a letter \
                 or a digit"
            )));
        }
        Some(id) => vec![id],
        None => agent.policies().map_err(Failure::engine("cannot list the policies"))?,
    };
    let schedules = schedule::known(&session.environment).await;
    let mut policies = Vec::new();
    for id in ids {
        let status =
            agent.status(&id).map_err(Failure::engine(format!("cannot read the state of policy {id}")))?;
        let schedule = schedules.iter().find(|schedule| schedule.policy_id == id).cloned();
        policies.push(Row { status, schedule, unfinished_uploads: None });
    }
    if let (Some(policy), [row]) = (&policy, policies.as_mut_slice()) {
        row.unfinished_uploads = Some(unfinished(&agent, policy, session).await?);
    }
    if command.json {
        return Done::document(&Document { policies }, Exit::Success);
    }
    let text = table(&policies);
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(|e| unwritable(&e))?;
    Ok(Done::Written(Exit::Success))
}

async fn unfinished(agent: &Agent, policy: &Policy, session: &Session) -> Result<Vec<UploadStatus>, Failure> {
    let catalog = session.open_catalog(policy).await?;
    let found = session.unless_cancelled(agent.unfinished_uploads(&catalog, &policy.policy_id)).await;
    found.map_err(Failure::engine("cannot list the unfinished uploads"))
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No policy has run here yet. `intellistor-agent run --policy FILE` runs one.\n".to_owned();
    }
    let mut cells = vec![["POLICY", "NOW", "NEXT RUN", "LAST RUN", "RESULT"].map(str::to_owned)];
    for row in rows {
        let last = row.status.last.as_ref();
        let when = last.map_or_else(|| "-".to_owned(), |last| short_time(last.ended.unwrap_or(last.began)));
        let result = last.map_or_else(|| "-".to_owned(), result);
        let next = row.schedule.as_ref().and_then(|schedule| schedule.next_run.as_deref());
        cells.push([
            row.status.policy.clone(),
            now(row),
            next.map_or_else(|| "-".to_owned(), short),
            when,
            result,
        ]);
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
fn short_time<Z: TimeZone<Offset: Display>>(moment: DateTime<Z>) -> String {
    moment.format("%Y-%m-%d %H:%M").to_string()
}

/// The same from RFC 3339.
fn short(moment: &str) -> String {
    moment.get(..16).unwrap_or(moment).replace('T', " ")
}

fn now(row: &Row) -> String {
    let stopped = if row.status.job.is_some() { "stopped at " } else { "" };
    match (&row.status.progress, &row.status.job) {
        (Some(progress), _) => {
            let RunProgress { state, counters: ProgressSnapshot { bytes, total_bytes, .. }, .. } = progress;
            let share = (bytes * 100).checked_div(*total_bytes).map_or_else(String::new, |percent| {
                let (done, total) = (BinaryBytes(*bytes), BinaryBytes((*total_bytes).max(*bytes)));
                format!(", {} %, {done}/{total}", percent.min(100))
            });
            format!("{stopped}{state}{share}")
        }
        (None, Some(job)) => format!("{stopped}{}", job.state),
        (None, None) if row.status.activity == Activity::Running => "running".to_owned(),
        (None, None) => "idle".to_owned(),
    }
}

fn result(job: &JobStatus) -> String {
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
    if let Some(job) = &row.status.job {
        let since = short_time(job.began);
        let error = job.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
        let runs = counted(job.runs.into(), "run");
        lines.push(format!("the job of {since} is unfinished after {runs} and will be resumed{error}"));
    }
    if let Some(error) =
        row.status.last.as_ref().filter(|last| last.state == "failed").and_then(|last| last.error.as_ref())
    {
        lines.push(format!("the last job failed: {error}"));
    }
    if row.status.logs_to_send > 0 {
        let logs = counted(row.status.logs_to_send as u64, "log");
        lines.push(format!("{logs} could not be sent to the store yet"));
    }
    lines.extend(row.status.retention.as_ref().map(outlook));
    if let Some(until) = &row.status.locked_until {
        lines.push(format!("the newest backup is locked until {until}"));
    }
    for upload in row.unfinished_uploads.iter().flatten() {
        let since = upload.began.map_or("an unknown time".to_owned(), short_time);
        lines.push(format!(
            "an upload of {} has been unfinished since {since}; its parts are billed",
            upload.key
        ));
    }
    let counters = row.status.progress.as_ref().map(|progress| progress.counters);
    if let Some(counters) = counters.filter(|counters| counters.total_entries > 0) {
        let (done, all) = (HumanCount(counters.entries), HumanCount(counters.total_entries));
        lines.push(format!("{done} of {all} entries, {} in the store", BinaryBytes(counters.stored_bytes)));
    }
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "\n{}: {}", row.status.policy, intellistor_telemetry::Escaped(line));
        text
    })
}

/// What retention has left, and what goes next.
fn outlook(retention: &RetentionOutlook) -> String {
    let kept = counted(retention.kept as u64, "backup");
    if let Some(resting) = &retention.resting {
        return format!("{kept}; retention rests {resting}");
    }
    match retention.next_to_go.as_slice() {
        [] => format!("{kept}; the next run forgets none"),
        [only] => format!("{kept}; the next run forgets {}", only.timestamp),
        [oldest, others @ ..] => {
            format!("{kept}; the next run forgets {} and {} more", oldest.timestamp, others.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Local;
    use intellistor::BackupReference;
    use intellistor::schedule::BackendKind;

    fn status(policy: &str) -> PolicyStatus {
        PolicyStatus {
            policy: policy.to_owned(),
            activity: Activity::Idle,
            pid: None,
            progress: None,
            job: None,
            last: None,
            logs_to_send: 0,
            retention: None,
            locked_until: None,
            last_backup: None,
        }
    }

    fn row(status: PolicyStatus) -> Row {
        Row { status, schedule: None, unfinished_uploads: None }
    }

    fn job(state: &'static str) -> JobStatus {
        JobStatus {
            state: state.to_owned(),
            timestamp: "20261123T020000Z".to_owned(),
            backup_id: "b".to_owned(),
            runs: 2,
            began: Local.with_ymd_and_hms(2026, 11, 23, 2, 0, 0).unwrap(),
            ended: None,
            files: Some(1234),
            bytes: Some(5 << 20),
            seconds: Some(12.0),
            error: Some("no\nnetwork".to_owned()),
        }
    }

    fn scheduled(policy: &str) -> ScheduleEntry {
        ScheduleEntry {
            policy_id: policy.to_owned(),
            cron: Some("0 2 * * *".to_owned()),
            next_run: Some("2026-11-24T02:00:00-03:00".to_owned()),
            last_result: None,
            enabled: true,
            running: None,
            backend: BackendKind::Crontab,
            location: "crontab".to_owned(),
        }
    }

    #[test]
    fn a_person_sees_what_runs_what_waits_and_what_failed() {
        let counters =
            ProgressSnapshot { bytes: 1 << 20, total_bytes: 4 << 20, ..ProgressSnapshot::default() };
        let progress = RunProgress { state: "transferring".to_owned(), counters, ..RunProgress::default() };
        let rows = [
            row(PolicyStatus {
                progress: Some(progress),
                activity: Activity::Running,
                ..status("running-one")
            }),
            row(PolicyStatus {
                job: Some(job("transferring")),
                activity: Activity::Stopped,
                ..status("stopped-one")
            }),
            Row {
                schedule: Some(scheduled("idle-one")),
                ..row(PolicyStatus { last: Some(job("completed")), logs_to_send: 1, ..status("idle-one") })
            },
        ];
        let expected = "\
POLICY       NOW                                    NEXT RUN          LAST RUN          RESULT
running-one  transferring, 25 %, 1.00 MiB/4.00 MiB  -                 -                 -
stopped-one  stopped at transferring                -                 -                 -
idle-one     idle                                   2026-11-24 02:00  2026-11-23 02:00  completed: 1,234 files, 5.00 MiB, 12 s

stopped-one: the job of 2026-11-23 02:00 is unfinished after 2 runs and will be resumed: no\\nnetwork

idle-one: 1 log could not be sent to the store yet
";
        assert_eq!(table(&rows), expected);
        assert!(table(&[]).contains("run --policy"));
    }

    #[test]
    fn a_person_sees_what_goes_next_and_what_is_locked() {
        let backup = |timestamp: &str| BackupReference { backup_id: "b".into(), timestamp: timestamp.into() };
        let going = |next_to_go| RetentionOutlook { kept: 22, next_to_go, resting: None };
        let one = vec![backup("20261101T020000Z")];
        let two = vec![backup("20261101T020000Z"), backup("20261108T020000Z")];
        assert_eq!(outlook(&going(vec![])), "22 backups; the next run forgets none");
        assert_eq!(outlook(&going(one.clone())), "22 backups; the next run forgets 20261101T020000Z");
        assert_eq!(outlook(&going(two)), "22 backups; the next run forgets 20261101T020000Z and 1 more");
        let resting = RetentionOutlook { resting: Some("since then".to_owned()), ..going(vec![]) };
        assert_eq!(outlook(&resting), "22 backups; retention rests since then");
        let row = row(PolicyStatus {
            retention: Some(going(one)),
            locked_until: Some("2026-12-27T02:00:00Z".to_owned()),
            ..status("docs")
        });
        let text = details(&row);
        assert!(text.contains("\ndocs: the newest backup is locked until 2026-12-27T02:00:00Z\n"), "{text}");
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["retention"]["next_to_go"][0]["timestamp"], "20261101T020000Z");
    }
}
