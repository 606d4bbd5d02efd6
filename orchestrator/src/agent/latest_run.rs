//! The last run of a policy: of all that know of one, the newest decides.
//!
//! **In:** the jobs of the queue, the records of failed starts, the newest log, the system's scheduler. **Out:** a
//! [`LatestRun`]. **Guarantees:** a run of which only the scheduler's exit code is left is a failure with its likely reason; a
//! record that is older than another says nothing, and one of a wrong clock, dated in the future, only where there is no other.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::state::Job;
use intellistor_telemetry::run_log::LogFile;
use serde::Serialize;

use super::failed_start::FailedStart;
use super::log_tail::last_error;
use super::monitor::RunProgress;
use super::times::{WRONG_CLOCK, from_ms, path_if_any, to_the_second_if_any};
use crate::clock;
use crate::error::Error;
use crate::operations::report::BackupReport;
use crate::schedule::ScheduleEntry;

/// A scheduler's clock has seconds, and Task Scheduler's is rounded.
const SCHEDULER_CLOCK: TimeDelta = TimeDelta::seconds(2);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Completed,
    CompletedWithWarnings,
    Failed,
    Cancelled,
    /// Its job waits to be resumed.
    Stopped,
    /// It left a log without an error, and nothing else.
    Unknown,
}

/// Who knows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// The policy's queue.
    Queue,
    /// The record of a run that failed before it had a job.
    FailedStart,
    /// A log on this machine.
    Log,
    /// The system's scheduler.
    Scheduler,
}

/// The last run that is known of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatestRun {
    pub result: RunResult,
    pub source: RunSource,
    /// RFC 3339, in UTC, as all times here.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub began: Option<DateTime<Utc>>,
    /// Of a run that was killed, when it last gave a sign of life.
    #[serde(serialize_with = "to_the_second_if_any")]
    pub ended: Option<DateTime<Utc>>,
    pub seconds: Option<f64>,
    /// Why it failed or stopped.
    pub error: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Its log on this machine.
    #[serde(serialize_with = "path_if_any")]
    pub log: Option<PathBuf>,
}

impl LatestRun {
    /// When it was last active.
    pub fn at(&self) -> DateTime<Utc> {
        self.ended.or(self.began).unwrap_or_default()
    }

    fn at_once(result: RunResult, source: RunSource, at: DateTime<Utc>) -> Self {
        let (began, ended) = (Some(at), Some(at));
        Self { result, source, began, ended, seconds: None, error: None, hint: None, log: None }
    }
}

/// All that knows of a policy's runs.
#[derive(Debug, Default)]
pub(super) struct Evidence<'a> {
    pub(super) now: DateTime<Utc>,
    /// The job that waits to be resumed.
    pub(super) stopped: Option<&'a Job>,
    /// The last job that ended.
    pub(super) ended: Option<&'a Job>,
    pub(super) progress: Option<&'a RunProgress>,
    pub(super) failed_starts: Vec<FailedStart>,
    pub(super) newest_log: Option<LogFile>,
    pub(super) schedule: Option<&'a ScheduleEntry>,
    /// Whether a run is active.
    pub(super) running: bool,
}

/// The newest run, without the one that is active.
pub(super) fn latest_run(evidence: &Evidence<'_>) -> Option<LatestRun> {
    // What is dated in the future would stay the newest until then.
    let age_order = |at: DateTime<Utc>| (at <= evidence.now + WRONG_CLOCK, at);
    let log_of = |timestamp: &str| evidence.newest_log.as_ref().filter(|log| log.timestamp == timestamp);
    let ended = evidence.ended.map(|job| of_ended(job, log_of(&job.name.timestamp)));
    let stopped = evidence.stopped.map(|job| of_stopped(job, evidence.progress, log_of(&job.name.timestamp)));
    let failed = evidence.failed_starts.iter().map(of_failed_start);
    let known = ended.into_iter().chain(stopped).chain(failed).max_by_key(|run| age_order(run.at()));
    // Runs in the same second are named after later ones.
    let jobs = [evidence.stopped, evidence.ended].into_iter().flatten();
    let is_known = |log: &LogFile| {
        jobs.clone().any(|job| job.name.timestamp == log.timestamp)
            || evidence.failed_starts.iter().any(|failed| failed.log.as_ref() == Some(&log.path))
    };
    let log = evidence.newest_log.as_ref().filter(|log| !evidence.running && !is_known(log)).and_then(of_log);
    // A log whose run is known says nothing more.
    let is_newer = |at: DateTime<Utc>, known: &Option<LatestRun>| {
        known.as_ref().is_none_or(|known| age_order(at) > age_order(known.at()))
    };
    let is_news = |log: &LatestRun| is_newer(log.began.unwrap_or_default(), &known);
    let known = match log.filter(is_news) {
        Some(log) => Some(log),
        None => known,
    };
    let scheduled = evidence.schedule.filter(|_| !evidence.running).and_then(of_scheduler);
    let is_news = |run: &LatestRun| is_newer(run.at() - SCHEDULER_CLOCK, &known);
    match scheduled.filter(is_news) {
        Some(scheduled) => Some(scheduled),
        None => known,
    }
}

fn of_ended(job: &Job, log: Option<&LogFile>) -> LatestRun {
    let result = match job.state.name() {
        "completed" => RunResult::Completed,
        "completed_with_warnings" => RunResult::CompletedWithWarnings,
        "cancelled" => RunResult::Cancelled,
        _ => RunResult::Failed,
    };
    let report = job.summary::<BackupReport>();
    LatestRun {
        result,
        source: RunSource::Queue,
        began: Some(from_ms(job.began_ms)),
        ended: job.ended_ms.map(from_ms),
        seconds: report.map(|report| report.seconds),
        error: job.last_error.clone().filter(|_| result == RunResult::Failed),
        hint: None,
        log: log.map(|log| log.path.clone()),
    }
}

/// A job keeps its first name over all runs, and what they wrote last says when they were active.
fn of_stopped(job: &Job, progress: Option<&RunProgress>, log: Option<&LogFile>) -> LatestRun {
    let began = job.run_span.as_ref().map_or(job.began_ms, |span| span.began_ms.max(job.began_ms));
    let progress = progress.filter(|progress| progress.timestamp == job.name.timestamp);
    let seen = progress.map(|progress| from_ms(progress.at_ms)).into_iter().chain(log.and_then(changed));
    LatestRun {
        result: RunResult::Stopped,
        source: RunSource::Queue,
        began: Some(from_ms(began)),
        ended: seen.max(),
        seconds: None,
        // To be stopped is no failure: a monitor is warned of it, and the next run resumes.
        error: job.last_error.clone().filter(|error| *error != Error::Interrupted.to_string()),
        hint: None,
        log: log.map(|log| log.path.clone()),
    }
}

fn of_failed_start(failed: &FailedStart) -> LatestRun {
    LatestRun {
        error: Some(failed.error.clone()),
        log: failed.log.clone(),
        ..LatestRun::at_once(RunResult::Failed, RunSource::FailedStart, from_ms(failed.at_ms))
    }
}

fn of_log(log: &LogFile) -> Option<LatestRun> {
    let began = clock::parse(&log.timestamp)?;
    let error = last_error(&log.path);
    let result = if error.is_some() { RunResult::Failed } else { RunResult::Unknown };
    let ended = changed(log);
    let log = Some(log.path.clone());
    Some(LatestRun { ended, error, log, ..LatestRun::at_once(result, RunSource::Log, began) })
}

fn changed(log: &LogFile) -> Option<DateTime<Utc>> {
    std::fs::metadata(&log.path).ok()?.modified().ok().map(DateTime::from)
}

fn of_scheduler(schedule: &ScheduleEntry) -> Option<LatestRun> {
    let began = DateTime::parse_from_rfc3339(schedule.last_run.as_deref()?).ok()?.to_utc();
    let code = schedule.last_result.filter(|_| schedule.running != Some(true))?;
    let run = |result| LatestRun { ended: None, ..LatestRun::at_once(result, RunSource::Scheduler, began) };
    let result = match code {
        // Another run was active, and is known by its own records.
        5 => return None,
        0 => RunResult::Completed,
        3 => RunResult::CompletedWithWarnings,
        _ => {
            let (reason, hint) = likely_reason(code);
            let error =
                Some(format!("the scheduled run ended with code {code} and left no record: {reason}"));
            // What is known to be missing says more than a code.
            let hint = schedule.missing.first().cloned().unwrap_or_else(|| hint.to_owned());
            return Some(LatestRun { error, hint: Some(hint), ..run(RunResult::Failed) });
        }
    };
    let hint = "its records are in another folder: give `status` the INTELLISTOR_HOME of the scheduled run";
    Some(LatestRun { hint: Some(hint.to_owned()), ..run(result) })
}

/// What an exit code of a scheduled run says that left no record, and what to do.
fn likely_reason(code: i32) -> (&'static str, &'static str) {
    const LOOK: &str = "`intellistor-agent test-schedule` shows what it says";
    const INSTALL: &str =
        "install the agent where the schedule expects it, or run `apply-schedule` of the installed one";
    match code {
        2 => ("its policy, its environment file or its key cannot be used", LOOK),
        126 => ("the program may not be run by its account", INSTALL),
        // A shell's, systemd's EXEC, cmd's, and ERROR_FILE_NOT_FOUND and ERROR_PATH_NOT_FOUND as results of a task.
        127 | 203 | 9009 | -2_147_024_894 | -2_147_024_893 => ("the program was not found", INSTALL),
        200 => ("the agent's folder cannot be entered", "run `apply-schedule` again"),
        216 | 217 => ("its account does not exist", "run `apply-schedule` with an account of this machine"),
        130 | 137 | 143 | -1_073_741_510 => ("it was stopped from outside", "the next run resumes"),
        _ => ("it could not begin", LOOK),
    }
}

#[cfg(test)]
mod tests {
    use intellistor_storage::catalog::layout::BackupName;
    use intellistor_storage::state::job::JobState;

    use super::*;
    use crate::schedule::BackendKind;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn scheduled(last_run: &str, last_result: i32) -> ScheduleEntry {
        ScheduleEntry {
            policy_id: "docs".to_owned(),
            cron: Some("0 2 * * *".to_owned()),
            next_run: None,
            last_run: Some(last_run.to_owned()),
            last_result: Some(last_result),
            since: None,
            enabled: true,
            running: Some(false),
            backend: BackendKind::Systemd,
            location: "unit".to_owned(),
            boot_location: None,
            policy_path: None,
            missing: Vec::new(),
        }
    }

    fn failed(time: &str, error: &str) -> FailedStart {
        FailedStart { at_ms: at(time).timestamp_millis(), error: error.to_owned(), log: None }
    }

    fn stopped_job(last_error: &str) -> Job {
        let name = BackupName {
            policy_id: "docs".to_owned(),
            timestamp: "20261126T020000Z".to_owned(),
            backup_id: "b".to_owned(),
        };
        let job = Job::new(name, Vec::new(), "memory://".to_owned(), 0);
        Job { state: JobState::Transferring, last_error: Some(last_error.to_owned()), ..job }
    }

    /// Who knows of the last run, how it ended, and why.
    fn latest(failed_starts: &[FailedStart], schedule: &ScheduleEntry) -> (RunSource, RunResult, String) {
        let evidence = Evidence {
            now: at("2026-11-27T12:00:00Z"),
            failed_starts: failed_starts.to_vec(),
            schedule: Some(schedule),
            ..Evidence::default()
        };
        let run = latest_run(&evidence).unwrap();
        (run.source, run.result, run.error.unwrap_or_default())
    }

    #[test]
    fn the_newest_decides() {
        let known = [failed("2026-11-25T02:00:01Z", "old"), failed("2026-11-26T02:00:01Z", "no key")];
        let same = scheduled("2026-11-26T02:00:00Z", 2);
        assert_eq!(latest(&known, &same), (RunSource::FailedStart, RunResult::Failed, "no key".to_owned()));
        let (source, result, error) = latest(&known, &scheduled("2026-11-27T02:00:00Z", 203));
        assert_eq!((source, result), (RunSource::Scheduler, RunResult::Failed));
        assert!(error.contains("203") && error.contains("not found"), "{error}");
        let (source, result, _) = latest(&known, &scheduled("2026-11-27T02:00:00Z", 0));
        assert_eq!((source, result), (RunSource::Scheduler, RunResult::Completed));
        // The other run was active, and has its own record.
        let busy = scheduled("2026-11-27T02:00:00Z", 5);
        assert_eq!(latest(&known, &busy).2, "no key");
    }

    #[test]
    fn a_record_of_a_wrong_clock_loses() {
        let known = [failed("2027-12-31T02:00:01Z", "wrong clock"), failed("2026-11-26T02:00:01Z", "no key")];
        assert_eq!(latest(&known, &scheduled("2026-11-26T02:00:00Z", 2)).2, "no key");
        let (source, ..) = latest(&known[..1], &scheduled("2026-11-27T02:00:00Z", 0));
        assert_eq!(source, RunSource::Scheduler);
        assert_eq!(
            latest(&known[..1], &ScheduleEntry { last_run: None, ..scheduled("", 0) }).2,
            "wrong clock"
        );
    }

    #[test]
    fn an_interrupted_run_has_not_failed() {
        let run = |last_error: &str| {
            let job = stopped_job(last_error);
            latest_run(&Evidence { stopped: Some(&job), ..Evidence::default() }).unwrap()
        };
        assert_eq!((run("interrupted").result, run("interrupted").error), (RunResult::Stopped, None));
        assert_eq!(run("no network").error.as_deref(), Some("no network"));
    }

    #[test]
    fn nothing_is_known_of_a_schedule_that_never_ran() {
        let never = ScheduleEntry { last_run: None, last_result: None, ..scheduled("", 0) };
        assert_eq!(latest_run(&Evidence { schedule: Some(&never), ..Evidence::default() }), None);
    }

    #[test]
    fn a_log_that_nothing_else_explains_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run_20261126T020000Z.log");
        std::fs::write(&path, "2026-11-26T02:00:00.123Z ERROR the run could not begin error=\"x\"\n")
            .unwrap();
        let log = LogFile { timestamp: "20261126T020000Z".to_owned(), path, bytes: 1 };
        let run = latest_run(&Evidence { newest_log: Some(log.clone()), ..Evidence::default() }).unwrap();
        assert_eq!((run.source, run.result), (RunSource::Log, RunResult::Failed));
        assert!(run.error.unwrap().contains("could not begin"));
        let newer = Evidence {
            now: at("2026-11-27T12:00:00Z"),
            newest_log: Some(log),
            failed_starts: vec![failed("2026-11-26T02:00:01Z", "no key")],
            ..Evidence::default()
        };
        assert_eq!(latest_run(&newer).unwrap().source, RunSource::FailedStart);
    }
}
