//! Counters that a person may watch while a pipeline runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Monotonic counters, written by the stages, read by whoever draws.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files, folders and links done.
    pub entries: Counter,
    /// Bytes of content read (backup), written (restore) or checked (verify).
    pub bytes: Counter,
    /// Bytes that the store acknowledged (backup) or delivered (restore, verify).
    pub stored_bytes: Counter,
    /// Entries expected, 0 while unknown.
    pub total_entries: Counter,
    /// Bytes of content expected, 0 while unknown.
    pub total_bytes: Counter,
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. A few sparse files can have more bytes than a number holds; then the count stays at its most.
    pub fn add(&self, n: u64) {
        let sum = |count: u64| Some(count.saturating_add(n));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// Counts what an earlier run had done: at least `n`.
    pub fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
