//! The store's clock, from the `Date` of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::http::Headers;

use crate::objects::object::unix_ms;

/// No answer has come yet.
const UNKNOWN: i64 = i64::MIN;

/// How far the store's clock is ahead of ours, in milliseconds, to the second. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct StoreClock(Arc<AtomicI64>);

impl Default for StoreClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl StoreClock {
    /// The store's time now, in Unix milliseconds, once an answer had a date.
    pub(super) fn now_ms(&self) -> Option<i64> {
        let ahead = self.0.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then_some(unix_ms(SystemTime::now())?.saturating_add(ahead))
    }

    /// Takes the time of an answer, where it has one.
    pub(super) fn learn(&self, headers: &Headers) {
        if let (Some(theirs), Some(ours)) = (date_ms(headers), unix_ms(SystemTime::now())) {
            self.0.store(theirs.saturating_sub(ours), Ordering::Relaxed);
        }
    }
}

/// The `Date` of an answer, in Unix milliseconds.
pub(super) fn date_ms(headers: &Headers) -> Option<i64> {
    DateTime::from_str(headers.get("date")?, DateTimeFormat::HttpDate).ok()?.to_millis().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dated(date: &'static str) -> Headers {
        let mut headers = Headers::new();
        headers.insert("date", date);
        headers
    }

    #[test]
    fn the_date_of_an_answer_sets_the_clock_and_junk_does_not() {
        let clock = StoreClock::default();
        clock.learn(&dated("yesterday"));
        assert_eq!(clock.now_ms(), None);
        clock.learn(&dated("Tue, 15 Nov 1994 12:45:26 GMT"));
        let now = clock.now_ms().unwrap();
        assert!((784_903_526_000..784_903_526_000 + 60_000).contains(&now), "{now}");
        clock.learn(&dated(""));
        assert!(clock.now_ms().is_some_and(|now| now < 784_903_600_000));
    }
}
