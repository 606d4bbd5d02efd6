//! What a backup lacks, and why.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::streams;

/// Why an entry is missing or not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Not in the backup.
    Skipped,
    /// In the backup, but it changed while it was read.
    Changed,
    /// Not in the backup, and no harm: what has no content, such as a socket. A manifest has it as a [`Note`].
    Note,
}

/// What is left out without harm: a socket, a fifo, a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// As in [`Entry::relative_path`](super::entry::Entry::relative_path).
    pub relative_path: String,
    /// What it is, for a person.
    pub reason: String,
}

/// An entry that was skipped, or that changed while it was read; before the manifest is written also what becomes a [`Note`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// As in [`Entry::relative_path`](super::entry::Entry::relative_path).
    pub relative_path: String,
    /// Missing, or doubtful.
    pub kind: ProblemKind,
    /// Why, for a person.
    pub reason: String,
}

impl Problem {
    /// Its path as people write it: `file.txt:name` for a stream.
    pub fn shown_path(&self) -> Cow<'_, str> {
        streams::shown(&self.relative_path)
    }
}
