//! The store's clock, from the `Date` of its answers.
//!
//! An answer's date is kept with the [`Uptime`] at which it was received, and the wall clock of this machine is not asked: it may be
//! set at any time, by a person or a time server. So the store's time is that date, and what has passed since then. It is never
//! ahead of the store's clock by more than a second of drift; it is behind by the time the last answer took, and where this
//! machine was paused as a virtual machine is, by the pause, until the next answer comes. Whoever measures a span asks before its
//! first request and after its last answer: no stop between the two is hidden then, wherever it happened.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::http::Headers;

use crate::uptime::Uptime;

/// The latest answer's date in Unix milliseconds, to the second, and when it came. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreClock(Arc<Mutex<Option<(i64, Uptime)>>>);

impl StoreClock {
    /// The store's time now, in Unix milliseconds, once an answer had a date.
    pub(super) fn now_ms(&self) -> Option<i64> {
        let latest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.map(|(date_ms, received)| date_ms.saturating_add(received.elapsed_ms()))
    }

    /// Takes the time of an answer, where it has one.
    pub(super) fn learn(&self, headers: &Headers) {
        if let Some(date_ms) = date_ms(headers) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date_ms, Uptime::now()));
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
