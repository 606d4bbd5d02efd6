#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use chrono::{TimeDelta, TimeZone};
use tokio::time::Instant;

use super::*;

/// A clock that goes with tokio's, which is paused.
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

/// Notes what ran when, in seconds since the start.
struct Noted {
    started: Instant,
    ran: Mutex<Vec<(String, u64)>>,
    takes: Duration,
    past: Past,
}

impl Noted {
    fn new(takes: u64, past: Past) -> Arc<Self> {
        let takes = Duration::from_secs(takes);
        Arc::new(Self { started: Instant::now(), ran: Mutex::default(), takes, past })
    }

    fn ran(&self) -> Vec<(String, u64)> {
        self.ran.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<u64> {
        self.ran().into_iter().map(|(_, at)| at).collect()
    }
}

impl Runs for Noted {
    fn past(&self, _: &str) -> Past {
        self.past
    }

    async fn run(&self, policy: Policy) {
        self.ran.lock().unwrap().push((policy.policy_id, self.started.elapsed().as_secs()));
        tokio::time::sleep(self.takes).await;
    }
}

/// Serves for so many seconds.
async fn serve_for(seconds: u64, folder: &Path, at_once: usize, runs: &Arc<Noted>) -> Served {
    serve_by(clock(), seconds, folder, at_once, runs).await
}

async fn serve_by(
    clock: impl Fn() -> DateTime<Local>,
    seconds: u64,
    folder: &Path,
    at_once: usize,
    runs: &Arc<Noted>,
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
async fn every_minute_is_every_minute() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "* * * * *");
    let runs = Noted::new(1, Past::Never);
    let served = serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [30, 90]);
    assert_eq!(served, Served { runs: 2, overlaps: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_made_up_for_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 3 * * *");
    let runs = Noted::new(1, Past::Began(base() - TimeDelta::days(3)));
    serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [0, 30], "once for three days, and then at three");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_stopped_is_gone_on_with_at_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 12 * * *");
    let runs = Noted::new(1, Past::Unfinished);
    serve_for(100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_still_runs_is_not_run_twice() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "* * * * *");
    let runs = Noted::new(100, Past::Never);
    let served = serve_for(220, dir.path(), 4, &runs).await;
    assert_eq!(runs.times(), [30, 150], "not at 90, and at 210 it still runs");
    assert_eq!(served, Served { runs: 2, overlaps: 2 });
}

#[tokio::test(start_paused = true)]
async fn policies_wait_for_their_turn_and_it_ends_when_they_have() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["a", "b", "c"] {
        write(dir.path(), id, "0 3 * * *");
    }
    let runs = Noted::new(20, Past::Never);
    serve_for(60, dir.path(), 2, &runs).await;
    let mut ran = runs.ran();
    ran.sort();
    assert_eq!(ran.iter().filter(|(_, at)| *at == 30).count(), 2, "{ran:?}");
    assert_eq!(ran.iter().filter(|(_, at)| *at == 50).count(), 1, "{ran:?}");
    assert_eq!(runs.started.elapsed().as_secs(), 70, "the last one is waited for");
}

#[tokio::test(start_paused = true)]
async fn the_folder_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "gone", "* * * * *");
    write(dir.path(), "other", "0 12 * * *");
    fs::write(dir.path().join("broken.yaml"), "policy_id: [").unwrap();
    fs::write(dir.path().join("twin.yml"), "policy_id: other\npaths: ['/x']\nschedule: '* * * * *'\n")
        .unwrap();
    fs::write(dir.path().join("no-schedule.yml"), "policy_id: none\npaths: ['/x']\n").unwrap();
    let runs = Noted::new(1, Past::Never);
    let change = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        fs::remove_file(dir.path().join("gone.yaml")).unwrap();
        write(dir.path(), "new", "* * * * *");
        write(dir.path(), "other", "*/1 3 * * *");
    };
    tokio::join!(serve_for(160, dir.path(), 3, &runs), change);
    let mut ran = runs.ran();
    ran.sort_by_key(|(id, at)| (*at, id.clone()));
    let told: Vec<_> = ran.iter().map(|(id, at)| (id.as_str(), *at)).collect();
    assert_eq!(told, [("gone", 30), ("new", 90), ("other", 90), ("new", 150), ("other", 150)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_does_not_put_off_what_is_due() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 3 * * *");
    let runs = Noted::new(1, Past::Never);
    // Three o'clock comes at 30, of the wrong year; the next would come in a year. At 40 the clock is put right.
    serve_by(wrong_clock(40), 24 * 3600 + 100, dir.path(), 1, &runs).await;
    assert_eq!(runs.times(), [30, 24 * 3600 + 30]);
}

#[tokio::test(start_paused = true)]
async fn a_twin_is_served_when_the_other_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "0 12 * * *");
    fs::write(dir.path().join("b.yaml"), "policy_id: a\npaths: ['/x']\nschedule: '* * * * *'\n").unwrap();
    let runs = Noted::new(1, Past::Never);
    let remove = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
    };
    tokio::join!(serve_for(100, dir.path(), 1, &runs), remove);
    assert_eq!(runs.times(), [90]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_not_there_is_told() {
    let options =
        ServeOptions { folder: "/nowhere/policies".into(), at_once: 1, cancel: CancellationToken::new() };
    let error = serve(options, clock(), Noted::new(1, Past::Never)).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/policies"), "{error}");
}

#[test]
fn no_more_run_at_once_than_there_are_file_handles_for() {
    let cases =
        [((12, Some(1024)), 12), ((12, Some(128)), 2), ((12, Some(10)), 1), ((0, None), 1), ((12, None), 12)];
    for ((at_once, limit), expected) in cases {
        assert_eq!(within_handles(at_once, limit), expected, "{at_once} at once of {limit:?} handles");
    }
}
