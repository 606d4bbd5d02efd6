//! Fetches a backup's manifest and verifies it.

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::{Error as StorageError, StoreErrorKind};
use intellistor_telemetry::names::span;
use tracing::{Instrument as _, info_span};

use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// A backup's manifest, verified.
///
/// # Errors
/// Those of the store and the key; [`Error::ManifestLost`] when it is missing or was altered, and the archive is there.
pub async fn show(catalog: &Catalog, identity: &Identity, name: &BackupName) -> Result<VerifiedManifest> {
    let fetch = VerifiedManifest::fetch(&*catalog.store, name, identity);
    let source = match fetch.instrument(info_span!(span::FETCH_MANIFEST)).await {
        Ok(manifest) => return Ok(manifest),
        Err(error) => error,
    };
    let is_lost = match &source {
        StorageError::Integrity { .. } | StorageError::OtherBackup { .. } => true,
        StorageError::Store(error) => error.kind == StoreErrorKind::NotFound,
        _ => false,
    };
    // If this request fails, too, the first error is the one to report.
    if is_lost && matches!(catalog.store.head(&name.archive_key()).await, Ok(Some(_))) {
        return Err(Error::ManifestLost { name: name.clone(), source: Box::new(source) });
    }
    Err(source.into())
}
