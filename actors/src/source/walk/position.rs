//! Where a walk is, and what it says of that place.

use intellistor_storage::manifest::{Problem, ProblemKind};

use super::walked::{ScannedEntry, Walked};
use crate::source::metadata::FileMetadata;
use crate::source::raw_name;
use crate::source::roots::Root;
use crate::source::source_path::SourcePath;

/// Where the walk is: both paths, and how to get back up.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) source: SourcePath,
    relative: Vec<u8>,
    /// Lengths of `relative` on the way here.
    lengths: Vec<usize>,
    /// How much of `relative` is the root's prefix.
    prefix: usize,
}

impl Position {
    /// The root as the policy names it.
    pub(super) fn at_root(Root { path, prefix, .. }: Root) -> Self {
        let (source, relative) = (SourcePath::of_root(path), prefix.into_bytes());
        Self { source, prefix: relative.len(), relative, lengths: Vec::new() }
    }

    pub(super) fn descend(&mut self, name: &std::ffi::OsStr) {
        self.lengths.push(self.relative.len());
        if !self.relative.is_empty() {
            self.relative.push(b'/');
        }
        self.relative.extend_from_slice(&raw_name::to_bytes(name));
        self.source.push(name);
    }

    /// Does nothing at a root: the next one begins with a position of its own.
    pub(super) fn ascend(&mut self) {
        if let Some(length) = self.lengths.pop() {
            self.relative.truncate(length);
            self.source.pop();
        }
    }

    /// Relative to the root; empty for the root itself.
    pub(super) fn below_root(&self) -> &[u8] {
        let below = self.relative.get(self.prefix..).unwrap_or_default();
        below.strip_prefix(b"/").unwrap_or(below)
    }

    /// As in the manifest.
    pub(super) fn relative_path(&self) -> &[u8] {
        if self.relative.is_empty() { b"." } else { &self.relative }
    }

    pub(super) fn entry(&self, metadata: FileMetadata) -> Walked {
        Walked::Entry(self.scanned(metadata))
    }

    pub(super) fn scanned(&self, metadata: FileMetadata) -> ScannedEntry {
        let relative_path = self.relative_path().to_vec();
        ScannedEntry { relative_path, source: self.source.clone(), metadata }
    }

    pub(super) fn problem(&self, reason: String) -> Walked {
        self.left_out(ProblemKind::Skipped, reason)
    }

    /// An entry that is left out on purpose.
    pub(super) fn note(&self, reason: String) -> Walked {
        self.left_out(ProblemKind::Note, reason)
    }

    pub(super) fn left_out(&self, kind: ProblemKind, reason: String) -> Walked {
        let raw = self.relative_path().to_vec();
        let relative_path = String::from_utf8_lossy(&raw).into_owned();
        Walked::LeftOut { relative_path: raw, problem: Problem { relative_path, kind, reason } }
    }
}
