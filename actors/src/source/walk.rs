//! Walks folders: depth first, each folder before its content, names in the order of their bytes, links not followed.
//!
//! Two folders are open at a time, one path is in memory however deep the walk is, and depth costs no stack.
//!
//! It is our own, because the walks of other crates open by path, which follows a link that replaces a folder, and keep
//! each level's entries with their metadata.

mod position;
mod streams;
pub(super) mod walked;

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::path::PathBuf;

use intellistor_storage::Error;
use intellistor_storage::disk::shortage::is_shortage;
use intellistor_storage::objects::STORE_MARK;

use self::position::Position;
pub use self::walked::{ScannedEntry, Walked};
#[cfg(unix)]
use super::beneath::{Beneath, is_replaced};
use super::excludes::Excludes;
use super::metadata::{FileMetadata, SourceKind};
use super::names::{Listing, Names};
use super::root_counts::RootCounts;
use super::roots::{Root, resolve};
use super::source_path::SourcePath;
use super::stat::metadata_at;
use super::streams::LookedAt;
use super::system_files::RulesBelow;
#[cfg(windows)]
use super::windows::{Beneath, is_replaced};

/// Marks a folder as a cache: <https://bford.info/cachedir/>.
const CACHE_TAG: &str = "CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Windows' volumes that are mounted in folders are links, which no walk follows; this is for what looks like a folder.
const NOT_IN_SNAPSHOT: &str =
    "another volume is mounted here, and the snapshot does not have it: back it up with a policy of its own";

/// An iterator over everything below some roots. It fails only where the system is short of what the walk itself needs,
/// such as handles: that is no problem of the file.
#[derive(Debug)]
pub struct Walk {
    roots: std::vec::IntoIter<Root>,
    excludes: Excludes,
    beneath: Beneath,
    position: Position,
    /// The names not yet visited in each folder above `position`.
    folders: Vec<Names>,
    /// Returned before the walk continues.
    pending: VecDeque<Walked>,
    /// The root that is being walked, if it was found.
    root: Option<CurrentRoot>,
}

#[derive(Debug)]
struct CurrentRoot {
    /// As the policy names it.
    path: PathBuf,
    /// Its file system.
    device: Option<u64>,
    /// Whether its files are read in a snapshot of its volume.
    in_snapshot: bool,
    counts: RootCounts,
    /// Which files of the system are left out below it.
    system_files: RulesBelow,
}

impl Walk {
    /// A walk from the beginning.
    pub fn new(roots: Vec<Root>, excludes: Excludes) -> Self {
        Self {
            roots: roots.into_iter(),
            excludes,
            beneath: Beneath::default(),
            position: Position::at_root(Root::default()),
            folders: Vec::new(),
            pending: VecDeque::new(),
            root: None,
        }
    }

    fn begin(&mut self, root: Root) -> Result<Option<Walked>, Error> {
        let snapshot = root.snapshot.clone();
        let in_snapshot = snapshot.is_some();
        self.position = Position::at_root(root);
        let path = self.position.source.as_path();
        let found = snapshot
            .map_or_else(|| resolve(path), Ok)
            .and_then(|resolved| Ok((metadata_at(&resolved)?, resolved)));
        let (metadata, resolved) = match found {
            Ok(found) => found,
            Err(e) => {
                let reason = format!("cannot find {path:?}: {e}");
                return self.left_out(reason, e).map(Some);
            }
        };
        let device = metadata.identity.map(|identity| identity.device);
        let system_files = self.excludes.system_files_below(path);
        self.root = Some(CurrentRoot {
            path: path.to_owned(),
            device,
            in_snapshot,
            counts: RootCounts::default(),
            system_files,
        });
        if metadata.kind != SourceKind::Directory
            && let Some(name) = path.file_name().map(ToOwned::to_owned)
        {
            self.position.descend(&name);
        }
        self.position.source = match (metadata.kind, resolved.parent(), resolved.file_name()) {
            (SourceKind::Directory, ..) | (_, None, _) | (.., None) => SourcePath::of_root(resolved),
            (_, Some(folder), Some(name)) => SourcePath::of_root(folder.to_owned()).join(name),
        };
        self.visit(None)
    }

    /// Looks at the position, and stays there if it is a folder that can be listed. `unopened`: what the listing says of a name that
    /// to open is to fetch.
    fn visit(&mut self, unopened: Option<FileMetadata>) -> Result<Option<Walked>, Error> {
        if self.excludes.leave_out(self.position.below_root()) {
            self.position.ascend();
            return Ok(None);
        }
        if let Some(metadata) = unopened.filter(|_| !self.excludes.may_fetch()) {
            self.count(&metadata);
            let walked = self.in_cloud(metadata);
            self.position.ascend();
            return Ok(Some(walked));
        }
        let (found, streams) = match self.beneath.look_at(&self.position.source) {
            Ok(LookedAt { metadata, streams }) => (Ok(metadata), streams),
            Err(e) => (Err(e), Ok(Vec::new())),
        };
        // Some files of the system can be looked at by no one.
        if self.is_system_file(found.as_ref().ok()) {
            self.position.ascend();
            return Ok(None);
        }
        let walked = match found {
            Ok(metadata)
                if !self.is_root() && self.excludes.excludes_folder(&self.position.source, &metadata) =>
            {
                self.position.ascend();
                return Ok(None);
            }
            Ok(metadata) => match metadata.kind {
                SourceKind::Directory if self.is_elsewhere(&metadata) => self.position.entry(metadata),
                SourceKind::Directory if self.leaves_snapshot(&metadata) => {
                    self.position.problem(NOT_IN_SNAPSHOT.to_owned())
                }
                SourceKind::Directory => {
                    let streams = self.streams(&metadata, streams)?;
                    return self.enter(metadata, streams).map(Some);
                }
                SourceKind::File | SourceKind::Symlink | SourceKind::Stream => {
                    self.count(&metadata);
                    let streams = self.streams(&metadata, streams)?;
                    self.pending.extend(streams);
                    if metadata.in_cloud { self.in_cloud(metadata) } else { self.position.entry(metadata) }
                }
                SourceKind::Other(kind) => {
                    self.position.note(format!("{kind}: it has no content to back up"))
                }
            },
            Err(e) => self.left_out(failure("look at it", &e), e)?,
        };
        self.position.ascend();
        Ok(Some(walked))
    }

    fn count(&mut self, metadata: &FileMetadata) {
        self.root.iter_mut().for_each(|root| root.counts.count(metadata));
    }

    /// What becomes of a file or folder that is not on this machine.
    fn in_cloud(&mut self, metadata: FileMetadata) -> Walked {
        if self.excludes.may_fetch() {
            let mut found = self.position.scanned(metadata);
            // Nothing can be fetched into a snapshot: it is fetched, and read, where it is.
            if self.root.as_ref().is_some_and(|root| root.in_snapshot) {
                found.source = SourcePath::of_root(self.excludes.real_path(&found.source));
            }
            return Walked::Entry(found);
        }
        self.root.iter_mut().for_each(|root| root.counts.in_cloud += 1);
        Walked::InCloud(self.position.scanned(metadata))
    }

    /// Whether a rule of the system leaves the entry out; it is counted.
    fn is_system_file(&self, metadata: Option<&FileMetadata>) -> bool {
        let Some(root) = &self.root else { return false };
        let is_folder = metadata.map(|metadata| metadata.kind == SourceKind::Directory);
        let rule = root.system_files.leaving_out(self.position.below_root(), is_folder);
        rule.inspect(|rule| self.excludes.note_system_file(rule)).is_some()
    }

    /// A root is never left out: the policy names it.
    fn is_root(&self) -> bool {
        self.position.below_root().is_empty()
    }

    /// Whether a folder is on another file system than its root, and the policy stays on that one.
    fn is_elsewhere(&self, metadata: &FileMetadata) -> bool {
        let device = self.root.as_ref().and_then(|root| root.device);
        self.excludes.stay_on_file_system()
            && metadata.identity.zip(device).is_some_and(|(identity, device)| identity.device != device)
    }

    /// Whether a folder in a snapshot leads out of it, to files as they are now.
    fn leaves_snapshot(&self, metadata: &FileMetadata) -> bool {
        let root = self.root.as_ref().filter(|root| root.in_snapshot);
        let device = root.and_then(|root| root.device);
        metadata.identity.zip(device).is_some_and(|(identity, device)| identity.device != device)
    }

    /// Whether a folder is marked as a cache, whose content can be regenerated.
    fn is_cache(&mut self, names: &Names) -> bool {
        if !self.excludes.leave_out_caches() || self.is_root() || !names.contains(CACHE_TAG) {
            return false;
        }
        let tag = self.beneath.open_file(&self.position.source.join(CACHE_TAG));
        let mut begins = Vec::new();
        let read = tag.and_then(|(tag, metadata)| match metadata.kind {
            SourceKind::File => tag.take(CACHE_SIGNATURE.len() as u64).read_to_end(&mut begins),
            _ => Ok(0),
        });
        read.is_ok() && begins == CACHE_SIGNATURE
    }

    /// Whether a folder is a store that holds backups of this policy: what an earlier `--out` left there, or a store from
    /// before the policy had another one. Each backup of it would hold all the earlier ones.
    fn is_own_store(&mut self, names: &Names) -> bool {
        let Some(backups) = self.excludes.own_backups() else { return false };
        if self.is_root() || !names.contains(STORE_MARK) {
            return false;
        }
        let backups = self.position.source.join(backups);
        self.beneath.metadata_at(&backups).is_ok_and(|metadata| metadata.kind == SourceKind::Directory)
    }

    fn enter(&mut self, metadata: FileMetadata, streams: Vec<Walked>) -> Result<Walked, Error> {
        match Listing::of(&self.position.source, &mut self.beneath, self.excludes.may_fetch()) {
            Ok(listing) => {
                let names = if self.is_own_store(&listing.names) {
                    self.excludes.note_own_store(&self.position.source);
                    Names::of(STORE_MARK)
                } else if self.is_cache(&listing.names) {
                    Names::of(CACHE_TAG)
                } else {
                    listing.names
                };
                self.folders.push(names);
                self.pending.extend(streams);
                let unlisted = match listing.failed {
                    Some(e) => Some(self.left_out(failure("list all of the folder", &e), e)?),
                    None if metadata.in_cloud && !self.excludes.may_fetch() => {
                        Some(self.in_cloud(metadata.clone()))
                    }
                    None => None,
                };
                self.pending.extend(unlisted);
                // Of the folder that was listed, in case another has replaced it since.
                Ok(self.position.entry(listing.metadata.unwrap_or(metadata)))
            }
            Err(e) => {
                let gone = is_gone(&e);
                let problem = self.left_out(failure("list the folder", &e), e)?;
                let walked = if gone {
                    problem
                } else {
                    // The folder itself is backed up; what is in it is not.
                    self.pending.extend(streams);
                    self.pending.push_back(problem);
                    self.position.entry(metadata)
                };
                self.position.ascend();
                Ok(walked)
            }
        }
    }

    /// A problem with what the system refuses; an error where this process is short of handles or memory.
    fn left_out(&self, reason: String, e: io::Error) -> Result<Walked, Error> {
        if is_shortage(&e) {
            return Err(Error::io("look at", self.excludes.real_path(&self.position.source))(e));
        }
        Ok(self.position.problem(reason))
    }

    fn step(&mut self) -> Result<Option<Walked>, Error> {
        loop {
            if let Some(walked) = self.pending.pop_front() {
                return Ok(Some(walked));
            }
            let found = match self.folders.last_mut().map(Iterator::next) {
                Some(Some(name)) => {
                    let unopened = self.folders.last().and_then(|names| names.unopened(&name));
                    self.position.descend(&name);
                    self.visit(unopened)?
                }
                Some(None) => {
                    self.folders.pop();
                    self.position.ascend();
                    None
                }
                None => {
                    if let Some(CurrentRoot { path, counts, .. }) = self.root.take() {
                        self.excludes.root_walked(&path, counts);
                    }
                    match self.roots.next() {
                        Some(root) => self.begin(root)?,
                        None => return Ok(None),
                    }
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Walked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Whether a folder that was found has vanished, or was replaced by something else.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || is_replaced(e)
}

fn failure(action: &str, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "vanished during the scan".to_owned(),
        _ if is_gone(e) => "replaced by something else during the scan".to_owned(),
        _ => format!("cannot {action}: {e}"),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
