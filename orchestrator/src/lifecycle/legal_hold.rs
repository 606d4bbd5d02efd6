//! Legal holds: the store itself lets no one delete what a held backup needs, not even the account's owner.
//!
//! They are on the manifest, on its sealed lists, and on every archive that the manifest names. An archive that another
//! legally held backup names, too, keeps its hold when one of them is released.

use std::collections::BTreeSet;

use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::manifest::{Head, VerifiedManifest};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use super::scope::Scope;
use super::subject::Subject;
use crate::error::{Error, Result};

/// Fails where the store knows no legal holds. Nothing is written.
pub(super) async fn check(scope: &Scope<'_>) -> Result<()> {
    let store = scope.store();
    let lacks = |reason: String| Error::NoLegalHold { store: store.url(), reason };
    if !store.capabilities().object_lock {
        return Err(lacks("it has no object lock".to_owned()));
    }
    match store.check_object_lock().await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::Unsupported => Err(lacks(error.reason)),
        checked => Ok(checked?),
    }
}

/// The objects that a backup needs.
pub(super) async fn objects(subject: &Subject<'_>) -> Result<Vec<String>> {
    let store = subject.scope.store();
    let manifest = VerifiedManifest::fetch_own(store, &subject.header, &subject.data_key).await?;
    Ok(needed(manifest.head()))
}

fn needed(head: &Head) -> Vec<String> {
    let lists = head.entries_enc.iter().map(|lists| lists.key.clone());
    let archives = head.archives.iter().map(|archive| archive.key.clone());
    std::iter::once(head.name.manifest_key()).chain(lists).chain(archives).collect()
}

/// The objects whose legal hold ends with that of a backup, and what is worth knowing about the others.
pub(super) async fn releasable(subject: &Subject<'_>) -> Result<(Vec<String>, Vec<String>)> {
    let (mut own, mut notes) = (objects(subject).await?, Vec::new());
    let scope = subject.scope;
    let contents = scope.catalog.contents(scope.policy_id).await?;
    let mut others = BTreeSet::new();
    for (name, _) in contents.all().filter(|(_, objects)| objects.has(ObjectKind::Hold)) {
        if name == subject.name || !is_set(&scope, name).await? {
            continue;
        }
        match scope.head(name).await? {
            Ok(head) => others.extend(needed(&head)),
            Err(why) => {
                notes.push(format!(
                    "the legal holds of archives stay: {} is held as well, and what it needs is not known ({why})",
                    name.archive_key()
                ));
                own.retain(|key| BackupName::from_archive_key(key).is_none());
            }
        }
    }
    let shared = own.iter().filter(|key| others.contains(*key)).count();
    if shared > 0 {
        notes.push(format!("{shared} archives keep their legal hold: other held backups need them"));
        own.retain(|key| !others.contains(key));
    }
    Ok((own, notes))
}

/// Sets or ends the legal holds of objects.
pub(super) async fn set(scope: &Scope<'_>, objects: &[String], held: bool) -> Result<()> {
    for key in objects {
        scope.store().set_legal_hold(key, held).await?;
    }
    Ok(())
}

/// Whether a backup's manifest is under a legal hold.
pub(super) async fn is_set(scope: &Scope<'_>, name: &BackupName) -> Result<bool> {
    if !scope.store().capabilities().object_lock {
        return Ok(false);
    }
    let attributes = scope.store().attributes(&name.manifest_key()).await?;
    Ok(attributes.is_some_and(|attributes| attributes.legal_hold))
}
