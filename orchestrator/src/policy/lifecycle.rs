//! Fields of a policy about what becomes of a backup after it was made.

use std::time::Duration;

use intellistor_storage::objects::RetentionMode;
use serde::Deserialize;

use super::error::PolicyError;
use super::fields;
use crate::calendar::{Calendar, Period};

/// Which backups are kept: a backup is, if any rule keeps it. 0, and absent, is no rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionRules {
    /// The newest so many.
    pub keep_last: u32,
    /// Those that are not older than the newest by more than this.
    #[serde(deserialize_with = "fields::duration")]
    pub keep_within: Option<Duration>,
    /// The newest of each of the newest so many hours that have one.
    pub keep_hourly: u32,
    pub keep_daily: u32,
    /// ISO weeks.
    pub keep_weekly: u32,
    pub keep_monthly: u32,
    pub keep_yearly: u32,
    /// In which hours, days and weeks begin: a name of the IANA database; UTC where it is absent.
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
        Calendar::of(self.timezone.as_deref()).ok_or_else(|| {
            let timezone = self.timezone.clone().unwrap_or_default();
            PolicyError::UnknownTimezone { nearest: Calendar::nearest(&timezone), timezone }
        })
    }
}

/// Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockPolicy {
    pub mode: LockMode,
    /// From when the backup is made.
    pub days: u32,
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

impl From<LockMode> for RetentionMode {
    fn from(mode: LockMode) -> Self {
        match mode {
            LockMode::Governance => Self::Governance,
            LockMode::Compliance => Self::Compliance,
        }
    }
}
