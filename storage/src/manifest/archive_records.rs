//! What a manifest may say of archives.

use std::collections::HashSet;

use super::head::{ArchiveRecord, Head, MOST_ARCHIVES};
use super::refused::refused;
use crate::catalog::layout::BackupName;
use crate::error::Result;

/// Checks that a manifest names its own archive first, and then archives of other backups of the policy, each once.
pub(super) fn check(head: &Head, name: &BackupName) -> Result<()> {
    let Head { archives, .. } = head;
    let Some((own, others)) = archives.split_first().filter(|(own, _)| own.key == name.archive_key()) else {
        return Err(refused("its first archive is not its own"));
    };
    if head.name != *name || own.header.is_some() || own.data_key.is_some() {
        return Err(refused("its first lines contradict its header"));
    }
    if archives.len() > MOST_ARCHIVES {
        let found = archives.len();
        return Err(refused(format!(
            "it depends on {found} archives, but at most {MOST_ARCHIVES} may be named"
        )));
    }
    let mut seen = HashSet::from([own.key.as_str()]);
    for record in others {
        let ArchiveRecord { key, backup_id, .. } = record;
        let other = of_another(record)?;
        if other.policy_id != name.policy_id {
            return Err(refused(format!("it depends on {key}, which belongs to another policy")));
        }
        if other.backup_id != *backup_id || !seen.insert(key) {
            return Err(refused(format!("it names {key} twice, or with the id of another backup")));
        }
    }
    Ok(())
}

/// The backup that an archive belongs to.
pub(super) fn of_another(record: &ArchiveRecord) -> Result<BackupName> {
    let key = &record.key;
    BackupName::from_archive_key(key).ok_or_else(|| refused(format!("{key} is not the key of an archive")))
}

#[cfg(test)]
mod tests;
