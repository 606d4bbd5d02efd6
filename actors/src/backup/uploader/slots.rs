//! What may be in flight to the store at once: at most [`IN_FLIGHT_BYTES`], and at least one part.
//!
//! All of it goes to a store that is fast or far away, which hides its latency. On a slow line parts share what there is, and
//! the more are in flight the longer each takes: one less after a part that took more than [`SLOW`], one more after one
//! that took less than [`FAST`]. So parts complete sooner, and an interruption costs less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes of parts in flight, while parts are smaller than that.
pub const IN_FLIGHT_BYTES: usize = 36 << 20;
/// After a part that took longer, fewer are in flight.
const SLOW: Duration = Duration::from_secs(40);
/// After a part that took less, more are in flight. Two in place of one then take at most [`SLOW`].
const FAST: Duration = Duration::from_secs(20);

/// What may be in flight to the store at once: [`IN_FLIGHT_BYTES`], less on a slow line, at least one part.
#[derive(Debug, Clone)]
pub struct Slots {
    /// One for each KiB, so that a part of any size takes its share. Taken until a part is committed.
    bytes: Arc<Semaphore>,
    /// One for each part that the store has not answered yet, or the sequencer not taken over.
    in_flight: Arc<Semaphore>,
    concurrency: Arc<Concurrency>,
}

impl Slots {
    const SLOT_BYTES: usize = 1 << 10;
    const MAX: u32 = (IN_FLIGHT_BYTES / Self::SLOT_BYTES) as u32;

    /// Waits until no part is in flight. Parts that wait for an earlier one to be committed do not count.
    pub async fn wait_until_idle(&self) {
        // The semaphore is never closed.
        let _ = self.in_flight.acquire_many(Self::MAX).await;
    }

    /// The slots of a part of so many bytes: the first until it is committed, the second until it is handed on.
    pub(super) async fn take(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let share = self.concurrency.share(bytes).div_ceil(Self::SLOT_BYTES) as u32;
        let slot = self.bytes.clone().acquire_many_owned(share).await.ok()?;
        Some((slot, self.in_flight.clone().acquire_owned().await.ok()?))
    }

    /// Adapts to how long a part of so many bytes took.
    pub(super) fn arrived(&self, bytes: usize, took: Duration) {
        self.concurrency.adapt(bytes, took);
    }

    #[cfg(test)]
    pub(super) fn free_bytes(&self) -> usize {
        self.bytes.available_permits() * Self::SLOT_BYTES
    }
}

impl Default for Slots {
    fn default() -> Self {
        let all = || Arc::new(Semaphore::new(Self::MAX as usize));
        Self { bytes: all(), in_flight: all(), concurrency: Arc::default() }
    }
}

/// How many parts may be in flight, as far as the line's speed is concerned.
#[derive(Debug)]
struct Concurrency(AtomicUsize);

impl Default for Concurrency {
    /// As many as memory allows.
    fn default() -> Self {
        Self(AtomicUsize::new(IN_FLIGHT_BYTES))
    }
}

impl Concurrency {
    fn adapt(&self, bytes: usize, took: Duration) {
        let parts = self.0.load(Ordering::Relaxed).min(IN_FLIGHT_BYTES / bytes.clamp(1, IN_FLIGHT_BYTES));
        let parts = match took {
            _ if took > SLOW => (parts - 1).max(1),
            _ if took < FAST => parts + 1,
            _ => return,
        };
        self.0.store(parts, Ordering::Relaxed);
    }

    /// How much of [`IN_FLIGHT_BYTES`] a part takes: more than its size where fewer should be in flight.
    fn share(&self, bytes: usize) -> usize {
        bytes.max(IN_FLIGHT_BYTES / self.0.load(Ordering::Relaxed)).min(IN_FLIGHT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 8 << 20;

    fn parts(concurrency: &Concurrency) -> usize {
        IN_FLIGHT_BYTES / concurrency.share(PART)
    }

    /// Sends parts over a line of `line` bytes a second, of which one part gets at most `each`.
    fn send(concurrency: &Concurrency, line: f64, each: f64) -> usize {
        for _ in 0..20 {
            let speed = each.min(line / parts(concurrency) as f64);
            concurrency.adapt(PART, Duration::from_secs_f64(PART as f64 / speed));
        }
        parts(concurrency)
    }

    #[test]
    fn a_slow_line_has_fewer_parts_and_a_fast_one_all() {
        let adapted = Concurrency::default();
        assert_eq!(parts(&adapted), 4, "nothing is known yet");
        for (line, expected) in [(100e3, 1), (600e3, 2), (10e6, 4), (50e3, 1), (100e6, 4)] {
            assert_eq!(send(&adapted, line, line), expected, "{line} bytes a second");
        }
    }

    #[test]
    fn where_each_connection_is_slow_and_the_line_is_not_all_parts_are_in_flight_again_after_an_outage() {
        let adapted = Concurrency::default();
        (0..9).for_each(|_| adapted.adapt(PART, Duration::from_secs(600)));
        assert_eq!(parts(&adapted), 1);
        assert_eq!(send(&adapted, 100e6, 500e3), 4);
    }

    #[test]
    fn a_part_of_any_size_fits() {
        let adapted = Concurrency::default();
        for bytes in [0, 1, PART, IN_FLIGHT_BYTES, 64 << 20] {
            adapted.adapt(bytes, Duration::MAX);
            adapted.adapt(bytes, Duration::ZERO);
            assert!(
                (bytes.min(IN_FLIGHT_BYTES)..=IN_FLIGHT_BYTES).contains(&adapted.share(bytes)),
                "{bytes}"
            );
        }
    }
}
