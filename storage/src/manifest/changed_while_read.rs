//! The entries of a backup that changed while they were read: the next backup reads them again, whatever their times say.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;

use super::problem::ProblemKind;
use super::reader::VerifiedManifest;
use crate::error::Result;

/// Their paths, as hashes: two paths with one hash are read again for nothing, once in 2^64.
#[derive(Debug, Default)]
pub struct ChangedWhileRead(HashSet<u64>);

impl ChangedWhileRead {
    pub(super) fn of(manifest: &VerifiedManifest) -> Result<Self> {
        let mut paths = HashSet::new();
        if manifest.head().totals.changed > 0 {
            manifest.for_each_problem(|problem| {
                if problem.kind == ProblemKind::Changed {
                    paths.insert(hash(&problem.relative_path));
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(Self(paths))
    }

    /// Whether the entry with this `relative_path` is one of them.
    #[must_use]
    pub fn contains(&self, relative_path: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&hash(relative_path))
    }
}

fn hash(relative_path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    relative_path.hash(&mut hasher);
    hasher.finish()
}
