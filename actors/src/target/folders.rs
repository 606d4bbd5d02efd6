//! The folders from `--out` down to where the restore is, as open handles.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::TargetError;
use super::attributes::{self, Attributes};
use super::folder::Folder;

/// More levels are open by name only, so that no depth exhausts the system's file handles.
const OPEN_HANDLES: usize = 32;

/// A stack of folders. Entries come depth first, so most are in the folder on top; a folder's own attributes are
/// applied when it is left, since writing into it would undo its time, and its mode may forbid writing.
#[derive(Debug)]
pub(super) struct Folders {
    root: Level,
    below: Vec<Level>,
    /// Hashes of paths whose attributes were applied: entered again, they must come out the same.
    settled: HashSet<u64>,
    hasher: RandomState,
    /// Modes that would lock this run out as long as it may come back.
    locked: Vec<(Vec<OsString>, u32)>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Level {
    name: OsString,
    dir: Option<Arc<Folder>>,
    attributes: Option<Attributes>,
}

impl Folders {
    pub(super) fn new(root: Folder) -> Self {
        Self {
            root: Level { name: OsString::new(), dir: Some(Arc::new(root)), attributes: None },
            below: Vec::new(),
            settled: HashSet::new(),
            hasher: RandomState::new(),
            locked: Vec::new(),
            warnings: Vec::new(),
        }
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
                    self.descend(name, attributes.has_mode())?;
                }
                let dir = self.handle(path.len())?;
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

    /// Leaves all folders, the root included.
    pub(super) fn finish(&mut self) {
        self.leave_to(0);
        if let (Ok(root), Some(attributes)) = (self.handle(0), self.root.attributes.take()) {
            let problems = attributes.apply_to_dir(&root, &mut |mode| self.locked.push((Vec::new(), mode)));
            self.warnings.extend(problems.into_iter().map(|problem| format!(".: {problem}")));
        }
        let mut locked = std::mem::take(&mut self.locked);
        // Deepest first: a folder that is locked hides what is below.
        locked.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, mode) in locked {
            let applied =
                self.find(&path).and_then(|dir| attributes::set_mode(&dir, mode).map_err(mode_error));
            if let Err(e) = applied {
                self.warnings.push(format!("{}: {e}", told(path.iter().map(OsString::as_os_str))));
            }
        }
    }

    /// Adds to what is to be told.
    pub(super) fn warn_all(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }

    /// What is to be told, and problems with folders that were left since the last call; each names its folder.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn common(&self, path: &[OsString]) -> usize {
        self.below.iter().zip(path).take_while(|(level, name)| level.name == **name).count()
    }

    fn descend(&mut self, name: &OsStr, private: bool) -> Result<(), TargetError> {
        let parent = self.handle(self.below.len())?;
        // Most are missing, and systems differ in what they say of one that is there.
        let made = parent.create(name, private);
        let dir = match (parent.open(name), &made) {
            (Err(e), Err(_)) if e.kind() == ErrorKind::NotFound => {
                return made.map_err(|e| TargetError::from_io("make the folder", e));
            }
            (opened, _) => opened.map_err(|e| refusal(&parent, name, e))?,
        };
        let found = made.is_err();
        self.below.push(Level { name: name.to_owned(), dir: None, attributes: None });
        let attributes =
            if found && self.settled.contains(&self.hash()) { Attributes::of_dir(&dir) } else { None };
        if let Some(level) = self.below.last_mut() {
            level.attributes = attributes;
            level.dir = Some(Arc::new(dir));
        }
        if let Some(deep) = self.below.len().checked_sub(OPEN_HANDLES + 1) {
            self.below[deep].dir = None;
        }
        Ok(())
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
            let name = &self.below[i].name;
            let opened = Arc::new(parent.open(name).map_err(|e| refusal(parent, name, e))?);
            if i + OPEN_HANDLES >= depth {
                self.below[i].dir = Some(opened.clone());
            }
            dir = Some(opened);
        }
        dir.ok_or_else(|| TargetError::Failed("the folder is not open".to_owned()))
    }

    fn leave_to(&mut self, depth: usize) {
        while self.below.len() > depth {
            if self.below.last().is_some_and(|level| level.attributes.is_some()) {
                self.settle();
            }
            self.below.pop();
        }
    }

    /// Applies the attributes of the folder on top.
    fn settle(&mut self) {
        let dir = self.handle(self.below.len());
        let Some(attributes) = self.below.last_mut().and_then(|level| level.attributes.take()) else {
            return;
        };
        let mut locks = None;
        let problems = match dir {
            Ok(dir) => attributes.apply_to_dir(&dir, &mut |mode| locks = Some(mode)),
            Err(e) => vec![format!("its attributes were not applied: {e}")],
        };
        if let Some(mode) = locks {
            self.locked.push((self.below.iter().map(|level| level.name.clone()).collect(), mode));
        }
        self.settled.insert(self.hash());
        if !problems.is_empty() {
            let path = told(self.below.iter().map(|level| level.name.as_os_str()));
            self.warnings.extend(problems.into_iter().map(|problem| format!("{path}: {problem}")));
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for level in &self.below {
            level.name.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What an error of [`Folder::open`] means: the systems disagree about how to say that a link was not followed.
fn refusal(parent: &Folder, name: &OsStr, error: io::Error) -> TargetError {
    let name_told = name.to_string_lossy();
    match parent.symlink_metadata(name) {
        Ok(found) if found.is_symlink() => {
            TargetError::Refused(format!("{name_told} in its path is a symbolic link"))
        }
        Ok(found) if !found.is_dir() => {
            TargetError::Failed(format!("{name_told} in its path is not a folder"))
        }
        _ => TargetError::from_io("open its folder", error),
    }
}

fn mode_error(error: io::Error) -> TargetError {
    TargetError::Failed(format!("its mode was not applied: {error}"))
}

fn told<'a>(names: impl Iterator<Item = &'a OsStr>) -> String {
    let names: Vec<_> = names.map(OsStr::to_string_lossy).collect();
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}
