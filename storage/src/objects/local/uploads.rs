//! Multipart uploads of a folder store.
//!
//! An upload is one hidden file into which parts are written at their offsets, and a journal beside it:
//!
//! ```text
//! .<name>.upload-<id>          the bytes
//! .<name>.upload-<id>.parts    JSON lines: one for each part that is durable
//! ```
//! A part's line is written after its bytes were synced, and is synced itself before the part is acknowledged. Where
//! bytes of another part are overwritten, a line without a digest says so first: that part is no longer durable. So
//! what the journal names is in the file, whenever
//! a process dies.
//!
//! Two processes may share an upload, since an agent's home can be copied. Each has the journal locked for as long as
//! it has the bytes open: neither writes into a part of the other, nor into a completed object.
//!
//! A crash may leave one of the two files alone: that is listed as unfinished as well, so that it can be aborted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::fault::{LocalError, LocalResult, rejected};
use super::files::{give_name, new_file, remove_if_left, sync_folder};
use super::journal::{Record, Records};
use super::store::LocalStore;
use crate::objects::error::StoreErrorKind;
use crate::objects::object::unix_ms;
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload, in_order};

const MARK: &str = ".upload-";
const JOURNAL: &str = ".parts";
/// Another process has an upload locked while it writes one part, or completes the object.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
/// An upload that this process alone works on.
struct Locked {
    data: File,
    journal: File,
    data_path: PathBuf,
    journal_path: PathBuf,
    target: PathBuf,
}

impl Locked {
    fn length(&self) -> LocalResult<u64> {
        Ok(self.data.metadata()?.len())
    }

    /// The parts that are durable.
    fn records(&mut self) -> LocalResult<Records> {
        let mut lines = Vec::new();
        self.journal.seek(SeekFrom::Start(0))?;
        self.journal.read_to_end(&mut lines)?;
        let mut records = Records::default();
        lines.split(|byte| *byte == b'\n').filter_map(Record::parse).for_each(|record| records.take(record));
        Ok(records)
    }

    /// The durable parts that are still in the file: it may have been cut, or replaced.
    fn parts(&mut self) -> LocalResult<Records> {
        let (mut records, length) = (self.records()?, self.length()?);
        records.by_offset.retain(|_, record| record.is_in(&self.data, length));
        Ok(records)
    }

    fn note(&mut self, record: &Record) -> LocalResult<()> {
        let line = serde_json::to_string(record).map_err(io::Error::from)?;
        // The newline before ends a line that a crash may have torn.
        self.journal.write_all(format!("\n{line}\n").as_bytes())?;
        Ok(self.journal.sync_data()?)
    }
}

impl LocalStore {
    fn upload_paths(&self, upload: &Upload) -> LocalResult<(PathBuf, PathBuf, PathBuf)> {
        let target = self.path(&upload.key)?;
        if Uuid::try_parse(&upload.id).is_err() {
            return Err(gone());
        }
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Err(gone()) };
        let hidden = |suffix: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!("{MARK}{}{suffix}", upload.id));
            folder.join(hidden)
        };
        Ok((hidden(""), hidden(JOURNAL), target))
    }

    pub(super) fn begin_now(&self, key: &str) -> LocalResult<Upload> {
        let upload = Upload { key: key.to_owned(), id: Uuid::new_v4().to_string() };
        let (data, journal, _) = self.upload_paths(&upload)?;
        let folder = data.parent().unwrap_or(&self.root);
        self.prepare_now()?;
        self.create_folders(folder)?;
        new_file(&data)?;
        new_file(&journal)?;
        sync_folder(folder)?;
        Ok(upload)
    }

    fn lock(&self, upload: &Upload) -> LocalResult<Locked> {
        let (data_path, journal_path, target) = self.upload_paths(upload)?;
        let open = |options: &mut OpenOptions, path| options.read(true).open(path).map_err(upload_fault);
        let journal = open(OpenOptions::new().append(true), &journal_path)?;
        let begun = Instant::now();
        loop {
            match journal.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    let reason =
                        format!("another process has held the lock of the upload for {LOCK_TIMEOUT:?}");
                    return Err(LocalError(StoreErrorKind::Timeout, reason));
                }
                // Some network file systems have no locks.
                Err(TryLockError::Error(_)) => break,
            }
        }
        // Only now: whoever had the lock may have completed the upload.
        let data = open(OpenOptions::new().write(true), &data_path)?;
        if is_same_file(&data.metadata()?, &target) {
            return Err(gone());
        }
        Ok(Locked { data, journal, data_path, journal_path, target })
    }

    pub(super) fn put_part_now(&self, upload: &Upload, part: &Part) -> LocalResult<PartReceipt> {
        let mut locked = self.lock(upload)?;
        let record = Record::new(part).ok_or_else(|| rejected("the part ends nowhere"))?;
        // Nothing is durable behind the end of the file.
        if record.offset < locked.length()?
            && locked.records()?.overwritten_by(&record).is_some_and(|other| *other != record)
        {
            locked.note(&record.about_to_be())?;
        }
        locked.data.seek(SeekFrom::Start(part.offset))?;
        locked.data.write_all(&part.body)?;
        locked.data.sync_data()?;
        locked.note(&record)?;
        record.receipt().ok_or_else(gone)
    }

    pub(super) fn list_parts_now(&self, upload: &Upload) -> LocalResult<Vec<PartReceipt>> {
        let held = self.lock(upload)?.parts()?;
        Ok(held.offsets.keys().filter_map(|number| held.of(*number)?.receipt()).collect())
    }

    pub(super) fn complete_now(
        &self,
        upload: &Upload,
        parts: &[PartReceipt],
        if_absent: bool,
    ) -> LocalResult<()> {
        let mut locked = self.lock(upload)?;
        let held = locked.parts()?;
        let mut end = 0;
        for (i, part) in parts.iter().enumerate() {
            let record = held.of(part.number).filter(|_| part.number as usize == i + 1);
            let Some(record) =
                record.filter(|r| r.offset == end && r.receipt().is_some_and(|held| held == *part))
            else {
                return Err(rejected(format!("part {} is not what was received", part.number)));
            };
            end = record.end();
        }
        if parts.is_empty() {
            return Err(rejected("an upload needs at least one part"));
        }
        // What is held ends there or before: this cuts, and never fills up.
        locked.data.set_len(end)?;
        locked.data.sync_all()?;
        give_name(&locked.data_path, &locked.target, if_absent)?;
        sync_folder(locked.target.parent().unwrap_or(&self.root))?;
        // The journal first: without it nothing is written any more.
        fs::remove_file(&locked.journal_path)?;
        match fs::remove_file(&locked.data_path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn abort_now(&self, upload: &Upload) -> LocalResult<()> {
        let Ok((data, journal, target)) = self.upload_paths(upload) else { return Ok(()) };
        for path in [data, journal] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        if let Some(folder) = target.parent() {
            self.remove_empty(folder);
        }
        Ok(())
    }

    pub(super) fn last_part_ms_now(&self, upload: &Upload) -> LocalResult<Option<i64>> {
        let (_, journal, _) = self.upload_paths(upload)?;
        let journal = fs::metadata(journal).map_err(upload_fault)?;
        Ok((journal.len() > 0).then(|| journal.modified().ok().and_then(unix_ms)).flatten())
    }

    pub(super) fn list_uploads_now(&self, prefix: &str) -> LocalResult<Vec<UnfinishedUpload>> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if folder.is_empty() { (*self.root).clone() } else { self.path(folder)? };
        let mut found = BTreeMap::new();
        collect(&start, folder, prefix, &mut found)?;
        let found = found
            .into_iter()
            .map(|((key, id), began_ms)| UnfinishedUpload { upload: Upload { key, id }, began_ms });
        Ok(in_order(found.collect()))
    }
}

/// Finds uploads below a folder: key and id, and when each was begun.
fn collect(
    folder: &Path,
    key: &str,
    prefix: &str,
    found: &mut BTreeMap<(String, String), Option<i64>>,
) -> LocalResult<()> {
    let entries = match fs::read_dir(folder) {
        // Another run may have removed it in the same moment.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        remove_if_left(&entry);
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let child = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
        if let Some((name, id)) = upload_of(name) {
            let key = child(name);
            if key.starts_with(prefix) {
                found.entry((key, id.to_owned())).or_insert_with(|| began(&entry));
            }
        } else if !name.starts_with('.') && entry.file_type()?.is_dir() {
            let below = child(name) + "/";
            if below.starts_with(prefix) || prefix.starts_with(&below) {
                collect(&entry.path(), &child(name), prefix, found)?;
            }
        }
    }
    Ok(())
}

/// The object's name and the upload's id, from the name of one of the upload's files.
fn upload_of(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix('.')?;
    let (name, id) = name.strip_suffix(JOURNAL).unwrap_or(name).rsplit_once(MARK)?;
    Uuid::try_parse(id).is_ok().then_some((name, id))
}

/// Not every file system keeps the time of creation; the time of the last part is the next best.
fn began(entry: &fs::DirEntry) -> Option<i64> {
    let found = entry.metadata().ok()?;
    unix_ms(found.created().or_else(|_| found.modified()).ok()?)
}

fn gone() -> LocalError {
    LocalError(StoreErrorKind::UploadGone, "there is no such upload".to_owned())
}

fn upload_fault(e: io::Error) -> LocalError {
    if e.kind() == io::ErrorKind::NotFound { gone() } else { e.into() }
}

/// Whether `path` is another name of a file: a crash may have come before the first name was removed.
#[cfg(unix)]
fn is_same_file(file: &fs::Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|other| (file.dev(), file.ino()) == (other.dev(), other.ino()))
}

/// Windows tells the number of a file only through a handle; there a crash in that moment leaves the name behind.
#[cfg(not(unix))]
fn is_same_file(_: &fs::Metadata, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests;
