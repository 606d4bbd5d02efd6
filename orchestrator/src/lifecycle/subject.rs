//! A backup that something is said about: what was said before, and the way to say something else.
//!
//! **In:** its name. **Out:** a new `hold.json`, in force, or a refusal because a sweep deletes the backup. **After a crash:**
//! `hold.json` is the old or the new one, and the same command again finds out which.

use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Found, Hold};
use intellistor_storage::keys::DataKey;

use super::scope::Scope;
use crate::error::{Error, Result};

/// A backup that something is said about.
pub(super) struct Subject<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) name: &'a BackupName,
    pub(super) header: Header,
    pub(super) data_key: DataKey,
    pub(super) standing: Standing,
}

impl<'a> Subject<'a> {
    /// # Errors
    /// [`Error::NoSuchBackup`]; [`Error::BeingSwept`].
    pub(super) async fn find(scope: Scope<'a>, name: &'a BackupName) -> Result<Self> {
        let standing = scope.standing(name).await?;
        refuse_swept(name, &standing.forgotten)?;
        exists(scope, name).await?;
        let (header, data_key) = scope.open(name).await?;
        Ok(Self { scope, name, header, data_key, standing })
    }

    /// What `hold.json` says.
    pub(super) fn said(&self) -> Option<Hold> {
        self.standing.hold.clone().proven()
    }

    /// What `hold.json` says, or would say to change nothing; by this program, now.
    pub(super) fn hold(&self) -> Hold {
        let (time, by) = (self.scope.now(), self.scope.by());
        match self.said() {
            Some(hold) => Hold { time, by, ..hold },
            None => Hold { time, by, why: String::new(), held: false, unforgets: None },
        }
    }

    /// Writes what speaks for the backup, then looks whether a sweep was there before.
    ///
    /// Law (must): `hold.json` is written before `forgotten.json` is read.
    pub(super) async fn say(&self, hold: &Hold) -> Result<()> {
        let store = self.scope.store();
        statements::put(store, &self.header, &self.data_key, hold).await?;
        let looked = async {
            refuse_swept(self.name, &statements::read(store, self.name, self.scope.keys).await?)?;
            exists(self.scope, self.name).await
        };
        let refused = match looked.await {
            Err(refused @ (Error::BeingSwept { .. } | Error::NoSuchBackup { .. })) => refused,
            // It may be in force: the same command again finds out.
            looked => return looked,
        };
        let why = "refused: a sweep was deleting it".to_owned();
        let before = self.said().unwrap_or(Hold { why, ..self.hold() });
        statements::put(store, &self.header, &self.data_key, &before).await?;
        Err(refused)
    }
}

fn refuse_swept(name: &BackupName, forgotten: &Found<Forgotten>) -> Result<()> {
    match forgotten {
        Found::Proven(forgotten) if forgotten.sweeping => {
            Err(Error::BeingSwept { key: name.archive_key(), why: forgotten.why.clone() })
        }
        _ => Ok(()),
    }
}

/// Fails where a backup has no manifest.
pub(super) async fn exists(scope: Scope<'_>, name: &BackupName) -> Result<()> {
    let store = scope.store();
    if store.head(&name.manifest_key()).await?.is_some() {
        return Ok(());
    }
    let why = match store.head(&name.archive_key()).await? {
        Some(_) => "its archive has no manifest, so it is not listed, and no sweep deletes it",
        None => "it never existed, or a sweep has deleted it",
    };
    Err(Error::NoSuchBackup { key: name.archive_key(), store: store.url(), why })
}
