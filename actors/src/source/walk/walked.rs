//! What a walk finds.

use intellistor_storage::manifest::Problem;
use serde::{Deserialize, Serialize};

use crate::source::metadata::FileMetadata;
use crate::source::source_path::SourcePath;

/// A file, folder, link or stream that the walk found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedEntry {
    /// As in the manifest: `/` separators, raw bytes.
    #[serde(with = "serde_bytes")]
    pub relative_path: Vec<u8>,
    /// Where it is on this machine; of a stream, where its file is.
    pub source: SourcePath,
    /// The serialized name is the one that queues on disk have.
    #[serde(rename = "facts")]
    pub metadata: FileMetadata,
}

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walked {
    Entry(ScannedEntry),
    /// A file whose content is not on this machine, or a folder of which the same can be said of all or part of what is in it; it is
    /// not to be fetched.
    InCloud(ScannedEntry),
    /// What is left out, and why. The path is as in [`ScannedEntry`].
    LeftOut {
        relative_path: Vec<u8>,
        problem: Problem,
    },
}
