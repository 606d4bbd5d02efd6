//! What is confirmed and done once the archive is complete, before its manifest is put. The looks of the publish law come
//! after it, since it may take long.

use intellistor_storage::manifest::Head;

use crate::error::Result;
use crate::lifecycle::locking::{self, Locked};
use crate::operations::publish::publication::Publication;

/// What was found and done before a manifest is put.
#[derive(Debug, Default)]
pub(super) struct BeforePut {
    /// The locks of the archives, where the policy has `lock:`.
    pub(super) locked: Option<Locked>,
    /// What needs attention although the backup will be made.
    pub(super) warnings: Vec<String>,
}

/// # Errors
/// `NotOwner` when another machine has taken the policy over while this one was sending;
/// [`NotLocked`](crate::Error::NotLocked); those of the store.
pub(super) async fn before_put(publication: &Publication<'_>, head: &Head) -> Result<BeforePut> {
    publication.catalog.confirm(&head.name.policy_id).await?;
    let Some(lock) = publication.lock else { return Ok(BeforePut::default()) };
    let dependencies: Vec<_> = head.archives.iter().skip(1).map(|archive| archive.key.as_str()).collect();
    let own = head.name.archive_key();
    let (locked, warnings) = locking::before_put(publication.store, lock, &own, &dependencies).await?;
    Ok(BeforePut { locked: Some(locked), warnings })
}
