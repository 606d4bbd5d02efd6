//! What has happened, as it is posted: every text bounded, since a list of ten thousand warnings is no notice.

use std::path::PathBuf;

use chrono::{DateTime, Local};
use serde::Serialize;

use crate::missed::MissedStarts;
use crate::policy::{Occasion, Policy};

/// Warnings that are named; the log has all.
const MOST_WARNINGS: usize = 20;
/// Characters of one text.
const MOST_CHARS: usize = 1000;

/// Its serde form is the document that webhooks get. Members are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    /// Of this form.
    pub(crate) version: u32,
    #[serde(rename = "event", serialize_with = "word")]
    pub(crate) occasion: Occasion,
    /// For a person, in one paragraph.
    pub(crate) text: String,
    pub(crate) policy: String,
    pub(crate) host: String,
    /// The run's timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<&'static str>,
    /// Whether the next run resumes it.
    pub(crate) resumes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) warnings: Vec<String>,
    /// Warnings that are not named.
    pub(crate) warnings_left_out: usize,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) backup: Option<EventBackup>,
    /// The newest backup before this run, where this one made none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<EventMissed>,
    pub(crate) store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<EventLog>,
}

/// The backup that was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventBackup {
    pub(crate) backup_id: String,
    pub(crate) key_backup: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) archive_bytes: u64,
    pub(crate) skipped: u64,
    pub(crate) changed: u64,
    pub(crate) seconds: f64,
    pub(crate) cli_restore: String,
}

/// Starts that did not take place.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventMissed {
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) count: usize,
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
    /// Of this occasion, without more.
    pub(crate) fn new(occasion: Occasion, policy: &Policy, host: &str) -> Self {
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

    /// The first of them; how many more there are.
    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings_left_out = warnings.len().saturating_sub(MOST_WARNINGS);
        self.warnings = warnings.iter().take(MOST_WARNINGS).map(|warning| bounded(warning)).collect();
        self
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
        Self { error, last_backup, log, ..Self::new(Occasion::Failed, policy, host) }
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
        Self { missed, last_backup, ..Self::new(Occasion::Missed, policy, host) }
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
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

/// A text that is not too long for a notice.
pub(crate) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
