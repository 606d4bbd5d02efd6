//! Forgets a backup whose manifest may name what is gone.

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::catalog::statements::{self, Forgotten};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::machine::TOOL;
use crate::operations::publish::publication::Publication;

/// Forgets the backup that was just put, for a reason. Nothing else undoes a put.
///
/// # Errors
/// Those of the store: then the backup stays listed, and the log says so.
pub(super) async fn withdraw(publication: &Publication<'_>, reason: &Error) -> Result<()> {
    let Publication { store, header, data_key, catalog, prune_after, .. } = *publication;
    let now = store.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
    let forgotten = Forgotten {
        id: Uuid::new_v4().to_string(),
        time: now,
        by: format!("{} ({TOOL})", catalog.machine.host()),
        why: format!("what it depends on may be gone: {reason}"),
        prunable_from: now + TimeDelta::from_std(prune_after).unwrap_or(TimeDelta::days(8)),
        sweeping: false,
        put: None,
    };
    let name = header.name();
    let put = statements::put(store, header, data_key, &forgotten).await;
    match &put {
        Ok(()) => {
            tracing::warn!(%reason, key = name.manifest_key(), "the backup was forgotten as soon as it was made")
        }
        Err(error) => tracing::error!(
            %error, %reason, key = name.manifest_key(),
            "this backup may lack files, and could not be forgotten. Forget it with `backup-client forget --key`"
        ),
    }
    Ok(put?)
}
