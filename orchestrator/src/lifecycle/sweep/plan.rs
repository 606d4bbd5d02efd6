//! What a sweep would do, by what is said about the backups.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::Error as Storage;
use intellistor_storage::catalog::contents::{BackupObjects, Contents};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Found};

use super::locks::lock_on;
use super::options::SweepOptions;
use super::references::References;
use super::report::SweepReport;
use crate::error::{Error, Result};
use crate::lifecycle::scope::Scope;

/// No sweep deletes a backup sooner: a manifest that is about to be published may need one that was forgotten a day ago.
const SOONEST: TimeDelta = TimeDelta::days(2);

/// For how long a backup that is held, and that another sweep has begun with, is left to that one: it may have been stopped.
pub(super) const YIELDING: TimeDelta = TimeDelta::hours(1);

/// A backup whose `forgotten.json` is proven and counts.
#[derive(Debug, Clone)]
pub(super) struct ForgottenBackup {
    pub(super) name: BackupName,
    pub(super) forgotten: Forgotten,
    /// Its objects, when they were listed.
    pub(super) objects: BackupObjects,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// An earlier sweep has deleted their manifests.
    pub(super) begun: Vec<ForgottenBackup>,
    /// Those that an earlier sweep has said to delete come first: they take no room in a full store.
    pub(super) due: Vec<ForgottenBackup>,
}

impl Plan {
    /// Reads what is said about each backup that has a `forgotten.json`, oldest first, and reports those that wait, or are kept.
    pub(super) async fn make(
        scope: &Scope<'_>,
        contents: &Contents,
        now: DateTime<Utc>,
        options: &SweepOptions<'_>,
        report: &mut SweepReport,
    ) -> Result<Self> {
        let mut plan = Self::default();
        let (mut said, mut due) = (Vec::new(), Vec::new());
        let (mut is_any_proven, mut other_key) = (false, None);
        for (name, objects) in contents.all().filter(|(_, objects)| objects.has(ObjectKind::Forgotten)) {
            if options.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let standing = standing(scope, name, objects).await?;
            if let Found::Unproven(_) = standing.forgotten
                && let Some(error) = wrong_key(scope, name).await
            {
                report.keep(name, "sealed with another key: a sweep with that key deletes it".to_owned());
                other_key.get_or_insert((name.key(ObjectKind::Forgotten), error));
                continue;
            }
            for unproven in standing.unproven(name) {
                report.warn(unproven);
            }
            // Law (must): only what is proven to be forgotten is deleted.
            let Found::Proven(forgotten) = &standing.forgotten else { continue };
            is_any_proven = true;
            let found = ForgottenBackup {
                name: name.clone(),
                forgotten: forgotten.clone(),
                objects: objects.clone(),
            };
            let has_manifest = objects.has(ObjectKind::Manifest);
            if forgotten.sweeping && !has_manifest {
                plan.begun.push(found);
                continue;
            }
            let reason = kept(&standing, forgotten, name);
            let is_kept = reason.is_some() || standing.speaks_for(forgotten);
            if is_kept && forgotten.sweeping && !report.dry_run {
                // A sweep that was interrupted before it looked has hidden it: it is listed again.
                let put =
                    objects.modified_ms(ObjectKind::Forgotten).and_then(DateTime::from_timestamp_millis);
                if put.is_some_and(|put| now - put < YIELDING) {
                    let hour = "an interrupted sweep has hidden it; one that runs in an hour lists it again";
                    report.keep(
                        name,
                        reason.map_or_else(|| hour.to_owned(), |reason| format!("{reason}; {hour}")),
                    );
                } else {
                    said.push(found);
                }
                continue;
            }
            if let Some(reason) = reason {
                report.keep(name, reason);
            }
            if is_kept {
                continue;
            }
            let put_ms = objects.modified_ms(ObjectKind::Forgotten);
            let from = due_from(forgotten, put_ms, options.prune_after);
            if !forgotten.sweeping && now < from {
                report.wait(name, from);
                continue;
            }
            let lockable = [ObjectKind::Manifest, ObjectKind::Archive, ObjectKind::Entries];
            let lockable = lockable.into_iter().filter(|kind| objects.has(*kind));
            match lock_on(scope, name, lockable, now).await? {
                Some(lock) => report.keep(name, lock),
                None if forgotten.sweeping => said.push(found),
                None => due.push(found),
            }
        }
        // Keys are exchanged once in years. Where nothing at all can be proven, and the newest backup does not open, the key that is
        // configured is another one.
        if let (false, Some((key, error))) = (is_any_proven, other_key)
            && !opens_newest(scope, contents).await
        {
            return Err(Error::SweepStopped { key, source: Box::new(error) });
        }
        said.append(&mut due);
        plan.due = said;
        Ok(plan)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.due.is_empty()
    }

    /// Reports what would be deleted.
    pub(super) fn preview(&self, references: &References, report: &mut SweepReport) {
        let due: BTreeSet<_> = self.due.iter().map(|backup| &backup.name).collect();
        let needed = references.needed(|manifest| !due.contains(manifest));
        let mut all: Vec<_> = self.begun.iter().chain(&self.due).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        for ForgottenBackup { name, objects, .. } in all {
            let bytes = |kinds: &[ObjectKind]| kinds.iter().filter_map(|kind| objects.bytes(*kind)).sum();
            let freed: u64 = match needed.get(name) {
                None => {
                    let bytes = bytes(&ObjectKind::ALL);
                    report.delete(name, bytes);
                    bytes
                }
                Some(by) => {
                    let bytes = bytes(&[ObjectKind::Manifest, ObjectKind::Entries]);
                    match due.contains(name) {
                        true => report.delete_manifest(name, bytes, needed_by(by)),
                        false => report.keep(name, needed_by(by)),
                    }
                    bytes
                }
            };
            report.bytes_freed += freed;
        }
    }
}

/// Why an archive stays.
pub(super) fn needed_by(manifest: &BackupName) -> String {
    format!("its archive is needed by the backup of {}", manifest.timestamp)
}

/// What is said of a backup that has a `forgotten.json`.
async fn standing(scope: &Scope<'_>, name: &BackupName, objects: &BackupObjects) -> Result<Standing> {
    let forgotten = statements::read(scope.store(), name, scope.keys).await?;
    let hold = if objects.has(ObjectKind::Hold) {
        statements::read(scope.store(), name, scope.keys).await?
    } else {
        Found::Nothing
    };
    Ok(Standing { forgotten, hold })
}

async fn opens_newest(scope: &Scope<'_>, contents: &Contents) -> bool {
    match contents.backups().next_back() {
        Some(newest) => scope.open(&newest.name).await.is_ok(),
        None => false,
    }
}

/// Whether the backup was sealed with another key than ours: then what is said of it cannot be proven.
async fn wrong_key(scope: &Scope<'_>, name: &BackupName) -> Option<Storage> {
    let header = scope.header(name).await.ok()?;
    let error = scope.keys.data_key(header.keys(), header.backup_id()).err()?;
    matches!(error, Storage::WrongKey { .. } | Storage::WrongPassphrase { .. }).then_some(error)
}

/// What keeps a backup although it was forgotten. A hold that proves nothing is none to those who list; to delete in spite of it
/// cannot be taken back, and it may be a real one that was damaged.
pub(super) fn kept(standing: &Standing, forgotten: &Forgotten, name: &BackupName) -> Option<String> {
    match &standing.hold {
        Found::Proven(hold) if hold.held => Some(format!("held: {}", hold.why)),
        Found::Unproven(_) if !standing.speaks_for(forgotten) => {
            let key = name.key(ObjectKind::Hold);
            Some(format!(
                "{key} proves nothing, and may be a hold that was damaged: look at it, then delete it or hold the backup anew"
            ))
        }
        _ => None,
    }
}

/// From when on a backup may be deleted. The machine that forgot it may have had a wrong clock, and the store may be a copy: what was put
/// later counts from then.
fn due_from(forgotten: &Forgotten, put_ms: Option<i64>, prune_after: Duration) -> DateTime<Utc> {
    let Forgotten { time, prunable_from, put, .. } = forgotten;
    let prune_after = TimeDelta::from_std(prune_after).unwrap_or(TimeDelta::MAX);
    let wait = (*prunable_from - *time).max(SOONEST).max(prune_after);
    let after = |time: DateTime<Utc>| time.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let put = put.or_else(|| put_ms.and_then(DateTime::from_timestamp_millis)).map(after);
    after(*time).max(*prunable_from).max(put.unwrap_or(DateTime::<Utc>::MIN_UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn forgotten(time: i64, prunable_from: i64) -> Forgotten {
        let (id, by, why) = (String::new(), String::new(), String::new());
        Forgotten {
            id,
            time: at(time),
            by,
            why,
            prunable_from: at(prunable_from),
            sweeping: false,
            put: None,
        }
    }

    #[test]
    fn the_later_of_what_is_written_and_of_when_it_was_put_counts_and_two_days_pass() {
        for (time, prunable_from, put, due) in [
            (0, 8, Some(0), 8),
            (0, 8, None, 8),
            // A clock that was behind, or a copy of the store.
            (-100, -92, Some(0), 8),
            // A clock that was ahead.
            (100, 108, Some(0), 108),
            // Less than what is ever written.
            (0, 0, Some(0), 2),
            (0, -5, Some(1), 3),
        ] {
            let due_from = due_from(
                &forgotten(time, prunable_from),
                put.map(|day| at(day).timestamp_millis()),
                Duration::ZERO,
            );
            assert_eq!(due_from, at(due), "{time} {prunable_from} {put:?}");
        }
        let never = Forgotten { prunable_from: DateTime::<Utc>::MAX_UTC, ..forgotten(0, 0) };
        let put_again = Forgotten { put: Some(at(1)), ..forgotten(0, 8) };
        let raised = Duration::from_secs(30 * 86_400);
        assert_eq!(due_from(&forgotten(0, 8), None, raised), at(30), "prune_after was raised since");
        assert_eq!(
            due_from(&put_again, Some(at(40).timestamp_millis()), Duration::ZERO),
            at(9),
            "by a sweep that gave it back"
        );
        assert_eq!(
            due_from(&never, Some(at(0).timestamp_millis()), Duration::ZERO),
            DateTime::<Utc>::MAX_UTC
        );
    }
}
