//! Counters of a pipeline that can be observed while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Monotonic counters, written by the stages.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files, folders and links done.
    pub entries: Counter,
    /// Entries expected, 0 while unknown.
    pub total_entries: Counter,
    /// Entries that a restore is to end with, 0 while unknown: `total_entries` grows with what is planned.
    pub selected_entries: Counter,
    /// Bytes of content read (backup), written (restore) or checked (verify).
    pub bytes: Counter,
    /// Bytes of content expected, 0 while unknown.
    pub total_bytes: Counter,
    /// Bytes that the store acknowledged (backup) or delivered (restore, verify).
    pub stored_bytes: Counter,
}

/// The counters of a [`Progress`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressSnapshot {
    pub entries: u64,
    pub total_entries: u64,
    pub bytes: u64,
    pub total_bytes: u64,
    pub stored_bytes: u64,
}

impl Progress {
    pub fn snapshot(&self) -> ProgressSnapshot {
        ProgressSnapshot {
            entries: self.entries.get(),
            total_entries: self.total_entries.get(),
            bytes: self.bytes.get(),
            total_bytes: self.total_bytes.get(),
            stored_bytes: self.stored_bytes.get(),
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Saturates: a few sparse files can have more bytes than the number holds.
    pub fn add(&self, n: u64) {
        let sum = |count: u64| Some(count.saturating_add(n));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// Counts what an earlier run had done: at least `n`.
    pub fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
