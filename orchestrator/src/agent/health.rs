//! Whether a policy needs a person: one word, and the reasons.
//!
//! **In:** a policy's status, its schedule, the clock, the ages that are allowed. **Out:** [`PolicyState`] and [`Reason`]s, the
//! worst first. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::latest_run::RunResult;
use super::status::{Activity, PolicyStatus};
use crate::cron::Cron;
use crate::policy::duration_text;

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

/// The reasons, the worst first; none when all is well.
pub(super) fn reasons(status: &PolicyStatus, ages: AllowedAges, now: DateTime<Utc>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |health, state, text: String| reasons.push(Reason { health, state, text });
    let schedule = status.schedule.as_ref();
    if let Some(run) = &status.last_run {
        let told = [run.error.as_deref(), run.hint.as_deref()].into_iter().flatten();
        let told = told.map(|text| format!(": {text}")).collect::<String>();
        match run.result {
            RunResult::Failed => {
                add(Health::Critical, PolicyState::Failed, format!("the last run failed{told}"));
            }
            RunResult::Stopped if run.error.is_some() => add(
                Health::Critical,
                PolicyState::Failed,
                format!("the last run failed, and the next one resumes its job{told}"),
            ),
            RunResult::Stopped => add(
                Health::Warning,
                PolicyState::Stopped,
                "the last run was stopped; the next one resumes its job".to_owned(),
            ),
            RunResult::Cancelled => {
                add(Health::Warning, PolicyState::Stopped, "the last job was cancelled".to_owned());
            }
            RunResult::CompletedWithWarnings => add(
                Health::Warning,
                PolicyState::Warnings,
                format!("the last run finished with warnings{told}; its log names them"),
            ),
            RunResult::Unknown => {
                add(Health::Warning, PolicyState::Stopped, "the last run left only its log".to_owned());
            }
            RunResult::Completed => {
                if let Some(hint) = &run.hint {
                    add(
                        Health::Warning,
                        PolicyState::Warnings,
                        format!("the last run left no record here: {hint}"),
                    );
                }
            }
        }
    } else if status.activity == Activity::Idle {
        let scheduled =
            if schedule.is_some() { "it is scheduled and has never run" } else { "it has never run" };
        add(Health::Warning, PolicyState::NeverRan, scheduled.to_owned());
    }
    if let Some(missed) = &status.missed {
        let ago = age_text((now - missed.first).to_std().unwrap_or_default());
        let text = match missed.count {
            1 => format!("the start {ago} ago did not happen"),
            count => format!("{count} starts did not happen, the first {ago} ago"),
        };
        add(
            Health::Critical,
            PolicyState::Missed,
            format!("{text}: was the machine off, or its scheduler not running?"),
        );
    }
    for missing in schedule.iter().flat_map(|schedule| &schedule.missing) {
        // Told as the reason of the last run already.
        if status.last_run.as_ref().is_none_or(|run| run.hint.as_ref() != Some(missing)) {
            add(Health::Critical, PolicyState::Failed, format!("the next run will fail: {missing}"));
        }
    }
    if schedule.is_some_and(|schedule| !schedule.enabled) {
        add(Health::Warning, PolicyState::Warnings, "its schedule is switched off".to_owned());
    }
    if let Some(good) = &status.last_good {
        let age = (now - good.at).to_std().unwrap_or_default();
        let is_over = |allowed: Option<Duration>| allowed.filter(|allowed| age > *allowed);
        let over = |allowed| {
            format!("the last good run is {} old, more than {}", age_text(age), duration_text(allowed))
        };
        if let Some(allowed) = is_over(ages.critical) {
            add(Health::Critical, PolicyState::Old, over(allowed));
        } else if let Some(allowed) = is_over(ages.warning) {
            add(Health::Warning, PolicyState::Old, over(allowed));
        }
    } else if status.last_run.is_some() && ages.critical.is_some() {
        add(Health::Critical, PolicyState::Failed, "no run has made a backup yet".to_owned());
    }
    reasons.sort_by(|a, b| b.health.cmp(&a.health));
    reasons
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
