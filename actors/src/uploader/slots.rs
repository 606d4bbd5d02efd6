//! What may be on its way to the store at once.
//!
//! As much as the store took in the last [`AHEAD`], at least one part, at most [`IN_FLIGHT_BYTES`]. To a store that is
//! fast or far away that is the most, which hides its latency; on a slow line parts go one after the other, so that
//! each is done sooner, and an interruption costs no more than the one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes of parts that are on their way at once, while parts are smaller than that.
pub const IN_FLIGHT_BYTES: usize = 36 << 20;
/// How long what is on its way may take to arrive, unless it is a single part.
pub const AHEAD: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Clone)]
pub struct Slots {
    /// One for each KiB, so that a part of any size takes its share. Held until a part is committed.
    bytes: Arc<Semaphore>,
    /// One for each part that the store has not answered yet, or the sequencer not taken over.
    flights: Arc<Semaphore>,
    pace: Arc<Mutex<Pace>>,
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
        let share = self.pace().share(bytes).div_ceil(Self::SLOT_BYTES) as u32;
        let slot = self.bytes.clone().acquire_many_owned(share).await.ok()?;
        Some((slot, self.flights.clone().acquire_owned().await.ok()?))
    }

    /// A part of so many bytes, sent since `begun`, has arrived.
    pub(super) fn arrived(&self, bytes: u64, begun: Instant) {
        self.pace().arrived(bytes, begun, Instant::now());
    }

    #[cfg(test)]
    pub(super) fn free_bytes(&self) -> usize {
        self.bytes.available_permits() * Self::SLOT_BYTES
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        // No step of it can be left half done.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Slots {
    fn default() -> Self {
        let all = || Arc::new(Semaphore::new(Self::MOST as usize));
        Self { bytes: all(), flights: all(), pace: Arc::default() }
    }
}

/// How fast the store takes parts, whether one by one or several side by side.
#[derive(Debug, Default)]
struct Pace {
    /// A mean in which the latest parts weigh most. Of several that share a line the first tells more than its time
    /// and the others less, which a mean of times evens out, and a mean of speeds would not.
    seconds_per_byte: Option<f64>,
    latest: Option<Instant>,
}

impl Pace {
    const WEIGHT_OF_LATEST: f64 = 0.25;

    fn arrived(&mut self, bytes: u64, begun: Instant, now: Instant) {
        // While nothing is on its way the line rests, and that says nothing of it.
        let since = self.latest.map_or(begun, |latest| latest.max(begun));
        let this = now.saturating_duration_since(since).as_secs_f64() / bytes.max(1) as f64;
        let mean = self.seconds_per_byte.map_or(this, |mean| mean + (this - mean) * Self::WEIGHT_OF_LATEST);
        (self.seconds_per_byte, self.latest) = (Some(mean), Some(now));
    }

    /// How much of [`IN_FLIGHT_BYTES`] a part takes: more than its size where no more should be on its way beside it.
    fn share(&self, bytes: usize) -> usize {
        let seconds = self.seconds_per_byte.unwrap_or(0.0) * IN_FLIGHT_BYTES as f64;
        let factor = (seconds / AHEAD.as_secs_f64()).max(1.0);
        (bytes as f64 * factor).min(IN_FLIGHT_BYTES as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 8 << 20;

    /// How many parts go side by side after the store took parts at `speed` bytes a second, `together` at a time.
    fn side_by_side(pace: &mut Pace, speed: f64, together: u32) -> usize {
        let mut now = Instant::now() + Duration::from_secs(3600);
        for _ in 0..20 {
            let begun = now;
            now += Duration::from_secs_f64(f64::from(together) * PART as f64 / speed);
            (0..together).for_each(|_| pace.arrived(PART as u64, begun, now));
        }
        IN_FLIGHT_BYTES / pace.share(PART)
    }

    #[test]
    fn a_slow_line_has_fewer_parts_and_a_fast_one_all() {
        let mut pace = Pace::default();
        assert_eq!(IN_FLIGHT_BYTES / pace.share(PART), 4, "nothing is known yet");
        for (speed, parts) in [(100e3, 1), (600e3, 2), (1.3e6, 4), (100e3, 1), (100e6, 4)] {
            assert_eq!(side_by_side(&mut pace, speed, 1), parts, "{speed} bytes a second");
        }
        for (speed, parts) in [(100e3, 1), (100e6, 4)] {
            assert_eq!(side_by_side(&mut pace, speed, 4), parts, "{speed} bytes a second for four at once");
        }
    }

    #[test]
    fn a_line_that_rests_is_not_slow() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for minute in 0..10 {
            let begun = start + Duration::from_secs(60 * minute);
            pace.arrived(PART as u64, begun, begun + Duration::from_millis(100));
        }
        assert_eq!(pace.share(PART), PART);
    }

    #[test]
    fn a_part_takes_no_more_than_all() {
        let mut pace = Pace::default();
        side_by_side(&mut pace, 1.0, 1);
        assert_eq!(pace.share(64 << 20), IN_FLIGHT_BYTES);
        assert_eq!(pace.share(PART), IN_FLIGHT_BYTES);
        pace.arrived(0, Instant::now(), Instant::now());
        assert!(pace.share(0) == 0 && pace.share(1) >= 1);
    }
}
