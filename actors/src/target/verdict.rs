//! What an inspector has found of files and streams that are not to be written.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::folder::Folder;
use super::modified::{mtime_ns, since_1970};
use super::temporary::FileId;

/// The comparison was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

/// Why a file is not to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was backed up.
    Keep(Seen),
    /// As a stream.
    KeepStream,
    /// It exists, and no existing file is to be replaced.
    Leave,
}

/// A file as it was when its content was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    id: FileId,
    pub(super) size: u64,
    mtime_ns: i128,
}

/// Verdicts on files that are not to be written, in the order of the plan. Each names its file by a hash of the path: paths have no
/// longest length, and a plan may be hundreds of files ahead of the target.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdicts {
    queue: Arc<Mutex<VecDeque<(u64, Verdict)>>>,
    hasher: RandomState,
}

impl Verdicts {
    pub(super) fn add(&self, raw_path: &[u8], verdict: Verdict) {
        let path = self.hasher.hash_one(raw_path);
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back((path, verdict));
    }

    /// The verdict on a file whose turn it is; none where it is to be written.
    pub(super) fn next(&self, raw_path: &[u8]) -> Option<Verdict> {
        let path = self.hasher.hash_one(raw_path);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front_if(|(found, _)| *found == path).map(|(_, verdict)| verdict)
    }
}

impl Seen {
    pub(super) fn of(file: &File) -> Option<Self> {
        let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let mtime_ns = since_1970(found.modified().ok()?);
        Some(Self { id: FileId::of_file(file).ok()?, size: found.len(), mtime_ns })
    }

    /// Which file it is, if that name still has it as it was.
    pub(super) fn still_in(&self, dir: &Folder, name: &OsStr) -> Option<FileId> {
        let found = dir.symlink_metadata(name).ok()?;
        let id = FileId::of_name(dir, name)?;
        let is_same = id == self.id && found.len() == self.size && mtime_ns(&found) == Some(self.mtime_ns);
        is_same.then_some(id)
    }
}
