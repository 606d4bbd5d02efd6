//! Waiting for what another thread does.

use std::time::Duration;

const STEP: Duration = Duration::from_millis(5);
const STEPS: u32 = 12_000;
/// A value that has not changed for as many looks has come to rest.
const LOOKS_AT_REST: u32 = 100;

/// Waits until `so` holds.
///
/// # Panics
/// After a minute.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..STEPS {
        if so() {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
    panic!("after a minute still not: {what}");
}

/// Waits until `value` has come to rest, and tells it.
///
/// # Panics
/// When it still changes after a minute.
pub async fn until_at_rest(what: &str, mut value: impl FnMut() -> u64) -> u64 {
    let (mut last, mut looks) = (value(), 0);
    until(what, || {
        let now = value();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        looks >= LOOKS_AT_REST
    })
    .await;
    last
}

/// As [`until`], for tests that are not async.
///
/// # Panics
/// After a minute.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..STEPS {
        if so() {
            return;
        }
        std::thread::sleep(STEP);
    }
    panic!("after a minute still not: {what}");
}
