//! Counts what a walk finds: for the estimate of the time left, and the totals of a scan.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backup::changes::Step;
use crate::progress::Progress;
use crate::source::{Excludes, FileId, FileMetadata, Root, Walk, Walked};

/// Counts what a scan will find, for the estimate of the time left; ends early when `stop` is set.
pub fn count(roots: Vec<Root>, excludes: Excludes, progress: &Progress, stop: &AtomicBool) {
    let mut counter = ContentCounter::default();
    for step in Walk::new(roots, excludes) {
        // The backup meets what this walk cannot get past, and reports it.
        let (Ok(step), false) = (step, stop.load(Ordering::Relaxed)) else { return };
        if let Some(bytes) = counter.count(&step) {
            progress.total_entries.add(1);
            progress.total_bytes.add(bytes);
        }
    }
}

/// Counts what a walk finds. Remembers files with several names, and how many of the names are still to come: their
/// content is read once.
#[derive(Debug, Default)]
pub(crate) struct ContentCounter(HashMap<FileId, u64>);

impl ContentCounter {
    /// Some 12 MiB; beyond it every name counts, since a count is only an estimate.
    const MAX_FILES: usize = 1 << 18;

    /// The bytes of content that an entry adds; `None` when the step is no entry.
    pub(crate) fn count(&mut self, step: &Walked) -> Option<u64> {
        let Walked::Entry(entry) = step else { return None };
        Some(self.count_entry(&entry.metadata))
    }

    /// The entries and bytes of content that a step adds.
    pub(crate) fn count_step(&mut self, step: &Step) -> Option<(u64, u64)> {
        match step {
            Step::Unchanged { count, bytes, .. } => Some((*count, *bytes)),
            Step::Known { scanned, .. } | Step::Read { scanned, .. } => {
                Some((1, self.count_entry(&scanned.metadata)))
            }
            Step::Problem(_) => None,
        }
    }

    fn count_entry(&mut self, metadata: &FileMetadata) -> u64 {
        let is_read = metadata.kind.has_content() && self.is_first(metadata);
        if is_read { metadata.size } else { 0 }
    }

    fn is_first(&mut self, metadata: &FileMetadata) -> bool {
        let (Some(identity), true) = (metadata.identity, metadata.links > 1) else { return true };
        match self.0.get_mut(&identity) {
            Some(1) => {
                self.0.remove(&identity);
                false
            }
            Some(to_come) => {
                *to_come -= 1;
                false
            }
            None => {
                if self.0.len() < Self::MAX_FILES {
                    self.0.insert(identity, metadata.links - 1);
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use intellistor_storage::manifest::{Problem, ProblemKind};

    use super::*;
    use crate::source::make_roots;

    #[test]
    fn a_count_has_entries_and_each_files_bytes_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(dir.path().join(name), "12345").unwrap();
        }
        let counted = |stop: bool| {
            let progress = Progress::default();
            let roots = make_roots(&[dir.path().into()]);
            count(roots, Excludes::new(&["b".to_owned()]).unwrap(), &progress, &AtomicBool::new(stop));
            (progress.total_entries.get(), progress.total_bytes.get())
        };
        assert_eq!(counted(false), (2, 5));
        #[cfg(unix)]
        {
            fs::hard_link(dir.path().join("a"), dir.path().join("a2")).unwrap();
            assert_eq!(counted(false), (3, 5));
        }
        assert_eq!(counted(true), (0, 0));
    }
    #[test]
    fn a_run_of_unchanged_entries_counts_with_its_bytes() {
        let mut counter = ContentCounter::default();
        let unchanged = Step::Unchanged { first: 7, count: 1_000, bytes: 5_000 };
        assert_eq!(counter.count_step(&unchanged), Some((1_000, 5_000)));
        let problem = Problem { relative_path: "x".into(), kind: ProblemKind::Skipped, reason: "r".into() };
        assert_eq!(counter.count_step(&Step::Problem(problem)), None);
    }
}
