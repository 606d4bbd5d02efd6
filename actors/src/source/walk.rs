//! The walk: depth first, each folder before its content, names in the order of their bytes, links not
//! followed.
//!
//! No folder is kept open, one path is held however deep the walk is, and depth costs no stack.

use std::io;
use std::path::PathBuf;

use intellistor_storage::manifest::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};

use super::facts::{Facts, SourceKind, facts_at};
use super::names::{Listing, Names};
use super::raw_name;
use super::roots::{Root, resolve};
use crate::globs::{BadGlob, PathGlobs};

/// A file, folder or link that the walk found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedEntry {
    /// As in the manifest: `/` separators, raw bytes.
    #[serde(with = "serde_bytes")]
    pub relative_path: Vec<u8>,
    /// Where it is on this machine.
    #[serde(with = "raw_name::serde_path")]
    pub source: PathBuf,
    /// What the system said of it.
    pub facts: Facts,
}

/// One step of the walk. Its serialized form is what a queue keeps of it from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Walked {
    /// Something to archive.
    Entry(ScannedEntry),
    /// Something that is left out, and why.
    Problem(Problem),
}

/// What a policy leaves out. An excluded folder is left out with all that it holds.
#[derive(Debug, Clone)]
pub struct Excludes(PathGlobs);

impl Excludes {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        PathGlobs::new(patterns).map(Self)
    }

    /// The only root has no name of its own that a pattern could mean; `*` and `?` would match its `.`.
    fn leave_out(&self, relative: &[u8]) -> bool {
        !relative.is_empty() && !self.0.is_empty() && self.0.is_match(&String::from_utf8_lossy(relative))
    }
}

/// An iterator over everything below some roots.
#[derive(Debug)]
pub struct Walk {
    roots: std::vec::IntoIter<Root>,
    excludes: Excludes,
    place: Place,
    /// What is left of each folder on the way to `place`.
    folders: Vec<Names>,
    /// What to say before the walk goes on.
    pending: Option<Walked>,
}

/// Where the walk is: both paths, and how to get back up.
#[derive(Debug, Default)]
struct Place {
    source: PathBuf,
    relative: Vec<u8>,
    /// Lengths of `relative` on the way here.
    lengths: Vec<usize>,
}

impl Place {
    fn descend(&mut self, name: &std::ffi::OsStr) {
        self.lengths.push(self.relative.len());
        if !self.relative.is_empty() {
            self.relative.push(b'/');
        }
        self.relative.extend_from_slice(&raw_name::to_bytes(name));
        self.source.push(name);
    }

    /// Leaving a root leads nowhere: the next one begins with a place of its own.
    fn ascend(&mut self) {
        if let Some(length) = self.lengths.pop() {
            self.relative.truncate(length);
            self.source.pop();
        }
    }

    /// As in the manifest.
    fn relative_path(&self) -> &[u8] {
        if self.relative.is_empty() { b"." } else { &self.relative }
    }

    fn entry(&self, facts: Facts) -> Walked {
        let relative_path = self.relative_path().to_vec();
        Walked::Entry(ScannedEntry { relative_path, source: self.source.clone(), facts })
    }

    fn problem(&self, reason: String) -> Walked {
        let relative_path = String::from_utf8_lossy(self.relative_path()).into_owned();
        Walked::Problem(Problem { relative_path, kind: ProblemKind::Skipped, reason })
    }
}

impl Walk {
    /// A walk from the beginning.
    pub fn new(roots: Vec<Root>, excludes: Excludes) -> Self {
        let roots = roots.into_iter();
        Self { roots, excludes, place: Place::default(), folders: Vec::new(), pending: None }
    }

    fn begin(&mut self, root: Root) -> Option<Walked> {
        let Root { path, prefix } = root;
        self.place = Place { source: path, relative: prefix.into_bytes(), lengths: Vec::new() };
        let found = resolve(&self.place.source).and_then(|source| Ok((facts_at(&source)?, source)));
        let (facts, source) = match found {
            Ok(found) => found,
            Err(e) => return Some(self.place.problem(format!("cannot find {:?}: {e}", self.place.source))),
        };
        if facts.kind != SourceKind::Directory
            && let Some(name) = self.place.source.file_name().map(ToOwned::to_owned)
        {
            self.place.descend(&name);
        }
        self.place.source = source;
        self.visit()
    }

    /// Looks at the place, and stays there if it is a folder that can be listed.
    fn visit(&mut self) -> Option<Walked> {
        if self.excludes.leave_out(&self.place.relative) {
            self.place.ascend();
            return None;
        }
        let walked = match facts_at(&self.place.source) {
            Ok(facts) => match facts.kind {
                SourceKind::Directory => return Some(self.enter(facts)),
                SourceKind::File | SourceKind::Symlink => self.place.entry(facts),
                SourceKind::Other(kind) => self.place.problem(format!("{kind}: not backed up")),
            },
            Err(e) => self.place.problem(told("look at it", &e)),
        };
        self.place.ascend();
        Some(walked)
    }

    fn enter(&mut self, facts: Facts) -> Walked {
        match Listing::of(&self.place.source) {
            Ok(listing) => {
                self.folders.push(listing.names);
                self.pending = listing.failed.map(|e| self.place.problem(told("list all of the folder", &e)));
                // Those of the folder that was listed, should another have taken its place since.
                self.place.entry(listing.facts.unwrap_or(facts))
            }
            Err(e) => {
                let problem = self.place.problem(told("list the folder", &e));
                let walked = if is_gone(&e) {
                    problem
                } else {
                    // The folder itself is backed up; what is in it is not.
                    self.pending = Some(problem);
                    self.place.entry(facts)
                };
                self.place.ascend();
                walked
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        loop {
            if let Some(walked) = self.pending.take() {
                return Some(walked);
            }
            let found = match self.folders.last_mut().map(Iterator::next) {
                Some(Some(name)) => {
                    self.place.descend(&name);
                    self.visit()
                }
                Some(None) => {
                    self.folders.pop();
                    self.place.ascend();
                    None
                }
                None => {
                    let root = self.roots.next()?;
                    self.begin(root)
                }
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

/// Whether what was there a moment ago is not there any more, or is no folder any more.
fn is_gone(e: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    #[cfg(unix)]
    if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return true;
    }
    matches!(e.kind(), NotFound | NotADirectory)
}

fn told(action: &str, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "vanished during the scan".to_owned(),
        _ if is_gone(e) => "replaced by something else during the scan".to_owned(),
        _ => format!("cannot {action}: {e}"),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
