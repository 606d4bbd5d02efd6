#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use chrono::{TimeDelta, TimeZone};
use tokio::time::Instant;

use super::*;

/// A clock that follows tokio's, which is paused.
fn clock() -> impl Fn() -> DateTime<Local> + Clone {
    let started = Instant::now();
    move || base() + TimeDelta::from_std(started.elapsed()).unwrap()
}

/// One that is a year ahead for so many seconds.
fn wrong_clock(seconds: u64) -> impl Fn() -> DateTime<Local> {
    let (clock, started) = (clock(), Instant::now());
    move || clock() + TimeDelta::days(if started.elapsed().as_secs() < seconds { 365 } else { 0 })
}

/// Half a minute before three.
fn base() -> DateTime<Local> {
    Local.with_ymd_and_hms(2026, 11, 24, 2, 59, 30).unwrap()
}

fn write(folder: &Path, id: &str, schedule: &str) {
    let text = format!("policy_id: {id}\npaths: ['/data']\nschedule: \"{schedule}\"\n");
    fs::write(folder.join(format!("{id}.yaml")), text).unwrap();
}

/// What ran when, in seconds since the start.
struct RecordedRuns {
    started: Instant,
    ran: Mutex<Vec<(String, u64)>>,
    takes: Duration,
    last_run: LastRun,
}

impl RecordedRuns {
    fn new(takes: u64, last_run: LastRun) -> Arc<Self> {
        let takes = Duration::from_secs(takes);
        Arc::new(Self { started: Instant::now(), ran: Mutex::default(), takes, last_run })
    }

    fn ran(&self) -> Vec<(String, u64)> {
        self.ran.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<u64> {
        self.ran().into_iter().map(|(_, at)| at).collect()
    }
}

impl PolicyRunner for RecordedRuns {
    fn last_run(&self, _: &str) -> LastRun {
        self.last_run
    }

    async fn run(&self, policy: Policy) {
        self.ran.lock().unwrap().push((policy.policy_id, self.started.elapsed().as_secs()));
        tokio::time::sleep(self.takes).await;
    }
}

/// Serves for so many seconds.
async fn serve_for(seconds: u64, folder: &Path, at_once: usize, runs: &Arc<RecordedRuns>) -> Served {
    serve_by(clock(), seconds, folder, at_once, runs).await
}

async fn serve_by(
    clock: impl Fn() -> DateTime<Local>,
    seconds: u64,
    folder: &Path,
    at_once: usize,
    runs: &Arc<RecordedRuns>,
) -> Served {
    let cancel = CancellationToken::new();
    let options = ServeOptions { folder: folder.to_owned(), at_once, cancel: cancel.clone() };
    let stop = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        cancel.cancel();
    };
    let (served, ()) = tokio::join!(serve(options, clock, runs.clone()), stop);
    served.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_every_minute_schedule_runs_every_minute() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "* * * * *");
    let runs = RecordedRuns::new(1, LastRun::Never);
    let served = serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [30, 90]);
    assert_eq!(served, Served { runs: 2, overlaps: 0 });
}

#[tokio::test(start_paused = true)]
async fn missed_times_are_made_up_for_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 3 * * *");
    let runs = RecordedRuns::new(1, LastRun::Began(base() - TimeDelta::days(3)));
    serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [0, 30], "once for three days, and then at three");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_job_is_resumed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 12 * * *");
    let runs = RecordedRuns::new(1, LastRun::Unfinished);
    serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_still_runs_is_not_run_twice() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "* * * * *");
    let runs = RecordedRuns::new(100, LastRun::Never);
    let served = serve_for(220, dir.path(), 4, &runs).await;
    assert_eq!(runs.times(), [30, 150], "not at 90, and at 210 it still runs");
    assert_eq!(served, Served { runs: 2, overlaps: 2 });
}

#[tokio::test(start_paused = true)]
async fn policies_wait_their_turn_and_the_last_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["a", "b", "c"] {
        write(dir.path(), id, "0 3 * * *");
    }
    let runs = RecordedRuns::new(20, LastRun::Never);
    serve_for(60, dir.path(), 2, &runs).await;
    let mut ran = runs.ran();
    ran.sort();
    assert_eq!(ran.iter().filter(|(_, at)| *at == 30).count(), 2, "{ran:?}");
    assert_eq!(ran.iter().filter(|(_, at)| *at == 50).count(), 1, "{ran:?}");
    assert_eq!(runs.started.elapsed().as_secs(), 70, "the last one is waited for");
}

#[tokio::test(start_paused = true)]
async fn folder_changes_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "gone", "* * * * *");
    write(dir.path(), "other", "0 12 * * *");
    fs::write(dir.path().join("broken.yaml"), "policy_id: [").unwrap();
    fs::write(dir.path().join("twin.yml"), "policy_id: other\npaths: ['/x']\nschedule: '* * * * *'\n")
        .unwrap();
    fs::write(dir.path().join("no-schedule.yml"), "policy_id: none\npaths: ['/x']\n").unwrap();
    let runs = RecordedRuns::new(1, LastRun::Never);
    let change = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        fs::remove_file(dir.path().join("gone.yaml")).unwrap();
        write(dir.path(), "new", "* * * * *");
        write(dir.path(), "other", "*/1 3 * * *");
    };
    tokio::join!(serve_for(160, dir.path(), 3, &runs), change);
    let mut ran = runs.ran();
    ran.sort_by_key(|(id, at)| (*at, id.clone()));
    let started: Vec<_> = ran.iter().map(|(id, at)| (id.as_str(), *at)).collect();
    assert_eq!(started, [("gone", 30), ("new", 90), ("other", 90), ("new", 150), ("other", 150)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 3 * * *");
    let runs = RecordedRuns::new(1, LastRun::Never);
    // Three o'clock comes at 30, of the wrong year; the next would come in a year. At 40 the clock is put right.
    serve_by(wrong_clock(40), 24 * 3600 + 100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [30, 24 * 3600 + 30]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_served_when_the_other_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 12 * * *");
    fs::write(dir.path().join("b.yaml"), "policy_id: a\npaths: ['/x']\nschedule: '* * * * *'\n").unwrap();
    let runs = RecordedRuns::new(1, LastRun::Never);
    let remove = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
    };
    tokio::join!(serve_for(100, dir.path(), 1, &runs), remove);
    assert_eq!(runs.times(), [90]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_is_an_error() {
    let options =
        ServeOptions { folder: "/nowhere/policies".into(), at_once: 1, cancel: CancellationToken::new() };
    let error = serve(options, clock(), RecordedRuns::new(1, LastRun::Never)).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/policies"), "{error}");
}

#[test]
fn the_limit_of_open_files_lowers_how_many_run_at_once() {
    let cases =
        [((12, Some(1024)), 12), ((12, Some(128)), 2), ((12, Some(10)), 1), ((0, None), 1), ((12, None), 12)];
    for ((at_once, limit), expected) in cases {
        assert_eq!(within_handles(at_once, limit), expected, "{at_once} at once of {limit:?} handles");
    }
}
