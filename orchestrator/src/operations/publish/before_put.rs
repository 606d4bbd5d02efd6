//! What is confirmed and done once the archive is complete, before its manifest is put. The looks of the publish law come
//! after it, since it may take long. Locks are settled once the manifest is there: it, too, is to be locked.

use intellistor_storage::manifest::Head;

use crate::error::Result;
use crate::lifecycle::locking::{self, Locked};
use crate::operations::publish::publication::Publication;
use crate::policy::LockPolicy;

/// What was found and done before a manifest is put.
#[derive(Debug, Default)]
pub(super) struct BeforePut {
    /// The locks of the archives, where the policy has `lock:`.
    locked: Option<(LockPolicy, Locked)>,
    /// What needs attention although the backup will be made.
    warnings: Vec<String>,
}

/// # Errors
/// `NotOwner` when another machine has taken the policy over while this one was sending;
/// [`NotLocked`](crate::Error::NotLocked); those of the store.
pub(super) async fn before_put(publication: &Publication<'_>, head: &Head) -> Result<BeforePut> {
    publication.catalog.confirm(&head.name.policy_id).await?;
    let Some(lock) = publication.lock else { return Ok(BeforePut::default()) };
    let (locked, warnings) = lock_archives(publication, lock, head).await?;
    Ok(BeforePut { locked: Some((lock, locked)), warnings })
}

/// Until when the backup is locked, once its manifest was put, and what about its locks needs attention.
pub(super) async fn settle_locks(
    publication: &Publication<'_>,
    head: &Head,
    before: BeforePut,
) -> (Option<String>, Vec<String>) {
    let BeforePut { locked, mut warnings } = before;
    let Some((lock, mut locked)) = locked else { return (None, warnings) };
    let store = publication.store;
    // The process was stopped in between, and the manifest is locked for longer than its archives.
    if locked.is_outdated(store, lock) {
        match lock_archives(publication, lock, head).await {
            Ok((again, more)) => {
                locked = again;
                warnings.extend(more);
            }
            Err(error) => {
                warnings.push(format!("the backup was made, but cannot be locked for longer: {error}"))
            }
        }
    }
    let entries = head.entries_enc.as_ref().map(|lists| lists.key.clone());
    let keys: Vec<_> = std::iter::once(head.name.manifest_key()).chain(entries).collect();
    let (until, of_manifest) = locking::after_put(store, locked, &keys).await;
    warnings.extend(of_manifest);
    (until.map(locking::shown), warnings)
}

async fn lock_archives(
    publication: &Publication<'_>,
    lock: LockPolicy,
    head: &Head,
) -> Result<(Locked, Vec<String>)> {
    let dependencies: Vec<_> = head.archives.iter().skip(1).map(|archive| archive.key.as_str()).collect();
    locking::before_put(publication.store, lock, &head.name.archive_key(), &dependencies).await
}
