//! What may be on its way to the store at once: at most [`IN_FLIGHT_BYTES`], and at least one part.
//!
//! All of it goes to a store that is fast or far away, which hides its latency. On a slow line parts share what there is, and
//! the more go side by side the longer each takes: one less goes after a part that took more than [`SLOW`], one
//! more after one that took less than [`FAST`]. What is sent is done sooner so, and an interruption costs less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes of parts that are on their way at once, while parts are smaller than that.
pub const IN_FLIGHT_BYTES: usize = 36 << 20;
/// After a part that took longer, fewer go side by side.
const SLOW: Duration = Duration::from_secs(40);
/// After a part that took less, more go side by side. Two where there was one take at most [`SLOW`] then.
const FAST: Duration = Duration::from_secs(20);

/// What may be on its way to the store at once: [`IN_FLIGHT_BYTES`], less on a slow line, at least one part.
#[derive(Debug, Clone)]
pub struct Slots {
    /// One for each KiB, so that a part of any size takes its share. Held until a part is committed.
    bytes: Arc<Semaphore>,
    /// One for each part that the store has not answered yet, or the sequencer not taken over.
    flights: Arc<Semaphore>,
    side_by_side: Arc<SideBySide>,
}

impl Slots {
    const SLOT_BYTES: usize = 1 << 10;
    const MOST: u32 = (IN_FLIGHT_BYTES / Self::SLOT_BYTES) as u32;

    /// Waits until no part is on its way. Those that wait behind a part that never arrived are not waited for.
    pub async fn all_landed(&self) {
        // The semaphore is never closed.
        let _ = self.flights.acquire_many(Self::MOST).await;
    }

    /// What a part of so many bytes holds until it is committed, and what it holds until it is handed on.
    pub(super) async fn take(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let share = self.side_by_side.share(bytes).div_ceil(Self::SLOT_BYTES) as u32;
        let slot = self.bytes.clone().acquire_many_owned(share).await.ok()?;
        Some((slot, self.flights.clone().acquire_owned().await.ok()?))
    }

    /// A part of so many bytes has arrived, and how long it took.
    pub(super) fn arrived(&self, bytes: usize, took: Duration) {
        self.side_by_side.adapt(bytes, took);
    }

    #[cfg(test)]
    pub(super) fn free_bytes(&self) -> usize {
        self.bytes.available_permits() * Self::SLOT_BYTES
    }
}

impl Default for Slots {
    fn default() -> Self {
        let all = || Arc::new(Semaphore::new(Self::MOST as usize));
        Self { bytes: all(), flights: all(), side_by_side: Arc::default() }
    }
}

/// How many parts may go side by side, as far as the line's speed is concerned.
#[derive(Debug)]
struct SideBySide(AtomicUsize);

impl Default for SideBySide {
    /// As many as memory allows.
    fn default() -> Self {
        Self(AtomicUsize::new(IN_FLIGHT_BYTES))
    }
}

impl SideBySide {
    fn adapt(&self, bytes: usize, took: Duration) {
        let parts = self.0.load(Ordering::Relaxed).min(IN_FLIGHT_BYTES / bytes.clamp(1, IN_FLIGHT_BYTES));
        let parts = match took {
            _ if took > SLOW => (parts - 1).max(1),
            _ if took < FAST => parts + 1,
            _ => return,
        };
        self.0.store(parts, Ordering::Relaxed);
    }

    /// How much of [`IN_FLIGHT_BYTES`] a part takes: more than its size where fewer should go beside it.
    fn share(&self, bytes: usize) -> usize {
        bytes.max(IN_FLIGHT_BYTES / self.0.load(Ordering::Relaxed)).min(IN_FLIGHT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 8 << 20;

    fn parts(side_by_side: &SideBySide) -> usize {
        IN_FLIGHT_BYTES / side_by_side.share(PART)
    }

    /// Sends parts over a line of `line` bytes a second, of which one part gets at most `each`.
    fn send(side_by_side: &SideBySide, line: f64, each: f64) -> usize {
        for _ in 0..20 {
            let speed = each.min(line / parts(side_by_side) as f64);
            side_by_side.adapt(PART, Duration::from_secs_f64(PART as f64 / speed));
        }
        parts(side_by_side)
    }

    #[test]
    fn a_slow_line_has_fewer_parts_and_a_fast_one_all() {
        let adapted = SideBySide::default();
        assert_eq!(parts(&adapted), 4, "nothing is known yet");
        for (line, expected) in [(100e3, 1), (600e3, 2), (10e6, 4), (50e3, 1), (100e6, 4)] {
            assert_eq!(send(&adapted, line, line), expected, "{line} bytes a second");
        }
    }

    #[test]
    fn where_each_connection_is_slow_and_the_line_is_not_all_go_again_after_an_outage() {
        let adapted = SideBySide::default();
        (0..9).for_each(|_| adapted.adapt(PART, Duration::from_secs(600)));
        assert_eq!(parts(&adapted), 1);
        assert_eq!(send(&adapted, 100e6, 500e3), 4);
    }

    #[test]
    fn a_part_of_any_size_fits() {
        let adapted = SideBySide::default();
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
