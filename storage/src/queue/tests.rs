#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::archive::{FrameRecord, SegmentRecord};
use crate::job::{Ending, JobEvent, JobState};
use crate::manifest::{Entry, EntryKind, Extent, Problem, ProblemKind, UnixAttributes, Xattr};
use crate::objects::{PartReceipt, Upload};

fn job(timestamp: &str) -> Job {
    Job {
        name: BackupName {
            policy_id: "p".to_owned(),
            timestamp: timestamp.to_owned(),
            backup_id: format!("id-{timestamp}"),
        },
        header: vec![0, 1, 255],
        store: "memory://".to_owned(),
        copy_to: None,
        policy_digest: [7; 32],
        upload: None,
        state: JobState::Queued,
        began_ms: 1,
        ended_ms: None,
        runs: 1,
        scanned: None,
        last_error: None,
        trace_id: None,
        summary: None,
    }
}

fn entry(path: &str) -> Entry {
    Entry {
        relative_path: path.to_owned(),
        path_bytes: None,
        kind: EntryKind::File,
        size: 1,
        mtime_ns: 2,
        unix: None,
        xattrs: Vec::new(),
        link_target: None,
        link_target_bytes: None,
        sha256: Some([3; 32]),
        extents: Vec::new(),
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
    Cursor { entry, half_sent: None }
}

/// Commits parts 1 to `parts`, each with `entries` entries and a problem.
fn commit(ledger: &Ledger, parts: std::ops::RangeInclusive<u32>, entries: usize) {
    for number in parts {
        let (entries, problems) = ended_in(number, entries);
        ledger.commit(&part(number), &cursor(number.into()), &entries, &problems).unwrap();
    }
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

fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Symlink),
        Just(EntryKind::Hardlink)
    ];
    let unix = proptest::option::of(any::<(u32, u32, u32)>())
        .prop_map(|unix| unix.map(|(mode, uid, gid)| UnixAttributes { mode, uid, gid }));
    let xattr = any::<(Vec<u8>, Vec<u8>)>().prop_map(|(name, value)| Xattr { name, value });
    let extent = any::<(u32, u64, u64, Option<u64>)>().prop_map(|(archive, offset, length, at)| Extent {
        archive,
        offset,
        length,
        at,
    });
    let names = any::<(String, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>)>();
    let (xattrs, extents) =
        (proptest::collection::vec(xattr, 0..3), proptest::collection::vec(extent, 0..40));
    (names, kind, any::<(u64, i128, Option<[u8; 32]>)>(), unix, xattrs, extents).prop_map(
        |(names, kind, (size, mtime_ns, sha256), unix, xattrs, extents)| {
            let (relative_path, path_bytes, link_target, link_target_bytes) = names;
            Entry {
                relative_path,
                path_bytes,
                kind,
                size,
                mtime_ns,
                unix,
                xattrs,
                link_target,
                link_target_bytes,
                sha256,
                extents,
            }
        },
    )
}

fn any_part() -> impl Strategy<Value = PartRecord> {
    let numbers = any::<(u64, u64, [u8; 32], [u8; 32])>();
    (numbers, any::<Vec<(u32, u16)>>(), any::<Option<[u8; 32]>>(), any::<String>()).prop_map(
        |((offset, bytes, salt, sha256), frames, receipt_sha256, etag)| {
            let frames = frames.into_iter().map(|(sealed, tar)| FrameRecord::from((sealed, tar.into())));
            PartRecord {
                segment: SegmentRecord { number: 1, offset, bytes, salt, sha256, frames: frames.collect() },
                receipt: PartReceipt { number: 1, bytes, sha256: receipt_sha256, etag },
                last: bytes % 2 == 0,
            }
        },
    )
}

fn any_cursor() -> impl Strategy<Value = Cursor> {
    let half = any::<(u64, Vec<u8>, u64, Option<(u64, u64)>, [u8; 32], u64)>().prop_map(
        |(tar_offset, header, stored_bytes, identity, read_sha256, read_bytes)| HalfSent {
            tar_offset,
            header,
            stored_bytes,
            identity,
            read_sha256,
            read_bytes,
        },
    );
    (any::<u64>(), proptest::option::of(half)).prop_map(|(entry, half_sent)| Cursor { entry, half_sent })
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let kind = prop_oneof![Just(ProblemKind::Skipped), Just(ProblemKind::Changed)];
    (any::<String>(), kind, any::<String>()).prop_map(|(relative_path, kind, reason)| Problem {
        relative_path,
        kind,
        reason,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_part_and_what_ended_in_it_come_back_as_they_were(
        part in any_part(),
        cursor in any_cursor(),
        entries in proptest::collection::vec(any_entry(), 0..60),
        problems in proptest::collection::vec(any_problem(), 0..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(dir.path()).unwrap();
        queue.begin(job("a")).unwrap().commit(&part, &cursor, &entries, &problems).unwrap();
        drop(queue);
        let (_queue, ledger) = reopened(&dir);
        prop_assert_eq!(ledger.last_part().unwrap(), Some((part.clone(), cursor)));
        prop_assert_eq!(ledger.committed(1).unwrap(), (entries, problems));
        let tar_bytes = part.segment.frames.iter().map(|f| u64::from(f.tar_bytes)).sum::<u64>();
        prop_assert_eq!((ledger.part_count(), ledger.tar_bytes()), (1, tar_bytes));
    }

    #[test]
    fn a_jobs_record_comes_back_as_it_was(
        texts: [Option<String>; 3],
        header: Vec<u8>,
        upload: Option<(String, String)>,
        numbers: (i64, Option<i64>, u32),
        scanned: Option<(u64, u64, u64)>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let [last_error, trace_id, summary] = texts;
        let (began_ms, ended_ms, runs) = numbers;
        let record = Job {
            header,
            upload: upload.map(|(key, id)| Upload { key, id }),
            scanned: scanned.map(|(steps, entries, bytes)| Scanned { steps, entries, bytes }),
            copy_to: Some("/mnt/usb ção".into()),
            began_ms, ended_ms, runs, last_error, trace_id, summary,
            ..job("a")
        };
        let mut queue = Queue::open(dir.path()).unwrap();
        let ledger = queue.begin(record.clone()).unwrap();
        ledger.advance(JobEvent::Started).unwrap();
        drop((ledger, queue));
        let (_queue, ledger) = reopened(&dir);
        let expected = Job { state: JobState::Scanning, ..record };
        prop_assert!(ledger.job() == expected);
    }
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
    let try_part = |number: u32| ledger.commit(&part(number), &cursor(0), &[], &[]);
    assert!(matches!(try_part(2), Err(Error::Replay { expected: 1, found: 2 })));
    try_part(1).unwrap();
    assert!(matches!(try_part(1), Err(Error::Replay { expected: 2, found: 1 })));
    assert!(matches!(try_part(3), Err(Error::Replay { expected: 2, found: 3 })));
    try_part(2).unwrap();
    assert_eq!(ledger.parts().unwrap(), [part(1), part(2)]);
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
            assert_eq!(ledger.committed(keep).unwrap(), ended_in(keep, 3));
        }
    }
    commit(&ledger, 1..=1, 1);
    drop((ledger, queue));
    let (_queue, ledger) = reopened(&dir);
    assert_eq!(ledger.parts().unwrap(), [part(1)]);
    assert_eq!(ledger.committed(1).unwrap(), ended_in(1, 1));
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
    let Peek::Running(_, view) = peek(dir.path()).unwrap() else { panic!("this process has it") };
    assert_eq!(view.history.len(), MOST_VIEWED);
    assert_eq!(view.history[0].name.timestamp, "104");
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

const CHILD: &str = "INTELLISTOR_TEST_QUEUE";

/// Not a test of its own: the child that holds a queue until it is killed.
#[test]
fn child_that_holds_a_queue() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let mut queue = Queue::open(Path::new(&folder)).unwrap();
    let ledger = queue.begin(job("child")).unwrap();
    commit(&ledger, 1..=20, 50);
    fs::write(Path::new(&folder).join("held"), b"").unwrap();
    loop {
        std::thread::park();
    }
}

/// Starts a child that holds the queue, and waits until it does.
fn child(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "queue::tests::child_that_holds_a_queue"]).env(CHILD, folder);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !folder.join("held").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "the child ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_queue_is_seen_as_running_while_its_process_lives_and_loses_nothing_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(peek(&dir.path().join("none")).unwrap(), Peek::Idle(View { job: None, .. })));
    let mut child = child(dir.path());
    let Peek::Running(holder, view) = peek(dir.path()).unwrap() else { panic!("the child has it") };
    assert_eq!(holder.map(|holder| holder.pid), Some(child.id()));
    assert_eq!(view.job.unwrap().name, job("child").name);
    match Queue::open(dir.path()) {
        Err(Error::Busy { holder, .. }) => assert_eq!(holder.map(|h| h.pid), Some(child.id())),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let Peek::Idle(view) = peek(dir.path()).unwrap() else { panic!("nobody has it") };
    assert_eq!(view.job.unwrap().name, job("child").name);
    let (mut queue, ledger) = reopened(&dir);
    assert_eq!(queue.take_notices(), [""; 0]);
    assert_eq!(ledger.part_count(), 20);
    for number in 1..=20 {
        assert_eq!(ledger.committed(number).unwrap(), ended_in(number, 50), "part {number}");
    }
}

fn aside(dir: &TempDir, name: &str) -> usize {
    let listed =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    listed.filter(|found| found.starts_with("damaged-") && found.ends_with(name)).count()
}

/// Writes the number of the layout that a newer program would.
fn make_newer(path: &Path) {
    let (database, notice) = Database::open(path).unwrap();
    assert_eq!(notice, None);
    database.put(b"schema", 2u32.to_be_bytes().to_vec()).unwrap();
    database.flush().unwrap();
}

#[test]
fn what_a_newer_program_wrote_is_moved_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = Queue::open(dir.path()).unwrap();
    drop(queue.begin(job("a")).unwrap());
    drop(queue);
    make_newer(&dir.path().join("job"));
    let mut queue = Queue::open(dir.path()).unwrap();
    assert!(queue.job().unwrap().is_none());
    assert_eq!(aside(&dir, "job"), 1);
    let notices = queue.take_notices();
    assert!(notices[0].contains("layout 2"), "{notices:?}");
    assert_eq!(queue.lost_jobs(&job("b").name).unwrap(), [job("a").name]);
    assert_eq!(queue.begin(job("b")).unwrap().part_count(), 0);
    drop(queue);
    make_newer(&dir.path().join("history"));
    let mut queue = Queue::open(dir.path()).unwrap();
    assert_eq!(aside(&dir, "history"), 1);
    let notices = queue.take_notices();
    assert!(notices[0].contains("layout 2"), "{notices:?}");
}

#[test]
fn of_what_is_moved_aside_three_stay() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let mut queue = Queue::open(dir.path()).unwrap();
        drop(queue.begin(job(&n.to_string())).unwrap());
        drop(queue);
        fs::write(dir.path().join("job/conf"), b"no configuration").unwrap();
        let mut queue = Queue::open(dir.path()).unwrap();
        assert!(queue.job().unwrap().is_none());
        let notices = queue.take_notices();
        assert_eq!(notices.len(), 1, "{notices:?}");
    }
    assert_eq!(aside(&dir, "job"), 3);
}

/// A queue with a job of 40 parts and a scan of 3000 steps, as a killed process leaves it.
fn left_behind(dir: &TempDir) {
    let mut queue = Queue::open(dir.path()).unwrap();
    let ledger = queue.begin(job("a")).unwrap();
    let steps: Vec<_> = (0..3000).map(|i| format!("passo número {i}")).collect();
    ledger.add_scan(&steps).unwrap();
    ledger.flush().unwrap();
    ledger.advance(JobEvent::Started).unwrap();
    ledger.update(|job| job.scanned = Some(Scanned { steps: 3000, entries: 3000, bytes: 1 })).unwrap();
    ledger.advance(JobEvent::Scanned).unwrap();
    commit(&ledger, 1..=40, 200);
}

#[test]
fn snapshots_that_a_crash_left_unfinished_or_damaged_lose_nothing() {
    let plant: [fn(&Path); 4] = [
        |job| fs::write(job.join("snap.0000000000000100.generating"), b"half").unwrap(),
        |job| fs::write(job.join("snap.FFFFFFFFFFFFFFFF"), b"garbage").unwrap(),
        |job| fs::write(job.join("snap.0000000000000001"), b"").unwrap(),
        |job| {
            for entry in fs::read_dir(job).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_str().unwrap().starts_with("snap.") {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                    fs::write(path, bytes).unwrap();
                }
            }
            fs::write(job.join("snap.00000000000FFFFF"), vec![0xAA; 5000]).unwrap();
        },
    ];
    for (i, plant) in plant.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        left_behind(&dir);
        plant(&dir.path().join("job"));
        let (mut queue, ledger) = reopened(&dir);
        assert_eq!(queue.take_notices(), [""; 0], "planting {i}");
        assert_eq!(ledger.part_count(), 40, "planting {i}");
        for number in 1..=40 {
            assert_eq!(ledger.committed(number).unwrap(), ended_in(number, 200), "planting {i}");
        }
        assert_eq!(ledger.scan::<String>(0).map(|batch| batch.unwrap().len()).sum::<usize>(), 3000);
    }
}

/// What became of ledgers with one byte flipped.
#[derive(Debug, Default)]
struct Flips {
    whole: u32,
    aside: u32,
    shorter: u32,
    silent: Vec<String>,
}

#[test]
fn a_flipped_byte_never_panics_and_never_yields_what_was_not_committed() {
    let made = tempfile::tempdir().unwrap();
    left_behind(&made);
    let database = fs::read(made.path().join("job/db")).unwrap();
    // Zeros at the end were never written.
    let used = database.iter().rposition(|byte| *byte != 0).unwrap();
    let mut seen = Flips::default();
    for i in 0..150 {
        let at = (i * used / 150 + i * 7919 % 64).min(used);
        let dir = tempfile::tempdir().unwrap();
        fs::remove_dir(dir.path()).unwrap();
        copy(made.path(), dir.path());
        let mut bytes = database.clone();
        bytes[at] ^= 0x10;
        fs::write(dir.path().join("job/db"), bytes).unwrap();
        // The truth is sled's log; without its snapshots all of it is read.
        if i % 2 == 0 {
            database::remove_snapshots(&dir.path().join("job"), "").unwrap();
        }
        let mut queue = Queue::open(dir.path()).unwrap();
        let Some(ledger) = queue.job().unwrap() else {
            // With a word to people, or because even its first record is gone.
            seen.aside += 1;
            continue;
        };
        let job = ledger.job();
        assert_eq!(job.name, super::tests::job("a").name);
        let Ok(parts) = ledger.parts() else {
            seen.aside += 1;
            continue;
        };
        for (number, found) in (1..).zip(&parts) {
            assert_eq!(*found, part(number), "byte {at}");
            match ledger.committed(number) {
                Ok(found) if found == ended_in(number, 200) => {}
                Ok((entries, problems)) => seen.silent.push(format!(
                    "byte {at}: part {number} of {} has {} entries and {} problems",
                    parts.len(),
                    entries.len(),
                    problems.len()
                )),
                // Told when it is read: the job is then lost, and no file is left out unsaid.
                Err(Error::Queue { kind: crate::QueueErrorKind::Damaged, .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let steps: Result<Vec<Vec<String>>> = ledger.scan(0).collect();
        // Where there are fewer than were counted, the run ends as damaged: it compares the two.
        let is_told = job.scanned.is_some_and(|scanned| scanned.steps != ledger.step_count());
        if let (Ok(steps), true, false) = (steps, job.scanned.is_some(), is_told) {
            let found = steps.iter().map(Vec::len).sum::<usize>();
            let expected = (0..3000).map(|i| format!("passo número {i}"));
            if !steps.into_iter().flatten().eq(expected) {
                seen.silent.push(format!("byte {at}: a job that has scanned 3000 steps has {found}"));
            }
        }
        if parts.len() == 40 { seen.whole += 1 } else { seen.shorter += 1 }
    }
    assert_eq!(seen.silent, [""; 0], "{seen:?}");
    // Most fall on what a later record has replaced.
    assert!(seen.aside + seen.shorter > 0, "no flip was seen at all: {seen:?}");
    println!("{seen:?}");
}

#[test]
fn a_database_that_is_cut_short_never_panics() {
    let made = tempfile::tempdir().unwrap();
    left_behind(&made);
    let database = fs::read(made.path().join("job/db")).unwrap();
    for i in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        fs::remove_dir(dir.path()).unwrap();
        copy(made.path(), dir.path());
        fs::write(dir.path().join("job/db"), &database[..database.len() * i / 24]).unwrap();
        let mut queue = Queue::open(dir.path()).unwrap();
        if let Some(ledger) = queue.job().unwrap() {
            for (number, found) in (1..).zip(ledger.parts().unwrap()) {
                assert_eq!(found, part(number), "cut at {i}/24");
                if let Ok(found) = ledger.committed(number) {
                    assert_eq!(found, ended_in(number, 200), "cut at {i}/24");
                }
            }
        }
    }
}
