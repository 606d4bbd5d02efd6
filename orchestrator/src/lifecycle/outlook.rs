//! What goes next: the verdicts that the next backup would bring. Pure.

use chrono::{DateTime, Utc};
use intellistor_storage::catalog::layout::{BackupName, TIMESTAMP};
use serde::{Deserialize, Serialize};

use super::forget::{ForgetReport, KeepReason, KeptBackup};
use super::retention::{Candidate, Reason, Verdict, verdicts};
use crate::error::Result;
use crate::policy::Policy;

/// A backup in a list of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReference {
    pub backup_id: String,
    pub timestamp: String,
}

/// What retention has left, and what it takes next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionOutlook {
    /// Backups that are listed.
    pub kept: usize,
    /// Those that no rule keeps any more once there is another backup, one without problems; oldest first.
    pub next_to_go: Vec<BackupReference>,
    /// Why nothing goes at present.
    pub resting: Option<String>,
}

impl RetentionOutlook {
    /// `next`: when the next backup is made.
    pub(crate) fn new(report: &ForgetReport, policy: &Policy, next: DateTime<Utc>) -> Result<Self> {
        let (kept, resting) = (report.kept.len(), report.resting.clone());
        let Some(rules) = policy.retention.as_ref().filter(|_| resting.is_none()) else {
            return Ok(Self { kept, resting, next_to_go: Vec::new() });
        };
        let name = |backup: &KeptBackup| BackupName {
            policy_id: report.policy.clone(),
            timestamp: backup.timestamp.clone(),
            backup_id: backup.backup_id.clone(),
        };
        let held = |backup: &KeptBackup| {
            backup.reasons.iter().find_map(|reason| match reason {
                KeepReason::Rule(Reason::OnHold(why)) => Some(why.clone()),
                _ => None,
            })
        };
        let mut candidates: Vec<_> =
            report.kept.iter().map(|backup| Candidate { name: name(backup), held: held(backup) }).collect();
        let following = BackupName {
            policy_id: report.policy.clone(),
            timestamp: next.format(TIMESTAMP).to_string(),
            backup_id: "next".to_owned(),
        };
        candidates.push(Candidate { name: following.clone(), held: None });
        let verdicts = verdicts(&candidates, Some(&following), rules, &rules.calendar()?, next);
        let going = verdicts.into_iter().rev().filter(|verdict| !verdict.is_kept());
        let next_to_go = going.map(|Verdict { name, .. }| BackupReference::from(&name)).collect();
        Ok(Self { kept, next_to_go, resting })
    }
}

impl From<&BackupName> for BackupReference {
    fn from(name: &BackupName) -> Self {
        Self { backup_id: name.backup_id.clone(), timestamp: name.timestamp.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::policy::RetentionRules;

    fn kept(timestamp: &str, reasons: Vec<Reason>) -> KeptBackup {
        KeptBackup {
            backup_id: timestamp.to_lowercase(),
            timestamp: timestamp.to_owned(),
            key: String::new(),
            reasons: reasons.into_iter().map(KeepReason::Rule).collect(),
        }
    }

    fn outlook(resting: Option<&str>) -> Vec<String> {
        let mut policy = Policy::new("a", ["x"]).unwrap();
        policy.retention = Some(RetentionRules { keep_last: 3, ..RetentionRules::default() });
        let report = ForgetReport {
            policy: "a".to_owned(),
            store: String::new(),
            dry_run: false,
            forgotten: Vec::new(),
            kept: vec![
                kept("20261126T020000Z", vec![Reason::Newest]),
                kept("20261125T020000Z", vec![]),
                kept("20261124T020000Z", vec![]),
                kept("20261123T020000Z", vec![Reason::OnHold("a case".to_owned())]),
                kept("20261122T020000Z", vec![Reason::NewestWhole]),
            ],
            resting: resting.map(str::to_owned),
            prunable_from: None,
            notes: Vec::new(),
            warnings: Vec::new(),
        };
        let next = clock::parse("20261127T020000Z").unwrap();
        let outlook = RetentionOutlook::new(&report, &policy, next).unwrap();
        assert_eq!((outlook.kept, outlook.resting.as_deref()), (5, resting));
        outlook.next_to_go.into_iter().map(|next| next.timestamp).collect()
    }

    #[test]
    fn the_next_to_go_are_those_that_another_backup_evicts() {
        assert_eq!(outlook(None), ["20261122T020000Z", "20261124T020000Z"]);
        assert_eq!(outlook(Some("a disk is not mounted")), [""; 0]);
    }
}
