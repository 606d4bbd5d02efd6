//! The outcome of a restore.

use crate::shown::{NameList, shortened};
use crate::target::Occupied;

/// The most warnings, and the most damaged entries, that are listed: the first by path, whichever writer met them. All are counted.
pub const MAX_LISTED: usize = 100;

/// The outcome of a restore, after its last entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Entries that were selected.
    pub found: u64,
    /// Entries that are there as they were backed up; some may lack an attribute, which is then a warning.
    pub restored: u64,
    /// Content that was written, in bytes, holes included.
    pub bytes: u64,
    /// Of the restored ones, files and links that were there already, and are what was backed up.
    pub unchanged: u64,
    /// Files and links that took the place of others.
    pub overwritten: u64,
    /// Those of them that were modified later than what was backed up.
    pub overwritten_newer: NameList,
    /// Files and links that were not restored, since something has their name, and nothing was to be replaced.
    pub left: NameList,
    /// Alternate data streams that were not restored, since the file system there keeps none.
    pub streams_left_out: u64,
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
        list(&mut self.warnings, shortened(warning));
    }

    /// Adds what became of names that were taken. What was left counts as handled so far, and not as restored from now on.
    pub fn note_occupied(&mut self, occupied: Occupied) {
        let Occupied { unchanged, overwritten, overwritten_newer, left, streams } = occupied;
        self.unchanged += unchanged;
        self.overwritten += overwritten;
        self.overwritten_newer.append(&overwritten_newer);
        self.restored = self.restored.saturating_sub(left.count() + streams);
        self.streams_left_out += streams;
        self.left.append(&left);
    }

    /// Adds the outcome of another restore, of another root of the same backup.
    pub fn append(&mut self, other: Self) {
        let Self {
            found,
            restored,
            bytes,
            unchanged,
            overwritten,
            overwritten_newer,
            left,
            streams_left_out,
            warnings,
            warning_count,
            damaged,
            damaged_count,
        } = other;
        self.found += found;
        self.restored += restored;
        self.bytes = self.bytes.saturating_add(bytes);
        self.unchanged += unchanged;
        self.overwritten += overwritten;
        self.overwritten_newer.append(&overwritten_newer);
        self.left.append(&left);
        self.streams_left_out += streams_left_out;
        self.warning_count += warning_count;
        warnings.into_iter().for_each(|line| list(&mut self.warnings, line));
        self.damaged_count += damaged_count;
        damaged.into_iter().for_each(|line| list(&mut self.damaged, line));
    }

    pub fn warn_all(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.warn(warning);
        }
    }

    /// Records what failed its integrity check.
    pub fn damage(&mut self, path: &str, reason: &str) {
        self.damaged_count += 1;
        list(&mut self.damaged, shortened(format!("{path}: {reason}")));
    }
}

/// Keeps the lines in their order, which is that of the paths: writers complete files in another order in each run.
fn list(lines: &mut Vec<String>, line: String) {
    let at = lines.partition_point(|other| *other <= line);
    if at < MAX_LISTED {
        lines.truncate(MAX_LISTED - 1);
        lines.insert(at, line);
    }
}
