//! The agent's home folder.
//!
//! ```text
//! <home>/queue/<policy_id>/   the policy's queue: lock, ledger, history, outbox
//! <home>/logs/<policy_id>/    its logs: run_<timestamp>.log, last.log
//! <home>/failed_starts/       runs whose policy file could not be read
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use intellistor_storage::Error as StorageError;
use intellistor_storage::catalog::layout::is_policy_id;
use intellistor_storage::create_private_folder;
use intellistor_storage::disk::trust;

use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn logs_folder(&self, policy_id: &str) -> PathBuf {
        self.0.join("logs").join(policy_id)
    }

    pub(super) fn queue_folder(&self, policy_id: &str) -> PathBuf {
        self.0.join("queue").join(policy_id)
    }

    /// Creates the policy's folders and returns that of its queue.
    ///
    /// # Errors
    /// `Untrusted` when others can write to one of them: with a link there, they could choose what this account
    /// overwrites.
    pub(super) fn create(&self, policy_id: &str) -> Result<PathBuf> {
        let (queue, logs) = (self.queue_folder(policy_id), self.logs_folder(policy_id));
        for folder in [&queue, &logs] {
            // Before, so that nothing is created behind a link; after, since another may have created what was missing.
            self.check_trusted(folder)?;
            create_private_folder(folder).map_err(StorageError::io("create the folder", folder))?;
            self.check_trusted(folder)?;
        }
        Ok(queue)
    }

    fn check_trusted(&self, folder: &Path) -> Result<()> {
        let mut own = folder.ancestors().take_while(|parent| parent.starts_with(&self.0));
        own.try_for_each(trust::check_folder)
            .map_err(|others| Error::Untrusted { what: "the agent's folder", others })
    }

    /// Ids of the policies that have run here, sorted; also where only their logs are left.
    pub(super) fn policies(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for folder in ["queue", "logs"].map(|name| self.0.join(name)) {
            let listed = match std::fs::read_dir(&folder) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                listed => listed.map_err(StorageError::io("list", &folder))?,
            };
            let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            ids.extend(names.filter(|id| is_policy_id(id)));
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }
}
