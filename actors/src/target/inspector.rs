//! Compares entries with what is under their names now. Nothing is written, and no link is followed.
//!
//! **In:** the entries of a backup, in the order of its manifest. **Out:** a [`Finding`] for each or, for a restore, a
//! [`Verdict`] that the target picks up when it comes to the entry: what is whole already need not be fetched.
//!
//! **What counts as the same (must).** A file's size, time, mode, extended attributes, on Windows its access list and, where this
//! account may give files to others, its owner are those of the entry, and the SHA-256 of its bytes, read here and now, is the one that the manifest states. Nothing less is trusted: a
//! file that lost power while it was written may have the right size and time. A file with so many holes that its digest leaves
//! them out is never the same.

mod streams;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Metadata;
use intellistor_storage::ContentDigest;
use intellistor_storage::disk::shortage::wait_out;
use intellistor_storage::manifest::{Entry, EntryKind};

use super::attributes::Attributes;
use super::folder::Folder;
use super::folders::refusal;
use super::modified::mtime_ns;
use super::naming::Naming;
use super::occupied::Overwrite;
use super::streams::keeps_streams;
use super::temporary::open_existing;
use super::verdict::{Cut, Seen, Verdict, Verdicts};
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
    /// Nothing can be there: the file system keeps no alternate data streams.
    Unsupported,
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
    /// Whether files here can have alternate data streams; not known before the folder is made.
    keeps_streams: Option<bool>,
    /// The last file or folder, whose streams come next, and what becomes of it.
    owner: Option<(Vec<u8>, OwnerStays)>,
}

/// Whether a file stays as it is: then, and only then, its streams can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnerStays {
    /// As a folder.
    Folder,
    /// It is what was backed up.
    Same,
    /// It exists, and no existing file is to be replaced.
    Left,
    Replaced,
}

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
        let keeps_streams = root.as_ref().map(|root| keeps_streams(root));
        let buffer = vec![0; BUFFER_BYTES];
        Self { root, naming, overwrite, verdicts, above, buffer, keeps_streams, owner: None }
    }

    /// Looks at an entry of a plan, of which the target gets all, in this order. A file that stays as it is loses its extents:
    /// nothing of it is fetched.
    ///
    /// # Errors
    /// [`Cut`], as soon as `cut` answers true.
    pub fn inspect(&mut self, entry: &mut Entry, cut: &dyn Fn() -> bool) -> Result<(), Cut> {
        if entry.kind == EntryKind::Stream {
            return self.inspect_stream(entry, cut);
        }
        if entry.kind != EntryKind::File {
            // Names depend on those before them.
            let _ = self.naming.path_of(entry.raw_path());
            self.set_owner(entry, None);
            return Ok(());
        }
        let verdict = match self.overwrite {
            Overwrite::Always => None,
            Overwrite::Never => match self.locate(entry.raw_path()) {
                Ok(Some(_)) => Some(Verdict::Leave),
                _ => None,
            },
            Overwrite::IfDifferent => match self.locate(entry.raw_path()) {
                Ok(Some((dir, name, found))) if found.is_file() => {
                    same_file(&dir, &name, entry, &mut self.buffer, cut)?.map(Verdict::Keep)
                }
                // What is in the way is reported where it is to be replaced.
                _ => None,
            },
        };
        self.set_owner(entry, verdict.as_ref());
        if let Some(verdict) = verdict {
            entry.extents.clear();
            self.verdicts.add(entry.raw_path(), verdict);
        }
        Ok(())
    }

    fn set_owner(&mut self, entry: &Entry, verdict: Option<&Verdict>) {
        let stays = match verdict {
            Some(Verdict::Keep(_) | Verdict::KeepStream) => OwnerStays::Same,
            Some(Verdict::Leave) => OwnerStays::Left,
            None if entry.kind == EntryKind::Directory => OwnerStays::Folder,
            None => OwnerStays::Replaced,
        };
        self.owner = Some((entry.raw_path().to_vec(), stays));
    }

    /// Says what is under an entry's name.
    ///
    /// # Errors
    /// As for [`inspect`](Self::inspect).
    pub fn find(&mut self, entry: &Entry, cut: &dyn Fn() -> bool) -> Result<Finding, Cut> {
        if entry.kind == EntryKind::Stream {
            return self.find_stream(entry, cut);
        }
        let (dir, name, found) = match self.locate(entry.raw_path()) {
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
            EntryKind::File | EntryKind::Hardlink | EntryKind::Stream if !found.is_file() => false,
            EntryKind::File | EntryKind::Hardlink | EntryKind::Stream => {
                same_file(&dir, &name, entry, &mut self.buffer, cut)?.is_some()
            }
        };
        Ok(match is_same {
            true => Finding::Same,
            false => Finding::Different { is_newer: mtime_ns(&found) > Some(entry.mtime_ns) },
        })
    }

    /// What has an entry's name, with its folder and the name; none where nothing has. An error says what is in the way.
    fn locate(&mut self, raw_path: &[u8]) -> Result<Option<(Arc<Folder>, OsString, Metadata)>, String> {
        let path = self.naming.path_of(raw_path).map_err(|e| e.to_string())?.path;
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
