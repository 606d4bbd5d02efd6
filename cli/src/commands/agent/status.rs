//! `status`: the state of every policy.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{BinaryBytes, HumanCount};
use intellistor::agent::{Activity, AllowedAges, CheckResult, Health, PolicyStatus, StatusReport, age_text};
use intellistor::{Agent, OpensBackups, Policy, RetentionOutlook, is_policy_id};

use super::schedule;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times, unwritable};
use crate::session::Session;
use crate::units::{counted, duration};

/// Show the state of every policy: what failed first, the last run, the last good one, the next
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent status
  intellistor-agent status --json
  intellistor-agent status --policy policy.yaml    also asks the store: its newest backup, unfinished uploads
  intellistor-agent status --check                 for Nagios, Icinga and Zabbix

The last run is the newest of what the agent's folder and the system's scheduler know; a good run is one that made a \
backup. On a terminal the result is a table, elsewhere JSON. LAST GOOD and NEXT RUN are counted from now.

--check prints one line with performance data, and its exit codes are not those below but those of monitors: 0 OK; 1 \
WARNING: a run finished with warnings, was stopped, or is late; 2 CRITICAL: a run failed, was missed, will fail, or the last \
good run is too old; 3 UNKNOWN: the state cannot be read, or no policy is known here. Where the schedule is known, a last \
good run is too old after 1.5 intervals (warning) and 2.5 (critical). See docs/MONITORING.md.")]
pub(crate) struct Status {
    /// Print JSON; short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    format: FormatArgument,
    /// Only this policy
    #[arg(long, value_name = "ID", conflicts_with = "policy")]
    policy_id: Option<String>,
    /// Only the policy in this file; also asks its store for the newest backup, and for unfinished uploads, whose parts are
    /// billed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print one line for a monitor, and end with its exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    #[arg(long, conflicts_with_all = ["json", "format"])]
    check: bool,
    /// With --check: how old the last good run may be, as in 36h, before it is a WARNING
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, requires = "check")]
    warning_age: Option<Duration>,
    /// With --check: how old the last good run may be, as in 3d, before it is CRITICAL
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, requires = "check")]
    critical_age: Option<Duration>,
}

pub(crate) async fn run(command: &Status, session: &Session) -> Result<Done, Failure> {
    let ages = AllowedAges { warning: command.warning_age, critical: command.critical_age };
    if command.check {
        let checked = match report(command, ages, session).await {
            Ok(report) => report.check(ages),
            Err(failure) => CheckResult::unknown(&failure.summary()),
        };
        writeln!(std::io::stdout().lock(), "{}", checked.line).map_err(|e| unwritable(&e))?;
        return Ok(Done::Written(Exit::Check(checked.code)));
    }
    let format = match command.format.chosen(&session.environment)? {
        _ if command.json => OutputFormat::Json,
        Some(format) => format,
        None if std::io::stdout().is_terminal() => OutputFormat::Table,
        None => OutputFormat::Json,
    };
    let report = report(command, ages, session).await?;
    match format {
        OutputFormat::Json => Done::document(&report, Exit::Success),
        OutputFormat::Table => table(&report).print(Exit::Success),
    }
}

async fn report(command: &Status, ages: AllowedAges, session: &Session) -> Result<StatusReport, Failure> {
    let agent = home::agent(&session.environment)?;
    let policy = command.policy.as_deref().map(Policy::load).transpose()?;
    let chosen = policy.as_ref().map(|policy| policy.policy_id.clone()).or_else(|| command.policy_id.clone());
    if let Some(id) = chosen.as_ref().filter(|id| !is_policy_id(id)) {
        return Err(Failure::configuration(format!(
            "{id:?} is not a policy id, which has at most 64 letters, digits, `.`, `_` and `-`, and begins with a letter \
             or a digit"
        )));
    }
    let (schedules, scheduler_error) = schedule::known(&session.environment).await;
    let policies = match chosen {
        None => agent.statuses(&schedules, ages).map_err(Failure::engine("cannot list the policies"))?,
        Some(id) => {
            let schedule = schedules.into_iter().find(|schedule| schedule.policy_id == id);
            if policy.is_none() && schedule.is_none() {
                check_known(&agent, &id)?;
            }
            let status = agent.status_of(&id, schedule, ages);
            match &policy {
                Some(policy) => vec![with_store(status, &agent, policy, session).await?],
                None => vec![status],
            }
        }
    };
    Ok(StatusReport::new(policies, scheduler_error))
}

/// A mistyped id would be a policy that never ran.
fn check_known(agent: &Agent, id: &str) -> Result<(), Failure> {
    let known = agent.policies().map_err(Failure::engine("cannot list the policies"))?;
    if known.iter().any(|policy| policy == id) {
        return Ok(());
    }
    let failure = Failure::configuration(format!("no policy {id} has run here, and none is scheduled"));
    Err(match known.is_empty() {
        true => failure.hint("`intellistor-agent run --policy FILE` runs one; INTELLISTOR_HOME must be the same as for the run"),
        false => failure.hint(format!("policies that have run here: {}", known.join(", "))),
    })
}

async fn with_store(
    status: PolicyStatus,
    agent: &Agent,
    policy: &Policy,
    session: &Session,
) -> Result<PolicyStatus, Failure> {
    let (catalog, identity) = session.open_with_key_if_any(policy).await?;
    let keys = identity.as_ref().map(|identity| identity as &dyn OpensBackups);
    let id = &policy.policy_id;
    let uploads = session.unless_cancelled(agent.unfinished_uploads(&catalog, id)).await;
    let uploads = uploads.map_err(Failure::engine("cannot list the unfinished uploads"))?;
    let store = session.unless_cancelled(agent.store_status(&catalog, id, keys, &status)).await;
    let store = store.map_err(Failure::engine("cannot list the backups in the store"))?;
    Ok(status.with_store(store, uploads))
}

fn table(report: &StatusReport) -> Table {
    let mut table =
        Table::new(["policy", "state", "last good", "next run", "last run", "took", "size", "growth"])
            .right_aligned(&[5, 6, 7])
            .shown_from(3, 56)
            .shown_from(4, 72)
            .shown_from(5, 100)
            .shown_from(6, 88)
            .shown_from(7, 112);
    if let Some(error) = &report.scheduler_error {
        table.note(format_args!("the scheduler does not answer, so that missed runs are not known: {error}"));
    }
    if report.policies.is_empty() {
        table.note("No policy has run here yet, and none is scheduled. `intellistor-agent run --policy FILE` runs one.");
    }
    for status in &report.policies {
        let figures = status.last_good.as_ref().map(|good| &good.figures);
        let or_dash = |text: Option<String>| plain(text.unwrap_or_else(|| "-".to_owned()));
        table.row([
            plain(&status.policy),
            state(status),
            or_dash(status.last_good.as_ref().map(|good| ago(good.age_seconds))),
            or_dash(status.next_run.map(|next| until(next, report.at))),
            or_dash(status.last_run.as_ref().map(|run| times::local(&run.at()))),
            or_dash(figures.map(|figures| duration(figures.seconds))),
            or_dash(figures.map(|figures| BinaryBytes(figures.bytes).to_string())),
            or_dash(status.growth_percent.map(|percent| format!("{percent:+} %"))),
        ]);
        for line in details(status) {
            table.note(format_args!("{}: {line}", status.policy));
        }
    }
    table
}

fn ago(seconds: u64) -> String {
    format!("{} ago", age_text(Duration::from_secs(seconds)))
}

fn until(next: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (next - now).to_std() {
        Ok(wait) => format!("in {}", age_text(wait)),
        Err(_) => "now".to_owned(),
    }
}

fn state(status: &PolicyStatus) -> (String, Tone) {
    let tone = match status.health {
        Health::Ok => Tone::Good,
        Health::Warning | Health::Unknown => Tone::Warning,
        Health::Critical => Tone::Bad,
    };
    (status.state.name().to_owned(), tone)
}

/// What is worth a line of its own.
fn details(status: &PolicyStatus) -> Vec<String> {
    let mut lines: Vec<String> = status.reasons.iter().map(|reason| reason.text.clone()).collect();
    if let Some(log) =
        status.last_run.as_ref().filter(|_| status.health != Health::Ok).and_then(|run| run.log.as_ref())
    {
        lines.push(format!("its log is {}", log.display()));
    }
    let progress = status.progress.as_ref();
    if let Some(progress) = progress.filter(|_| status.activity == Activity::Running) {
        let counters = progress.counters;
        let (done, all) =
            (BinaryBytes(counters.bytes), BinaryBytes(counters.total_bytes.max(counters.bytes)));
        lines.push(format!("a run is {}, {done} of {all}", progress.state));
    }
    if let Some(job) = &status.job {
        let (since, runs) = (times::local(&job.began), counted(job.runs.into(), "run"));
        lines.push(format!(
            "the job of {since} is unfinished ({}) after {runs} and will be resumed",
            job.state
        ));
    }
    let counters = progress.map(|progress| progress.counters);
    if let Some(counters) = counters.filter(|counters| counters.total_entries > 0) {
        let (done, all) = (HumanCount(counters.entries), HumanCount(counters.total_entries));
        lines.push(format!("{done} of {all} entries, {} in the store", BinaryBytes(counters.stored_bytes)));
    }
    if status.logs_to_send > 0 {
        let logs = counted(status.logs_to_send as u64, "log");
        lines.push(format!("{logs} could not be sent to the store yet"));
    }
    lines.extend(status.retention.as_ref().map(outlook));
    if let Some(until) = &status.locked_until {
        lines.push(format!("the newest backup is locked until {}", times::of_rfc3339(until)));
    }
    if let Some(store) = &status.store {
        let newest = store.newest.as_ref().map_or_else(String::new, |newest| {
            format!(", the newest of {}", times::of_timestamp(&newest.timestamp))
        });
        lines.push(format!("{} in {}{newest}", counted(store.backups as u64, "backup"), store.url));
    }
    for upload in status.unfinished_uploads.iter().flatten() {
        let since = upload.began.as_ref().map_or("an unknown time".to_owned(), times::local);
        lines.push(format!(
            "an upload of {} has been unfinished since {since}; its parts are billed",
            upload.key
        ));
    }
    lines
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
    use crate::output::table::Surface;
    use intellistor::BackupReference;
    use intellistor::agent::{Figures, GoodRun, JobStatus, PolicyState, Reason};

    fn good(policy: &str) -> PolicyStatus {
        let figures = Figures {
            timestamp: "20261123T050000Z".to_owned(),
            backup_id: "b".to_owned(),
            seconds: 12.0,
            files: 1234,
            bytes: 5 << 20,
            archive_bytes: 1 << 20,
            problems: 0,
        };
        let last_good = Some(GoodRun { at: Utc::now(), age_seconds: 18_000, figures });
        PolicyStatus { policy: policy.to_owned(), last_good, ..PolicyStatus::default() }
    }

    fn failed(policy: &str) -> PolicyStatus {
        let (health, state) = (Health::Critical, PolicyState::Failed);
        let text = "the last run failed: no\nnetwork".to_owned();
        PolicyStatus { health, state, reasons: vec![Reason { health, state, text }], ..good(policy) }
    }

    #[test]
    fn what_failed_comes_first_on_any_terminal() {
        let report =
            || StatusReport::new(vec![good("contabilidade-2026"), failed("servidor-arquivos")], None);
        let whole = table(&report()).render(Surface::plain(120));
        let lines: Vec<&str> = whole.lines().collect();
        assert!(lines[0].starts_with("POLICY") && lines[0].ends_with("GROWTH"), "{whole}");
        assert!(lines[1].starts_with("servidor-arquivos   failed  5 h ago"), "{whole}");
        assert!(lines[2].contains("ok") && lines[2].contains("5.00 MiB"), "{whole}");
        assert_eq!(lines[4], "servidor-arquivos: the last run failed: no\\nnetwork");
        for width in [40, 80] {
            let narrow = table(&report()).render(Surface::plain(width));
            let rows: Vec<&str> = narrow.lines().take(3).collect();
            assert!(rows.iter().all(|row| row.chars().count() <= usize::from(width)), "{narrow}");
            assert!(rows[1].contains("failed") && rows[1].contains("5 h ago"), "{narrow}");
            assert_eq!(narrow.lines().nth(3), Some(""), "a row is a line: {narrow}");
        }
        let none =
            table(&StatusReport::new(Vec::new(), Some("no bus".to_owned()))).render(Surface::plain(80));
        assert!(none.contains("run --policy") && none.contains("no bus"), "{none}");
    }

    #[test]
    fn a_person_sees_what_waits_what_goes_next_and_what_is_locked() {
        let backup = |timestamp: &str| BackupReference { backup_id: "b".into(), timestamp: timestamp.into() };
        let going = |next_to_go| RetentionOutlook { kept: 22, next_to_go, resting: None };
        let one = vec![backup("20261101T020000Z")];
        let two = vec![backup("20261101T020000Z"), backup("20261108T020000Z")];
        assert_eq!(outlook(&going(vec![])), "22 backups; the next run forgets none");
        assert_eq!(outlook(&going(one.clone())), "22 backups; the next run forgets 20261101T020000Z");
        assert_eq!(outlook(&going(two)), "22 backups; the next run forgets 20261101T020000Z and 1 more");
        let resting = RetentionOutlook { resting: Some("since then".to_owned()), ..going(vec![]) };
        assert_eq!(outlook(&resting), "22 backups; retention rests since then");
        let job = JobStatus {
            state: "transferring".to_owned(),
            timestamp: "20261123T050000Z".to_owned(),
            backup_id: "b".to_owned(),
            runs: 2,
            began: DateTime::from_timestamp(1_795_410_000, 0).unwrap(),
            ended: None,
            files: None,
            bytes: None,
            seconds: None,
            error: None,
        };
        let text = details(&PolicyStatus {
            job: Some(job),
            logs_to_send: 1,
            retention: Some(going(one)),
            locked_until: Some("2026-12-27T02:00:00Z".to_owned()),
            ..good("docs")
        })
        .join("\n");
        assert!(text.contains("is unfinished (transferring) after 2 runs and will be resumed"), "{text}");
        assert!(text.contains("1 log could not be sent"), "{text}");
        let until = times::of_rfc3339("2026-12-27T02:00:00Z");
        assert!(text.contains(&format!("the newest backup is locked until {until}")), "{text}");
    }
}
