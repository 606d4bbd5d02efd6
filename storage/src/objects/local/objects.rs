//! Whole objects of a folder store.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use uuid::Uuid;

use super::fault::{LocalError, LocalResult};
use super::files::{PUT, give_name, new_file, remove_if_left, sweep_below, sync_folder};
use super::store::LocalStore;
use crate::disk::leftovers;
use crate::objects::object::{ObjectInfo, Page, unix_ms};

/// What a file takes of a disk is a multiple of it, on most.
const BLOCK_BYTES: u64 = 4096;
/// Objects in one page of a listing.
const PAGE: usize = 1000;

#[cfg(unix)]
fn is_shared(file: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) > 1
}

#[cfg(not(unix))]
fn is_shared(_: &fs::Metadata) -> bool {
    false
}

impl LocalStore {
    pub(super) fn put_now(&self, key: &str, body: &[u8], if_absent: bool) -> LocalResult<()> {
        let target = self.path(key)?;
        let folder = target.parent().unwrap_or(&self.root);
        self.prepare_now()?;
        self.create_folders(folder)?;
        self.sweep(key);
        let hidden = folder.join(format!("{PUT}{}", Uuid::new_v4()));
        let written: LocalResult<()> = (|| {
            let mut file = new_file(&hidden)?;
            leftovers::hold(&file);
            file.write_all(body)?;
            file.sync_all()?;
            give_name(&hidden, &target, if_absent)?;
            Ok(sync_folder(folder)?)
        })();
        if written.is_err() || if_absent {
            // The first error is the one to tell; the leftover is hidden and has no meaning.
            let _ = fs::remove_file(&hidden);
        }
        written
    }

    /// Puts an object on a disk without room for another file: into the file that it has. `full` is answered where there is none,
    /// or none with enough room.
    pub(super) fn overwrite_now(&self, key: &str, body: &[u8], full: LocalError) -> LocalResult<()> {
        let target = self.path(key)?;
        self.check_mark()?;
        let has_room = |found: fs::Metadata| {
            found.is_file() && body.len() as u64 <= found.len().next_multiple_of(BLOCK_BYTES)
        };
        // What has a second name would be altered there too: a copy of the folder that was made of links.
        if !fs::symlink_metadata(&target).is_ok_and(|found| !is_shared(&found) && has_room(found)) {
            return Err(full);
        }
        let mut file = fs::OpenOptions::new().write(true).open(&target)?;
        file.write_all(body)?;
        file.set_len(body.len() as u64)?;
        Ok(file.sync_all()?)
    }

    pub(super) fn delete_now(&self, key: &str) -> LocalResult<()> {
        let path = self.path(key)?;
        self.check_mark()?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        }
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
            self.remove_empty(folder);
        }
        Ok(())
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

    pub(super) fn list_now(&self, prefix: &str, after: Option<&str>) -> LocalResult<Page> {
        let mut found = BTreeMap::new();
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if folder.is_empty() { (*self.root).clone() } else { self.path(folder)? };
        self.collect(&start, folder, prefix, after.unwrap_or(""), &mut found)?;
        let more = found.len() > PAGE;
        let objects = found
            .into_iter()
            .take(PAGE)
            .map(|(key, (bytes, modified_ms))| ObjectInfo { key, bytes, modified_ms })
            .collect();
        Ok(Page { objects, more })
    }

    fn collect(
        &self,
        folder: &Path,
        key: &str,
        prefix: &str,
        after: &str,
        found: &mut BTreeMap<String, (u64, Option<i64>)>,
    ) -> LocalResult<()> {
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
                let metadata = entry.metadata()?;
                let modified_ms = metadata.modified().ok().and_then(unix_ms);
                found.insert(child, (metadata.len(), modified_ms));
                if found.len() > PAGE + 1 {
                    found.pop_last();
                }
            }
        }
        Ok(())
    }
}
