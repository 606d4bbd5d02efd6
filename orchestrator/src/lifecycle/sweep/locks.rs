//! What keeps an object in the store, also from those who may delete there: Object Lock.

use chrono::{DateTime, SecondsFormat, Utc};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::Result;
use crate::lifecycle::scope::Scope;

/// What keeps one of these objects of a backup from being deleted now, for people.
///
/// # Errors
/// Those of the store. One that does not let us look is asked to delete, and may refuse that.
pub(super) async fn lock_on(
    scope: &Scope<'_>,
    name: &BackupName,
    objects: impl IntoIterator<Item = ObjectKind>,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    if !scope.store().capabilities().object_lock {
        return Ok(None);
    }
    for object in objects {
        let found = match scope.store().attributes(&name.key(object)).await {
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => None,
            found => found?,
        };
        let Some(attributes) = found else { continue };
        if attributes.legal_hold {
            return Ok(Some("under a legal hold in the store".to_owned()));
        }
        if let Some(retention) = attributes.retention.filter(|retention| retention.until > now) {
            let until = retention.until.to_rfc3339_opts(SecondsFormat::Secs, true);
            return Ok(Some(format!("locked in the store until {until}")));
        }
    }
    Ok(None)
}
