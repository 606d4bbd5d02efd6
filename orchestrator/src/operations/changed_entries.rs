//! Entries that changed while they were backed up: their content is as it was read, and may mix an older and a newer
//! state. Reports of restores and verifications name them.

use std::ops::ControlFlow;

use intellistor_actors::globs::PathGlobs;
use intellistor_storage::manifest::{ProblemKind, VerifiedManifest, streams};

use crate::error::Result;

/// A report lists this many; all are counted.
const MOST_LISTED: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct ChangedEntries {
    /// The first of them, with the reason.
    listed: Vec<String>,
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
            let is_selected = only.is_none_or(|globs| globs.is_match(streams::owner(&problem.relative_path)));
            if problem.kind == ProblemKind::Changed && is_selected {
                changed.count += 1;
                if changed.listed.len() < MOST_LISTED {
                    changed.listed.push(format!("{}: {}", problem.shown_path(), problem.reason));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(changed)
    }

    /// Lines of a report: those that are listed, and how many more there are.
    pub(crate) fn warnings(self) -> Vec<String> {
        let more = self.count.saturating_sub(self.listed.len() as u64);
        let mut warnings: Vec<_> =
            self.listed.iter().map(|entry| format!("changed while it was backed up: {entry}")).collect();
        if more > 0 {
            warnings.push(format!("and {more} more changed while they were backed up"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_changed_is_counted() {
        let listed = vec!["a: it grew".to_owned()];
        let expected =
            ["changed while it was backed up: a: it grew", "and 2 more changed while they were backed up"];
        assert_eq!(ChangedEntries { listed, count: 3 }.warnings(), expected);
        assert!(ChangedEntries::default().warnings().is_empty());
    }
}
