//! Entries that changed while they were backed up: their content is as it was read, and may mix an older and a newer
//! state. Reports of restores and verifications name them.

use std::ops::ControlFlow;

use intellistor_actors::globs::PathGlobs;
use intellistor_storage::manifest::{ProblemKind, VerifiedManifest};

use crate::error::Result;

/// A report lists this many; all are counted.
const MOST_LISTED: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct ChangedEntries {
    /// The first of them, with the reason.
    pub(crate) listed: Vec<String>,
    pub(crate) count: u64,
}

impl ChangedEntries {
    /// Those of the manifest that are selected; without a selection, all.
    pub(crate) fn among(manifest: &VerifiedManifest, only: Option<&PathGlobs>) -> Result<Self> {
        let mut changed = Self::default();
        if manifest.head().totals.changed == 0 {
            return Ok(changed);
        }
        manifest.for_each_problem(|problem| {
            let is_selected = only.is_none_or(|globs| globs.is_match(&problem.relative_path));
            if problem.kind == ProblemKind::Changed && is_selected {
                changed.count += 1;
                if changed.listed.len() < MOST_LISTED {
                    changed.listed.push(format!("{}: {}", problem.relative_path, problem.reason));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(changed)
    }
}
