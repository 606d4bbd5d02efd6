//! What is confirmed and done once the archive is complete, before its manifest is put. The looks of the publish law come
//! after it, since it may take long.

use intellistor_storage::manifest::Head;

use crate::error::Result;
use crate::operations::publish::publication::Publication;

/// # Errors
/// `NotOwner` when another machine has taken the policy over while this one was sending; those of the store.
pub(super) async fn before_put(publication: &Publication<'_>, head: &Head) -> Result<()> {
    publication.catalog.confirm(&head.name.policy_id).await
}
