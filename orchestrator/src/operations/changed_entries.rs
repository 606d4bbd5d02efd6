//! Entries of a backup that changed while they were backed up: they are as they were read, which need not be as they ever
//! were. Whoever restores or verifies them is to know.

use std::ops::ControlFlow;

use intellistor_actors::globs::PathGlobs;
use intellistor_storage::manifest::{ProblemKind, VerifiedManifest};

use crate::error::Result;

/// A report lists no more than this; all are counted.
const MOST_LISTED: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The first of them, with the reason.
    pub(crate) listed: Vec<String>,
    pub(crate) count: u64,
}

impl Changed {
    /// Those of a backup that are selected; without a selection, all.
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
