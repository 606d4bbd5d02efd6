//! Names that were taken when a restore came to them, and what became of what had them.
//!
//! **In:** one call for each such file or link, from the target and from the writers. **Out:** the name, where it may be given, and [`Occupied`]
//! in the end, with bounded lists.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intellistor_storage::manifest::Entry;

use super::error::TargetError;
use super::folder::Folder;
use super::modified::mtime_ns;
use crate::shown::NameList;

/// What becomes of a file or link that is there already. Folders are taken over in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays where it is what was backed up, to the last byte and attribute; else it is replaced.
    #[default]
    IfDifferent,
    /// It is replaced.
    Always,
    /// It stays, whatever it is.
    Never,
}

/// Counts of files and links whose names were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occupied {
    /// Left alone, since they are what was backed up.
    pub unchanged: u64,
    /// Replaced.
    pub overwritten: u64,
    /// Replaced, although they were modified later than what was backed up.
    pub overwritten_newer: NameList,
    /// Left alone as [`Overwrite::Never`] asks, whatever they are.
    pub left: NameList,
    /// Alternate data streams that have no place here.
    pub streams: u64,
}

/// What is to become of taken names, and what did; shared by the threads that give names.
#[derive(Debug, Clone, Default)]
pub(super) struct Occupancy {
    pub(super) overwrite: Overwrite,
    counts: Arc<Mutex<Occupied>>,
}

impl Occupancy {
    pub(super) fn unchanged(&self) {
        self.counts().unchanged += 1;
    }

    pub(super) fn left(&self, path: &str) {
        self.counts().left.add(path);
    }

    pub(super) fn stream_without_place(&self) {
        self.counts().streams += 1;
    }

    /// Gives a complete file or link its name, unless that is taken and stays so; whatever comes of it, nothing has the
    /// temporary one then. Whether it has its name is the answer.
    pub(super) fn give_name(
        &self,
        dir: &Folder,
        temporary: &OsStr,
        name: &OsStr,
        entry: &Entry,
    ) -> Result<bool, TargetError> {
        if self.overwrite == Overwrite::Never {
            let is_given = dir.give_free_name(temporary, name)?;
            if !is_given {
                self.left(&entry.relative_path);
            }
            return Ok(is_given);
        }
        let found = dir.symlink_metadata(name).ok();
        dir.give_name(temporary, name)?;
        if let Some(found) = found {
            let mut counts = self.counts();
            counts.overwritten += 1;
            if mtime_ns(&found) > Some(entry.mtime_ns) {
                counts.overwritten_newer.add(&entry.relative_path);
            }
        }
        Ok(true)
    }

    /// What was counted so far; counting begins anew.
    pub(super) fn take(&self) -> Occupied {
        let mut taken = std::mem::take(&mut *self.counts());
        // Several threads count: their order differs from run to run.
        taken.overwritten_newer.sort();
        taken.left.sort();
        taken
    }

    fn counts(&self) -> MutexGuard<'_, Occupied> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
