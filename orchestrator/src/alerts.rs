//! Warnings that need attention although a backup was made: the run ends with exit code 3.

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::Error as Storage;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::layout::TIMESTAMP;
use intellistor_storage::catalog::ownership::{Claim, Owner};
use intellistor_storage::keys::Recipients;
use intellistor_storage::manifest::{Changes, Preamble};

use crate::catalog::Catalog;
use crate::clock;
use crate::error::{Error, Result};

/// Runs in quick succession are named up to a minute ahead.
const SUCCESSION: TimeDelta = TimeDelta::minutes(1);

/// The warning that a claim of the policy calls for.
pub(crate) fn of_claim(claim: Claim, policy_id: &str, host: &str) -> Option<String> {
    let alert = match claim {
        Claim::Owned => None,
        Claim::Renamed(Owner { host: before, .. }) => Some(format!(
            "the policy {policy_id} belongs to the machine {before}, which has the same machine id as this one, \
             {host}. If {before} was renamed to {host}, all is well; if both exist, one is a clone of the other: give \
             one of them a machine id of its own (systemd-machine-id-setup, sysprep), or its policy another policy_id"
        )),
        Claim::TakenOver(Some(Owner { host: before, since, .. })) => Some(format!(
            "the policy {policy_id}, which had belonged to the machine {before} since {since}, belongs to {host} from \
             now on; {before} will be refused"
        )),
        Claim::TakenOver(None) => Some(format!(
            "the policy {policy_id} belongs to the machine {host} from now on; its machine.json was unreadable and \
             has been rewritten"
        )),
    };
    if let Some(alert) = &alert {
        tracing::warn!("{alert}");
    }
    alert
}

/// The warning about a run whose name is later than its clock.
pub(crate) fn of_name(name: &BackupName, began: DateTime<Utc>) -> Option<String> {
    let is_forced = clock::parse(&name.timestamp).is_some_and(|named| named - began > SUCCESSION);
    is_forced.then(|| {
        format!(
            "the clock ({}) is behind the previous run: this run is dated {}, so that it comes after that one. Check \
             this machine's clock",
            began.format(TIMESTAMP),
            name.timestamp
        )
    })
}

/// Warnings from the policy's other backups and the store's clock. `name` is this backup's own. `base`: the backup that this
/// run opened as its base.
pub(crate) async fn of_store(
    catalog: &Catalog,
    recipients: &Recipients,
    name: &BackupName,
    base: Option<&BackupName>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut alerts = Vec::new();
    match newest_before(catalog, recipients, name, now).await {
        Ok(before) => alerts.extend(of_backups(catalog, recipients, before, base, now).await),
        // Backups need no right to list.
        Err(error) => {
            tracing::warn!(%error, "cannot compare this backup with the earlier ones of its policy")
        }
    }
    let store_now = catalog.store.now_ms().and_then(DateTime::from_timestamp_millis);
    if let Some(store_now) = store_now.filter(|store_now| (*store_now - now).abs() > clock::SKEW) {
        alerts.push(format!(
            "this machine's clock says {}, but the store's says {}. Backups are dated by this machine's: set it right",
            now.format(TIMESTAMP),
            store_now.format(TIMESTAMP)
        ));
    }
    alerts
}

/// A base with fewer files tells nothing: all notes of one person may change on one day.
const FEWEST_FILES: u64 = 20;

/// Warnings from how a backup differs from its base, which had `base_files` files. `is_reported`: that files are missing was
/// found on other grounds already.
pub(crate) fn of_changes(changes: &Changes, base_files: u64, is_reported: bool) -> Vec<String> {
    let mut alerts = Vec::new();
    let left = base_files.saturating_sub(changes.deleted);
    if !is_reported && left < base_files.div_ceil(2) {
        alerts.push(format!(
            "of {base_files} files in the previous backup, fewer than half are left: {left}. Is a disk not mounted, or was \
             something deleted or encrypted (look for a ransom note)? Earlier backups still have them: delete none until \
             this is clear"
        ));
    }
    if base_files >= FEWEST_FILES && changes.changed.saturating_mul(2) > base_files {
        alerts.push(format!(
            "{} of {base_files} files in the previous backup were changed at once. If no one did that on purpose, look into \
             some of them now: ransomware does it (look for a ransom note). Earlier backups have the files as they were: \
             delete none until this is clear",
            changes.changed
        ));
    }
    alerts
}

/// The newest backup of those dated in the future, and of the others, that is not forgotten and not `name`.
async fn newest_before(
    catalog: &Catalog,
    recipients: &Recipients,
    name: &BackupName,
    now: DateTime<Utc>,
) -> Result<(Option<BackupName>, Option<BackupName>)> {
    let contents = catalog.contents(&name.policy_id).await?;
    let names = contents.backups().map(|backup| backup.name).filter(|other| other != name);
    let (future, past): (Vec<_>, Vec<_>) = names.partition(|name| clock::is_future(&name.timestamp, now));
    let newest = async |names: Vec<BackupName>| {
        for name in names.into_iter().rev() {
            if !catalog.is_forgotten(&contents, &name, recipients).await? {
                return Ok::<_, Error>(Some(name));
            }
        }
        Ok(None)
    };
    Ok((newest(future).await?, newest(past).await?))
}

async fn of_backups(
    catalog: &Catalog,
    recipients: &Recipients,
    (future, past): (Option<BackupName>, Option<BackupName>),
    base: Option<&BackupName>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut alerts = Vec::new();
    if let Some(newest) = &future {
        alerts.push(format!(
            "the store has a backup dated in the future, {} (the clock says {}): the clock was wrong then, or is \
             wrong now. `--latest` skips that backup. If you do not need it, forget it",
            newest.archive_key(),
            now.format(TIMESTAMP)
        ));
    }
    // What opened the base opens it. A passphrase takes 64 MiB to try, while this run still holds the base.
    if let Some(newest) = past.as_ref().or(future.as_ref()).filter(|newest| Some(*newest) != base) {
        alerts.extend(of_key(catalog, recipients, newest).await);
    }
    alerts
}

/// Whether the newest backup opens with the configured key.
async fn of_key(catalog: &Catalog, recipients: &Recipients, newest: &BackupName) -> Option<String> {
    let peeked = match Preamble::fetch(&*catalog.store, newest).await {
        Ok(peeked) => peeked,
        Err(error) => {
            tracing::warn!(%error, backup_id = newest.backup_id, "cannot read which key sealed the newest backup");
            return None;
        }
    };
    let header = peeked.header;
    let differs = |sealed_with: &str, configured: &str| {
        format!(
            "this backup is sealed with another key than the previous one: {} opens with key {sealed_with}, but what is \
             configured now is {configured}. Keep both keys, or configure the right one and run again",
            newest.archive_key()
        )
    };
    match recipients.reopen(header.keys(), header.backup_id()) {
        Err(Storage::WrongKey { sealed_with, configured }) => Some(differs(&sealed_with, &configured)),
        Err(Storage::WrongPassphrase { sealed_with }) => Some(differs(&sealed_with, "another passphrase")),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, backup_id = newest.backup_id, "cannot compare the key of the newest backup");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_vanish_or_change_together_raise_an_alert() {
        let changes = |deleted, changed| Changes { deleted, changed, ..Changes::default() };
        let alerts = |deleted, changed, files| of_changes(&changes(deleted, changed), files, false);
        assert!(alerts(0, 0, 0).is_empty());
        assert!(alerts(50, 50, 100).is_empty(), "half is borne");
        let deleted = alerts(51, 0, 100);
        assert!(deleted.len() == 1 && deleted[0].contains("fewer than half are left: 49"), "{deleted:?}");
        assert!(of_changes(&changes(51, 0), 100, true).is_empty());
        assert_eq!(alerts(2, 0, 3).len(), 1);
        let changed = alerts(0, 51, 100);
        assert!(
            changed.len() == 1 && changed[0].contains("51 of 100") && changed[0].contains("ransom"),
            "{changed:?}"
        );
        assert!(alerts(0, 19, 19).is_empty());
        assert_eq!(alerts(0, 11, 20).len(), 1);
    }
}
