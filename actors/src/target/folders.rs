//! Open handles of the folders from `--out` down to the current entry.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Weak};

use intellistor_storage::disk::shortage::share_of_handles;

use super::attributes::{self, Attributes};
use super::error::TargetError;
use super::folder::Folder;
use super::temporary;
use crate::shown::shortened;

/// Deeper levels have no open handle, so that no depth exhausts the system's file handles.
const MOST_OPEN: usize = 32;

/// A stack of folders. Entries come depth first, so most are in the folder on top; a folder's own attributes are
/// applied when it is left and no file is being written in it, since that would change its time, and its mode may
/// forbid it.
#[derive(Debug)]
pub(super) struct Folders {
    root: Level,
    below: Vec<Level>,
    /// How many levels may be open.
    most_open: usize,
    /// Not on the stack any more, but files are being written in them. No more than there are such files.
    left: Vec<LeftFolder>,
    /// Keys of folders whose attributes were applied: entered again, they must come out the same.
    settled: HashSet<u64>,
    /// Keys of folders that were made here, where those that were there before keep their attributes.
    made: HashSet<u64>,
    /// Keys of folders that were there before, where these keep their attributes.
    kept: Option<HashSet<u64>>,
    hasher: RandomState,
    /// Modes that would lock this restore out of folders that it may enter again.
    locked: Vec<Locked>,
    warnings: Vec<String>,
}

/// A folder's path. It shares those above it: a thousand folders, each in the one before, have a thousand names together, and
/// not half a million.
#[derive(Debug)]
struct FolderPath {
    name: OsString,
    /// None for a folder in the root.
    above: Option<Arc<Self>>,
}

impl FolderPath {
    fn names(&self) -> Vec<OsString> {
        let mut names = vec![self.name.clone()];
        let mut above = &self.above;
        while let Some(path) = above {
            names.push(path.name.clone());
            above = &path.above;
        }
        names.reverse();
        names
    }
}

impl Drop for FolderPath {
    /// One after the other: a path may be deeper than the stack.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut path) = above.and_then(Arc::into_inner) {
            above = path.above.take();
        }
    }
}

/// A folder whose own mode is applied last of all.
#[derive(Debug)]
struct Locked {
    /// None for the root.
    path: Option<Arc<FolderPath>>,
    depth: usize,
    mode: u32,
}

#[derive(Debug)]
struct Level {
    /// None for the root.
    path: Option<Arc<FolderPath>>,
    /// A hash of its path.
    key: u64,
    dir: Option<Arc<Folder>>,
    /// The same one, as long as a file is written in it: files being written are counted by references to the handle.
    held: Weak<Folder>,
    attributes: Option<Attributes>,
}

#[derive(Debug)]
struct LeftFolder {
    path: Arc<FolderPath>,
    depth: usize,
    key: u64,
    dir: Arc<Folder>,
    attributes: Option<Attributes>,
}

impl Level {
    fn open(
        path: Option<Arc<FolderPath>>,
        key: u64,
        dir: Arc<Folder>,
        attributes: Option<Attributes>,
    ) -> Self {
        Self { path, key, held: Arc::downgrade(&dir), dir: Some(dir), attributes }
    }

    fn name(&self) -> &OsStr {
        self.path.as_ref().map_or(OsStr::new(""), |path| &path.name)
    }
}

impl Folders {
    pub(super) fn new(root: Folder) -> Self {
        let hasher = RandomState::new();
        Self {
            root: Level::open(None, hasher.hash_one(()), Arc::new(root), None),
            below: Vec::new(),
            most_open: share_of_handles(8, MOST_OPEN),
            left: Vec::new(),
            settled: HashSet::new(),
            made: HashSet::new(),
            kept: None,
            hasher,
            locked: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// From now on, folders that are there keep their attributes.
    pub(super) fn keep_attributes(&mut self) {
        self.kept = Some(HashSet::new());
    }

    /// The folder with that path; what is missing of it is made.
    pub(super) fn enter(&mut self, path: &[OsString]) -> Result<Arc<Folder>, TargetError> {
        self.leave_to(self.common(path));
        while let Some(name) = path.get(self.below.len()) {
            self.descend(name, false)?;
        }
        self.handle(path.len())
    }

    /// Makes the folder with that path, and remembers its attributes until it is left.
    pub(super) fn make(&mut self, path: &[OsString], attributes: Attributes) -> Result<(), TargetError> {
        match path.split_last() {
            None => self.root.attributes = Some(attributes),
            Some((name, parents)) => {
                self.enter(parents)?;
                self.leave_to(self.common(path));
                if self.below.len() < path.len() {
                    self.descend(name, attributes.is_private_at_first())?;
                }
                let dir = self.handle(path.len())?;
                let is_kept = |key| self.kept.as_ref().is_some_and(|kept| kept.contains(&key));
                if self.below.last().is_some_and(|top| is_kept(top.key)) {
                    return Ok(());
                }
                attributes::unlock(&dir);
                if let Some(top) = self.below.last_mut() {
                    top.attributes = Some(attributes);
                }
            }
        }
        Ok(())
    }

    /// The folder with that path, if it exists; where the restore is does not change.
    pub(super) fn find(&mut self, path: &[OsString]) -> Result<Arc<Folder>, TargetError> {
        let common = self.common(path);
        let mut dir = self.handle(common)?;
        for name in &path[common..] {
            dir = Arc::new(dir.open(name).map_err(|e| refusal(&dir, name, e))?);
        }
        Ok(dir)
    }

    /// Settles what was left and is not in use any more.
    pub(super) fn settle_left(&mut self) {
        let mut i = 0;
        while let Some(left) = self.left.get(i) {
            if is_in_use(&left.dir) {
                i += 1;
            } else {
                let left = self.left.swap_remove(i);
                self.settle(left);
            }
        }
    }

    /// Leaves all folders, the root included. No file may be being written.
    pub(super) fn finish(&mut self) {
        self.leave_to(0);
        while let Some(left) = self.left.pop() {
            self.settle(left);
        }
        if let (Ok(root), Some(attributes)) = (self.handle(0), self.root.attributes.take()) {
            let problems = attributes.apply_to_dir(&root, &mut |mode| {
                self.locked.push(Locked { path: None, depth: 0, mode });
            });
            self.warnings.extend(problems.into_iter().map(|problem| format!(".: {problem}")));
        }
        let mut locked = std::mem::take(&mut self.locked);
        // Deepest first: a folder that is locked hides what is below.
        locked.sort_by_key(|locked| std::cmp::Reverse(locked.depth));
        for Locked { path, mode, .. } in locked {
            let path = path.as_ref().map(|path| path.names()).unwrap_or_default();
            let applied =
                self.find(&path).and_then(|dir| attributes::set_mode(&dir, mode).map_err(mode_error));
            if let Err(e) = applied {
                self.warnings.push(format!("{}: {e}", display(&path)));
            }
        }
    }

    pub(super) fn warn_all(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }

    /// Takes the warnings since the last call, with problems of folders that were left; each names its folder.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn common(&self, path: &[OsString]) -> usize {
        self.below.iter().zip(path).take_while(|(level, name)| level.name() == **name).count()
    }

    fn descend(&mut self, name: &OsStr, private: bool) -> Result<(), TargetError> {
        let key = self.hasher.hash_one((self.below.last().unwrap_or(&self.root).key, name));
        let level = match self.left.iter().position(|left| left.key == key) {
            Some(at) => {
                let LeftFolder { path, dir, attributes, .. } = self.left.swap_remove(at);
                Level::open(Some(path), key, dir, attributes)
            }
            None => self.open(name, key, private)?,
        };
        self.below.push(level);
        if let Some(deep) = self.below.len().checked_sub(self.most_open + 1) {
            self.below[deep].dir = None;
        }
        Ok(())
    }

    /// A folder in the one on top, which is made if it is missing.
    fn open(&mut self, name: &OsStr, key: u64, private: bool) -> Result<Level, TargetError> {
        let parent = self.handle(self.below.len())?;
        // Most are missing, and systems differ in what they say of one that is there.
        let made = parent.create(name, private);
        let found = made.is_err();
        let dir = match (parent.open(name), made) {
            (Err(e), Err(making)) if e.kind() == ErrorKind::NotFound => {
                return Err(TargetError::from_io("make the folder", making));
            }
            (opened, _) => opened.map_err(|e| refusal(&parent, name, e))?,
        };
        if found {
            temporary::sweep(&dir);
            if let Some(kept) = self.kept.as_mut().filter(|_| !self.made.contains(&key)) {
                kept.insert(key);
            }
        } else if self.kept.is_some() {
            self.made.insert(key);
        }
        let was_settled = found && self.settled.contains(&key);
        let attributes = if was_settled { Attributes::of_dir(&dir) } else { None };
        let above = self.below.last().and_then(|level| level.path.clone());
        let path = Arc::new(FolderPath { name: name.to_owned(), above });
        Ok(Level::open(Some(path), key, Arc::new(dir), attributes))
    }

    /// The handle of a level, opened again from above where it was let go.
    fn handle(&mut self, depth: usize) -> Result<Arc<Folder>, TargetError> {
        let start = (0..depth).rev().find(|i| self.below[*i].dir.is_some());
        let (mut dir, first) = match start {
            Some(i) => (self.below[i].dir.clone(), i + 1),
            None => (self.root.dir.clone(), 0),
        };
        for i in first..depth {
            let Some(parent) = &dir else { break };
            let level = &mut self.below[i];
            let opened = match level.held.upgrade() {
                Some(held) => held,
                None => Arc::new(parent.open(level.name()).map_err(|e| refusal(parent, level.name(), e))?),
            };
            level.held = Arc::downgrade(&opened);
            if i + self.most_open >= depth {
                level.dir = Some(opened.clone());
            }
            dir = Some(opened);
        }
        dir.ok_or_else(|| TargetError::Failed("the folder is not open".to_owned()))
    }

    fn leave_to(&mut self, depth: usize) {
        while self.below.len() > depth {
            let dir = self.handle(self.below.len());
            let depth = self.below.len();
            let Some(Level { path: Some(path), key, attributes, .. }) = self.below.pop() else { return };
            let in_use = dir.as_ref().is_ok_and(is_in_use);
            if attributes.is_none() && !in_use {
                continue;
            }
            match dir {
                // Also where it has no attributes: should they come yet, this is the handle that is known to be in use.
                Ok(dir) if in_use => self.left.push(LeftFolder { path, depth, key, dir, attributes }),
                Ok(dir) => self.settle(LeftFolder { path, depth, key, dir, attributes }),
                Err(e) => {
                    let path = display(&path.names());
                    self.warnings.push(format!("{path}: its attributes were not applied: {e}"));
                }
            }
        }
    }

    fn settle(&mut self, left: LeftFolder) {
        let LeftFolder { path, depth, key, dir, attributes } = left;
        let Some(attributes) = attributes else { return };
        let mut locks = None;
        let problems = attributes.apply_to_dir(&dir, &mut |mode| locks = Some(mode));
        self.settled.insert(key);
        if !problems.is_empty() {
            let path = display(&path.names());
            self.warnings.extend(problems.into_iter().map(|problem| format!("{path}: {problem}")));
        }
        if let Some(mode) = locks {
            self.locked.push(Locked { path: Some(path), depth, mode });
        }
    }
}

/// Whether the handle has another holder than the caller. None can appear meanwhile: all are given out here.
fn is_in_use(dir: &Arc<Folder>) -> bool {
    Arc::strong_count(dir) > 1
}

/// What an error of [`Folder::open`] means: the systems disagree about how to say that a link was not followed.
pub(super) fn refusal(parent: &Folder, name: &OsStr, error: io::Error) -> TargetError {
    let shown = name.to_string_lossy();
    match parent.symlink_metadata(name) {
        Ok(found) if found.is_symlink() => {
            TargetError::Refused(format!("{shown} in its path is a symbolic link"))
        }
        Ok(found) if !found.is_dir() => TargetError::Failed(format!("{shown} in its path is not a folder")),
        _ => TargetError::from_io("open its folder", error),
    }
}

fn mode_error(error: io::Error) -> TargetError {
    TargetError::Failed(format!("its mode was not applied: {error}"))
}

fn display(path: &[OsString]) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    if names.is_empty() { ".".to_owned() } else { shortened(names.join("/")) }
}
