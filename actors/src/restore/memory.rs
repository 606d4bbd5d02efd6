//! How much memory a restore may use for frames, and who holds how much of it.
//!
//! Every frame holds a share from its request until nothing refers to it any more: neither the window nor a file that is
//! being written. So the sum of [`window_frames`](MemoryBudget::window_frames) and
//! [`in_flight_bytes`](MemoryBudget::in_flight_bytes) is a bound for all frames there are. Frames take their shares in the
//! order of the plan, and the window alone never has all of them: a range that waits for its share gets it.

use intellistor_storage::archive::{ArchiveSet, FRAME_BYTES};
use tokio::sync::OwnedSemaphorePermit;

/// What a frame holds: opened frames are in buffers that are used again, which have the size of the largest.
pub const FRAME_SHARE: u64 = FRAME_BYTES as u64;

/// How much memory frames may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Frames that are kept for later entries.
    pub window_frames: usize,
    /// The most bytes of ranges, sealed or opened, besides those in the window.
    pub in_flight_bytes: u64,
}

impl MemoryBudget {
    /// For a restore from these archives.
    ///
    /// One archive is read forward, but for files that are in it once for several entries: its window is there for these.
    /// 40 MiB are eight ranges that do not compress, in flight from the store at once, which hides a request's latency.
    ///
    /// Content in several archives alternates between all of them, at most 32, each read forward: the window has one frame of
    /// each, and 16 more, since between two uses of a frame others come to their next one. (A disk image of 300 MB after 30
    /// days of 200 random blocks of 64 KiB: 48 frames fetch hardly any a second time.)
    #[must_use]
    pub fn of(archives: &ArchiveSet) -> Self {
        match archives.numbers().len() {
            0 | 1 => Self { window_frames: 16, in_flight_bytes: 40 << 20 },
            _ => Self { window_frames: 48, in_flight_bytes: 24 << 20 },
        }
    }

    /// Permits for all of it.
    pub(crate) fn permits(self) -> usize {
        permits(self.in_flight_bytes + self.window_frames as u64 * FRAME_SHARE)
    }

    /// Permits for a range, which may not take more than what is in flight.
    pub(crate) fn permits_for(self, bytes: u64) -> usize {
        permits(bytes.min(self.in_flight_bytes))
    }
}

/// Permits for so many bytes, one for each KiB.
pub(crate) fn permits(bytes: u64) -> usize {
    bytes.div_ceil(1 << 10) as usize
}

/// A share of the memory that a restore may use; free again when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryShare(Option<OwnedSemaphorePermit>);

impl MemoryShare {
    /// Takes a share for a frame out of this one; less where it has less.
    pub(crate) fn split_frame(&mut self) -> Self {
        let Some(permit) = &mut self.0 else { return Self(None) };
        let most = permit.num_permits();
        Self(permit.split(permits(FRAME_SHARE).min(most)))
    }

    /// Gives back what exceeds these bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(permits(bytes))));
        }
    }
}

impl From<OwnedSemaphorePermit> for MemoryShare {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }
}
