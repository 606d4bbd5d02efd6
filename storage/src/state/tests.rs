#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod crashes;
mod records;

use tempfile::TempDir;

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::database::{self, Database};
use super::queue::{MOST_HISTORY, MOST_VIEWED};
use super::*;
use crate::archive::{FrameRecord, SegmentRecord};
use crate::catalog::layout::BackupName;
use crate::error::{Error, Result};
use crate::manifest::{
    Entry, EntryKind, Extent, Listed, PartEntries, Problem, ProblemKind, UnixAttributes, WindowsAttributes,
    Xattr,
};
use crate::objects::upload::{PartReceipt, Upload};
use crate::state::job::{Ending, JobEvent, JobState};

fn job(timestamp: &str) -> Job {
    let name = BackupName {
        policy_id: "p".to_owned(),
        timestamp: timestamp.to_owned(),
        backup_id: format!("id-{timestamp}"),
    };
    let job = Job::new(name, vec![0, 1, 255], "memory://".to_owned(), 1);
    Job { policy_digest: [7; 32], ..job }
}

fn entry(path: &str) -> Entry {
    Entry {
        relative_path: path.to_owned(),
        path_bytes: None,
        kind: EntryKind::File,
        size: 1,
        mtime_ns: 2,
        unix: None,
        windows: None,
        xattrs: Vec::new(),
        link_target: None,
        link_target_bytes: None,
        sha256: Some([3; 32]),
        extents: Vec::new(),
        ..Entry::default()
    }
}

fn part(number: u32) -> PartRecord {
    PartRecord {
        segment: SegmentRecord {
            number,
            offset: u64::from(number - 1) << 23,
            bytes: 1 << 23,
            salt: [number as u8; 32],
            sha256: [!(number as u8); 32],
            frames: vec![FrameRecord { sealed_bytes: 5, tar_bytes: 1000 + number }],
        },
        receipt: PartReceipt { number, bytes: 1 << 23, sha256: None, etag: format!("etag {number}") },
        last: false,
    }
}

fn cursor(entry: u64) -> Cursor {
    Cursor { entry, partial_entry: None }
}

/// Commits parts 1 to `parts`, each with `entries` entries and a problem.
fn commit(ledger: &Ledger, parts: std::ops::RangeInclusive<u32>, entries: usize) {
    for number in parts {
        let (entries, problems) = ended_in(number, entries);
        ledger
            .commit(&part(number), &cursor(number.into()), &PartEntries::of_new(&entries, &problems).unwrap())
            .unwrap();
    }
}

fn committed(ledger: &Ledger, number: u32) -> Result<(Vec<Entry>, Vec<Problem>)> {
    let PartEntries { entries, problems } = ledger.committed(number)?;
    let entry = |listed| match listed {
        Listed::Entry { entry, .. } => entry,
        other => panic!("{other:?}"),
    };
    Ok((all(entries)?.into_iter().map(entry).collect(), all(problems)?))
}

fn all<T: serde::de::DeserializeOwned>(packed: crate::memory::packed::Packed<T>) -> Result<Vec<T>> {
    packed.unpack().try_fold(Vec::new(), |mut all, some| {
        all.append(&mut some?);
        Ok(all)
    })
}

fn ended_in(number: u32, entries: usize) -> (Vec<Entry>, Vec<Problem>) {
    let reason = format!("of part {number}");
    let problem = Problem { relative_path: "p".to_owned(), kind: ProblemKind::Changed, reason };
    ((0..entries).map(|i| entry(&format!("{number}/relatório número {i}"))).collect(), vec![problem])
}

/// Begins a job and reads it again, as the next process does.
fn reopened(dir: &TempDir) -> (Queue, Ledger) {
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.job().unwrap().expect("there is a job");
    (queue, ledger)
}

#[test]
fn a_scan_is_read_from_any_step_over_the_borders_of_its_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    assert_eq!(ledger.scan::<String>(0).count(), 0);
    let steps: Vec<String> = (0..2000).map(|i| format!("passo {i} {}", "x".repeat(i % 300))).collect();
    for batch in steps.chunks(257) {
        ledger.add_scan(batch).unwrap();
    }
    ledger.flush().unwrap();
    drop((ledger, queue));
    let (_queue, ledger) = reopened(&dir);
    let from = |from: u64| ledger.scan(from).flat_map(Result::unwrap).collect::<Vec<String>>();
    assert!(ledger.scan::<String>(0).count() > 8, "there are several chunks to a batch");
    for at in (0..=2000).step_by(7).chain([1, 255, 256, 257, 258, 1999, 2000]) {
        assert_eq!(from(at), steps[at as usize..], "from {at}");
    }
    assert_eq!(from(2001), [""; 0]);
    assert_eq!(from(u64::MAX), [""; 0]);
    // Another walk takes its place, and goes on after a crash where steps were counted.
    ledger.clear_scan().unwrap();
    assert_eq!(from(0), [""; 0]);
    ledger.add_scan(&["a", "b"]).unwrap();
    assert_eq!(from(0), ["a", "b"]);
    assert_eq!(from(1), ["b"]);
}

#[test]
fn parts_are_recorded_in_their_order_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    assert_eq!(ledger.last_part().unwrap(), None);
    let try_part = |number: u32| ledger.commit(&part(number), &cursor(0), &PartEntries::default());
    assert!(matches!(try_part(2), Err(Error::Replay { expected: 1, found: 2 })));
    try_part(1).unwrap();
    assert!(matches!(try_part(1), Err(Error::Replay { expected: 2, found: 1 })));
    assert!(matches!(try_part(3), Err(Error::Replay { expected: 2, found: 3 })));
    try_part(2).unwrap();
    assert_eq!(ledger.parts().unwrap(), [part(1), part(2)]);
}

#[test]
fn what_a_run_listed_that_died_before_the_part_was_recorded_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    let (entries, problems) = ended_in(1, 3_000);
    ledger.list(1, &PartEntries::of_new(&entries, &problems).unwrap()).unwrap();
    drop((ledger, queue));
    let (queue, ledger) = reopened(&dir);
    assert_eq!(ledger.part_count(), 0);
    for (number, count) in [(1, 200), (2, 0)] {
        ledger.list(2, &PartEntries::of_new(&entries, &problems).unwrap()).unwrap();
        commit(&ledger, number..=number, count);
        assert_eq!(committed(&ledger, number).unwrap(), ended_in(number, count));
    }
    drop((ledger, queue));
    let (_queue, ledger) = reopened(&dir);
    assert_eq!(committed(&ledger, 1).unwrap(), ended_in(1, 200));
    assert_eq!(committed(&ledger, 2).unwrap(), ended_in(2, 0));
}

#[test]
#[cfg_attr(windows, ignore = "for the whole process, in which .ci/windows-units runs all others")]
fn a_temporary_folder_that_cannot_be_used_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    let noise = |i: usize| Entry { sha256: Some(crate::keys::secret::random()), ..entry(&format!("{i}")) };
    let entries: Vec<_> = (0..60_000).map(noise).collect();
    ledger.commit(&part(1), &cursor(1), &PartEntries::of_new(&entries, &[]).unwrap()).unwrap();
    let nowhere = dir.path().join("nowhere");
    tempfile::env::override_temp_dir(&nowhere).unwrap();
    let message = ledger.committed(1).unwrap_err();
    assert!(matches!(message, Error::Io { .. }), "{message}");
}

#[test]
fn what_is_truncated_is_gone_and_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    commit(&ledger, 1..=300, 3);
    for keep in [299, 256, 255, 2, 0] {
        ledger.truncate(keep).unwrap();
        assert_eq!(ledger.part_count(), keep);
        assert_eq!(ledger.tar_bytes(), (1..=u64::from(keep)).map(|n| 1000 + n).sum::<u64>());
        assert_eq!(
            ledger.last_part().unwrap().map(|(part, _)| part.segment.number),
            (keep > 0).then_some(keep)
        );
        assert!(ledger.committed(keep + 1).is_err(), "there is no part behind {keep}");
        if keep > 0 {
            assert_eq!(committed(&ledger, keep).unwrap(), ended_in(keep, 3));
        }
    }
    commit(&ledger, 1..=1, 1);
    drop((ledger, queue));
    let (_queue, ledger) = reopened(&dir);
    assert_eq!(ledger.parts().unwrap(), [part(1)]);
    assert_eq!(committed(&ledger, 1).unwrap(), ended_in(1, 1));
}

fn end(ledger: &Ledger) {
    ledger.advance(JobEvent::GaveUp).unwrap();
    ledger.advance(JobEvent::LogsSettled).unwrap();
}

fn timestamps(queue: &Queue) -> Vec<String> {
    queue.history().unwrap().into_iter().map(|job| job.name.timestamp).collect()
}

#[test]
fn a_job_that_ended_before_a_crash_is_closed_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    end(&queue.begin(job("a")).unwrap());
    drop(queue);
    let mut queue = Queue::open(dir.path()).unwrap();
    assert!(queue.job().unwrap().is_none());
    assert_eq!(timestamps(&queue), ["a"]);
    assert_eq!(queue.history().unwrap()[0].state, JobState::Ended(Ending::Failed));
    assert!(!dir.path().join("job").exists());
    assert_eq!(queue.take_notices(), [""; 0]);
    assert_eq!(queue.lost_jobs(&job("z").name).unwrap(), []);
}

#[test]
fn a_job_in_the_history_whose_ledger_is_there_is_closed_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    end(&ledger);
    drop(ledger);
    let kept = dir.path().join("kept");
    copy(&dir.path().join("job"), &kept);
    let ledger = queue.job().unwrap();
    assert!(ledger.is_none());
    drop(queue);
    // As a crash between the history and the removal leaves it.
    fs::rename(kept, dir.path().join("job")).unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    assert!(queue.job().unwrap().is_none());
    assert_eq!(timestamps(&queue), ["a"]);
    assert!(!dir.path().join("job").exists());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_history_holds_the_newest_hundred_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    for n in 0..105 {
        let ledger = queue.begin(job(&format!("{n:03}"))).unwrap();
        end(&ledger);
        queue.close(ledger).unwrap();
    }
    let expected: Vec<_> = (5..105).rev().map(|n| format!("{n:03}")).collect();
    assert_eq!(timestamps(&queue), expected);
    let Snapshot::Running(_, view) = snapshot(dir.path()).unwrap() else { panic!("this process has it") };
    assert_eq!(view.history.len(), MOST_VIEWED);
    assert_eq!(view.history[0].name.timestamp, "104");
}

#[test]
fn the_history_is_in_the_order_in_which_jobs_ended_whatever_the_clock_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    let named = ["20261126T020000Z", "20311126T020000Z", "20261127T020000Z"];
    for timestamp in named {
        let ledger = queue.begin(job(timestamp)).unwrap();
        end(&ledger);
        queue.close(ledger).unwrap();
    }
    assert_eq!(timestamps(&queue), [named[2], named[1], named[0]]);
}

#[test]
fn a_job_that_is_closed_again_after_a_crash_drops_none_of_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    for n in 0..MOST_HISTORY {
        let ledger = queue.begin(job(&format!("{n:03}"))).unwrap();
        end(&ledger);
        if n == MOST_HISTORY - 1 {
            drop(ledger);
            copy(&dir.path().join("job"), &dir.path().join("kept"));
            assert!(queue.job().unwrap().is_none());
        } else {
            queue.close(ledger).unwrap();
        }
    }
    assert_eq!(timestamps(&queue).len(), MOST_HISTORY);
    fs::rename(dir.path().join("kept"), dir.path().join("job")).unwrap();
    assert!(queue.job().unwrap().is_none());
    assert_eq!(timestamps(&queue).len(), MOST_HISTORY);
}

#[test]
fn logs_leave_the_outbox_oldest_first_and_one_of_a_run_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let log = |timestamp: &str, key: &str| PendingLog {
        timestamp: timestamp.to_owned(),
        file: dir.path().join(timestamp),
        key: key.to_owned(),
    };
    let queue = Queue::open(dir.path()).unwrap();
    for (timestamp, key) in [("20260103T000000Z", "c"), ("20260101T000000Z", "a"), ("20260102T000000Z", "b")]
    {
        queue.enqueue_log(&log(timestamp, key)).unwrap();
    }
    queue.enqueue_log(&log("20260102T000000Z", "b again")).unwrap();
    drop(queue);
    let queue = Queue::open(dir.path()).unwrap();
    let keys = |queue: &Queue| queue.outbox().unwrap().into_iter().map(|log| log.key).collect::<Vec<_>>();
    assert_eq!(keys(&queue), ["a", "b again", "c"]);
    queue.log_shipped(&log("20260101T000000Z", "")).unwrap();
    queue.log_shipped(&log("20260101T000000Z", "")).unwrap();
    assert_eq!(keys(&queue), ["b again", "c"]);
}

#[test]
fn a_job_whose_ledger_is_lost_is_known_by_name_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    drop(queue.begin(job("a")).unwrap());
    fs::remove_dir_all(dir.path().join("job")).unwrap();
    drop(queue.begin(job("b")).unwrap());
    drop(queue);
    let mut queue = Queue::open(dir.path()).unwrap();
    assert_eq!(queue.job().unwrap().unwrap().job().name, job("b").name);
    assert_eq!(queue.lost_jobs(&job("b").name).unwrap(), [job("a").name]);
    queue.forget_lost_job(&job("a").name).unwrap();
    assert_eq!(queue.lost_jobs(&job("b").name).unwrap(), []);
}

#[test]
fn a_lost_or_damaged_view_is_no_queue_without_runs_and_the_next_run_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    drop((queue.begin(job("a")).unwrap(), queue));
    let view = dir.path().join("view.json");
    for damage in [None, Some("{\"job\":")] {
        match damage {
            None => fs::remove_file(&view).unwrap(),
            Some(text) => fs::write(&view, text).unwrap(),
        }
        let error = snapshot(dir.path()).unwrap_err().to_string();
        assert!(error.contains("view.json") && error.ends_with("the next run repairs it"), "{error}");
        drop(reopened(&dir));
        let Snapshot::Idle(view) = snapshot(dir.path()).unwrap() else { panic!("no process has it") };
        assert_eq!(view.job.unwrap().name, job("a").name);
    }
}
