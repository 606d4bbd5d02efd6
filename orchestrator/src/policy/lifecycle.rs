//! Fields of a policy about what becomes of a backup after it was made.

use std::str::FromStr;
use std::time::Duration;

use intellistor_storage::objects::RetentionMode;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::error::PolicyError;
use super::fields;
use super::rules::{calendar, check_keep_within, check_lock_days};
use crate::calendar::{Calendar, Period};

/// Which backups are kept: a backup is, if any rule keeps it. 0, and absent, is no rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionRules {
    /// The newest so many.
    #[serde(deserialize_with = "fields::count")]
    pub keep_last: u32,
    /// Those that are not older than the newest by more than this.
    #[serde(deserialize_with = "fields::keep_within")]
    pub keep_within: Option<Duration>,
    /// The newest of each of the newest so many hours that have one.
    #[serde(deserialize_with = "fields::count")]
    pub keep_hourly: u32,
    #[serde(deserialize_with = "fields::count")]
    pub keep_daily: u32,
    /// ISO weeks.
    #[serde(deserialize_with = "fields::count")]
    pub keep_weekly: u32,
    #[serde(deserialize_with = "fields::count")]
    pub keep_monthly: u32,
    #[serde(deserialize_with = "fields::count")]
    pub keep_yearly: u32,
    /// In which hours, days and weeks begin: a name of the IANA database; UTC where it is absent.
    #[serde(deserialize_with = "fields::timezone")]
    pub timezone: Option<String>,
}

impl RetentionRules {
    /// Whether no rule keeps anything.
    pub fn is_empty(&self) -> bool {
        self.keep_last == 0 && self.keep_within.is_none() && self.periods().next().is_none()
    }

    /// The rules by periods, with how many each keeps.
    pub(crate) fn periods(&self) -> impl Iterator<Item = (Period, u32)> {
        let kept = |period| match period {
            Period::Hour => self.keep_hourly,
            Period::Day => self.keep_daily,
            Period::Week => self.keep_weekly,
            Period::Month => self.keep_monthly,
            Period::Year => self.keep_yearly,
        };
        Period::ALL.into_iter().map(move |period| (period, kept(period))).filter(|(_, number)| *number > 0)
    }

    /// The calendar that they count by.
    ///
    /// # Errors
    /// [`PolicyError::UnknownTimezone`].
    pub(crate) fn calendar(&self) -> Result<Calendar, PolicyError> {
        calendar(self.timezone.as_deref())
    }

    /// Checks fields that were set by hand.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.is_empty() {
            return Err(PolicyError::NoRetentionRule);
        }
        self.keep_within.map_or(Ok(()), check_keep_within)?;
        self.calendar().map(drop)
    }
}

/// The block, with at least one rule.
pub(super) fn retention<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RetentionRules>, D::Error> {
    let rules = Option::<RetentionRules>::deserialize(from)?.unwrap_or_default();
    if rules.is_empty() { Err(D::Error::custom(PolicyError::NoRetentionRule)) } else { Ok(Some(rules)) }
}

/// The block. One without content would look like a lock and be none.
pub(super) fn lock<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LockPolicy>, D::Error> {
    let lock = Option::<LockPolicy>::deserialize(from)?;
    lock.map(Some).ok_or_else(|| D::Error::custom(PolicyError::BadLock { text: String::new() }))
}

/// Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockPolicy {
    pub mode: LockMode,
    /// From when the backup is made.
    #[serde(deserialize_with = "fields::lock_days")]
    pub days: u32,
}

impl LockPolicy {
    /// Checks fields that were set by hand.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        check_lock_days(self.days)
    }
}

/// As in `governance:30`.
impl FromStr for LockPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let bad = || PolicyError::BadLock { text: text.to_owned() };
        let (mode, days) = text.split_once(':').ok_or_else(bad)?;
        let modes = [LockMode::Governance, LockMode::Compliance];
        let mode = modes.into_iter().find(|known| known.word() == mode).ok_or_else(bad)?;
        let days = days.strip_suffix('d').unwrap_or(days).parse().map_err(|_| bad())?;
        check_lock_days(days)?;
        Ok(Self { mode, days })
    }
}

/// Who may shorten a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Those with `s3:BypassGovernanceRetention`.
    Governance,
    /// Not even the account's owner.
    Compliance,
}

impl LockMode {
    /// The word for it in policies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

impl From<LockMode> for RetentionMode {
    fn from(mode: LockMode) -> Self {
        match mode {
            LockMode::Governance => Self::Governance,
            LockMode::Compliance => Self::Compliance,
        }
    }
}
