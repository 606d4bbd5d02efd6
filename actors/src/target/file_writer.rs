//! Writes a regular file under a temporary name, and gives it its own when it is complete.
//!
//! Not a `tempfile`: that has neither a folder handle in place of a path, nor the lock by which another restore tells
//! a file in use from one that a crash left.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

use cap_std::fs::OpenOptions;
use intellistor_storage::disk::leftovers;
use intellistor_storage::disk::shortage::wait_out;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::Entry;

use super::attributes::Attributes;
use super::error::TargetError;
use super::folder::Folder;
use super::occupied::Occupancy;
use super::restored_files::RestoredFiles;
use super::sparse::{SMALLEST_HOLE, make_sparse};
#[cfg(windows)]
use super::temporary::BACKUP_SEMANTICS;
use super::temporary::{FileId, held_name};

/// Where a regular file will be. May be used on another thread than the target.
#[derive(Debug)]
pub struct FileDestination {
    pub(super) dir: Arc<Folder>,
    pub(super) name: OsString,
    /// The mode to create it with; the system's default without one.
    pub(super) first_mode: Option<u32>,
    /// Whether no one else may open it before it has its attributes.
    #[cfg(windows)]
    pub(super) exclusive: bool,
    pub(super) restored: RestoredFiles,
    pub(super) occupancy: Occupancy,
}

/// How often a new file may be taken for an abandoned one before it is held.
const MOST_ATTEMPTS: usize = 16;

impl FileDestination {
    /// Begins the file under its temporary name.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn create(self) -> Result<FileWriter, TargetError> {
        #[cfg(windows)]
        let exclusive = self.exclusive;
        let Self { dir, name, first_mode, restored, occupancy, .. } = self;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if let Some(mode) = first_mode {
            cap_std::fs::OpenOptionsExt::mode(&mut options, mode);
        }
        #[cfg(windows)]
        {
            let _ = first_mode;
            cap_std::fs::OpenOptionsExt::custom_flags(&mut options, BACKUP_SEMANTICS);
            if exclusive {
                // The mode of Windows: it has an inherited list yet, and shared with no one it is read by no one.
                cap_std::fs::OpenOptionsExt::share_mode(&mut options, 0);
            }
        }
        for _ in 0..MOST_ATTEMPTS {
            let temporary = held_name();
            let file = wait_out(|| dir.open_with(&temporary, &options))
                .map_err(|e| TargetError::from_io("create the file", e))?;
            let file = file.into_std();
            let unnamed = Unnamed { dir: dir.clone(), temporary, named: false };
            if leftovers::hold_new(&file) {
                return Ok(FileWriter {
                    unnamed,
                    file,
                    name,
                    position: 0,
                    is_sparse: false,
                    restored,
                    occupancy,
                });
            }
        }
        let removed = io::Error::other("another program removes or locks the files that are made here");
        Err(TargetError::from_io("create the file", removed))
    }
}

/// A file under a temporary name in its own folder. Takes its name in [`finish`](Self::finish); dropped before,
/// it leaves nothing.
#[derive(Debug)]
pub struct FileWriter {
    unnamed: Unnamed,
    file: File,
    name: OsString,
    position: u64,
    /// Whether the system knows that it has holes.
    is_sparse: bool,
    restored: RestoredFiles,
    occupancy: Occupancy,
}

/// Removes the temporary name when it is dropped.
#[derive(Debug)]
struct Unnamed {
    dir: Arc<Folder>,
    temporary: OsString,
    named: bool,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named {
            // An error has no one to report it to; the next restore removes what is left.
            let _ = self.dir.remove_file(&self.temporary);
        }
    }
}

impl FileWriter {
    /// Writes all of `bytes` at `at`. What is never written is a hole.
    ///
    /// # Errors
    /// The system's own.
    pub fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at != self.position {
            self.leave_hole(at);
            self.file.seek(SeekFrom::Start(at))?;
        }
        self.file.write_all(bytes)?;
        self.position = at + bytes.len() as u64;
        Ok(())
    }

    /// What is not written between the position and `until` takes no room, where the system leaves no holes by itself.
    fn leave_hole(&mut self, until: u64) {
        if !self.is_sparse && until.saturating_sub(self.position) >= SMALLEST_HOLE {
            self.is_sparse = true;
            make_sparse(&self.file);
        }
    }

    /// Sets size and attributes, and gives the file its name. The answer lists attributes that were not applied.
    ///
    /// # Errors
    /// [`TargetError`]; then nothing is left of the file.
    pub fn finish(mut self, entry: &Entry, size: u64) -> Result<Vec<String>, TargetError> {
        if size != self.position {
            self.leave_hole(size);
            self.file.set_len(size).map_err(|e| TargetError::from_io("set the file's size", e))?;
        }
        let attributes = Attributes::from(entry);
        #[cfg(unix)]
        let problems = attributes.apply_to_file(&self.file);
        #[cfg(windows)]
        let path = self.unnamed.dir.path_of(&self.unnamed.temporary);
        #[cfg(windows)]
        let (mut problems, listed) = {
            let mut problems = Vec::new();
            let listed = attributes.apply_to_file(&self.file, &path, &mut problems);
            (problems, listed)
        };
        let identity =
            FileId::of_file(&self.file).map_err(|e| TargetError::from_io("look at the file", e))?;
        // Windows does not rename a file that is open. Elsewhere its lock keeps it from others until it has its name.
        #[cfg(windows)]
        drop(self.file);
        #[cfg(windows)]
        let lifted = attributes.let_rename(&path, listed);
        Failpoint::RestoreWritten.reached();
        // Whatever comes of it, the temporary name is gone then.
        self.unnamed.named = true;
        let Unnamed { dir, temporary, .. } = &self.unnamed;
        if !self.occupancy.give_name(dir, temporary, &self.name, entry)? {
            return Ok(Vec::new());
        }
        #[cfg(windows)]
        if let Some(lifted) = lifted {
            problems.extend(lifted.put_back().err());
        }
        Failpoint::RestoreNamed.reached();
        self.restored.insert(entry.raw_path(), identity);
        Ok(problems.into_iter().map(|problem| format!("{}: {problem}", entry.relative_path)).collect())
    }
}
