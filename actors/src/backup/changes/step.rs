//! What flows from the walk to the archiver, and is recorded of a job's walk.

use intellistor_storage::manifest::{Entry, Problem, ProblemKind};
use serde::{Deserialize, Serialize};

use super::reason::Reason;
use crate::source::{IN_CLOUD, ScannedEntry, SourceKind, Walked};

/// What is done about one or more entries of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Entries of the base, by their index in its list, are taken over as they are. `bytes`: their content.
    Unchanged { first: u64, count: u64, bytes: u64 },
    /// Unchanged too, but recorded by itself: one of several names of a file. The entry is the base's, with this backup's
    /// numbers of archives, and that of a file also where the base has a hard link: whether it is one depends on what comes
    /// before it in this walk.
    Known { scanned: ScannedEntry, entry: Box<Entry> },
    /// It is read. `before`: the base's entry under this path, if it is of the same kind, with this backup's numbers of
    /// archives. Those that may not be used are
    /// [`UNUSABLE_ARCHIVE`](intellistor_storage::manifest::UNUSABLE_ARCHIVE).
    Read { scanned: ScannedEntry, reason: Reason, before: Option<Box<Entry>> },
    /// What is left out, and why.
    Problem(Problem),
}

impl Step {
    /// A note of what was not fetched.
    pub(super) fn in_cloud(scanned: &ScannedEntry) -> Self {
        let reason = match scanned.metadata.kind {
            SourceKind::Directory => format!("{IN_CLOUD}, all or part of what it contains"),
            _ => IN_CLOUD.to_owned(),
        };
        let relative_path = String::from_utf8_lossy(&scanned.relative_path).into_owned();
        Self::Problem(Problem { relative_path, kind: ProblemKind::Note, reason })
    }

    /// What is done about a step of the walk where there is no base.
    pub fn without_base(walked: Walked) -> Self {
        match walked {
            Walked::Entry(scanned) => Self::Read { scanned, reason: Reason::New, before: None },
            Walked::InCloud(scanned) => Self::in_cloud(&scanned),
            Walked::LeftOut { problem, .. } => Self::Problem(problem),
        }
    }
}
