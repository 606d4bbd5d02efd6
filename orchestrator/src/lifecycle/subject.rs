//! A backup that something is said about: what was said before, and the way to say something else.
//!
//! **In:** its name. **Out:** a new `hold.json`, in force, or a refusal because a sweep deletes the backup. **After a crash:**
//! `hold.json` is the old or the new one, and the same command again finds out which.
//!
//! Stores have no exchange that compares first: of two that change `hold.json` within the time of one request, the later wins.
//! Each reads right before it writes, and looks after that.

use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Found, Hold};
use intellistor_storage::keys::DataKey;
use intellistor_storage::objects::error::StoreError;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use super::scope::Scope;
use crate::error::{Error, Result};

/// Of writing what others overwrite.
const MOST_TRIES: u32 = 5;

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
        self.now(self.said())
    }

    fn now(&self, said: Option<Hold>) -> Hold {
        let (time, by) = (self.scope.now(), self.scope.by());
        match said {
            Some(hold) => Hold { time, by, ..hold },
            None => Hold { time, by, why: String::new(), held: false, unforgets: Vec::new() },
        }
    }

    /// Changes what `hold.json` says, then looks whether a sweep was there before. `is_met` tells whether what is found there in
    /// the end has what was wanted: another may have written at the same moment.
    ///
    /// Law (must): `hold.json` is written before `forgotten.json` is read.
    pub(super) async fn say(
        &self,
        change: impl Fn(Hold) -> Hold,
        is_met: impl Fn(&Hold) -> bool,
    ) -> Result<()> {
        for _ in 0..MOST_TRIES {
            // What was read at the beginning may be old by now.
            let before = self.read().await?;
            let says = change(self.now(before.clone()));
            self.put(&says).await?;
            match self.look().await {
                // It may be in force where that is not known: the same command again finds out.
                Ok(()) => {}
                Err(refused @ (Error::BeingSwept { .. } | Error::NoSuchBackup { .. })) => {
                    if self.read().await?.is_some_and(|found| is_same(&found, &says)) {
                        let why = "refused: a sweep was deleting it".to_owned();
                        self.put(&before.unwrap_or(Hold { why, ..self.now(None) })).await?;
                    }
                    return Err(refused);
                }
                Err(error) => return Err(error),
            }
            if self.read().await?.is_some_and(|found| is_met(&found)) {
                return Ok(());
            }
        }
        Err(self.contended())
    }

    /// Replaces `hold.json`, if it still says `before`.
    ///
    /// # Errors
    /// [`AlreadyExists`](StoreErrorKind::AlreadyExists) when it says something else.
    pub(super) async fn replace(&self, before: &Hold, says: &Hold) -> Result<()> {
        match self.read().await? {
            Some(found) if is_same(&found, before) => self.put(says).await,
            _ => Err(self.contended()),
        }
    }

    async fn read(&self) -> Result<Option<Hold>> {
        Ok(statements::read(self.scope.store(), self.name, self.scope.keys).await?.proven())
    }

    async fn put(&self, says: &Hold) -> Result<()> {
        Ok(statements::put(self.scope.store(), &self.header, &self.data_key, says).await?)
    }

    async fn look(&self) -> Result<()> {
        let forgotten = statements::read(self.scope.store(), self.name, self.scope.keys).await?;
        refuse_swept(self.name, &forgotten)?;
        exists(self.scope, self.name).await
    }

    fn contended(&self) -> Error {
        let (store, key) = (self.scope.catalog.url(), self.name.key(ObjectKind::Hold));
        let reason = "another process changes it at the same moment. Look what is true of the backup now, then run this again";
        Storage::from(StoreError::new(StoreErrorKind::AlreadyExists, store, "write", key, reason)).into()
    }
}

/// Times are written to the second.
fn is_same(one: &Hold, other: &Hold) -> bool {
    let says = |hold: &Hold| {
        (hold.time.timestamp(), hold.by.clone(), hold.why.clone(), hold.held, hold.unforgets.clone())
    };
    says(one) == says(other)
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
