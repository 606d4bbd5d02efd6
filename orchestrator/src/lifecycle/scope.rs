//! What every operation on a policy's backups works with.

use chrono::{DateTime, Utc};
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Hold};
use intellistor_storage::keys::{DataKey, OpensBackups};
use intellistor_storage::manifest::{Head, Preamble, VerifiedManifest};
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::machine::TOOL;
use crate::operations::selection::check_policy;

/// A policy's backups in a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) keys: &'a dyn OpensBackups,
    pub(crate) policy_id: &'a str,
}

impl Scope<'_> {
    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.catalog.store
    }

    /// The time by the store's clock where it is known: ours may be days off.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.store().now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now)
    }

    /// Who says what is said now.
    pub(crate) fn by(&self) -> String {
        format!("{} ({TOOL})", self.catalog.machine.host())
    }

    /// What is said about a backup.
    pub(crate) async fn standing(&self, name: &BackupName) -> Result<Standing> {
        Ok(Standing::read(self.store(), name, self.keys).await?)
    }

    /// Fails for a backup of another policy: its file says what becomes of it.
    pub(crate) fn check(&self, name: &BackupName) -> Result<()> {
        check_policy(name, self.policy_id)
    }

    /// What a backup's manifest says besides its entries, verified; the inner error says why it cannot be had, and that
    /// trying again would not help.
    pub(crate) async fn head(&self, name: &BackupName) -> Result<Result<Head, String>> {
        let fetched = async {
            let (header, data_key) = self.open(name).await?;
            Ok(VerifiedManifest::fetch_own(self.store(), &header, &data_key).await?.head().clone())
        };
        match fetched.await {
            Ok(head) => Ok(Ok(head)),
            Err(error) if is_of_backup(&error) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The header of a backup, from its manifest, or where that is gone from what was said before. Not proven.
    pub(crate) async fn header(&self, name: &BackupName) -> Result<Header> {
        let missing = match Preamble::fetch(self.store(), name).await {
            Ok(preamble) => return Ok(preamble.header),
            Err(missing) => missing,
        };
        let said = match self.store().head(&name.key(ObjectKind::Forgotten)).await? {
            Some(_) => statements::header_in::<Forgotten>(self.store(), name).await,
            None => statements::header_in::<Hold>(self.store(), name).await,
        };
        Ok(said.map_err(|_| missing)?)
    }

    /// The header and the data key of a backup, with which something is said about it.
    pub(crate) async fn open(&self, name: &BackupName) -> Result<(Header, DataKey)> {
        let header = self.header(name).await?;
        let data_key = self.keys.data_key(header.keys(), header.backup_id())?;
        Ok((header, data_key))
    }
}

/// Whether an error is of one backup alone, so that others can be worked on: what it was sealed with, or what it is.
pub(crate) fn is_of_backup(error: &Error) -> bool {
    match error {
        Error::Storage(
            Storage::WrongKey { .. }
            | Storage::WrongPassphrase { .. }
            | Storage::Integrity { .. }
            | Storage::OtherBackup { .. }
            | Storage::UnsupportedVersion { .. },
        ) => true,
        Error::Storage(Storage::Store(error)) => error.kind == StoreErrorKind::NotFound,
        _ => false,
    }
}
