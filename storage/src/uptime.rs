//! Time that passes whatever happens to the wall clock: the time since this machine was started, suspension included.
//!
//! `std::time::Instant` rests on Linux while the machine is suspended, and a wall clock can be set. Linux has
//! `CLOCK_BOOTTIME` for this; the monotonic clocks of macOS and Windows do not rest. Only a virtual machine that is paused, or
//! restored from a snapshot, notices nothing: who has to know of that asks another machine for the time.

use std::time::Duration;

/// A moment, for this process: on Windows it counts from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    pub fn now() -> Self {
        Self(since_start())
    }

    /// What has passed since then.
    pub fn elapsed(self) -> Duration {
        since_start().saturating_sub(self.0)
    }

    /// As [`elapsed`](Self::elapsed), in whole milliseconds.
    pub fn elapsed_ms(self) -> i64 {
        i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(unix)]
fn since_start() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(unix))]
fn since_start() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_as_fast_as_any_other() {
        let (uptime, instant) = (Uptime::now(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, expected) = (uptime.elapsed(), instant.elapsed());
        assert!(
            elapsed >= Duration::from_millis(20) && elapsed < expected + Duration::from_secs(5),
            "{elapsed:?}"
        );
        assert!(uptime.elapsed_ms() >= 20);
    }
}
