//! Times of last modification, as entries have them.

use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::fs::Metadata;

/// In nanoseconds since 1970; none where the system keeps no such time.
pub(super) fn mtime_ns(found: &Metadata) -> Option<i128> {
    Some(since_1970(found.modified().ok()?.into_std()))
}

/// In nanoseconds, negative before that.
pub(super) fn since_1970(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_are_negative() {
        // Windows counts in units of 100 ns.
        assert_eq!(since_1970(UNIX_EPOCH + Duration::from_nanos(500)), 500);
        assert_eq!(since_1970(UNIX_EPOCH - Duration::from_nanos(1_000_000_100)), -1_000_000_100);
    }
}
