//! What a dead process, a newer program or a damaged disk leaves.

use std::process::{Child, Command, Stdio};

use super::*;

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
    command.args(["--exact", "state::tests::crashes::child_that_holds_a_queue"]).env(CHILD, folder);
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
    assert!(matches!(snapshot(&dir.path().join("none")).unwrap(), Snapshot::Idle(View { job: None, .. })));
    let mut child = child(dir.path());
    let Snapshot::Running(holder, view) = snapshot(dir.path()).unwrap() else { panic!("the child has it") };
    assert_eq!(holder.map(|holder| holder.pid), Some(child.id()));
    assert_eq!(view.job.unwrap().name, job("child").name);
    match Queue::open(dir.path()) {
        Err(Error::Busy { process, .. }) => assert_eq!(process, Some(child.id())),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let Snapshot::Idle(view) = snapshot(dir.path()).unwrap() else { panic!("no process has it") };
    assert_eq!(view.job.unwrap().name, job("child").name);
    let (mut queue, ledger) = reopened(&dir);
    assert_eq!(queue.take_notices(), [""; 0]);
    assert_eq!(ledger.part_count(), 20);
    for number in 1..=20 {
        assert_eq!(committed(&ledger, number).unwrap(), ended_in(number, 50), "part {number}");
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
            assert_eq!(committed(&ledger, number).unwrap(), ended_in(number, 200), "planting {i}");
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
            match committed(&ledger, number) {
                Ok(found) if found == ended_in(number, 200) => {}
                Ok((entries, problems)) => seen.silent.push(format!(
                    "byte {at}: part {number} of {} has {} entries and {} problems",
                    parts.len(),
                    entries.len(),
                    problems.len()
                )),
                // Reported when it is read: the job is then lost, and no file is left out unsaid.
                Err(Error::Queue { kind: crate::error::QueueErrorKind::Damaged, .. }) => {}
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
                if let Ok(found) = committed(&ledger, number) {
                    assert_eq!(found, ended_in(number, 200), "cut at {i}/24");
                }
            }
        }
    }
}
