//! What every operation on a policy's backups works with.

use chrono::{DateTime, Utc};
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Hold};
use intellistor_storage::keys::{DataKey, OpensBackups};
use intellistor_storage::manifest::Preamble;
use intellistor_storage::objects::ObjectStore;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::machine::TOOL;

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

    /// The header and the data key of a backup, with which something is said about it; from its manifest, or where that is gone
    /// from what was said before.
    pub(crate) async fn open(&self, name: &BackupName) -> Result<(Header, DataKey)> {
        let header = match Preamble::fetch(self.store(), name).await {
            Ok(preamble) => preamble.header,
            Err(missing) => {
                let said = match self.store().head(&name.key(ObjectKind::Forgotten)).await? {
                    Some(_) => statements::header_in::<Forgotten>(self.store(), name).await,
                    None => statements::header_in::<Hold>(self.store(), name).await,
                };
                said.map_err(|_| missing)?
            }
        };
        let data_key = self.keys.data_key(&header)?;
        Ok((header, data_key))
    }
}
