//! A folder as a store.
//!
//! An object is a file that was written beside its place, synced, and renamed. A multipart upload is one hidden
//! file into which parts are written at their offsets, and a journal beside it:
//!
//! ```text
//! .<name>.upload-<id>          the bytes
//! .<name>.upload-<id>.parts    one JSON line for each part that is durable
//! ```
//! A part's line is written after its bytes were synced, and is synced itself before the part is acknowledged.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ObjectInfo, ObjectStore, Page, Part, PartReceipt, StoreUrl, Upload};
use crate::{Result, StoreError, StoreErrorKind};

const PAGE: usize = 1000;

/// A folder as a store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<PathBuf>,
}

/// One line of a journal.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    number: u32,
    offset: u64,
    bytes: u64,
    #[serde(with = "crate::text::hex_digest")]
    sha256: [u8; 32],
}

impl LocalStore {
    /// Opens a folder, and makes it if only its last component is missing: a network folder that is not mounted
    /// must not be replaced by a local one.
    ///
    /// # Errors
    /// `NoSuchStore` when the folder above does not exist either.
    pub async fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let store = Self { root: Arc::new(root) };
        store
            .run("open", "", |store, _| match fs::metadata(&*store.root) {
                Ok(found) if found.is_dir() => Ok(()),
                Ok(_) => Err(io::Error::from(io::ErrorKind::NotADirectory).into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    create_folder(&store.root).map_err(|e| match e.kind() {
                        io::ErrorKind::NotFound => {
                            Fault(StoreErrorKind::NoSuchStore, "the folder above does not exist".into())
                        }
                        _ => e.into(),
                    })
                }
                Err(e) => Err(e.into()),
            })
            .await?;
        Ok(store)
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
        outcome.map_err(|Fault(kind, reason)| {
            StoreError { kind, store: self.url(), operation, key: key.to_owned(), reason }.into()
        })
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

    fn upload_paths(&self, upload: &Upload) -> Outcome<(PathBuf, PathBuf, PathBuf)> {
        let target = self.path(&upload.key)?;
        if Uuid::try_parse(&upload.id).is_err() {
            return Err(gone());
        }
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Err(gone()) };
        let hidden = |suffix: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".upload-{}{suffix}", upload.id));
            folder.join(hidden)
        };
        Ok((hidden(""), hidden(".parts"), target))
    }

    /// Makes the folders of a path below the root; the root itself must be there.
    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root.as_path() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.create_folders(above)?;
        }
        create_folder(folder)
    }

    fn put_now(&self, key: &str, body: &[u8]) -> Outcome<()> {
        let target = self.path(key)?;
        let folder = target.parent().unwrap_or(&self.root);
        self.create_folders(folder)?;
        let hidden = folder.join(format!(".put-{}", Uuid::new_v4()));
        let written = (|| {
            let mut file = new_file(&hidden)?;
            file.write_all(body)?;
            file.sync_all()?;
            fs::rename(&hidden, &target)?;
            sync_folder(folder)
        })();
        if written.is_err() {
            // The first error is the one to tell; the leftover is hidden and has no meaning.
            let _ = fs::remove_file(&hidden);
        }
        Ok(written?)
    }

    fn put_part_now(&self, upload: &Upload, part: &Part) -> Outcome<PartReceipt> {
        if <[u8; 32]>::from(Sha256::digest(&part.body)) != part.sha256 {
            return Err(Fault(
                StoreErrorKind::ChecksumMismatch,
                "the part has another SHA-256 than was announced".into(),
            ));
        }
        let (data, journal, _) = self.upload_paths(upload)?;
        let mut file = OpenOptions::new().write(true).open(data).map_err(upload_fault)?;
        file.seek(SeekFrom::Start(part.offset))?;
        file.write_all(&part.body)?;
        file.sync_data()?;
        let record = Record {
            number: part.number,
            offset: part.offset,
            bytes: part.body.len() as u64,
            sha256: part.sha256,
        };
        let line = serde_json::to_string(&record).map_err(io::Error::from)?;
        let mut journal = OpenOptions::new().append(true).open(journal).map_err(upload_fault)?;
        // The newline before ends a line that a crash may have torn.
        journal.write_all(format!("\n{line}\n").as_bytes())?;
        journal.sync_data()?;
        Ok(receipt(&record))
    }

    fn records(&self, upload: &Upload) -> Outcome<BTreeMap<u32, Record>> {
        let (_, journal, _) = self.upload_paths(upload)?;
        let text = fs::read_to_string(journal).map_err(upload_fault)?;
        // A torn line is a part that was never acknowledged.
        let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        Ok(records.map(|record| (record.number, record)).collect())
    }

    fn complete_now(&self, upload: &Upload, parts: &[PartReceipt]) -> Outcome<()> {
        let (data, journal, target) = self.upload_paths(upload)?;
        let records = self.records(upload)?;
        let mut end = 0;
        for (i, part) in parts.iter().enumerate() {
            let record = records.get(&part.number).filter(|_| part.number as usize == i + 1);
            let Some(record) = record.filter(|r| receipt(r) == *part && r.offset == end) else {
                return Err(rejected(format!("part {} is not as it was received", part.number)));
            };
            end += record.bytes;
        }
        if parts.is_empty() {
            return Err(rejected("an upload needs at least one part"));
        }
        let file = OpenOptions::new().write(true).open(&data).map_err(upload_fault)?;
        file.set_len(end)?;
        file.sync_all()?;
        fs::rename(&data, &target)?;
        sync_folder(target.parent().unwrap_or(&self.root))?;
        Ok(fs::remove_file(journal)?)
    }

    fn abort_now(&self, upload: &Upload) -> Outcome<()> {
        let Ok((data, journal, target)) = self.upload_paths(upload) else { return Ok(()) };
        for path in [data, journal] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        // Folders that the upload alone had need of go with it; one that is not empty refuses.
        let mut folder = target.parent();
        while let Some(empty) = folder.filter(|f| *f != self.root.as_path()) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
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

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.run("write", key, move |store, key| store.put_now(key, &body)).await
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
        self.run("begin an upload of", key, |store, key| {
            let upload = Upload { key: key.to_owned(), id: Uuid::new_v4().to_string() };
            let (data, journal, _) = store.upload_paths(&upload)?;
            let folder = data.parent().unwrap_or(&store.root);
            store.create_folders(folder)?;
            new_file(&data)?;
            new_file(&journal)?;
            sync_folder(folder)?;
            Ok(upload)
        })
        .await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let (upload, part) = (upload.clone(), part.clone());
        let key = upload.key.clone();
        self.run("write a part of", &key, move |store, _| store.put_part_now(&upload, &part)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("list the parts of", &key, move |store, _| {
            Ok(store.records(&upload)?.values().map(receipt).collect())
        })
        .await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()> {
        let (key, upload, parts) = (upload.key.clone(), upload.clone(), parts.to_vec());
        self.run("complete", &key, move |store, _| store.complete_now(&upload, &parts)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let (key, upload) = (upload.key.clone(), upload.clone());
        self.run("abort the upload of", &key, move |store, _| store.abort_now(&upload)).await
    }
}

fn receipt(record: &Record) -> PartReceipt {
    let etag = hex::encode(record.sha256);
    PartReceipt { number: record.number, bytes: record.bytes, sha256: Some(record.sha256), etag }
}

/// What went wrong, before the store's URL and the key are added.
struct Fault(StoreErrorKind, String);

type Outcome<T> = std::result::Result<T, Fault>;

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        let kind = match e.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreErrorKind::AccessDenied
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreErrorKind::Full
            }
            io::ErrorKind::NotADirectory => StoreErrorKind::NoSuchStore,
            io::ErrorKind::TimedOut => StoreErrorKind::Timeout,
            _ => StoreErrorKind::ServerFault,
        };
        Self(kind, e.to_string())
    }
}

fn rejected(reason: impl Into<String>) -> Fault {
    Fault(StoreErrorKind::Rejected, reason.into())
}

fn gone() -> Fault {
    Fault(StoreErrorKind::UploadGone, "there is no such upload".to_owned())
}

fn upload_fault(e: io::Error) -> Fault {
    if e.kind() == io::ErrorKind::NotFound { gone() } else { e.into() }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
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
