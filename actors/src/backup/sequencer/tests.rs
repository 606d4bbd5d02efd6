#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use intellistor_storage::archive::SegmentRecord;
use intellistor_storage::objects::PartReceipt;
use tokio::sync::Semaphore;

use super::*;
use crate::link::{Failure, Reply, Stopped};
use crate::threaded::Threaded;

const SLOTS: usize = 100;

/// Remembers what was committed; the disk refuses part `full_at`.
#[derive(Debug, Default)]
struct TestLog {
    committed: Arc<Mutex<Vec<(u32, u64)>>>,
    full_at: Option<u32>,
}

impl CommitLog for TestLog {
    fn commit(&mut self, part: PartRecord, _: PartEntries, cursor: &Cursor) -> Result<()> {
        let number = part.segment.number;
        if Some(number) == self.full_at {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(intellistor_storage::Error::io("write", "log")(full));
        }
        self.committed.lock().unwrap().push((number, cursor.entry));
        Ok(())
    }
}

struct Bench {
    committed: Arc<Mutex<Vec<(u32, u64)>>>,
    slots: Arc<Semaphore>,
    failures: Failures,
    failed: tokio::sync::mpsc::UnboundedReceiver<Failure>,
    done: oneshot::Receiver<TestLog>,
    sequencer: Addr<Threaded<Sequencer<TestLog>>>,
}

impl Bench {
    fn new(next: u32, full_at: Option<u32>) -> Self {
        let (failures, failed) = Failures::channel();
        let (done, outcome) = oneshot::channel();
        let log = TestLog { full_at, ..TestLog::default() };
        let committed = log.committed.clone();
        let sequencer = Threaded::start(failures.clone(), move || Sequencer::new(log, next, done));
        Self { committed, slots: Arc::new(Semaphore::new(SLOTS)), failures, failed, done: outcome, sequencer }
    }

    async fn send(&self, number: u32, last: bool) -> Reply {
        let segment =
            SegmentRecord { number, offset: 0, bytes: 1, salt: [0; 32], sha256: [0; 32], frames: Vec::new() };
        let receipt = PartReceipt { number, bytes: 1, sha256: None, etag: number.to_string() };
        let (listed, cursor) = (PartEntries::default(), Cursor { entry: number.into(), partial_entry: None });
        let slot = self.slots.clone().try_acquire_owned().unwrap();
        self.sequencer.send(PartUploaded { segment, receipt, listed, cursor, last, slot }).await.unwrap()
    }

    fn numbers(&self) -> Vec<u32> {
        self.committed.lock().unwrap().iter().map(|(number, _)| *number).collect()
    }

    fn taken_slots(&self) -> usize {
        SLOTS - self.slots.available_permits()
    }
}

#[test]
fn parts_are_committed_in_their_order_and_hold_their_slots_until_then() {
    System::new().block_on(async {
        let mut bench = Bench::new(3, None);
        for (number, committed, held) in [(5, 0, 1), (4, 0, 2), (7, 0, 3), (3, 3, 1), (6, 5, 0)] {
            assert_eq!(bench.send(number, false).await, Ok(()));
            assert_eq!(
                (bench.numbers().len(), bench.taken_slots()),
                (committed, held),
                "after part {number}"
            );
        }
        assert!(bench.done.try_recv().is_err(), "the last part has not come");
        assert_eq!(bench.send(9, true).await, Ok(()));
        assert!(bench.done.try_recv().is_err(), "part 8 has not come");
        assert_eq!(bench.send(8, false).await, Ok(()));
        assert_eq!(bench.numbers(), [3, 4, 5, 6, 7, 8, 9]);
        assert!(bench.committed.lock().unwrap().iter().all(|(n, entry)| u64::from(*n) == *entry));
        bench.done.await.unwrap();
        assert!(bench.failed.try_recv().is_err());
    });
}

#[test]
fn a_log_that_fails_stops_the_pipeline_and_nothing_behind_is_committed() {
    System::new().block_on(async {
        let mut bench = Bench::new(1, Some(2));
        for number in [3, 4, 1] {
            assert_eq!(bench.send(number, number == 4).await, Ok(()));
        }
        assert_eq!(bench.send(2, false).await, Err(Stopped));
        assert!(bench.failures.is_draining());
        let failure = bench.failed.recv().await.unwrap().to_string();
        assert!(failure.contains("cannot write log"), "{failure}");
        // Neither what waits nor what still arrives while the pipeline drains.
        let _ = bench.send(5, false).await;
        let _ = bench.send(2, false).await;
        assert_eq!(bench.numbers(), [1]);
        assert!(bench.done.await.is_err(), "no log is given away");
    });
}

#[test]
fn parts_that_arrive_while_the_pipeline_drains_are_committed_and_none_after_its_stop() {
    System::new().block_on(async {
        let bench = Bench::new(1, None);
        bench.failures.drain();
        assert_eq!(bench.send(1, false).await, Ok(()));
        bench.failures.stop();
        assert_eq!(bench.send(2, false).await, Err(Stopped));
        assert_eq!(bench.numbers(), [1]);
    });
}
