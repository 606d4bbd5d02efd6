//! Writes a restore's entries into a folder, and nothing outside it, whatever the archive says.
//!
//! **Sandbox law (must).** Every path is taken apart, refused unless each component is a plain name, and walked
//! from `--out` handle by handle without following a link. A parent that is a symbolic link is refused, whether
//! the archive planted it or it was there before. Files and links are made and get their attributes under an
//! unpredictable temporary name, and take their own name by a rename: what was there before is replaced, never
//! written to. Owner, mode and times are set through a handle of what was made here, never by a name: another user who
//! can write to the folder could replace it.
//!
//! **Nothing is replaced that need not be (should).** An [`Inspector`] compares files with what is there before anything is fetched;
//! what it finds to be right is looked at once more when its turn comes, and left alone. See [`Overwrite`].
//!
//! **No loss law (must).** An entry that cannot have its own name here gets another, with a warning: see `naming`.
//!
//! Files may be written on other threads, several at once; a folder's attributes are applied after the files in it.
//!
//! Devices, sockets and pipes are never made. Set-user-ID and set-group-ID bits are applied only together with
//! the owner, which only root can do.

mod attributes;
mod duplicates;
mod error;
mod file_writer;
mod folder;
mod folders;
mod inspector;
mod modified;
mod naming;
mod occupied;
mod path;
#[cfg(windows)]
mod private_folder;
mod restored_files;
mod sparse;
mod streams;
mod temporary;
mod verdict;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::OpenOptions;
use intellistor_storage::manifest::{Entry, Extent};

use crate::source::raw_name;
use attributes::Attributes;
pub use error::TargetError;
pub use file_writer::{FileDestination, FileWriter};
use folder::Folder;
use folders::Folders;
pub use inspector::{Finding, Inspector};
use inspector::{is_same_link, same_file};
use naming::Naming;
use occupied::Occupancy;
pub use occupied::{Occupied, Overwrite};
use restored_files::RestoredFiles;
use streams::Streams;
pub use streams::{ContentDestination, ContentWriter, StreamDestination, StreamPlace, StreamWriter};
use temporary::{FileId, temporary_name};
pub use verdict::Cut;
use verdict::{Verdict, Verdicts};

/// The folder that a restore writes into.
#[derive(Debug)]
pub struct Target {
    out: PathBuf,
    created: bool,
    /// Whether the root gets the attributes that the backup has of it.
    has_root_attributes: bool,
    /// A handle of the root for the final sync: the mode that the root gets may forbid to open it later.
    whole: std::fs::File,
    folders: Folders,
    naming: Naming,
    restored: RestoredFiles,
    occupancy: Occupancy,
    verdicts: Verdicts,
    /// The root once more, for an inspector.
    root: Arc<Folder>,
    streams: Streams,
}

impl Target {
    /// Opens `out`, which is made if it is missing, and checks that it can be written to.
    ///
    /// # Errors
    /// The system's own, when `out` cannot be made, opened or written to.
    pub fn open(out: &Path) -> io::Result<Self> {
        let created = !out.try_exists()?;
        std::fs::create_dir_all(out)?;
        Self::new(out, created, [Folder::root(out)?, Folder::root(out)?])
    }

    /// As [`open`](Self::open), for an absolute path that a backup names: no link may be on it.
    ///
    /// # Errors
    /// The same, and when a link is on the path.
    pub fn open_place(place: &Path) -> io::Result<Self> {
        let created = place.symlink_metadata().is_err();
        let root = Folder::root_without_links(place, true)?;
        let target = Self::new(place, created, [root, Folder::root_without_links(place, false)?])?;
        // It is the folder that was backed up, and not one that the backup is put into.
        Ok(Self { has_root_attributes: true, ..target })
    }

    fn new(out: &Path, created: bool, [root, again]: [Folder; 2]) -> io::Result<Self> {
        if !created {
            temporary::sweep(&root);
        }
        let probe = temporary_name();
        root.open_with(&probe, OpenOptions::new().write(true).create_new(true))?;
        root.remove_file(&probe)?;
        let whole = attributes::open_whole(&root)?;
        let (out, folders) = (out.to_owned(), Folders::new(root));
        let (naming, restored) = (Naming::new(), RestoredFiles::default());
        let (occupancy, verdicts, root) = (Occupancy::default(), Verdicts::default(), Arc::new(again));
        let has_root_attributes = created;
        let streams = Streams::below(&root);
        Ok(Self {
            out,
            created,
            has_root_attributes,
            whole,
            folders,
            naming,
            restored,
            occupancy,
            verdicts,
            root,
            streams,
        })
    }

    /// Says what becomes of files and links that are there already.
    #[must_use]
    pub fn overwriting(mut self, overwrite: Overwrite) -> Self {
        self.occupancy.overwrite = overwrite;
        if overwrite == Overwrite::Never {
            self.folders.keep_attributes();
            self.has_root_attributes = self.created;
        }
        self
    }

    /// Looks at files before this target comes to them, on another thread. It must see every entry that the target gets, in the
    /// same order.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(Some(self.root.clone()), self.occupancy.overwrite, self.verdicts.clone())
    }

    /// What became of files and links that were there already, so far.
    pub fn take_occupied(&mut self) -> Occupied {
        self.occupancy.take()
    }

    /// Whether a file stays as it is, as the inspector has found; then there is nothing to write.
    ///
    /// # Errors
    /// [`TargetError::Failed`] when it was the right one then, and is not any more.
    pub fn keeps(&mut self, file: &Entry) -> Result<bool, TargetError> {
        let seen = match self.verdicts.next(file.raw_path()) {
            None => return Ok(false),
            Some(Verdict::Keep(seen)) => seen,
            // One path is a file's or a stream's.
            Some(Verdict::KeepStream) => return Ok(false),
            Some(Verdict::Leave) => {
                // The names of those after it depend on it.
                let _ = self.path_of(file.raw_path())?;
                self.occupancy.left(&file.relative_path);
                return Ok(true);
            }
        };
        let (dir, name) = self.destination(file.raw_path())?;
        let id = seen.still_in(&dir, &name).or_else(|| {
            // Another restore of the same backup may have replaced it by the same.
            let whole = Extent { archive: 0, offset: 0, length: file.size, at: None };
            let file = Entry { extents: vec![whole], ..file.clone() };
            let seen = same_file(&dir, &name, &file, &mut vec![0; 64 << 10], &|| false).ok()??;
            seen.still_in(&dir, &name)
        });
        let Some(id) = id else {
            return Err(TargetError::Failed(
                "another program changed it while it was compared with the backup; restore it once more"
                    .to_owned(),
            ));
        };
        self.restored.insert(file.raw_path(), id);
        self.occupancy.unchanged();
        Ok(true)
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
        self.streams.folder_made(None);
        let path = self.path_of(entry.raw_path())?;
        if !path.is_empty() || self.has_root_attributes {
            self.folders.make(&path, Attributes::from(entry))?;
        }
        self.streams.folder_made(Some(entry.raw_path()));
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
        let (dir, name) = self.destination(entry.raw_path())?;
        if let Ok(found) = dir.symlink_metadata(&name) {
            match self.occupancy.overwrite {
                Overwrite::Never => {
                    self.occupancy.left(&entry.relative_path);
                    return Ok(self.folders.take_warnings());
                }
                Overwrite::IfDifferent if is_same_link(&dir, &name, &found, entry) => {
                    self.occupancy.unchanged();
                    return Ok(self.folders.take_warnings());
                }
                _ => {}
            }
        }
        let temporary = temporary_name();
        let attributes = Attributes::from(entry);
        attributes.symlink(&dir, &text, &temporary).map_err(|e| TargetError::from_io("make the link", e))?;
        let problems = attributes.apply_to_symlink(&dir, &temporary);
        let mut warnings = self.folders.take_warnings();
        if !self.occupancy.give_name(&dir, &temporary, &name, entry)? {
            return Ok(warnings);
        }
        warnings.extend(problems.into_iter().map(|problem| format!("{}: {problem}", entry.relative_path)));
        Ok(warnings)
    }

    /// Makes another name for a regular file that this restore has made; a copy where the file system has no links.
    ///
    /// # Errors
    /// [`TargetError`]; also when the file was not restored.
    pub fn hardlink(&mut self, entry: &Entry) -> Result<Vec<String>, TargetError> {
        let (dir, name) = self.destination(entry.raw_path())?;
        if self.occupancy.overwrite == Overwrite::Never && dir.symlink_metadata(&name).is_ok() {
            self.occupancy.left(&entry.relative_path);
            return Ok(self.folders.take_warnings());
        }
        let (target_dir, target_name, found) = self.restored_target(entry)?;
        // Where files have no identity to tell them by, the link is made again.
        let is_linked = cfg!(unix) && FileId::of_name(&dir, &name) == Some(found);
        if is_linked && self.occupancy.overwrite == Overwrite::IfDifferent {
            self.occupancy.unchanged();
            self.restored.insert(entry.raw_path(), found);
            return Ok(self.folders.take_warnings());
        }
        let temporary = temporary_name();
        match target_dir.hard_link(&target_name, &dir, &temporary) {
            Ok(()) => {
                if FileId::of_name(&dir, &temporary) != Some(found) {
                    let _ = dir.remove_file(&temporary);
                    return Err(not_restored(entry));
                }
                let is_given = self.occupancy.give_name(&dir, &temporary, &name, entry)?;
                // A rename does nothing when both names are the same file already.
                let _ = dir.remove_file(&temporary);
                if is_given {
                    self.restored.insert(entry.raw_path(), found);
                }
                Ok(self.folders.take_warnings())
            }
            Err(e) => {
                let (mut warnings, _) = self.copy(&target_dir, &target_name, found, entry)?;
                warnings
                    .push(format!("{}: restored as a copy, not as a hard link: {e}", entry.relative_path));
                Ok(warnings)
            }
        }
    }

    /// The folder, name and identity of the file that an entry links to, if this restore has made it.
    fn restored_target(&mut self, entry: &Entry) -> Result<(Arc<Folder>, OsString, FileId), TargetError> {
        let Some(target) = entry.raw_link_target() else {
            return Err(TargetError::Refused("a hard link without a target".to_owned()));
        };
        let path = self.path_of(target)?;
        let Some((name, parents)) = path.split_last() else { return Err(not_restored(entry)) };
        let dir = self.folders.find(parents)?;
        let found = FileId::of_name(&dir, name).filter(|it| self.restored.contains(target, *it));
        let found = found.ok_or_else(|| not_restored(entry))?;
        Ok((dir, name.clone(), found))
    }

    /// Where a regular file goes. Its folder counts as in use until the file has its name, or is dropped.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn file(&mut self, entry: &Entry) -> Result<FileDestination, TargetError> {
        let (dir, name) = self.destination(entry.raw_path())?;
        let (restored, occupancy) = (self.restored.clone(), self.occupancy.clone());
        let first_mode = attributes::first_mode(entry);
        Ok(FileDestination {
            dir,
            name,
            first_mode,
            #[cfg(windows)]
            exclusive: attributes::is_exclusive_at_first(entry),
            restored,
            occupancy,
        })
    }

    /// Where a stream goes, of a file that was given to a writer or restored before, or of the folder that was made last.
    ///
    /// # Errors
    /// [`TargetError`]; also when its folder was not restored.
    pub fn stream(&mut self, entry: &Entry) -> Result<StreamPlace, TargetError> {
        let (owner, name) = streams::split(entry)?;
        let verdict = self.verdicts.next(entry.raw_path());
        if let Some(place) = self.streams.stays(entry, verdict, &self.occupancy) {
            return Ok(place);
        }
        let (dir, file) = if self.streams.are_of_folder(owner) {
            let path = self.path_of(owner)?;
            (self.folders.enter(&path)?, None)
        } else {
            let (dir, name) = self.destination(owner)?;
            (dir, Some(name))
        };
        Ok(StreamPlace::Write(StreamDestination {
            owner: streams::Owner { dir, name: file },
            owner_path: owner.to_vec(),
            name: name.to_vec(),
            restored: self.restored.clone(),
            occupancy: self.occupancy.clone(),
        }))
    }

    /// Applies the attributes of folders that the restore has left and in which no file is being written.
    pub fn settle(&mut self) {
        self.folders.settle_left();
    }

    /// Applies the remaining attributes of folders, and waits until the system has written everything.
    ///
    /// # Errors
    /// The system's own, when it lost something that it had accepted.
    pub fn finish(mut self) -> io::Result<Vec<String>> {
        self.folders.finish();
        attributes::sync(&self.whole)?;
        Ok(self.folders.take_warnings())
    }

    /// Where the entry with this path goes, below the root.
    fn path_of(&mut self, raw_path: &[u8]) -> Result<Vec<OsString>, TargetError> {
        let named = self.naming.path_of(raw_path)?;
        self.folders.warn_all(named.notes);
        Ok(named.path)
    }

    /// The folder that an entry goes into, and its name there.
    fn destination(&mut self, raw_path: &[u8]) -> Result<(Arc<Folder>, OsString), TargetError> {
        let path = self.path_of(raw_path)?;
        let Some((name, parents)) = path.split_last() else {
            return Err(TargetError::Refused("the root of a backup is a folder".to_owned()));
        };
        Ok((self.folders.enter(parents)?, name.clone()))
    }
}

fn not_restored(link: &Entry) -> TargetError {
    let target = link.link_target.as_deref().unwrap_or_default();
    TargetError::Failed(format!("it has the content of {target}, which was not restored"))
}

#[cfg(all(test, unix))]
mod tests;
