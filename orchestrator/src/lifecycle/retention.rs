//! Which backups are kept, and why. Pure: touches neither store nor clock.
//!
//! Rules are ORed. A period keeps its newest backup, and only periods that have one count: a machine that was off loses nothing.
//! `keep_within` counts from the newest backup. The oldest is kept while a rule by periods is not filled.
//!
//! Law (must): these never go, whatever the rules say: the newest, the newest without problems, those that are held, and those
//! of the future. The last count for nothing, so a clock that was ahead evicts nothing.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_telemetry::Escaped;
use serde::{Serialize, Serializer};

use crate::calendar::{Calendar, Period};
use crate::clock;
use crate::policy::{RetentionRules, duration_text};

/// A listed backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: BackupName,
    /// The reason of the hold that is in force.
    pub(crate) held: Option<String>,
}

/// What the rules say about a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) name: BackupName,
    /// Why it is kept; without any it goes.
    pub(crate) reasons: Vec<Reason>,
}

impl Verdict {
    pub(crate) fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No other is as new.
    Newest,
    /// No other without problems is as new.
    NewestWhole,
    /// Somebody holds it, for this reason.
    OnHold(String),
    /// Its time is later than now by more than clocks may differ.
    Future,
    /// There is no rule at all.
    NoRule,
    /// `keep_last`; numbers count from the newest, from 1.
    Last { number: u32, of: u32 },
    /// `keep_within`.
    Within { span: Duration },
    /// It is the newest of a period.
    NewestOf { period: Period, number: u32, of: u32, name: String },
    /// It is the oldest, and a rule has fewer periods than it would keep.
    Oldest { period: Period, number: u32, of: u32 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the newest"),
            Self::NewestWhole => f.write_str("the newest without problems"),
            Self::OnHold(why) => write!(f, "held: {}", Escaped(why)),
            Self::Future => f.write_str("dated in the future"),
            Self::NoRule => f.write_str("no rule says what may go"),
            Self::Last { number, of } => write!(f, "last {number} of {of}"),
            Self::Within { span } => write!(f, "within {} of the newest", duration_text(*span)),
            Self::NewestOf { period, number, of, name } => write!(f, "{period} {number} of {of}, {name}"),
            Self::Oldest { period, number, of } => {
                write!(f, "the oldest, while {period} has {number} of {of}")
            }
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What the rules say about each backup, newest first. `newest_whole` is the newest that has no problems: to know that of every
/// backup, all manifests would have to be read.
pub(crate) fn verdicts(
    candidates: &[Candidate],
    newest_whole: Option<&BackupName>,
    rules: &RetentionRules,
    calendar: &Calendar,
    now: DateTime<Utc>,
) -> Vec<Verdict> {
    let mut candidates: Vec<_> = candidates.iter().collect();
    candidates.sort_by(|one, other| other.name.cmp(&one.name));
    let mut reasons = vec![Vec::new(); candidates.len()];
    // Those whose time counts: a time that is none is treated as one of the future.
    let mut dated = Vec::new();
    for (at, Candidate { name, held }) in candidates.iter().enumerate() {
        match clock::parse(&name.timestamp) {
            Some(time) if !clock::is_future(&name.timestamp, now) => dated.push((at, time)),
            _ => reasons[at].push(Reason::Future),
        }
        if newest_whole == Some(name) {
            reasons[at].push(Reason::NewestWhole);
        }
        reasons[at].extend(held.clone().map(Reason::OnHold));
    }
    for_the_newest(&dated, &mut reasons);
    if rules.is_empty() {
        reasons.iter_mut().for_each(|reasons| reasons.push(Reason::NoRule));
    }
    for_the_last(&dated, rules, &mut reasons);
    for (period, of) in rules.periods() {
        for_period(&dated, calendar, period, of, &mut reasons);
    }
    let named = candidates.into_iter().map(|candidate| candidate.name.clone());
    named.zip(reasons).map(|(name, reasons)| Verdict { name, reasons }).collect()
}

/// A position among the candidates and its time; newest first.
type Dated = (usize, DateTime<Utc>);

fn for_the_newest(dated: &[Dated], reasons: &mut [Vec<Reason>]) {
    if let Some((at, _)) = dated.first() {
        reasons[*at].insert(0, Reason::Newest);
    }
}

fn for_the_last(dated: &[Dated], rules: &RetentionRules, reasons: &mut [Vec<Reason>]) {
    for ((at, _), number) in dated.iter().zip(1..=rules.keep_last) {
        reasons[*at].push(Reason::Last { number, of: rules.keep_last });
    }
    if let (Some(span), Some((_, newest))) = (rules.keep_within, dated.first()) {
        // A span beyond all time keeps everything.
        let limit = TimeDelta::from_std(span).ok();
        let within = |time: &DateTime<Utc>| limit.is_none_or(|limit| *newest - *time <= limit);
        for (at, _) in dated.iter().filter(|(_, time)| within(time)) {
            reasons[*at].push(Reason::Within { span });
        }
    }
}

fn for_period(dated: &[Dated], calendar: &Calendar, period: Period, of: u32, reasons: &mut [Vec<Reason>]) {
    let mut seen = HashSet::new();
    for (at, time) in dated {
        // A time that has no date in this zone is kept under a name of its own.
        let name = calendar.period(*time, period).unwrap_or_else(|| time.to_rfc3339());
        let is_oldest = dated.last().is_some_and(|(oldest, _)| oldest == at);
        let number = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        if number >= of {
            return;
        }
        // Where clocks are set back at midnight a day comes twice, so a look at the one before is not enough.
        if seen.insert(name.clone()) {
            reasons[*at].push(Reason::NewestOf { period, number: number + 1, of, name });
        } else if is_oldest {
            reasons[*at].push(Reason::Oldest { period, number, of });
        }
    }
}

#[cfg(test)]
mod tests;
