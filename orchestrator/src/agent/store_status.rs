//! What a policy's store has, beside what this machine remembers.

use serde::Serialize;

use super::health::{Health, PolicyState, Reason};
use crate::operations::list::{BackupRow, ListReport};

/// The newest backup in the store, and whether it is the one that this machine remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// As a policy writes it.
    pub url: String,
    /// Backups that are listed.
    pub backups: usize,
    pub newest: Option<StoredBackup>,
    /// What differs from this machine's records.
    pub difference: Option<String>,
    /// Whether the newest backup that this machine made is missing.
    #[serde(skip)]
    is_missing: bool,
}

/// A backup in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// Where it was made, as its manifest says; not verified.
    pub host: Option<String>,
    pub archive_bytes: u64,
}

impl From<&BackupRow> for StoredBackup {
    fn from(row: &BackupRow) -> Self {
        Self {
            backup_id: row.backup_id.clone(),
            timestamp: row.timestamp.clone(),
            host: row.host.clone(),
            archive_bytes: row.archive_bytes,
        }
    }
}

impl StoreStatus {
    /// `remembered`: the timestamp and the id of the newest backup that this machine made.
    pub(super) fn new(list: &ListReport, remembered: Option<(&str, &str)>) -> Self {
        let newest = list.backups.iter().max_by(|a, b| a.timestamp.cmp(&b.timestamp));
        let has = |id: &str| list.backups.iter().chain(&list.forgotten).any(|row| row.backup_id == id);
        let difference = match (remembered, newest) {
            (Some((timestamp, id)), _) if !has(id) => Some(format!(
                "the newest backup that this machine made, {timestamp}, is not in the store: it was deleted there, or this \
                 is another store"
            )),
            (Some((_, id)), Some(newest)) if newest.backup_id != id => Some(format!(
                "the newest backup in the store, {}, was not made by this machine's agent ({})",
                newest.timestamp,
                newest.host.as_deref().unwrap_or("its host is unknown"),
            )),
            _ => None,
        };
        Self {
            url: list.store.clone(),
            backups: list.backups.len(),
            newest: newest.map(StoredBackup::from),
            difference,
            is_missing: remembered.is_some_and(|(_, id)| !has(id)),
        }
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        let (health, state) = match self.is_missing {
            true => (Health::Critical, PolicyState::Failed),
            false => (Health::Warning, PolicyState::Warnings),
        };
        self.difference.clone().map(|text| Reason { health, state, text })
    }
}
