//! The brake: retention rests while a disk may not be mounted, or a ransom note waits to be found.
//!
//! A backup **begins** a brake when much less is there than in the one before, when a folder is empty that was not, or when most
//! files were changed or replaced at once. Later ones **inherit** it from the backup before them, until all of that is over, or a
//! person has [confirmed](Confirmed) that nothing was lost. It is in the manifest, so that no machine and no state has to
//! remember it.
//!
//! Law (must): a brake outlives full backups, bases that were left out, and another machine's take-over: without a base, the
//! newest backup that can be opened is the one before.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::statements::{self, Confirmed};
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::manifest::{Base, BrakeRecord, Changes, Head, RootRecord, Totals};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use super::scope::Scope;
use crate::alerts;
use crate::catalog::Catalog;
use crate::clock;
use crate::error::{Error, Result};
use crate::operations::sources;

/// How long a brake lasts whose end nothing in the folders shows.
const LASTS: TimeDelta = TimeDelta::days(30);
/// Manifests that are opened to find the backup before one without a base.
const MOST_OPENED: usize = 8;

/// What a backup has, for the decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBackup<'a> {
    pub(crate) name: &'a BackupName,
    pub(crate) roots: &'a [RootRecord],
    pub(crate) totals: Totals,
    pub(crate) changes: Changes,
    /// Warnings of the walk: folders that are empty and were not, files that are missing.
    pub(crate) alarms: &'a [String],
}

/// The brake of a backup that is about to be published.
///
/// # Errors
/// Those of a store that cannot be reached.
pub(crate) async fn of_backup(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    base: Option<&Base>,
    made: NewBackup<'_>,
) -> Result<Option<BrakeRecord>> {
    let scope = Scope { catalog, keys, policy_id: &made.name.policy_id };
    let before = match base {
        Some(base) => Some(Cow::Borrowed(base.manifest().head())),
        None => newest_before(&scope, made.name).await?.map(Cow::Owned),
    };
    let is_confirmed = match &before {
        Some(before) if before.brake.is_some() => is_confirmed(&scope, &before.name).await?,
        _ => false,
    };
    let brake = brake(before.as_deref(), base.is_some(), is_confirmed, made, scope.now());
    if let Some(BrakeRecord { since, why, .. }) = &brake {
        tracing::info!(since, why, "retention rests");
    }
    Ok(brake)
}

/// Why retention rests for a backup, if it does. `is_confirmed`: there is a proven [`Confirmed`] beside it.
pub(crate) fn in_force(
    brake: Option<&BrakeRecord>,
    is_confirmed: bool,
    now: DateTime<Utc>,
) -> Option<&BrakeRecord> {
    let is_over = |brake: &BrakeRecord| is_confirmed || (is_timed(brake) && has_passed(brake, now));
    brake.filter(|brake| !is_over(brake))
}

/// Whether a person has said that what a backup lacks is not lost.
pub(crate) async fn is_confirmed(scope: &Scope<'_>, name: &BackupName) -> Result<bool> {
    match statements::read::<Confirmed>(scope.store(), name, scope.keys).await {
        Ok(made) => Ok(made.proven().is_some()),
        // Without the right to list, what is not there is forbidden.
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The newest listed backup besides `own` that can be opened.
async fn newest_before(scope: &Scope<'_>, own: &BackupName) -> Result<Option<Head>> {
    let contents = match scope.catalog.contents(scope.policy_id).await {
        Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::AccessDenied => {
            return Ok(None);
        }
        contents => contents?,
    };
    let mut opened = 0;
    for name in scope.catalog.in_order(&contents).into_iter().filter(|name| name != own) {
        if scope.catalog.is_forgotten(&contents, &name, scope.keys).await? {
            continue;
        }
        match scope.head(&name).await? {
            Ok(head) => return Ok(Some(head)),
            Err(why) => {
                tracing::debug!(why, key = name.manifest_key(), "cannot tell whether retention rested")
            }
        }
        opened += 1;
        if opened == MOST_OPENED {
            break;
        }
    }
    Ok(None)
}

/// `compared`: `made.changes` are those since `before`.
fn brake(
    before: Option<&Head>,
    compared: bool,
    is_confirmed: bool,
    made: NewBackup<'_>,
    now: DateTime<Utc>,
) -> Option<BrakeRecord> {
    let inherited = before
        .and_then(|head| head.brake.as_ref())
        .filter(|brake| !is_confirmed && !is_over(brake, made, now));
    match (inherited.cloned(), begun(before, compared, made)) {
        (None, begun) => begun,
        (inherited, None) => inherited,
        (Some(inherited), Some(begun)) => Some(BrakeRecord {
            files_before: inherited.files_before.max(begun.files_before),
            empty_roots: inherited.empty_roots.into_iter().chain(begun.empty_roots).collect(),
            // What was replaced now is looked at from now on.
            since: if begun.replaced { begun.since } else { inherited.since },
            replaced: inherited.replaced || begun.replaced,
            why: inherited.why,
        }),
    }
}

/// A brake that begins with this backup.
fn begun(before: Option<&Head>, compared: bool, made: NewBackup<'_>) -> Option<BrakeRecord> {
    let NewBackup { name, roots, changes, alarms, .. } = made;
    let since = name.timestamp.clone();
    let Some(before) = before else {
        let why = alarms.first()?.clone();
        return Some(BrakeRecord { since, why, files_before: None, empty_roots: Vec::new(), replaced: true });
    };
    let files_of = |roots: &[RootRecord], path: &str| {
        roots.iter().find(|root| root.path == path).and_then(|root| root.files)
    };
    // One that does not exist was not walked.
    let emptied = roots.iter().filter(|root| {
        root.files.is_none_or(|files| files == 0) && files_of(&before.roots, &root.path) > Some(0)
    });
    let empty_roots: Vec<_> = emptied.map(|root| root.path.clone()).collect();
    let files_before = files(before.totals);
    let are_few = files(made.totals).saturating_mul(2) < files_before;
    let of_changes = |changes: Changes| match compared {
        true => alerts::of_changes(&changes, files_before, false),
        false => Vec::new(),
    };
    let deleted = of_changes(Changes { changed: 0, ..changes });
    let changed = of_changes(Changes { deleted: 0, ..changes });
    // As many as before, and others: nothing but time shows the end of that.
    let are_others = !deleted.is_empty() && !are_few && empty_roots.is_empty();
    let replaced = !changed.is_empty() || are_others;
    let missing = empty_roots
        .iter()
        .map(|path| format!("{path:?} is missing, and the backup before found files there"));
    let reasons = sources::alarms(roots, std::slice::from_ref(&before.roots)).into_iter().chain(missing);
    let why = reasons.chain(deleted).chain(changed).next()?;
    let files_before = are_few.then_some(files_before);
    let replaced = replaced || (files_before.is_none() && empty_roots.is_empty());
    Some(BrakeRecord { since, why, files_before, empty_roots, replaced })
}

/// What is worth knowing about a backup that inherited its brake.
pub(crate) fn note(brake: Option<&BrakeRecord>, name: &BackupName) -> Option<String> {
    let BrakeRecord { since, why, .. } = brake.filter(|brake| brake.since != name.timestamp)?;
    Some(format!("since the backup of {since}, no rule forgets any backup. The reason is not over: {why}"))
}

/// Whether what a brake began with is over.
fn is_over(brake: &BrakeRecord, made: NewBackup<'_>, now: DateTime<Utc>) -> bool {
    let are_back = brake.files_before.is_none_or(|before| files(made.totals).saturating_mul(2) >= before);
    // One that is not named any more is not expected.
    let is_filled = |path: &String| {
        made.roots.iter().find(|root| root.path == *path).is_none_or(|root| root.files > Some(0))
    };
    are_back && brake.empty_roots.iter().all(is_filled) && (!brake.replaced || has_passed(brake, now))
}

/// Whether it ends by time alone.
fn is_timed(brake: &BrakeRecord) -> bool {
    brake.files_before.is_none() && brake.empty_roots.is_empty()
}

fn has_passed(brake: &BrakeRecord, now: DateTime<Utc>) -> bool {
    clock::parse(&brake.since).is_none_or(|since| now - since >= LASTS)
}

fn files(totals: Totals) -> u64 {
    totals.files + totals.symlinks
}

#[cfg(test)]
mod tests;
