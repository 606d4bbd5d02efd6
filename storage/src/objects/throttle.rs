//! Limits how many bytes per second go to a store and come from it.
//!
//! **In:** rates, and the time of day in which they hold. **Out:** time: who moves bytes waits here first. All calls of a
//! store share one limiter for each direction, in the order in which they ask, so that parts that go side by side are
//! together as fast as one. Bytes are let through in slices of at most an eighth of a second, so that a line is never full
//! for longer than that. **After a crash:** nothing of it is kept.
//!
//! A store of S3 asks within a body, slice by slice; other stores are wrapped in [`Limited`], which waits for a whole part.
//! Headers, TLS and requests without a body are not counted: they are less than a hundredth.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::{Add, Range};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::objects::options::PutOptions;
use crate::objects::store::{ObjectStore, SharedStore};
use crate::objects::upload::{Part, PartReceipt, Upload};

const KIB: u64 = 1 << 10;
/// The least rate. Stores close a connection on which nothing arrives for some 20 s, and up to 16 share the rate.
pub const MIN_RATE: u64 = 64 * KIB;
/// The highest: one cell of the limiter is a KiB, and its period has whole nanoseconds.
pub const MAX_RATE: u64 = 1 << 40;
/// What is let through at once.
const SLICE: Range<u64> = 16 * KIB..128 * KIB;

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// `None` below [`MIN_RATE`] and above [`MAX_RATE`].
    pub fn new(bytes_per_second: u64) -> Option<Self> {
        let is_usable = (MIN_RATE..=MAX_RATE).contains(&bytes_per_second);
        NonZeroU64::new(bytes_per_second).filter(|_| is_usable).map(Self)
    }

    pub fn bytes_per_second(self) -> u64 {
        self.0.get()
    }

    fn slice_bytes(self) -> u64 {
        (self.0.get() / 8).clamp(SLICE.start, SLICE.end)
    }

    /// A slice, and what 30 ms carry: a timer wakes up to a millisecond late, in which a fast line moves several slices.
    fn burst_bytes(self) -> u64 {
        self.slice_bytes() + self.0.get() / 32
    }
}

/// With the largest unit that shows it exactly: `10MiB`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.get();
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(bits, _)| bytes.is_multiple_of(1 << bits)) {
            Some((bits, unit)) => write!(f, "{}{unit}", bytes >> bits),
            None => write!(f, "{bytes}B"),
        }
    }
}

/// A time of day, again each day: from a minute on, until before another. It may cross midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    from: u16,
    until: u16,
}

impl DailyWindow {
    /// Minutes of the day from 0 to 1439; `None` for others, and where both are the same.
    pub fn new(from: u16, until: u16) -> Option<Self> {
        let is_usable = from < 24 * 60 && until < 24 * 60 && from != until;
        is_usable.then_some(Self { from, until })
    }

    fn contains(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

/// As in `08:00-18:00`.
impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// Rates of one store. Without any, nothing waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransferLimits {
    pub upload: Option<Rate>,
    pub download: Option<Rate>,
    /// When the rates hold; outside of it nothing is limited. Always, where it is absent.
    pub window: Option<DailyWindow>,
}

/// As in `uploads at most 10MiB/s, from 08:00 until 18:00`.
impl fmt::Display for TransferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directions = [("uploads", self.upload), ("downloads", self.download)];
        let parts: Vec<_> = directions
            .into_iter()
            .filter_map(|(what, rate)| Some(format!("{what} at most {}/s", rate?)))
            .chain(self.window.map(|window| format!("from {}", window.to_string().replace('-', " until "))))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// The limiters of one store.
pub struct Throttle {
    upload: Option<Limiter>,
    download: Option<Limiter>,
    window: Option<DailyWindow>,
    minute_of_day: fn() -> u16,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle(..)")
    }
}

impl Throttle {
    /// `minute_of_day` is the clock that a window is read by.
    pub fn new(limits: TransferLimits, minute_of_day: fn() -> u16) -> Self {
        let TransferLimits { upload, download, window } = limits;
        Self { upload: upload.map(Limiter::new), download: download.map(Limiter::new), window, minute_of_day }
    }

    /// Bytes of a body that are best sent at a time; `None` where uploads are not limited at all.
    pub(crate) fn upload_slice(&self) -> Option<usize> {
        self.upload.as_ref().map(|limiter| limiter.slice_bytes as usize)
    }

    /// Waits until so many bytes may be sent.
    pub async fn upload(&self, bytes: u64) {
        self.wait(self.upload.as_ref(), bytes).await;
    }

    /// Waits until so many bytes that came may be followed by others.
    pub async fn download(&self, bytes: u64) {
        self.wait(self.download.as_ref(), bytes).await;
    }

    async fn wait(&self, limiter: Option<&Limiter>, bytes: u64) {
        let Some(limiter) = limiter else { return };
        let mut rest = bytes;
        while rest > 0 {
            // Asked anew for each slice: a window may open or close while a part waits.
            if self.window.is_some_and(|window| !window.contains((self.minute_of_day)())) {
                return;
            }
            let slice = rest.min(limiter.slice_bytes);
            limiter.take(slice).await;
            rest -= slice;
        }
    }
}

type Cells = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Moment>>;

/// One direction. A cell of the limiter is a KiB.
struct Limiter {
    cells: Cells,
    clock: RuntimeClock,
    slice_bytes: u64,
    /// Who asks first goes first: else a large part could be overtaken for ever.
    turn: Mutex<()>,
}

impl Limiter {
    fn new(rate: Rate) -> Self {
        let clock = RuntimeClock(Instant::now());
        let period = Duration::from_secs(KIB).as_nanos() / u128::from(rate.bytes_per_second());
        let period = Duration::from_nanos(u64::try_from(period).unwrap_or(u64::MAX).max(1));
        let burst = NonZeroU32::new((rate.burst_bytes() / KIB) as u32).unwrap_or(NonZeroU32::MIN);
        // The period is at least a nanosecond, for which a quota exists.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let cells = RateLimiter::direct_with_clock(quota, clock);
        Self { cells, clock, slice_bytes: rate.slice_bytes(), turn: Mutex::default() }
    }

    /// At most a slice.
    async fn take(&self, bytes: u64) {
        let Some(cells) = NonZeroU32::new(bytes.div_ceil(KIB) as u32) else { return };
        let _turn = self.turn.lock().await;
        // The burst is larger than a slice, so that the outer error does not occur.
        while let Ok(Err(not_until)) = self.cells.check_n(cells) {
            tokio::time::sleep(not_until.wait_time_from(self.clock.now())).await;
        }
    }
}

/// The runtime's clock: the one that pauses sleep by.
#[derive(Debug, Clone, Copy)]
struct RuntimeClock(Instant);

/// Nanoseconds since the limiter was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u64);

impl Clock for RuntimeClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, nanos: Nanos) -> Self {
        Self(self.0.checked_sub(nanos.as_u64()).unwrap_or(self.0))
    }
}

/// A store whose bodies wait before they are sent, and after they came.
#[derive(Debug)]
pub struct Limited {
    store: SharedStore,
    throttle: Arc<Throttle>,
}

impl Limited {
    pub fn new(store: SharedStore, throttle: Arc<Throttle>) -> Self {
        Self { store, throttle }
    }
}

#[async_trait]
impl ObjectStore for Limited {
    crate::forward!(store: url folders capabilities now_ms prepare head list delete begin_with list_parts);
    crate::forward!(store: last_part_ms complete_with composite list_uploads abort_upload);
    crate::forward!(store: erase attributes retain set_legal_hold check_object_lock);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        self.throttle.upload(body.len() as u64).await;
        self.store.put_with(key, body, options).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        self.throttle.upload(part.body.bytes().len() as u64).await;
        self.store.put_part(upload, part).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.store.get_range(key, range).await?;
        self.throttle.download(bytes.len() as u64).await;
        Ok(bytes)
    }
}

// They move a clock that tests for Windows are built without: see Cargo.toml.
#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;
    use crate::objects::conformance;
    use crate::objects::hashed::Hashed;
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    const MIB: u64 = 1 << 20;

    fn throttle(rate: u64, window: Option<DailyWindow>, minute_of_day: fn() -> u16) -> Arc<Throttle> {
        let rate = Rate::new(rate);
        assert!(rate.is_some());
        Arc::new(Throttle::new(TransferLimits { upload: rate, download: rate, window }, minute_of_day))
    }

    fn noon() -> u16 {
        12 * 60
    }

    #[tokio::test(start_paused = true)]
    async fn ten_seconds_carry_ten_times_the_rate() {
        for rate in [MIN_RATE, 100 * 1000, MIB, 10 * MIB, 300 * MIB, 5 << 30] {
            let throttle = throttle(rate, None, noon);
            let begun = Instant::now();
            // Four parts at a time share it.
            let part = async |throttle: &Throttle| throttle.upload(rate * 5 / 2).await;
            tokio::join!(part(&throttle), part(&throttle), part(&throttle), part(&throttle));
            let took = begun.elapsed().as_secs_f64();
            assert!((9.0..=11.0).contains(&took), "{rate} B/s: {took} s for ten seconds' bytes");
            let begun = Instant::now();
            throttle.download(rate).await;
            let took = begun.elapsed().as_secs_f64();
            assert!((0.7..=1.1).contains(&took), "downloads have their own: {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_waits_is_not_overtaken() {
        let throttle = throttle(MIB, None, noon);
        let begun = Instant::now();
        let large = async {
            throttle.upload(4 * MIB).await;
            begun.elapsed()
        };
        let small = async {
            for _ in 0..4 {
                throttle.upload(MIB).await;
            }
        };
        let (large, ()) = tokio::join!(large, small);
        assert!(large > Duration::from_secs(7), "they took turns: {large:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn outside_of_the_window_nothing_waits() {
        let office = DailyWindow::new(8 * 60, 18 * 60);
        let begun = Instant::now();
        throttle(MIB, office, || 7 * 60 + 59).upload(100 * MIB).await;
        throttle(MIB, office, || 18 * 60).upload(100 * MIB).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        throttle(MIB, office, || 8 * 60).upload(3 * MIB).await;
        assert!(begun.elapsed() > Duration::from_secs(2));
    }

    #[test]
    fn a_window_may_cross_midnight() {
        let night = DailyWindow::new(20 * 60, 6 * 60).unwrap();
        for (minute, within) in [(19 * 60 + 59, false), (20 * 60, true), (0, true), (359, true), (360, false)]
        {
            assert_eq!(night.contains(minute), within, "{minute}");
        }
        assert_eq!(night.to_string(), "20:00-06:00");
        assert!(DailyWindow::new(60, 60).is_none() && DailyWindow::new(0, 1440).is_none());
    }

    #[test]
    fn rates_are_shown_as_they_are_written() {
        for (bytes, text) in
            [(10 * MIB, "10MiB"), (1 << 30, "1GiB"), (1536 * KIB, "1536KiB"), (100_000, "100000B")]
        {
            assert_eq!(Rate::new(bytes).unwrap().to_string(), text);
        }
        assert!(Rate::new(MIN_RATE - 1).is_none() && Rate::new(MAX_RATE + 1).is_none());
    }

    #[tokio::test]
    async fn a_limited_store_conforms() {
        let store = Limited::new(Arc::new(MemoryStore::default()), throttle(MAX_RATE, None, noon));
        conformance::check(Arc::new(store)).await;
    }

    /// By the wall clock, for the paused one is the limiter's own.
    #[tokio::test]
    async fn a_second_is_a_second() {
        let store = Limited::new(Arc::new(MemoryStore::default()), throttle(8 * MIB, None, noon));
        let begun = std::time::Instant::now();
        let upload = store.begin_upload("k").await.unwrap();
        let body = Hashed::new(vec![1; 8 << 20].into());
        store.put_part(&upload, &Part { number: 1, offset: 0, body }).await.unwrap();
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(900), "{took:?}");
    }
}
