//! Fields of a policy about what becomes of a backup after it was made.

use std::time::Duration;

use intellistor_storage::objects::RetentionMode;
use serde::Deserialize;

use super::fields;

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
