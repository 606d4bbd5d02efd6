//! The folder that a restore writes into, and nothing outside it, whatever the archive says.
//!
//! **Sandbox law (must).** Every path is taken apart, refused unless each component is a plain name, and walked
//! from `--out` handle by handle without following a link. A parent that is a symbolic link is refused, whether
//! the archive planted it or it was there before. Files, links and their attributes go to a temporary name that
//! nobody can foresee, and take their own name by a rename: what was there before is replaced, never
//! written to. Owner, mode and times are set through a handle of what was made here, never by a name: whoever may write the
//! folder could put something else under it.
//!
//! **No loss law (must).** What cannot have its own name here gets another, and is told of: see `naming`.
//!
//! Files may be written on other threads, several at once: a folder's own attributes wait for those in it.
//!
//! Devices, sockets and pipes are never made. Set-user-ID and set-group-ID bits are applied only together with
//! the owner, which only root can do.

mod attributes;
mod file_writer;
mod folder;
mod folders;
mod naming;
mod path;
mod temporary;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::{Dir, OpenOptions};
use intellistor_storage::disk::shortage::is_shortage;
use intellistor_storage::manifest::Entry;

use crate::source::raw_name;
use attributes::Attributes;
pub use file_writer::{FilePlace, FileWriter};
use folder::Folder;
use folders::Folders;
use naming::Naming;
use temporary::{Identity, temporary_name};

/// Why an entry was not restored. The texts do not name the entry.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Occurs when an entry would leave the folder, or has a name that no file may have here. Nothing was written.
    #[error("refused: {0}")]
    Refused(String),
    /// Occurs when the system refuses this entry; others may go through.
    #[error("{0}")]
    Failed(String),
    /// Occurs when nothing more can be written: the disk or the quota is full, the disk is read-only, or the system is
    /// short of handles or memory.
    #[error("{0}")]
    Fatal(#[source] io::Error),
}

impl TargetError {
    /// Whether an error of the disk concerns all entries, or one.
    pub fn from_io(doing: &str, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
                Self::Fatal(error)
            }
            _ if is_shortage(&error) => Self::Fatal(error),
            ErrorKind::IsADirectory => Self::Failed("a folder of that name is in the way".to_owned()),
            _ => Self::Failed(format!("cannot {doing}: {error}")),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Target {
    out: PathBuf,
    created: bool,
    /// Opened while it can be: the mode that the root gets may forbid it later.
    whole: std::fs::File,
    folders: Folders,
    naming: Naming,
    restored: Restored,
}

impl Target {
    /// Opens `out`, which is made if it is missing, and sees that it can be written to.
    ///
    /// # Errors
    /// The system's own, when `out` cannot be made, opened or written to.
    pub fn open(out: &Path) -> io::Result<Self> {
        let created = !out.try_exists()?;
        std::fs::create_dir_all(out)?;
        let root = Folder::root(out)?;
        if !created {
            temporary::sweep(&root);
        }
        let probe = temporary_name();
        root.open_with(&probe, OpenOptions::new().write(true).create_new(true))?;
        root.remove_file(&probe)?;
        let whole = attributes::open_whole(&root)?;
        let (out, folders) = (out.to_owned(), Folders::new(root));
        let (naming, restored) = (Naming::new(), Restored::default());
        Ok(Self { out, created, whole, folders, naming, restored })
    }

    /// The folder, as it was given.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Makes a folder, or takes over the one that is there. Its attributes are applied when its content is done.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn directory(&mut self, entry: &Entry) -> Result<Vec<String>, TargetError> {
        let path = self.find_place(entry.raw_path())?;
        if !path.is_empty() || self.created {
            self.folders.make(&path, Attributes::from(entry))?;
        }
        Ok(self.folders.take_warnings())
    }

    /// Makes a symbolic link with the text that the entry has, wherever it points; nothing here ever follows it.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn symlink(&mut self, entry: &Entry) -> Result<Vec<String>, TargetError> {
        let Some(text) = entry.raw_link_target() else {
            return Err(TargetError::Refused("a symbolic link without a target".to_owned()));
        };
        let text = raw_name::from_bytes(text);
        let (dir, name) = self.place(entry.raw_path())?;
        let temporary = temporary_name();
        let attributes = Attributes::from(entry);
        attributes.symlink(&dir, &text, &temporary).map_err(|e| TargetError::from_io("make the link", e))?;
        let problems = attributes.apply_to_symlink(&dir, &temporary);
        take_name(&dir, &temporary, &name)?;
        let mut warnings = self.folders.take_warnings();
        warnings.extend(problems.into_iter().map(|problem| format!("{}: {problem}", entry.relative_path)));
        Ok(warnings)
    }

    /// Makes another name for a regular file that this run has restored; a copy where the file system has no links.
    ///
    /// # Errors
    /// [`TargetError`]; also when the file was not restored.
    pub fn hardlink(&mut self, entry: &Entry) -> Result<Vec<String>, TargetError> {
        let Some(target) = entry.raw_link_target() else {
            return Err(TargetError::Refused("a hard link without a target".to_owned()));
        };
        let target_path = self.find_place(target)?;
        let missing = || {
            let target = entry.link_target.as_deref().unwrap_or_default();
            TargetError::Failed(format!("it is another name of {target}, which was not restored"))
        };
        let Some((target_name, target_parents)) = target_path.split_last() else { return Err(missing()) };
        let (dir, name) = self.place(entry.raw_path())?;
        let target_dir = self.folders.find(target_parents)?;
        let found =
            Identity::of_name(&target_dir, target_name).filter(|it| self.restored.contains(target, *it));
        let Some(found) = found else { return Err(missing()) };
        let temporary = temporary_name();
        match target_dir.hard_link(target_name, &dir, &temporary) {
            Ok(()) => {
                if Identity::of_name(&dir, &temporary) != Some(found) {
                    let _ = dir.remove_file(&temporary);
                    return Err(missing());
                }
                take_name(&dir, &temporary, &name)?;
                // A rename does nothing when both names are the same file already.
                let _ = dir.remove_file(&temporary);
                self.restored.insert(entry.raw_path(), found);
                Ok(self.folders.take_warnings())
            }
            Err(e) => {
                let mut warnings = self.copy(&target_dir, target_name, found, entry)?;
                warnings
                    .push(format!("{}: restored as a copy, not as a hard link: {e}", entry.relative_path));
                Ok(warnings)
            }
        }
    }

    /// Finds the place of a regular file. Its folder counts as in use until the file has its name, or is dropped.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn file(&mut self, entry: &Entry) -> Result<FilePlace, TargetError> {
        let (dir, name) = self.place(entry.raw_path())?;
        let (temporary, restored) = (temporary_name(), self.restored.clone());
        let first_mode = attributes::first_mode(entry);
        Ok(FilePlace { dir, name, temporary, first_mode, restored })
    }

    /// Applies the attributes of folders that the restore has left, and that no file is on its way into any more.
    pub fn settle(&mut self) {
        self.folders.settle_left();
    }

    /// Applies what folders still wait for, and waits until the system has written everything.
    ///
    /// # Errors
    /// The system's own, when it lost something that it had accepted.
    pub fn finish(mut self) -> io::Result<Vec<String>> {
        self.folders.finish();
        attributes::sync(&self.whole)?;
        Ok(self.folders.take_warnings())
    }

    /// Where the entry with this path goes, below the root.
    fn find_place(&mut self, raw_path: &[u8]) -> Result<Vec<OsString>, TargetError> {
        let named = self.naming.place(raw_path)?;
        self.folders.warn_all(named.notes);
        Ok(named.path)
    }

    /// The folder that an entry goes into, and its name there.
    fn place(&mut self, raw_path: &[u8]) -> Result<(Arc<Folder>, OsString), TargetError> {
        let path = self.find_place(raw_path)?;
        let Some((name, parents)) = path.split_last() else {
            return Err(TargetError::Refused("the root of a backup is a folder".to_owned()));
        };
        Ok((self.folders.enter(parents)?, name.clone()))
    }

    fn copy(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        restored: Identity,
        entry: &Entry,
    ) -> Result<Vec<String>, TargetError> {
        let failed = |e| TargetError::from_io("copy the file that it is another name of", e);
        let mut source = temporary::open_existing(dir, name).map_err(failed)?;
        if Identity::of_file(&source).map_err(failed)? != restored {
            return Err(failed(io::Error::other("it was replaced meanwhile")));
        }
        let mut writer = self.file(entry)?.create()?;
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            match io::Read::read(&mut source, &mut buffer).map_err(failed)? {
                0 => break,
                n => writer.write_at(at, &buffer[..n]).map_err(failed)?,
            }
            at = io::Seek::stream_position(&mut source).map_err(failed)?;
        }
        writer.finish(entry, at)
    }
}

/// Renames what is complete; on failure nothing is left of it.
fn take_name(dir: &Folder, temporary: &OsStr, name: &OsStr) -> Result<(), TargetError> {
    dir.rename(temporary, name).map_err(|e| {
        // The rename's own error says more.
        let _ = dir.remove_file(temporary);
        TargetError::from_io("give it its name", e)
    })
}

/// The regular files that have got their name in this run, by a hash of their path and of what they are: under the name of
/// one, another may be by now.
#[derive(Debug, Clone, Default)]
struct Restored {
    files: Arc<Mutex<HashSet<u64>>>,
    hasher: RandomState,
}

impl Restored {
    fn insert(&self, raw_path: &[u8], identity: Identity) {
        let file = self.hasher.hash_one((raw_path, identity));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
    }

    fn contains(&self, raw_path: &[u8], identity: Identity) -> bool {
        let file = self.hasher.hash_one((raw_path, identity));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).contains(&file)
    }
}

#[cfg(all(test, unix))]
mod tests;
