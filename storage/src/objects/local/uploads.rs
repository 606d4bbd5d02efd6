//! Multipart uploads of a folder store.
//!
//! An upload is one hidden file into which parts are written at their offsets, and a journal beside it:
//!
//! ```text
//! .<name>.upload-<id>          the bytes
//! .<name>.upload-<id>.parts    one JSON line for each part that is durable
//! ```
//! A part's line is written after its bytes were synced, and is synced itself before the part is acknowledged.
//! A crash may leave one of the two alone: that is listed as unfinished as well, so that it can be aborted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Fault, LocalStore, Outcome, new_file, rejected, sync_folder};
use crate::StoreErrorKind;
use crate::objects::{Part, PartReceipt, UnfinishedUpload, Upload, in_order, unix_ms};

const MARK: &str = ".upload-";
const JOURNAL: &str = ".parts";

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
    fn upload_paths(&self, upload: &Upload) -> Outcome<(PathBuf, PathBuf, PathBuf)> {
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

    pub(super) fn begin_now(&self, key: &str) -> Outcome<Upload> {
        let upload = Upload { key: key.to_owned(), id: Uuid::new_v4().to_string() };
        let (data, journal, _) = self.upload_paths(&upload)?;
        let folder = data.parent().unwrap_or(&self.root);
        self.create_folders(folder)?;
        new_file(&data)?;
        new_file(&journal)?;
        sync_folder(folder)?;
        Ok(upload)
    }

    pub(super) fn put_part_now(&self, upload: &Upload, part: &Part) -> Outcome<PartReceipt> {
        let (data, journal, _) = self.upload_paths(upload)?;
        let mut file = OpenOptions::new().write(true).open(data).map_err(upload_fault)?;
        file.seek(SeekFrom::Start(part.offset))?;
        file.write_all(&part.body)?;
        file.sync_data()?;
        let record = Record {
            number: part.number,
            offset: part.offset,
            bytes: part.body.len() as u64,
            sha256: part.body.sha256(),
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

    pub(super) fn list_parts_now(&self, upload: &Upload) -> Outcome<Vec<PartReceipt>> {
        Ok(self.records(upload)?.values().map(receipt).collect())
    }

    pub(super) fn complete_now(&self, upload: &Upload, parts: &[PartReceipt]) -> Outcome<()> {
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

    pub(super) fn abort_now(&self, upload: &Upload) -> Outcome<()> {
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

    pub(super) fn list_uploads_now(&self, prefix: &str) -> Outcome<Vec<UnfinishedUpload>> {
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
) -> Outcome<()> {
    let entries = match fs::read_dir(folder) {
        // Another run may have removed it in the same moment.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
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

fn receipt(record: &Record) -> PartReceipt {
    let etag = hex::encode(record.sha256);
    PartReceipt { number: record.number, bytes: record.bytes, sha256: Some(record.sha256), etag }
}

fn gone() -> Fault {
    Fault(StoreErrorKind::UploadGone, "there is no such upload".to_owned())
}

fn upload_fault(e: io::Error) -> Fault {
    if e.kind() == io::ErrorKind::NotFound { gone() } else { e.into() }
}
