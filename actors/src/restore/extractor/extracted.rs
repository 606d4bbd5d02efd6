//! The outcome of a restore.

use crate::shown::shortened;

/// The most warnings, and the most damaged entries, that are listed by name; all are counted.
pub const MAX_LISTED: usize = 100;

/// The outcome of a restore, after its last entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Entries that were selected.
    pub found: u64,
    /// Entries that have their name; some may lack an attribute, which is then a warning.
    pub restored: u64,
    /// UnfinishedFile of the restored files in bytes, holes included.
    pub bytes: u64,
    /// `path: reason` for entries that could not be made, and for attributes that could not be applied.
    pub warnings: Vec<String>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// `path: reason` for entries that failed their integrity check; nothing of them was restored.
    pub damaged: Vec<String>,
    /// How many damaged entries there were.
    pub damaged_count: u64,
}

impl Extracted {
    /// Records a warning.
    pub fn warn(&mut self, warning: String) {
        self.warning_count += 1;
        if self.warnings.len() < MAX_LISTED {
            self.warnings.push(shortened(warning));
        }
    }

    pub fn warn_all(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.warn(warning);
        }
    }

    /// By path: the order in which writers complete files differs from run to run.
    pub(super) fn sort(&mut self) {
        self.warnings.sort();
        self.damaged.sort();
    }

    /// Records what failed its integrity check.
    pub fn damage(&mut self, path: &str, reason: &str) {
        self.damaged_count += 1;
        if self.damaged.len() < MAX_LISTED {
            self.damaged.push(shortened(format!("{path}: {reason}")));
        }
    }
}
