//! How long VSS is waited for.

use std::time::{Duration, Instant};

use super::calls::VssCall;
use super::error::SnapshotError;

/// Between two looks at an operation, and at whether the run was stopped.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Time that only passes, so that tests make it pass.
pub(super) trait Clock {
    fn now(&self) -> Duration;
    fn sleep(&self, time: Duration);
}

/// The system's clock.
#[derive(Debug)]
pub(super) struct SystemClock(Instant);

impl SystemClock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A time limit over several calls, and the wish to stop.
pub(super) struct Watch<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) cancelled: &'a dyn Fn() -> bool,
    /// Called before every call of VSS.
    pub(super) on_call: &'a dyn Fn(VssCall),
    pub(super) limit: Duration,
    /// By `clock`.
    pub(super) deadline: Duration,
}

impl Watch<'_> {
    /// Before every call.
    pub(super) fn enter(&self, call: VssCall) -> Result<(), SnapshotError> {
        (self.on_call)(call);
        self.check(call)
    }

    /// Sleeps, in slices of [`POLL`].
    pub(super) fn pause(&self, call: VssCall, time: Duration) -> Result<(), SnapshotError> {
        let end = self.clock.now() + time;
        loop {
            self.check(call)?;
            let left = end.saturating_sub(self.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            self.clock.sleep(left.min(POLL));
        }
    }

    fn check(&self, call: VssCall) -> Result<(), SnapshotError> {
        if (self.cancelled)() {
            return Err(SnapshotError::Cancelled { call });
        }
        if self.clock.now() >= self.deadline {
            return Err(SnapshotError::TimeLimit { call, limit: self.limit });
        }
        Ok(())
    }
}
