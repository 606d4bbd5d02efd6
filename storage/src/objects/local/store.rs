//! The folder of a store: opening it, and making it ready to be written to.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::fault::{LocalError, LocalResult, missing, nothing_above, rejected};
use super::files::create_folder;
use super::mark;
use crate::catalog::layout;
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::url::StoreUrl;

/// A folder as a store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    pub(super) root: Arc<PathBuf>,
    /// Which store it is, once that is known: it was found, or made.
    pub(super) id: Arc<OnceLock<String>>,
    /// Folders below which this store has looked for what processes that died have left.
    pub(super) swept: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl LocalStore {
    /// Opens a folder. One that is missing is made when it is first written to, if only its last component is missing:
    /// a network folder that is not mounted must not be replaced by a local one.
    ///
    /// # Errors
    /// `NoSuchStore` when the folder above does not exist either.
    pub async fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let store = Self { root: Arc::new(root), id: Arc::default(), swept: Arc::default() };
        store.run("use the folder", "", |store, _| store.open_now()).await?;
        Ok(store)
    }

    fn open_now(&self) -> LocalResult<()> {
        match fs::metadata(&*self.root) {
            Ok(found) if !found.is_dir() => return Err(io::Error::from(io::ErrorKind::NotADirectory).into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let is_there = self.root.parent().is_some_and(Path::is_dir);
                return if is_there { Ok(()) } else { Err(nothing_above()) };
            }
            Err(e) => return Err(e.into()),
        }
        // Whoever only reads need not be able to read the mark.
        if let Ok(Some(id)) = mark::read(&self.root) {
            self.id.get_or_init(|| id);
        }
        Ok(())
    }

    /// Fails where the folder is missing.
    ///
    /// # Errors
    /// `NoSuchStore`.
    pub async fn check_exists(&self) -> Result<()> {
        let look = |store: &Self, _: &str| if store.root.is_dir() { Ok(()) } else { Err(missing()) };
        self.run("use the folder", "", look).await
    }

    /// Whether this is known to be the store that it was: one that was seen before must still bear its mark, for its
    /// disk may have been unmounted since.
    pub(super) fn check_mark(&self) -> LocalResult<bool> {
        let Some(id) = self.id.get() else { return Ok(false) };
        match mark::read(&self.root)? {
            Some(found) if found == *id => Ok(true),
            _ => Err(LocalError(
                StoreErrorKind::OtherStore,
                "its mark (.intellistor-store) is gone".to_owned(),
            )),
        }
    }

    /// Makes the folder ready to be written to: a new one is created and gets its mark.
    pub(super) fn prepare_now(&self) -> LocalResult<()> {
        if self.check_mark()? {
            return Ok(());
        }
        let is_new = !self.root.exists();
        if is_new {
            create_folder(&self.root).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => nothing_above(),
                _ => e.into(),
            })?;
        }
        let held_backups = self.root.join(layout::BACKUPS).exists();
        let id = mark::read_or_make(&self.root)?;
        self.id.get_or_init(|| id);
        if !held_backups {
            tracing::info!(folder = %self.root.display(), "created a new store");
        }
        Ok(())
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Self, &str) -> LocalResult<T> + Send + 'static,
    ) -> Result<T> {
        let (store, owned) = (self.clone(), key.to_owned());
        let outcome = tokio::task::spawn_blocking(move || work(&store, &owned)).await;
        let outcome = outcome.unwrap_or_else(|e| Err(io::Error::other(e).into()));
        outcome.map_err(|LocalError(kind, reason)| {
            StoreError::new(kind, StoreUrl::local(&self.root).to_string(), operation, key, reason).into()
        })
    }

    pub(super) fn path(&self, key: &str) -> LocalResult<PathBuf> {
        let relative = Path::new(key);
        let plain = !key.is_empty()
            && !key.contains(['\\', '\0'])
            && !key.ends_with('/')
            && !key.contains("//")
            && relative.components().all(|c| matches!(c, Component::Normal(_)));
        if plain {
            Ok(self.root.join(relative))
        } else {
            Err(rejected("the key is not a plain relative path"))
        }
    }

    /// Makes the folders of a path below the root, which itself must be there.
    pub(super) fn create_folders(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root.as_path() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.create_folders(above)?;
        }
        create_folder(folder)
    }

    /// Removes the folders that hold nothing any more, from `folder` up to the root.
    pub(super) fn remove_empty(&self, folder: &Path) {
        let below = |folder: &&Path| *folder != self.root.as_path();
        for folder in folder.ancestors().take_while(below) {
            // One that is not empty refuses.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}
