//! Why an entry is read again.

use serde::{Deserialize, Serialize};

/// Why an entry is read, though the base may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The base has nothing under its path, or there is no base.
    New,
    /// It was something else: a file, a folder, a link.
    Kind,
    /// It has another size.
    Size,
    /// It was modified.
    Mtime,
    /// Something about it was changed: its content, its mode, its owner, its name, its attributes.
    Ctime,
    /// Another file took its place.
    Inode,
    /// Its mode, its owner or its Windows attributes are others, although its time of change does not say so.
    Attributes,
    /// It changed while the base was made.
    ReadWhileChanging,
    /// In a snapshot: a program has it open to write to it, and its times do not say what was written meanwhile.
    InUse,
    /// It changed so shortly before the base was made, or after it, that a further change might have the same time.
    Racy,
    /// The policy wants it read.
    Asked,
    /// An archive with its content is gone, or is to be replaced.
    Repack,
}

impl Reason {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kind => "kind",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Ctime => "ctime",
            Self::Inode => "inode",
            Self::Attributes => "attributes",
            Self::ReadWhileChanging => "read_while_changing",
            Self::InUse => "in_use",
            Self::Racy => "racy",
            Self::Asked => "asked",
            Self::Repack => "repack",
        }
    }
}
