#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use intellistor_storage::Hashed;
use intellistor_storage::StoreErrorKind;
use intellistor_storage::archive::SegmentRecord;
use intellistor_storage::objects::{Fault, Faulty, MemoryStore, ObjectStoreExt as _, Operation};

use super::*;
use crate::link::Failure;
use intellistor_storage::manifest::PartEntries;
use intellistor_storage::state::Cursor;

const MIB: usize = 1 << 20;

/// The sequencer's place: keeps the parts, and with them their slots.
struct Collector(Arc<Mutex<Vec<PartUploaded>>>);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<PartUploaded> for Collector {
    type Result = Reply;

    fn handle(&mut self, part: PartUploaded, _: &mut Self::Context) -> Reply {
        self.0.lock().unwrap().push(part);
        Ok(())
    }
}

struct Bench {
    store: Arc<Faulty>,
    slots: Slots,
    failures: Failures,
    failed: tokio::sync::mpsc::UnboundedReceiver<Failure>,
    arrived: Arc<Mutex<Vec<PartUploaded>>>,
    uploader: Addr<Uploader>,
}

impl Bench {
    async fn new() -> Self {
        let store = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
        let upload = store.begin_upload("archive").await.unwrap();
        let (failures, failed) = Failures::channel();
        let (slots, arrived) = (Slots::default(), Arc::default());
        let config = UploaderConfig {
            store: store.clone(),
            upload,
            next: Collector(Arc::clone(&arrived)).start().recipient(),
            slots: slots.clone(),
            failures: failures.clone(),
            progress: Arc::default(),
        };
        Self { store, slots, failures, failed, arrived, uploader: Uploader::new(config).start() }
    }

    fn send(&self, number: u32, bytes: usize) -> impl Future<Output = Reply> + Unpin + use<> {
        let body = Hashed::new(Bytes::from(vec![number as u8; bytes]));
        let segment = SegmentRecord {
            number,
            offset: 0,
            bytes: bytes as u64,
            salt: [0; 32],
            sha256: body.sha256(),
            frames: Vec::new(),
        };
        let request = self.uploader.send(SegmentSealed {
            segment,
            body,
            listed: PartEntries::default(),
            cursor: Cursor::default(),
            last: false,
        });
        Box::pin(async move { request.await.unwrap() })
    }

    fn arrived(&self) -> Vec<u32> {
        let mut numbers: Vec<_> = self.arrived.lock().unwrap().iter().map(|p| p.segment.number).collect();
        numbers.sort();
        numbers
    }

    /// Gives the other actors of this thread their turns until `so` holds.
    async fn until(&self, so: impl Fn(&Self) -> bool) {
        while !so(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn parts_on_their_way_are_bounded_by_their_bytes() {
    System::new().block_on(async {
        let bench = Bench::new().await;
        bench.store.stall_parts();
        let mut sends: FuturesUnordered<_> = (1..=10).map(|n| bench.send(n, 8 * MIB)).collect();
        for _ in 0..4 {
            assert_eq!(sends.next().await, Some(Ok(())));
        }
        bench.until(|bench| bench.store.most_parts_in_flight() == 4).await;
        assert!(futures::poll!(sends.next()).is_pending(), "a fifth part was taken over");
        bench.store.release_parts();
        // The store has answered all four; as long as they are not committed, none more is sent.
        bench.until(|bench| bench.arrived().len() == 4).await;
        assert!(
            futures::poll!(sends.next()).is_pending(),
            "a fifth part was sent while four are uncommitted"
        );
        assert_eq!(bench.store.calls(Operation::PutPart), 4);
        while !sends.is_empty() {
            bench.arrived.lock().unwrap().clear();
            assert_eq!(sends.next().await, Some(Ok(())));
        }
        assert_eq!(bench.store.most_parts_in_flight(), 4);
    });
}

#[test]
fn a_part_larger_than_all_slots_is_sent_alone() {
    System::new().block_on(async {
        let bench = Bench::new().await;
        bench.store.stall_parts();
        assert_eq!(bench.send(1, MIB).await, Ok(()));
        let mut large = bench.send(2, IN_FLIGHT_BYTES + MIB);
        assert!(futures::poll!(&mut large).is_pending());
        bench.store.release_parts();
        bench.until(|bench| bench.arrived() == [1]).await;
        assert!(futures::poll!(&mut large).is_pending(), "part 1 is not committed yet");
        bench.arrived.lock().unwrap().clear();
        assert_eq!(large.await, Ok(()));
        let mut small = bench.send(3, 1);
        bench.until(|bench| bench.arrived() == [2]).await;
        assert!(futures::poll!(&mut small).is_pending(), "a part went beside one that takes all slots");
        bench.arrived.lock().unwrap().clear();
        assert_eq!(small.await, Ok(()));
    });
}

#[test]
fn parts_in_flight_are_waited_for_and_parts_behind_a_gap_are_not() {
    System::new().block_on(async {
        let mut bench = Bench::new().await;
        bench.slots.wait_until_idle().await;
        bench.store.stall_parts();
        bench.store.fail(Operation::PutPart, 1, Fault::AnswerLost(StoreErrorKind::Timeout));
        for number in 1..=3 {
            assert_eq!(bench.send(number, 8 * MIB).await, Ok(()));
        }
        bench.until(|bench| bench.store.most_parts_in_flight() == 3).await;
        let slots = bench.slots.clone();
        let mut idle = Box::pin(slots.wait_until_idle());
        assert!(futures::poll!(&mut idle).is_pending(), "three parts are in flight");
        bench.store.release_parts();
        idle.await;
        // Part 1 failed; the others are uncommitted and hold their slots.
        assert_eq!(bench.arrived(), [2, 3]);
        assert!(bench.failed.recv().await.is_some());
        let free = bench.slots.free_bytes();
        assert_eq!(free, IN_FLIGHT_BYTES - 16 * MIB);
    });
}

#[test]
fn while_the_pipeline_drains_parts_arrive_and_none_is_taken_over() {
    System::new().block_on(async {
        let bench = Bench::new().await;
        bench.store.stall_parts();
        for number in 1..=4 {
            assert_eq!(bench.send(number, 8 * MIB).await, Ok(()));
        }
        let mut waiting = bench.send(5, 8 * MIB);
        bench.until(|bench| bench.store.most_parts_in_flight() == 4).await;
        assert!(futures::poll!(&mut waiting).is_pending());
        bench.failures.drain();
        let mut late = bench.send(6, 1 << 10);
        assert!(futures::poll!(&mut late).is_pending());
        bench.store.release_parts();
        bench.slots.wait_until_idle().await;
        assert_eq!(bench.arrived(), [1, 2, 3, 4]);
        bench.arrived.lock().unwrap().clear();
        assert_eq!((waiting.await, late.await), (Err(Stopped), Err(Stopped)));
        assert_eq!(bench.store.calls(Operation::PutPart), 4);
    });
}
