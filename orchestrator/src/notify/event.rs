//! What has happened, as it is posted: every text bounded, since a list of ten thousand warnings is no notice.

use std::path::PathBuf;

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::advice::with_advice;
use crate::agent::AgentReport;
use crate::cron::MissedStarts;
use crate::error::Error;
use crate::policy::{Occasion, Policy};

/// Warnings that are named; the log has all.
const MOST_WARNINGS: usize = 20;
/// Characters of one text.
const MOST_CHARS: usize = 1000;

/// Its serde form is the document that webhooks get. Members are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    /// Of this form.
    pub(super) version: u32,
    #[serde(rename = "event", serialize_with = "word")]
    pub(crate) occasion: Occasion,
    /// For a person, in one paragraph.
    pub(super) text: String,
    pub(super) policy: String,
    pub(super) host: String,
    /// The run's timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'static str>,
    /// Whether the next run resumes it.
    pub(super) resumes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) warnings: Vec<String>,
    /// Warnings that are not named.
    pub(super) warnings_left_out: usize,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<EventBackup>,
    /// The newest backup before this run, where this one made none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missed: Option<EventMissed>,
    pub(super) store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<EventLog>,
}

/// The backup that was made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EventBackup {
    backup_id: String,
    key_backup: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) archive_bytes: u64,
    pub(super) skipped: u64,
    pub(super) changed: u64,
    pub(super) seconds: f64,
    pub(super) cli_restore: String,
}

/// Starts that did not take place.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EventMissed {
    pub(super) first: String,
    pub(super) last: String,
    pub(super) count: usize,
}

/// Where the run's log is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventLog {
    pub(crate) local: PathBuf,
    /// The key in the store, once it is there.
    pub(crate) s3: Option<String>,
}

fn word<S: serde::Serializer>(occasion: &Occasion, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(occasion.word())
}

impl Event {
    fn new(occasion: Occasion, policy: &Policy, host: &str) -> Self {
        Self {
            version: 1,
            occasion,
            text: String::new(),
            policy: policy.policy_id.clone(),
            host: host.to_owned(),
            run: None,
            state: None,
            resumes: false,
            error: None,
            warnings: Vec::new(),
            warnings_left_out: 0,
            backup: None,
            last_backup: None,
            missed: None,
            store: None,
            log: None,
        }
    }

    fn with_text(mut self) -> Self {
        self.text = super::text::paragraph(&self);
        self
    }

    fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings_left_out = warnings.len().saturating_sub(MOST_WARNINGS);
        self.warnings = warnings.iter().take(MOST_WARNINGS).map(|warning| bounded(warning)).collect();
        self
    }

    /// Of a run that has ended; `None` where a person has stopped it, or the system is going down and will resume it.
    pub(crate) fn of_run(
        report: &AgentReport,
        policy: &Policy,
        (host, store): (&str, String),
        last_backup: Option<String>,
        cli_restore: impl Fn(&str) -> String,
    ) -> Option<Self> {
        let occasion = match &report.outcome {
            Ok(backup) if backup.is_complete() => Occasion::Success,
            Ok(_) => Occasion::Warnings,
            Err(Error::Interrupted | Error::Cancelled) => return None,
            Err(_) => Occasion::Failed,
        };
        let mut event = Self::new(occasion, policy, host);
        event.run = Some(report.name.timestamp.clone());
        event.state = Some(report.state);
        event.store = Some(store);
        event.log = Some(EventLog { local: report.log.clone(), s3: report.log_key.clone() });
        let mut warnings = report.notices.clone();
        match &report.outcome {
            Ok(backup) => {
                warnings.extend(backup.warnings.clone());
                warnings.extend(
                    backup
                        .problems
                        .iter()
                        .map(|problem| format!("{}: {}", problem.relative_path, problem.reason)),
                );
                event.backup = Some(EventBackup {
                    backup_id: backup.name.backup_id.clone(),
                    key_backup: backup.key_backup.clone(),
                    files: backup.totals.files,
                    bytes: backup.totals.bytes,
                    archive_bytes: backup.archive_bytes,
                    skipped: backup.totals.skipped,
                    changed: backup.totals.changed,
                    seconds: backup.seconds,
                    cli_restore: cli_restore(&backup.key_backup),
                });
            }
            Err(error) => {
                event.error = Some(bounded(&with_advice(error)));
                event.resumes = report.will_resume();
                event.last_backup = last_backup;
            }
        }
        Some(event.with_warnings(warnings).with_text())
    }

    /// Of a run that could not begin.
    pub(crate) fn of_failed_start(
        policy: &Policy,
        host: &str,
        reason: &str,
        last_backup: Option<String>,
        log: Option<EventLog>,
    ) -> Self {
        let error = Some(bounded(reason));
        Self { error, last_backup, log, ..Self::new(Occasion::Failed, policy, host) }.with_text()
    }

    /// Of starts that did not take place.
    pub(crate) fn of_missed(
        policy: &Policy,
        host: &str,
        missed: &MissedStarts<Local>,
        last_backup: Option<String>,
    ) -> Self {
        let missed =
            Some(EventMissed { first: time(&missed.first), last: time(&missed.last), count: missed.count });
        Self { missed, last_backup, ..Self::new(Occasion::Missed, policy, host) }.with_text()
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        let policy = Policy::new("docs", ["x"]).unwrap();
        let log = EventLog { local: "/var/lib/intellistor/run.log".into(), s3: None };
        Self::of_failed_start(
            &policy,
            "web1",
            "no key is configured",
            Some("20261126T020000Z".to_owned()),
            Some(log),
        )
    }
}

fn time(time: &DateTime<Local>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
