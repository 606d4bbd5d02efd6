//! The thread that talks to VSS, from the first call of a backup to the release.
//!
//! COM's objects belong to the thread that entered COM, and a call of VSS may block for minutes or for ever. So the
//! calls are made on a thread of their own, one per set, and the caller waits for its answers with a time limit.
//!
//! In: what opens the calls, on that thread; the volumes. Out: a [`SnapshotSet`], whose guard holds the other end of the
//! thread's channel. A completed or dropped guard, and a caller that gave up, all end the thread after the release. A
//! thread that hangs in a call is left behind; it releases when the call returns, or Windows does when the process
//! ends: nothing of a set survives a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::calls::{VssCall, VssCalls};
use super::error::SnapshotError;
use super::provider::{SnapshotGuard, SnapshotSet, TakenSnapshots};
use super::requester::Requester;
use super::volumes::Volume;
use super::watch::{Clock, POLL, SystemClock, Watch};

/// How long a session may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionLimits {
    /// For a set to be made. Windows itself allows writers 60 s for the freeze, and providers minutes.
    pub(super) take: Duration,
    /// For BackupComplete, which writers may delay.
    pub(super) complete: Duration,
    /// For what cannot be interrupted: a call that blocks, a cancelled operation, the release.
    pub(super) grace: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            take: Duration::from_secs(600),
            complete: Duration::from_secs(120),
            grace: Duration::from_secs(30),
        }
    }
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    /// Index of the current call in [`VssCall::ALL`].
    call: AtomicUsize,
}

impl Shared {
    fn enter(&self, call: VssCall) {
        self.call.store(call as usize, Ordering::Relaxed);
    }

    fn current(&self) -> VssCall {
        VssCall::ALL[self.call.load(Ordering::Relaxed) % VssCall::ALL.len()]
    }
}

/// Makes one set on a thread of its own.
pub(super) fn take_set<C: VssCalls>(
    open: impl FnOnce(&dyn Fn(VssCall)) -> Result<C, SnapshotError> + Send + 'static,
    volumes: &[Volume],
    limits: SessionLimits,
    cancel: &dyn Fn() -> bool,
) -> Result<SnapshotSet, SnapshotError> {
    let shared = Arc::new(Shared::default());
    let (taken_to, taken) = channel();
    let (commands, commands_from) = channel();
    let (ended_to, ended) = channel();
    let thread = Session { shared: shared.clone(), volumes: volumes.to_vec(), limits };
    std::thread::Builder::new()
        .name("snapshots".to_owned())
        .spawn(move || {
            // What `run` owns is released when it returns.
            let _ = ended_to.send(thread.run(open, &taken_to, &commands_from));
        })
        .map_err(|error| SnapshotError::Thread { call: VssCall::EnterCom, reason: error.to_string() })?;

    let mut guard = ThreadGuard { shared, limits, commands: Some(commands), ended };
    let begun = Instant::now();
    loop {
        match taken.recv_timeout(POLL) {
            Ok(Ok(taken)) => return Ok(SnapshotSet::new(taken, Box::new(guard))),
            Ok(Err(error)) => {
                guard.end();
                return Err(error);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(guard.panicked()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let elapsed = begun.elapsed();
        if cancel() && !guard.shared.cancelled.swap(true, Ordering::Relaxed) {
            guard.limits.take = elapsed.min(guard.limits.take);
        }
        if elapsed >= guard.limits.take + limits.grace {
            let call = guard.shared.current();
            let cancelled = guard.shared.cancelled.swap(true, Ordering::Relaxed);
            guard.commands = None;
            return Err(match cancelled {
                true => SnapshotError::Cancelled { call },
                false => SnapshotError::TimeLimit { call, limit: limits.take },
            });
        }
    }
}

/// How the backup ended.
struct Complete {
    succeeded: bool,
}

struct Session {
    shared: Arc<Shared>,
    volumes: Vec<Volume>,
    limits: SessionLimits,
}

impl Session {
    fn run<C: VssCalls>(
        self,
        open: impl FnOnce(&dyn Fn(VssCall)) -> Result<C, SnapshotError>,
        taken_to: &Sender<Result<TakenSnapshots, SnapshotError>>,
        commands: &Receiver<Complete>,
    ) -> Result<(), SnapshotError> {
        let clock = SystemClock::start();
        let on_call = |call| self.shared.enter(call);
        let cancelled = || self.shared.cancelled.load(Ordering::Relaxed);
        let limit = self.limits.take;
        let watch = Watch { clock: &clock, cancelled: &cancelled, on_call: &on_call, limit, deadline: limit };
        let requester = match open(&on_call).and_then(|calls| Requester::take(calls, &self.volumes, &watch)) {
            // A caller that has given up dropped its end, and the requester is dropped here.
            Ok((requester, taken)) => taken_to.send(Ok(taken)).ok().map(|()| requester),
            Err(error) => {
                let _ = taken_to.send(Err(error));
                None
            }
        };
        let Some(requester) = requester else { return Ok(()) };
        let Ok(Complete { succeeded }) = commands.recv() else { return Ok(()) };
        let limit = self.limits.complete;
        let deadline = clock.now() + limit;
        requester.complete(
            succeeded,
            &Watch { clock: &clock, cancelled: &|| false, on_call: &on_call, limit, deadline },
        )
    }
}

/// The caller's end of the thread.
#[derive(Debug)]
struct ThreadGuard {
    shared: Arc<Shared>,
    limits: SessionLimits,
    /// `None` once the thread is to end.
    commands: Option<Sender<Complete>>,
    ended: Receiver<Result<(), SnapshotError>>,
}

impl ThreadGuard {
    /// Waits for the release, and gives up after a while.
    fn end(&mut self) {
        if let Some(commands) = self.commands.take() {
            drop(commands);
            let _ = self.ended.recv_timeout(self.limits.grace);
        }
    }

    fn panicked(&mut self) -> SnapshotError {
        self.commands = None;
        let _ = self.ended.recv_timeout(self.limits.grace);
        SnapshotError::Thread { call: self.shared.current(), reason: "the thread of VSS panicked".to_owned() }
    }
}

impl SnapshotGuard for ThreadGuard {
    fn complete(mut self: Box<Self>, succeeded: bool) -> Result<(), SnapshotError> {
        let Some(commands) = self.commands.take() else { return Ok(()) };
        if commands.send(Complete { succeeded }).is_err() {
            return Err(self.panicked());
        }
        let limit = self.limits.complete;
        match self.ended.recv_timeout(limit + self.limits.grace) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => Err(self.panicked()),
            Err(RecvTimeoutError::Timeout) => {
                Err(SnapshotError::TimeLimit { call: self.shared.current(), limit })
            }
        }
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::AssertUnwindSafe;
    use std::sync::Mutex;

    use super::*;
    use crate::snapshots::fake::{FakeCalls, Fault};
    use crate::snapshots::hresult::Hresult;

    const LIMITS: SessionLimits = SessionLimits {
        take: Duration::from_secs(20),
        complete: Duration::from_secs(20),
        grace: Duration::from_secs(20),
    };

    fn volumes() -> Vec<Volume> {
        vec![Volume { name: "/c/".into(), root: "/c/".into() }]
    }

    fn fake(faults: &[Fault]) -> (FakeCalls, Arc<Mutex<Vec<String>>>) {
        let calls = FakeCalls::new(&[("/c".into(), "/shadow".into())], faults);
        let lines = calls.log.lines.clone();
        (calls, lines)
    }

    fn take(calls: FakeCalls, limits: SessionLimits) -> Result<SnapshotSet, SnapshotError> {
        take_set(move |on_call| calls.open(on_call), &volumes(), limits, &|| false)
    }

    fn tail(lines: &Mutex<Vec<String>>) -> Vec<String> {
        let lines = lines.lock().expect("no panic holds it");
        lines[lines.len() - 3..]
            .iter()
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn the_release_has_happened_when_complete_or_drop_returns() {
        let (calls, lines) = fake(&[]);
        let set = take(calls, LIMITS).expect("no fault");
        assert_eq!(set.snapshots[0].device, "/shadow/");
        set.complete(true).expect("no fault");
        assert_eq!(tail(&lines), ["BackupComplete", "DeleteSnapshots", "Release"]);

        let (calls, lines) = fake(&[]);
        drop(take(calls, LIMITS).expect("no fault"));
        assert_eq!(tail(&lines), ["DeleteSnapshots", "AbortBackup", "Release"]);

        let (calls, lines) = fake(&[]);
        take(calls, LIMITS).expect("no fault").complete(false).expect("no fault");
        assert_eq!(tail(&lines), ["DeleteSnapshots", "AbortBackup", "Release"]);
    }

    #[test]
    fn a_panic_of_the_run_gives_the_set_back() {
        let (calls, lines) = fake(&[]);
        let set = take(calls, LIMITS).expect("no fault");
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(move || {
            let _set = set;
            panic!("in the middle of the run");
        }));
        assert!(outcome.is_err());
        assert_eq!(tail(&lines), ["DeleteSnapshots", "AbortBackup", "Release"]);
    }

    #[test]
    fn a_panic_of_the_thread_is_an_error_that_names_the_call() {
        for call in [VssCall::EnterCom, VssCall::AddToSnapshotSet, VssCall::BackupComplete] {
            let (calls, lines) = fake(&[Fault::Panics(call)]);
            let error = match take(calls, LIMITS) {
                Ok(set) => set.complete(true).expect_err("a fault"),
                Err(error) => error,
            };
            assert!(matches!(error, SnapshotError::Thread { call: at, .. } if at == call), "{error:?}");
            assert_eq!(lines.lock().expect("no panic holds it").last().map(String::as_str), Some("Release"));
        }
    }

    #[test]
    fn an_error_arrives_after_the_release() {
        let (calls, lines) = fake(&[Fault::Fails(VssCall::DoSnapshotSet, Hresult::INSUFFICIENT_STORAGE)]);
        let error = take(calls, LIMITS).expect_err("a fault");
        assert_eq!(error.code(), Some(Hresult::INSUFFICIENT_STORAGE));
        assert_eq!(tail(&lines)[1..], ["AbortBackup", "Release"]);
    }

    #[test]
    fn a_stopped_run_waits_for_the_operation_to_be_cancelled_and_released() {
        let (calls, lines) = fake(&[Fault::Hangs(VssCall::PrepareForBackup)]);
        let begun = lines.clone();
        let cancel =
            move || begun.lock().expect("no panic holds it").iter().any(|line| line == "PrepareForBackup");
        let error = take_set(move |on_call| calls.open(on_call), &volumes(), LIMITS, &cancel);
        assert_eq!(error.expect_err("stopped"), SnapshotError::Cancelled { call: VssCall::PrepareForBackup });
        assert_eq!(tail(&lines), ["Cancel", "AbortBackup", "Release"]);
    }

    /// A call that blocks until the test lets it go: what no flag can interrupt.
    #[test]
    fn a_call_that_blocks_is_left_behind_and_released_when_it_returns() {
        let limits = SessionLimits { take: POLL, grace: Duration::from_millis(1), ..LIMITS };
        for cancelled in [false, true] {
            let (calls, lines) = fake(&[]);
            let (release, blocked) = channel::<()>();
            let (ended_to, ended) = channel::<()>();
            let open = move |on_call: &dyn Fn(VssCall)| {
                let calls = calls.open(on_call)?;
                on_call(VssCall::AddToSnapshotSet);
                let _ = blocked.recv();
                let _ended_to = ended_to;
                Ok(calls)
            };
            let asked = Cell::new(false);
            let cancel = || asked.replace(cancelled);
            let limits = if cancelled { SessionLimits { take: LIMITS.take, ..limits } } else { limits };
            let error = take_set(open, &volumes(), limits, &cancel).expect_err("it blocks");
            assert_eq!(error.failed_call(), Some(VssCall::AddToSnapshotSet));
            assert_eq!(error.is_cancelled(), cancelled, "{error:?}");
            drop(release);
            let _ = ended.recv();
            // The thread continues to the release by itself.
            while lines.lock().expect("no panic holds it").last().map(String::as_str) != Some("Release") {
                std::thread::yield_now();
            }
            assert!(
                !lines.lock().expect("no panic holds it").iter().any(|line| line == "InitializeForBackup")
            );
        }
    }
}
