//! Which backups are copied.

use intellistor_storage::catalog::contents::{Contents, ListedBackup};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::keys::OpensBackups;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::scope::Scope;

/// Which of a policy's backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySelection {
    /// The newest that is listed.
    Latest,
    /// All that are listed, oldest first.
    All,
    /// These, forgotten ones too.
    Named(Vec<BackupName>),
}

/// What the source has, and which of it is copied.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) contents: Contents,
    /// Oldest first, each once.
    pub(super) backups: Vec<ListedBackup>,
    /// What is worth knowing of them.
    pub(super) notes: Vec<String>,
}

/// The chosen backups.
///
/// # Errors
/// [`Error::NoBackup`]; [`Error::OtherPolicy`]; those of the store.
pub(super) async fn choose(
    from: &Catalog,
    keys: &dyn OpensBackups,
    policy_id: &str,
    selection: &CopySelection,
) -> Result<Chosen> {
    let contents = from.contents(policy_id).await?;
    let mut notes = Vec::new();
    let mut chosen = Vec::new();
    match selection {
        CopySelection::Latest => {
            let latest = from.latest(policy_id, keys).await?;
            chosen.extend(contents.backups().filter(|backup| backup.name == latest));
        }
        CopySelection::All => {
            for backup in contents.backups() {
                if !from.is_forgotten(&contents, &backup.name, keys).await? {
                    chosen.push(backup);
                }
            }
            if chosen.is_empty() {
                let (policy_id, store, orphans) =
                    (policy_id.to_owned(), from.url(), contents.orphans().count());
                return Err(Error::NoBackup { policy_id, store, orphans });
            }
        }
        CopySelection::Named(names) => {
            let mut names = names.clone();
            names.sort();
            names.dedup();
            for name in names {
                Scope { catalog: from, keys, policy_id }.check(&name)?;
                if from.is_forgotten(&contents, &name, keys).await? {
                    let from = from.url();
                    notes.push(format!("{name} is forgotten in {from}; its copy is listed like any other"));
                }
                // One that is not there is reported when its manifest is fetched.
                let bytes =
                    |kind| contents.of_backup(&name).and_then(|objects| objects.bytes(kind)).unwrap_or(0);
                let (archive_bytes, manifest_bytes) =
                    (bytes(ObjectKind::Archive), bytes(ObjectKind::Manifest));
                chosen.push(ListedBackup { name, archive_bytes, manifest_bytes });
            }
        }
    }
    Ok(Chosen { contents, backups: chosen, notes })
}
