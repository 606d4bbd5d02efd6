//! A folder as a store.
//!
//! An object is a file that was written beside its place, synced, and renamed. Names that begin with a dot are
//! what is under way, and no objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    ObjectInfo, ObjectStore, Page, Part, PartReceipt, PutOptions, StoreFolder, UnfinishedUpload, Upload,
};
use crate::catalog::layout;
use crate::disk::{leftovers, private_folder, shortage};
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::url::StoreUrl;

mod mark;
mod uploads;

pub use mark::FILE as STORE_MARK;

const PAGE: usize = 1000;
/// What an object is called before it has its name.
const PUT: &str = ".put-";

/// A folder as a store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<PathBuf>,
    /// Which store it is, once that is known: it was found, or made.
    id: Arc<OnceLock<String>>,
    /// Folders below which this store has looked for what processes that died have left.
    swept: Arc<Mutex<BTreeSet<PathBuf>>>,
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

    fn open_now(&self) -> Outcome<()> {
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

    /// Makes the folder ready to be written to: a new one is made and gets its mark, and one that was seen before must
    /// still bear it, for its disk may have been unmounted since.
    fn prepare_now(&self) -> Outcome<()> {
        if let Some(id) = self.id.get() {
            return match mark::read(&self.root)? {
                Some(found) if found == *id => Ok(()),
                _ => {
                    Err(Fault(StoreErrorKind::OtherStore, "its mark (.intellistor-store) is gone".to_owned()))
                }
            };
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

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Self, &str) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let (store, owned) = (self.clone(), key.to_owned());
        let outcome = tokio::task::spawn_blocking(move || work(&store, &owned)).await;
        let outcome = outcome.unwrap_or_else(|e| Err(io::Error::other(e).into()));
        outcome
            .map_err(|Fault(kind, reason)| StoreError::new(kind, self.url(), operation, key, reason).into())
    }

    fn path(&self, key: &str) -> Outcome<PathBuf> {
        let relative = Path::new(key);
        let plain = !key.is_empty()
            && !key.contains(['\\', '\0'])
            && !key.ends_with('/')
            && !key.contains("//")
            && relative.components().all(|c| matches!(c, Component::Normal(_)));
        if plain { Ok(self.root.join(relative)) } else { Err(rejected("the key is no plain relative path")) }
    }

    /// Makes the folders of a path below the root, which itself must be there.
    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root.as_path() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.create_folders(above)?;
        }
        create_folder(folder)
    }

    fn put_now(&self, key: &str, body: &[u8], options: PutOptions) -> Outcome<()> {
        let target = self.path(key)?;
        let folder = target.parent().unwrap_or(&self.root);
        self.prepare_now()?;
        self.create_folders(folder)?;
        self.sweep(key);
        let hidden = folder.join(format!("{PUT}{}", Uuid::new_v4()));
        let written: Outcome<()> = (|| {
            let mut file = new_file(&hidden)?;
            leftovers::hold(&file);
            file.write_all(body)?;
            file.sync_all()?;
            give_name(&hidden, &target, options)?;
            Ok(sync_folder(folder)?)
        })();
        if written.is_err() || options.if_absent {
            // The first error is the one to tell; the leftover is hidden and has no meaning.
            let _ = fs::remove_file(&hidden);
        }
        written
    }

    /// Removes what earlier puts of a policy have left, once; listings pass all folders anyway, and do the same.
    fn sweep(&self, key: &str) {
        let policy: PathBuf = Path::new(key).components().take(2).collect();
        let folder = self.root.join(policy);
        let is_first = self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone());
        if is_first {
            sweep_below(&folder);
        }
    }

    fn list_now(&self, prefix: &str, after: Option<&str>) -> Outcome<Page> {
        let mut found = BTreeMap::new();
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if folder.is_empty() { (*self.root).clone() } else { self.path(folder)? };
        self.collect(&start, folder, prefix, after.unwrap_or(""), &mut found)?;
        let more = found.len() > PAGE;
        let objects = found.into_iter().take(PAGE).map(|(key, bytes)| ObjectInfo { key, bytes }).collect();
        Ok(Page { objects, more })
    }

    fn collect(
        &self,
        folder: &Path,
        key: &str,
        prefix: &str,
        after: &str,
        found: &mut BTreeMap<String, u64>,
    ) -> Outcome<()> {
        let entries = match fs::read_dir(folder) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            remove_if_left(&entry);
            // What is no text or hidden is none of ours.
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let child = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let below = format!("{child}/");
                let reaches = below.starts_with(prefix) || prefix.starts_with(&below);
                let passed = below.as_str() < after && !after.starts_with(&below);
                if reaches && !passed {
                    self.collect(&entry.path(), &child, prefix, after, found)?;
                }
            } else if kind.is_file() && child.starts_with(prefix) && child.as_str() > after {
                found.insert(child, entry.metadata()?.len());
                if found.len() > PAGE + 1 {
                    found.pop_last();
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    fn url(&self) -> String {
        StoreUrl::local(&self.root).to_string()
    }

    fn folders(&self) -> Vec<StoreFolder> {
        vec![StoreFolder { path: (*self.root).clone(), id: self.id.get().cloned() }]
    }

    async fn prepare(&self) -> Result<()> {
        self.run("write to", "the folder", |store, _| store.prepare_now()).await
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        self.run("write", key, move |store, key| store.put_now(key, &body, options)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.run("read", key, move |store, key| {
            let mut file = File::open(store.path(key)?)?;
            let end = file.metadata()?.len().min(range.end);
            let mut bytes = Vec::with_capacity(end.saturating_sub(range.start) as usize);
            file.seek(SeekFrom::Start(range.start))?;
            file.take(end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.run("look up", key, |store, key| match fs::metadata(store.path(key)?) {
            Ok(found) => Ok(found.is_file().then_some(found.len())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e.into()),
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let after = after.map(str::to_owned);
        self.run("list", prefix, move |store, prefix| store.list_now(prefix, after.as_deref())).await
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        self.run("begin an upload of", key, |store, key| store.begin_now(key)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let (upload, part) = (upload.clone(), part.clone());
        let key = upload.key.clone();
        self.run("write a part of", &key, move |store, _| store.put_part_now(&upload, &part)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("list the parts of", &key, move |store, _| store.list_parts_now(&upload)).await
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()> {
        let (key, upload, parts) = (upload.key.clone(), upload.clone(), parts.to_vec());
        self.run("complete", &key, move |store, _| store.complete_now(&upload, &parts, options)).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.run("list the uploads under", prefix, |store, prefix| store.list_uploads_now(prefix)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("abort the upload of", &key, move |store, _| store.abort_now(&upload)).await
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("look at the upload of", &key, move |store, _| store.last_part_ms_now(&upload)).await
    }
}

/// What went wrong, before the store's URL and the key are added.
struct Fault(StoreErrorKind, String);

type Outcome<T> = std::result::Result<T, Fault>;

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        let kind = match e.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => StoreErrorKind::FolderDenied,
            io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            io::ErrorKind::FileTooLarge => StoreErrorKind::FileTooLarge,
            io::ErrorKind::NotADirectory => StoreErrorKind::NoSuchStore,
            io::ErrorKind::TimedOut => StoreErrorKind::Timeout,
            _ => StoreErrorKind::ServerFault,
        };
        Self(kind, format!("{e}{}", shortage::advice(&e)))
    }
}

fn nothing_above() -> Fault {
    Fault(StoreErrorKind::NoSuchStore, "the folder above does not exist".to_owned())
}

fn rejected(reason: impl Into<String>) -> Fault {
    Fault(StoreErrorKind::Rejected, reason.into())
}

/// Makes an object of a hidden file. The hidden name may be left, and is the caller's to remove.
fn give_name(hidden: &Path, target: &Path, options: PutOptions) -> Outcome<()> {
    if !options.if_absent {
        return Ok(fs::rename(hidden, target)?);
    }
    // A rename would replace; a second name for the file is refused where there is one.
    match fs::hard_link(hidden, target) {
        Ok(()) => Ok(()),
        // exFAT and some network folders have no second names; there a look has to do.
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists && fs::symlink_metadata(target).is_err() => {
            Ok(fs::rename(hidden, target)?)
        }
        Err(_) => Err(Fault(StoreErrorKind::AlreadyExists, "there is such an object already".to_owned())),
    }
}

/// What a put that was killed has left.
fn remove_if_left(entry: &fs::DirEntry) {
    if entry.file_name().to_str().is_some_and(|name| name.starts_with(PUT)) {
        leftovers::remove_abandoned(&entry.path());
    }
}

fn sweep_below(folder: &Path) {
    // What cannot be listed says so to those who need it.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove_if_left(&entry);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_below(&entry.path());
        }
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_folder(path: &Path) -> io::Result<()> {
    match private_folder::private().create(path) {
        // Another run may have made it in the same moment.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
    }
}

/// Makes a rename or a new name in a folder survive a crash. Windows journals names by itself.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
