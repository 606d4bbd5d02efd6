use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::snapshots::fake::{FakeCalls, Fault};
use crate::snapshots::watch::Clock;

/// A minute passes only when somebody sleeps it.
#[derive(Default)]
struct TestClock(Cell<Duration>);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.0.get()
    }

    fn sleep(&self, time: Duration) {
        assert!(time <= POLL, "a sleep that cannot be cancelled");
        self.0.set(self.0.get() + time);
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

const LIMIT: Duration = Duration::from_secs(600);

fn volumes() -> Vec<Volume> {
    ["/c/", "/d/"].map(|root| Volume { name: root.into(), root: root.into() }).to_vec()
}

fn fake(faults: &[Fault]) -> (FakeCalls, Lines) {
    let folders = [("/c", "/shadow1"), ("/d", "/shadow2")].map(|(root, folder)| (root.into(), folder.into()));
    let calls = FakeCalls::new(&folders, faults);
    let lines = calls.log.lines.clone();
    (calls, lines)
}

/// A whole backup, as the run sees it: the set, or the error of `take`; then the error of `complete`.
struct Run {
    taken: Result<TakenSnapshots, SnapshotError>,
    completed: Option<Result<(), SnapshotError>>,
    elapsed: Duration,
}

fn run(calls: FakeCalls, succeeded: bool, cancelled: &dyn Fn() -> bool) -> Run {
    let clock = TestClock::default();
    let on_call = |_| {};
    let watch = Watch { clock: &clock, cancelled, on_call: &on_call, limit: LIMIT, deadline: LIMIT };
    let (taken, completed) = match Requester::take(calls, &volumes(), &watch) {
        Ok((requester, taken)) => {
            let deadline = clock.now() + LIMIT;
            let watch = Watch { cancelled: &|| false, deadline, ..watch };
            (Ok(taken), Some(requester.complete(succeeded, &watch)))
        }
        Err(error) => (Err(error), None),
    };
    Run { taken, completed, elapsed: clock.now() }
}

fn lines(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
}

const WRITERS: [&str; 4] =
    ["GatherWriterStatus", "GetWriterStatusCount", "GetWriterStatus 0", "FreeWriterStatus"];
const SET: &str = "DeleteSnapshots {00000000-0000-0000-0000-000000000003}";
const PROPERTIES: [&str; 2] = [
    "GetSnapshotProperties {00000000-0000-0000-0000-000000000004}",
    "GetSnapshotProperties {00000000-0000-0000-0000-000000000005}",
];

fn sequence() -> Vec<&'static str> {
    let mut all = vec![
        "InitializeForBackup",
        "SetContext",
        "SetBackupState",
        "IsVolumeSupported /c/",
        "IsVolumeSupported /d/",
        "GatherWriterMetadata",
        "StartSnapshotSet",
        "AddToSnapshotSet /c/",
        "AddToSnapshotSet /d/",
        "PrepareForBackup",
    ];
    all.extend(WRITERS);
    all.push("DoSnapshotSet");
    all.extend(WRITERS);
    all.extend(PROPERTIES);
    all
}

#[test]
fn the_calls_come_in_this_order() {
    let (calls, log) = fake(&[]);
    let run = run(calls, true, &|| false);
    let taken = run.taken.expect("no fault");
    let devices: Vec<_> = taken.snapshots.iter().map(|snapshot| snapshot.device.as_str()).collect();
    assert_eq!(devices, ["/shadow1/", "/shadow2/"]);
    assert_eq!((taken.id, taken.snapshots[1].id), (Guid(3), Guid(5)));
    assert_eq!((taken.left_out, taken.warnings), (vec![], vec![]));
    assert_eq!(run.completed, Some(Ok(())));
    let mut expected = sequence();
    expected.extend(PROPERTIES);
    expected.extend(["BackupComplete", SET, "Release"]);
    assert_eq!(lines(&log), expected);
}

#[test]
fn a_backup_that_failed_is_aborted() {
    let (calls, log) = fake(&[]);
    let run = run(calls, false, &|| false);
    assert_eq!(run.completed, Some(Ok(())));
    let mut expected = sequence();
    expected.extend(PROPERTIES);
    expected.extend([SET, "AbortBackup", "Release"]);
    assert_eq!(lines(&log), expected);
}

#[test]
fn a_dropped_set_is_aborted() {
    let (calls, log) = fake(&[]);
    let clock = TestClock::default();
    let watch =
        Watch { clock: &clock, cancelled: &|| false, on_call: &|_| {}, limit: LIMIT, deadline: LIMIT };
    drop(Requester::take(calls, &volumes(), &watch).expect("no fault"));
    let mut expected = sequence();
    expected.extend([SET, "AbortBackup", "Release"]);
    assert_eq!(lines(&log), expected);
}

/// What a run must have done by its end, whatever failed.
fn assert_given_back(log: &[String], what: &str) {
    let count = |name: &str| log.iter().filter(|line| line.split(' ').next() == Some(name)).count();
    let position = |name: &str| log.iter().position(|line| line.starts_with(name));
    assert_eq!(log.last().map(String::as_str), Some("Release"), "{what}: {log:?}");
    assert_eq!(count("Release"), 1, "{what}");
    assert!(count("AbortBackup") <= 1, "{what}: {log:?}");
    assert!(count("DeleteSnapshots") <= 1, "{what}: {log:?}");
    if let (Some(delete), Some(begun)) = (position("DeleteSnapshots"), position("DoSnapshotSet")) {
        assert!(begun < delete, "{what}: {log:?}");
    }
}

/// The calls of `take` and `complete`, of which each can fail.
fn failing_calls() -> impl Iterator<Item = VssCall> {
    VssCall::ALL.into_iter().filter(|call| {
        !matches!(call, VssCall::EnterCom | VssCall::CreateVssBackupComponents | VssCall::AbortBackup)
    })
}

#[test]
fn a_fault_at_each_call_is_named_and_the_backup_is_given_back() {
    for call in failing_calls() {
        let code = Hresult(0x8004_2306);
        let (calls, log) = fake(&[Fault::Fails(call, code)]);
        let run = run(calls, true, &|| false);
        let log = lines(&log);
        assert_given_back(&log, call.name());
        let aborted = log.iter().any(|line| line == "AbortBackup");
        let deleted = log.iter().any(|line| line == SET);
        let of_writers = matches!(
            call,
            VssCall::GatherWriterStatus
                | VssCall::GetWriterStatusCount
                | VssCall::GetWriterStatus
                | VssCall::FreeWriterStatus
        );
        match (run.taken, run.completed) {
            (Err(error), None) => {
                assert_eq!((error.failed_call(), error.code()), (Some(call), Some(code)));
                assert!(error.to_string().contains(call.name()), "{error}");
                let of_volume = matches!(
                    call,
                    VssCall::IsVolumeSupported | VssCall::AddToSnapshotSet | VssCall::GetSnapshotProperties
                );
                assert_eq!(error.volume(), of_volume.then_some("/c/"), "{call}");
                assert_eq!(aborted, call != VssCall::InitializeForBackup, "{call}: {log:?}");
                assert_eq!(deleted, call == VssCall::GetSnapshotProperties, "{call}: {log:?}");
            }
            (Ok(taken), Some(Ok(()))) => {
                assert!(of_writers, "{call} failed unnoticed");
                assert_eq!(taken.warnings, [SnapshotWarning::WritersUnknown { call, code }]);
                assert!(!aborted && deleted, "{call}: {log:?}");
            }
            (Ok(_), Some(Err(error))) => {
                assert!(matches!(call, VssCall::BackupComplete | VssCall::DeleteSnapshots), "{call}");
                assert_eq!((error.failed_call(), error.code()), (Some(call), Some(code)));
                assert_eq!((aborted, deleted), (call == VssCall::BackupComplete, true), "{call}: {log:?}");
            }
            other => panic!("{call}: {other:?}"),
        }
    }
}

const OPERATIONS: [VssCall; 5] = [
    VssCall::GatherWriterMetadata,
    VssCall::PrepareForBackup,
    VssCall::GatherWriterStatus,
    VssCall::DoSnapshotSet,
    VssCall::BackupComplete,
];

#[test]
fn an_operation_that_ends_with_a_failure_or_is_cancelled_by_windows_has_failed() {
    for call in OPERATIONS {
        for code in [Hresult::INSUFFICIENT_STORAGE, Hresult::ASYNC_CANCELLED] {
            let (calls, log) = fake(&[Fault::Ends(call, code)]);
            let run = run(calls, true, &|| false);
            let log = lines(&log);
            assert_given_back(&log, call.name());
            let error =
                run.taken.as_ref().err().or(run.completed.as_ref().and_then(|ended| ended.as_ref().err()));
            if call == VssCall::GatherWriterStatus {
                let taken = run.taken.expect("writers fail no snapshot");
                assert_eq!(taken.warnings, [SnapshotWarning::WritersUnknown { call, code }]);
                continue;
            }
            let error = error.unwrap_or_else(|| panic!("{call} did not fail"));
            assert_eq!((error.failed_call(), error.code()), (Some(call), Some(code)));
            assert!(log.iter().any(|line| line == "AbortBackup"), "{call}: {log:?}");
            // DoSnapshotSet was begun: Windows may have made the snapshots.
            let begun = matches!(call, VssCall::DoSnapshotSet | VssCall::BackupComplete);
            assert_eq!(log.iter().any(|line| line == SET), begun, "{call}: {log:?}");
        }
    }
}

#[test]
fn pending_is_waited_for() {
    let (mut calls, log) = fake(&[]);
    calls.pending = 50;
    let run = run(calls, true, &|| false);
    assert!(run.taken.is_ok() && run.completed == Some(Ok(())));
    // Six operations, of 5 s each.
    assert_eq!(run.elapsed, POLL * 50 * 6);
    assert!(!lines(&log).iter().any(|line| line.starts_with("Cancel")));
}

#[test]
fn an_operation_that_never_ends_is_cancelled_at_the_time_limit() {
    for call in OPERATIONS {
        let (calls, log) = fake(&[Fault::Hangs(call)]);
        let run = run(calls, true, &|| false);
        let log = lines(&log);
        assert_given_back(&log, call.name());
        let error = run.taken.err().or(run.completed.and_then(Result::err));
        let error = error.unwrap_or_else(|| panic!("{call} did not fail"));
        assert_eq!(error, SnapshotError::TimeLimit { call, limit: LIMIT });
        let tail: Vec<_> = log.iter().rev().take(4).rev().map(String::as_str).collect();
        let cancel = format!("Cancel {call}");
        let begun = matches!(call, VssCall::DoSnapshotSet | VssCall::BackupComplete);
        match begun {
            true => assert_eq!(tail, [&cancel, SET, "AbortBackup", "Release"]),
            false => assert_eq!(tail[1..], [&cancel, "AbortBackup", "Release"]),
        }
    }
}

#[test]
fn a_run_that_is_stopped_at_any_moment_gives_the_backup_back() {
    // Asked before every call and at every poll: stopping at the nth question stops everywhere.
    for nth in 0.. {
        let (mut calls, log) = fake(&[]);
        calls.pending = 2;
        let asked = Cell::new(0);
        let cancelled = || asked.replace(asked.get() + 1) >= nth;
        let run = run(calls, true, &cancelled);
        let log = lines(&log);
        assert_given_back(&log, &nth.to_string());
        match run.taken {
            Ok(_) => {
                assert!(nth > 30, "it was asked {nth} times only");
                return;
            }
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                let initialized = log.iter().any(|line| line == "InitializeForBackup");
                assert_eq!(log.iter().any(|line| line == "AbortBackup"), initialized, "{log:?}");
                let begun = log.iter().any(|line| line == "DoSnapshotSet");
                assert_eq!(log.iter().any(|line| line == SET), begun, "{log:?}");
            }
        }
    }
}

#[test]
fn a_panic_in_any_call_gives_the_backup_back() {
    for call in VssCall::ALL.into_iter().skip(2) {
        // AbortBackup is only called after another failure.
        let faults = match call {
            VssCall::AbortBackup => {
                vec![Fault::Fails(VssCall::SetContext, Hresult::BAD_STATE), Fault::Panics(call)]
            }
            _ => vec![Fault::Panics(call)],
        };
        let (calls, log) = fake(&faults);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(calls, true, &|| false)));
        let log = lines(&log);
        assert_eq!(outcome.is_err(), call != VssCall::AbortBackup, "{call}");
        assert_given_back(&log, call.name());
        let initialized = !matches!(call, VssCall::InitializeForBackup | VssCall::DeleteSnapshots);
        assert_eq!(log.iter().any(|line| line == "AbortBackup"), initialized, "{call}: {log:?}");
    }
}

#[test]
fn a_panic_while_it_is_given_back_stops_neither_the_abort_nor_the_release() {
    let faults = [
        Fault::Fails(VssCall::GetSnapshotProperties, Hresult::UNEXPECTED),
        Fault::Panics(VssCall::DeleteSnapshots),
        Fault::Panics(VssCall::AbortBackup),
    ];
    let (calls, log) = fake(&faults);
    assert!(run(calls, true, &|| false).taken.is_err());
    assert!(lines(&log).ends_with(&[SET.to_owned(), "AbortBackup".to_owned(), "Release".to_owned()]));
}

#[test]
fn another_programs_snapshot_is_waited_for_and_not_for_ever() {
    let (mut calls, log) = fake(&[]);
    calls.busy = 3;
    let finished = run(calls, true, &|| false);
    assert!(finished.taken.is_ok());
    assert_eq!(finished.elapsed, SET_IN_PROGRESS_PAUSE * 3);
    assert_eq!(lines(&log).iter().filter(|line| *line == "StartSnapshotSet").count(), 4);

    let (mut calls, log) = fake(&[]);
    calls.busy = usize::MAX;
    let run_out = run(calls, true, &|| false);
    let error = run_out.taken.expect_err("it never ends");
    assert_eq!(error.code(), Some(Hresult::SNAPSHOT_SET_IN_PROGRESS));
    assert_eq!(run_out.elapsed, SET_IN_PROGRESS_LIMIT);
    assert!(error.to_string().contains("Another backup program"), "{error}");
    assert_given_back(&lines(&log), "busy");
}

#[test]
fn failed_writers_are_named_and_fail_nothing() {
    let (calls, _) = fake(&[Fault::Writer(Hresult(0x8004_23F2))]);
    let taken = run(calls, true, &|| false).taken.expect("writers fail no snapshot");
    let [SnapshotWarning::Writer(writer)] = taken.warnings.as_slice() else {
        panic!("named once, though asked twice: {:?}", taken.warnings);
    };
    assert_eq!((writer.name.as_str(), writer.state), ("Fake Writer", "failed at the freeze"));
    assert_eq!(writer.code, Hresult(0x8004_23F2));
}

#[test]
fn a_snapshot_that_fails_names_the_writers_that_failed() {
    for call in [VssCall::PrepareForBackup, VssCall::DoSnapshotSet] {
        let faults = [Fault::Ends(call, Hresult(0x8004_2315)), Fault::Writer(Hresult(0x8004_23F4))];
        let (calls, log) = fake(&faults);
        let error = run(calls, true, &|| false).taken.expect_err("a fault");
        assert_eq!(error.writers().len(), 1, "{error}");
        assert!(error.to_string().contains("Fake Writer"), "{error}");
        assert_given_back(&lines(&log), call.name());
    }
}

#[test]
fn a_volume_that_vss_does_not_take_is_left_out() {
    let (mut calls, log) = fake(&[]);
    calls.unsupported = vec!["/c/".into()];
    let taken = run(calls, true, &|| false).taken.expect("the other one is supported");
    assert_eq!(taken.left_out.len(), 1);
    assert_eq!(taken.left_out[0].reason.code(), Some(Hresult::VOLUME_NOT_SUPPORTED));
    assert_eq!(taken.left_out[0].reason.volume(), Some("/c/"));
    assert_eq!(taken.snapshots.len(), 1);
    assert_eq!(taken.snapshots[0].device, "/shadow2/");
    assert!(!lines(&log).iter().any(|line| line == "AddToSnapshotSet /c/"));

    let (mut calls, log) = fake(&[]);
    calls.unsupported = vec!["/c/".into(), "/d/".into()];
    let error = run(calls, true, &|| false).taken.expect_err("none is left");
    assert_eq!((error.volume(), error.code()), (Some("/c/"), Some(Hresult::VOLUME_NOT_SUPPORTED)));
    let log = lines(&log);
    assert!(!log.iter().any(|line| line == "GatherWriterMetadata"), "writers were asked for nothing");
    assert_given_back(&log, "unsupported");
}

#[test]
fn a_volume_of_which_vss_gives_an_error_costs_the_others_nothing() {
    const NESTED: Hresult = Hresult(0x8004_232C);
    let (mut calls, _) = fake(&[]);
    calls.unanswered = Some(("/d/".into(), NESTED));
    let taken = run(calls, true, &|| false).taken.expect("the other one is supported");
    let left_out: Vec<_> =
        taken.left_out.iter().map(|left_out| (left_out.reason.volume(), left_out.reason.code())).collect();
    assert_eq!(left_out, [(Some("/d/"), Some(NESTED))]);
    assert_eq!(taken.snapshots.len(), 1);
}

#[test]
fn a_snapshot_that_windows_deleted_in_the_middle_is_told_at_the_end() {
    let (calls, log) = fake(&[]);
    let lost = RefCell::new(Vec::new());
    let clock = TestClock::default();
    let watch = Watch {
        clock: &clock,
        cancelled: &|| false,
        on_call: &|call| lost.borrow_mut().push(call),
        limit: LIMIT,
        deadline: LIMIT,
    };
    let (mut requester, _) = Requester::take(calls, &volumes(), &watch).expect("no fault");
    requester.calls.faults.push(Fault::Fails(VssCall::GetSnapshotProperties, Hresult::OBJECT_NOT_FOUND));
    let error = requester.complete(true, &watch).expect_err("it is lost");
    assert_eq!(error, SnapshotError::Lost { volume: "/c/".into() });
    assert!(lines(&log).iter().any(|line| line == "BackupComplete"));
    assert_eq!(lost.borrow().last(), Some(&VssCall::BackupComplete));
    assert_given_back(&lines(&log), "lost");
}
