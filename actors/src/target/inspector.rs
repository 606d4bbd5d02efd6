//! Compares entries with what is under their names now. Nothing is written, and no link is followed.
//!
//! **In:** the entries of a backup, in the order of its manifest. **Out:** a [`Finding`] for each or, for a restore, a
//! [`Verdict`] that the target picks up when it comes to the entry: what is whole already need not be fetched.
//!
//! **What counts as the same (must).** A file's size, time, mode, extended attributes, on Windows its access list and, where this
//! account may give files to others, its owner are those of the entry, and the SHA-256 of its bytes, read here and now, is the one that the manifest states. Nothing less is trusted: a
//! file that lost power while it was written may have the right size and time. A file with so many holes that its digest leaves
//! them out is never the same.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::Metadata;
use intellistor_storage::ContentDigest;
use intellistor_storage::disk::shortage::wait_out;
use intellistor_storage::manifest::{Entry, EntryKind};

use super::attributes::Attributes;
use super::folder::Folder;
use super::folders::refusal;
use super::modified::{mtime_ns, since_1970};
use super::naming::Naming;
use super::occupied::Overwrite;
use super::temporary::{FileId, open_existing};
use crate::source::raw_name;

const BUFFER_BYTES: usize = 256 << 10;
/// Deeper folders are opened anew for each of their files, so that no depth exhausts the system's handles.
const MOST_OPEN: usize = 16;

/// What is under an entry's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Missing,
    /// What was backed up.
    Same,
    /// Something else.
    Different {
        /// It was modified later than what was backed up.
        is_newer: bool,
    },
    /// Something that a restore neither replaces nor goes through, as its errors name it.
    InTheWay(String),
}

/// Why a file is not to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was backed up.
    Keep(Seen),
    /// It exists, and no existing file is to be replaced.
    Leave,
}

/// A file as it was when its content was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    id: FileId,
    size: u64,
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
    fn add(&self, raw_path: &[u8], verdict: Verdict) {
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

/// Looks at what a restore would find.
#[derive(Debug)]
pub struct Inspector {
    /// None where the restore's folder is yet to be made.
    root: Option<Arc<Folder>>,
    naming: Naming,
    overwrite: Overwrite,
    verdicts: Verdicts,
    /// The folders on the path to the last entry.
    above: Vec<(OsString, Arc<Folder>)>,
    buffer: Vec<u8>,
}

/// The comparison was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

impl Inspector {
    /// An inspector of a folder, which need not exist.
    ///
    /// # Errors
    /// The system's own, when it exists and cannot be opened.
    pub fn of(out: &Path) -> io::Result<Self> {
        let root = match Folder::root(out) {
            Ok(root) => Some(Arc::new(root)),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok(Self::new(root, Overwrite::IfDifferent, Verdicts::default()))
    }

    /// As [`of`](Self::of), for a folder that no link may lead to.
    ///
    /// # Errors
    /// The same, and when a link is on the path.
    pub fn of_place(place: &Path) -> io::Result<Self> {
        let root = match Folder::root_without_links(place, false) {
            Ok(root) => Some(Arc::new(root)),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok(Self::new(root, Overwrite::IfDifferent, Verdicts::default()))
    }

    pub(super) fn new(root: Option<Arc<Folder>>, overwrite: Overwrite, verdicts: Verdicts) -> Self {
        let (naming, above) = (Naming::new(), Vec::new());
        Self { root, naming, overwrite, verdicts, above, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Looks at an entry of a plan, of which the target gets all, in this order. A file that stays as it is loses its extents:
    /// nothing of it is fetched.
    ///
    /// # Errors
    /// [`Cut`], as soon as `cut` answers true.
    pub fn inspect(&mut self, entry: &mut Entry, cut: &dyn Fn() -> bool) -> Result<(), Cut> {
        if entry.kind != EntryKind::File {
            // Names depend on those before them.
            let _ = self.naming.path_of(entry.raw_path());
            return Ok(());
        }
        let verdict = match self.overwrite {
            Overwrite::Always => None,
            Overwrite::Never => match self.locate(entry) {
                Ok(Some(_)) => Some(Verdict::Leave),
                _ => None,
            },
            Overwrite::IfDifferent => match self.locate(entry) {
                Ok(Some((dir, name, found))) if found.is_file() => {
                    same_file(&dir, &name, entry, &mut self.buffer, cut)?.map(Verdict::Keep)
                }
                // What is in the way is reported where it is to be replaced.
                _ => None,
            },
        };
        if let Some(verdict) = verdict {
            entry.extents.clear();
            self.verdicts.add(entry.raw_path(), verdict);
        }
        Ok(())
    }

    /// Says what is under an entry's name.
    ///
    /// # Errors
    /// As for [`inspect`](Self::inspect).
    pub fn find(&mut self, entry: &Entry, cut: &dyn Fn() -> bool) -> Result<Finding, Cut> {
        let (dir, name, found) = match self.locate(entry) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Finding::Missing),
            Err(reason) => return Ok(Finding::InTheWay(reason)),
        };
        let is_same = match entry.kind {
            EntryKind::Directory if found.is_dir() => true,
            EntryKind::Directory if name.is_empty() => true,
            EntryKind::Directory => return Ok(Finding::InTheWay("what is there is not a folder".to_owned())),
            _ if found.is_dir() => {
                return Ok(Finding::InTheWay("a folder of that name is in the way".to_owned()));
            }
            EntryKind::Symlink => is_same_link(&dir, &name, &found, entry),
            EntryKind::File | EntryKind::Hardlink if !found.is_file() => false,
            EntryKind::File | EntryKind::Hardlink => {
                same_file(&dir, &name, entry, &mut self.buffer, cut)?.is_some()
            }
        };
        Ok(match is_same {
            true => Finding::Same,
            false => Finding::Different { is_newer: mtime_ns(&found) > Some(entry.mtime_ns) },
        })
    }

    /// What has an entry's name, with its folder and the name; none where nothing has. An error says what is in the way.
    fn locate(&mut self, entry: &Entry) -> Result<Option<(Arc<Folder>, OsString, Metadata)>, String> {
        let path = self.naming.path_of(entry.raw_path()).map_err(|e| e.to_string())?.path;
        let Some(root) = self.root.clone() else { return Ok(None) };
        let Some((name, parents)) = path.split_last() else {
            let found = root.dir_metadata().map_err(|e| e.to_string())?;
            return Ok(Some((root, OsString::new(), found)));
        };
        let Some(dir) = self.enter(root, parents)? else { return Ok(None) };
        match dir.symlink_metadata(name) {
            Ok(found) => Ok(Some((dir, name.clone(), found))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    fn enter(&mut self, root: Arc<Folder>, parents: &[OsString]) -> Result<Option<Arc<Folder>>, String> {
        let common = self.above.iter().zip(parents).take_while(|((above, _), name)| above == *name).count();
        self.above.truncate(common);
        let mut dir = self.above.last().map_or(root, |(_, dir)| dir.clone());
        for (depth, name) in parents.iter().enumerate().skip(common) {
            dir = match dir.open(name) {
                Ok(below) => Arc::new(below),
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(refusal(&dir, name, e).to_string()),
            };
            if depth < MOST_OPEN {
                self.above.push((name.clone(), dir.clone()));
            }
        }
        Ok(Some(dir))
    }
}

/// Whether a file is the one that was backed up; then, what it was when it was read.
pub(super) fn same_file(
    dir: &Folder,
    name: &OsStr,
    entry: &Entry,
    buffer: &mut [u8],
    cut: &dyn Fn() -> bool,
) -> Result<Option<Seen>, Cut> {
    let (Some(sha256), false) = (entry.sha256, entry.content_digest().leaves_out_holes()) else {
        return Ok(None);
    };
    let Ok(mut file) = wait_out(|| open_existing(dir, name)) else { return Ok(None) };
    let Some(seen) = Seen::of(&file) else { return Ok(None) };
    if seen.size != entry.size || !Attributes::from(entry).are_those_of(&file) {
        return Ok(None);
    }
    let mut digest = ContentDigest::of(entry.size, entry.size);
    let mut left = entry.size;
    while left > 0 {
        if cut() {
            return Err(Cut);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match file.read(&mut buffer[..most]) {
            Ok(n) if n > 0 => {
                digest.data(&buffer[..n]);
                left -= n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            _ => return Ok(None),
        }
    }
    // Not changed while it was read, as far as its metadata tell.
    Ok((digest.finish() == sha256 && Seen::of(&file) == Some(seen)).then_some(seen))
}

/// Whether a link is the one that was backed up.
pub(super) fn is_same_link(dir: &Folder, name: &OsStr, found: &Metadata, entry: &Entry) -> bool {
    found.is_symlink()
        && entry.xattrs.is_empty()
        && mtime_ns(found) == Some(entry.mtime_ns)
        && has_owner(dir, name, found, entry)
        && dir.read_link_contents(name).is_ok_and(|text| {
            entry.raw_link_target().is_some_and(|wanted| *raw_name::to_bytes(text.as_os_str()) == *wanted)
        })
}

/// Only root restores owners.
#[cfg(unix)]
fn has_owner(_: &Folder, _: &OsStr, found: &Metadata, entry: &Entry) -> bool {
    use cap_std::fs::MetadataExt as _;
    let is_owner = |uid, gid| (found.uid(), found.gid()) == (uid, gid);
    !rustix::process::geteuid().is_root()
        || entry.unix.as_ref().is_none_or(|unix| is_owner(unix.uid, unix.gid))
}

#[cfg(not(unix))]
fn has_owner(dir: &Folder, name: &OsStr, _: &Metadata, entry: &Entry) -> bool {
    Attributes::from(entry).has_link_list(dir, name)
}

impl Seen {
    fn of(file: &File) -> Option<Self> {
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
