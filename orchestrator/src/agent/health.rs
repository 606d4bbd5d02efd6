//! Whether a policy needs a person: one word, and the reasons; and how old its last good run may be.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cron::Cron;

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    #[default]
    Ok,
    /// A person should look at it.
    Warning,
    /// Its state cannot be read.
    Unknown,
    /// There is no backup of late.
    Critical,
}

/// What is to be known of a policy, in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    #[default]
    Ok,
    /// A run is active, and nothing is wrong.
    Running,
    /// It never ran.
    NeverRan,
    /// Its last run made a backup, and something needs attention.
    Warnings,
    /// A job waits to be resumed.
    Stopped,
    /// The newest backup is too old.
    Old,
    /// It was to run, and did not.
    Missed,
    /// Its last run made no backup, or its next one cannot.
    Failed,
    /// Its state cannot be read.
    Unreadable,
}

impl PolicyState {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Running => "running",
            Self::NeverRan => "never ran",
            Self::Warnings => "warnings",
            Self::Stopped => "stopped",
            Self::Old => "old",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Why a policy needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub health: Health,
    #[serde(skip)]
    pub state: PolicyState,
    pub text: String,
}

/// How old the last good run may be, where a monitor knows better than the schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllowedAges {
    pub warning: Option<Duration>,
    pub critical: Option<Duration>,
}

impl AllowedAges {
    /// These, or else by the schedule: half an interval too late is a warning, and a whole one and a half is critical. At
    /// least an hour, for what runs often.
    pub(super) fn or_of(self, cron: Option<&Cron>, now: DateTime<Utc>) -> Self {
        let interval = cron.and_then(|cron| {
            let starts = cron.next_five(now);
            starts.windows(2).map(|pair| pair[1] - pair[0]).max()?.to_std().ok()
        });
        let Some(interval) = interval else { return self };
        let late = (interval / 2).max(Duration::from_secs(3600));
        Self {
            warning: self.warning.or(Some(interval + late)),
            critical: self.critical.or(Some(2 * interval + late)),
        }
    }
}

/// `40 min`, `5 h`, `3 d`.
pub fn age_text(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
