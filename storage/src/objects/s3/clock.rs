//! The store's clock, from the `Date` of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::objects::unix_ms;

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
    /// The store's time now, in Unix milliseconds, once an answer has told it.
    pub(super) fn now_ms(&self) -> Option<i64> {
        let ahead = self.0.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then_some(unix_ms(SystemTime::now())?.saturating_add(ahead))
    }

    fn learn(&self, date: &str) {
        let told =
            DateTime::from_str(date, DateTimeFormat::HttpDate).ok().and_then(|date| date.to_millis().ok());
        if let (Some(theirs), Some(ours)) = (told, unix_ms(SystemTime::now())) {
            self.0.store(theirs.saturating_sub(ours), Ordering::Relaxed);
        }
    }
}

impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "StoreClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.learn(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_date_of_an_answer_sets_the_clock_and_junk_does_not() {
        let clock = StoreClock::default();
        clock.learn("yesterday");
        assert_eq!(clock.now_ms(), None);
        clock.learn("Tue, 15 Nov 1994 12:45:26 GMT");
        let told = clock.now_ms().unwrap();
        assert!((784_903_526_000..784_903_526_000 + 60_000).contains(&told), "{told}");
        clock.learn("");
        assert!(clock.now_ms().is_some_and(|now| now < 784_903_600_000));
    }
}
