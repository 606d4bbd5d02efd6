//! Notices of a run: when it begins, and once its log is closed and where it will stay.
//!
//! **In:** the run's report, or why it could not begin. **Out:** notices; what became of them in the run's log and its
//! report, as warnings that change no exit code. None is sent of a run that a person stopped, that found another run active,
//! or that the system's shutdown interrupted: the next run resumes it.

use std::path::PathBuf;

use chrono::{DateTime, Local, Utc};
use futures::future::join_all;
use intellistor_storage::manifest::Problem;
use intellistor_storage::state::{self, Queue, Snapshot};
use intellistor_telemetry::run_log;

use crate::advice::with_advice;
use crate::agent::home::Home;
use crate::agent::log::AgentLog;
use crate::agent::report::AgentReport;
use crate::cron::Cron;
use crate::error::Error;
use crate::machine::this_machine;
use crate::missed::{MissedStarts, missed_starts};
use crate::notify::{Event, EventBackup, EventLog, Notifier, NotifySettings, Sent, bounded_text};
use crate::operations::report::BackupReport;
use crate::policy::{Occasion, Policy};

/// What a run's notices are made of.
pub(super) struct RunNotices<'a> {
    home: &'a Home,
    policy: &'a Policy,
    notifier: Notifier<'a>,
    host: String,
    at_start: Option<Sent>,
    missed: Option<Sent>,
}

impl<'a> RunNotices<'a> {
    /// Tells that a run begins, and which starts before it did not take place. Waits for nothing.
    pub(super) fn begin(
        home: &'a Home,
        policy: &'a Policy,
        settings: &'a NotifySettings,
        host: &str,
        queue: &Queue,
    ) -> Self {
        let notifier = Notifier::new(policy, settings);
        let mut notices =
            Self { home, policy, notifier, host: host.to_owned(), at_start: None, missed: None };
        if !notices.notifier.is_silent() {
            notices.at_start = Some(notices.notifier.start());
            if let Some(missed) = missed(home, policy, queue) {
                let event = Event::of_missed(policy, host, &missed, notices.last_backup());
                notices.missed = Some(notices.notifier.tell(&event));
            }
        }
        notices
    }

    /// Tells how a run ended. What failed becomes notices of the report.
    pub(super) async fn ended(mut self, report: &mut AgentReport, store: String) {
        if self.notifier.is_silent() {
            return;
        }
        let event = self.event_of(report, store);
        let failures = self.send(event).await;
        log_failures(self.home, &self.policy.policy_id, &report.name.timestamp, &failures);
        report.notices.extend(failures);
    }

    /// `None` where a person has stopped it, or the system is going down and will resume it.
    fn event_of(&self, report: &AgentReport, store: String) -> Option<Event> {
        let occasion = match &report.outcome {
            Ok(backup) if backup.is_complete() => Occasion::Success,
            Ok(_) => Occasion::Warnings,
            Err(Error::Interrupted | Error::Cancelled) => return None,
            Err(_) => Occasion::Failed,
        };
        let mut event = Event::new(occasion, self.policy, &self.host);
        event.run = Some(report.name.timestamp.clone());
        event.state = Some(report.state);
        event.store = Some(store);
        event.log = Some(EventLog { local: report.log.clone(), s3: report.log_key.clone() });
        let mut warnings = report.notices.clone();
        match &report.outcome {
            Ok(backup) => {
                warnings.extend(backup.warnings.clone());
                let problem = |of: &Problem| format!("{}: {}", of.shown_path(), of.reason);
                warnings.extend(backup.problems.iter().map(problem));
                event.backup = Some(EventBackup {
                    backup_id: backup.name.backup_id.clone(),
                    key_backup: backup.key_backup.clone(),
                    files: backup.totals.files,
                    bytes: backup.totals.bytes,
                    archive_bytes: backup.archive_bytes,
                    skipped: backup.totals.skipped,
                    changed: backup.totals.changed,
                    seconds: backup.seconds,
                    cli_restore: self.notifier.restore_command(&backup.key_backup),
                });
            }
            Err(error) => {
                event.error = Some(bounded_text(&with_advice(error)));
                event.resumes = report.will_resume();
                event.last_backup = self.last_backup();
            }
        }
        Some(event.with_warnings(warnings))
    }

    /// Tells that a run could not begin, and why. Answers what failed.
    pub(super) async fn failed_start(mut self, reason: &str, log: Option<PathBuf>) -> Vec<String> {
        if self.notifier.is_silent() {
            return Vec::new();
        }
        let timestamp = log.as_ref().and_then(|log| timestamp_of(log));
        let log = log.map(|local| EventLog { local, s3: None });
        let event = Event::of_failed_start(self.policy, &self.host, reason, self.last_backup(), log);
        let failures = self.send(Some(event)).await;
        if let Some(timestamp) = timestamp {
            log_failures(self.home, &self.policy.policy_id, &timestamp, &failures);
        }
        failures
    }

    async fn send(&mut self, event: Option<Event>) -> Vec<String> {
        // A start that arrives after the end would look like a run that never ends.
        let mut failures = Vec::new();
        if let Some(sent) = self.at_start.take() {
            failures.extend(sent.finish().await);
        }
        // At the same time, so that both end within the time of one.
        let sent = [self.missed.take(), event.map(|event| self.notifier.tell(&event))];
        let ended = join_all(sent.into_iter().flatten().map(Sent::finish)).await;
        failures.extend(ended.into_iter().flatten());
        failures
    }

    /// The newest backup that this machine remembers.
    fn last_backup(&self) -> Option<String> {
        let snapshot = state::snapshot(&self.home.queue_folder(&self.policy.policy_id)).ok()?;
        let (Snapshot::Running(_, view) | Snapshot::Idle(view)) = snapshot;
        let made = view
            .history
            .into_iter()
            .chain(view.last_good)
            .find(|job| job.summary::<BackupReport>().is_some());
        made.map(|job| job.name.timestamp)
    }
}

/// Tells that a run could not even open its store. Answers what failed.
pub(super) async fn failed_start(
    home: &Home,
    policy: &Policy,
    settings: &NotifySettings,
    reason: &str,
    log: Option<PathBuf>,
) -> Vec<String> {
    let (notifier, host) = (Notifier::new(policy, settings), this_machine().host().to_owned());
    RunNotices { home, policy, notifier, host, at_start: None, missed: None }.failed_start(reason, log).await
}

/// Writes into a log that is closed: the store has it as it was.
fn log_failures(home: &Home, policy_id: &str, timestamp: &str, failures: &[String]) {
    if failures.is_empty() {
        return;
    }
    match AgentLog::open(&home.logs_folder(policy_id), policy_id, timestamp) {
        Ok(log) => log.span().in_scope(|| failures.iter().for_each(|failure| tracing::warn!("{failure}"))),
        Err(error) => tracing::warn!(%error, "cannot log which notices failed"),
    }
}

/// Of `run_<timestamp>.log`.
fn timestamp_of(log: &std::path::Path) -> Option<String> {
    Some(log.file_stem()?.to_str()?.strip_prefix("run_")?.to_owned())
}

/// Starts of the policy's schedule since its last run here, of any outcome. A policy that never ran here missed nothing.
fn missed(home: &Home, policy: &Policy, queue: &Queue) -> Option<MissedStarts<Local>> {
    let cron = Cron::parse(policy.schedule.as_deref()?).ok()?;
    let ended =
        queue.history().ok()?.into_iter().flat_map(|job| [Some(job.began_ms), job.ended_ms]).flatten();
    let ended = ended.filter_map(DateTime::from_timestamp_millis);
    // A start that failed before there was a job has a log alone, and a job that is resumed again and again writes into its
    // first log.
    let logs = run_log::list(&home.logs_folder(&policy.policy_id)).unwrap_or_default();
    let written = logs.into_iter().filter_map(|log| std::fs::metadata(log.path).ok()?.modified().ok());
    let now = Local::now();
    // A time to come is that of a clock that was wrong.
    let times = ended.chain(written.map(DateTime::<Utc>::from)).filter(|time| *time <= now);
    let last = times.max()?.with_timezone(&Local);
    missed_starts(&cron, Some(last), last, now)
}
