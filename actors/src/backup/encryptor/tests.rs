#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use intellistor_storage::archive::{Compression, Header};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use intellistor_storage::memory::buffers::Buffer;

use super::*;
use crate::backup::archiver::frame::FrameArchived;
use crate::backup::compressor::Compressor;
use crate::threaded::Threaded;

/// Takes every part over.
struct Parts(Arc<Mutex<Vec<SegmentSealed>>>);

impl Actor for Parts {
    type Context = Context<Self>;
}

impl Handler<SegmentSealed> for Parts {
    type Result = Reply;

    fn handle(&mut self, part: SegmentSealed, _: &mut Self::Context) -> Reply {
        self.0.lock().unwrap().push(part);
        Ok(())
    }
}

fn frame(seq: u64, tar: Vec<u8>, last: bool) -> FrameArchived {
    let recorded = Recorded {
        entries: vec![Listed::Unchanged { first: seq, count: 1 }],
        cursor: Cursor { entry: seq + 1, partial_entry: None },
        ..Recorded::default()
    };
    FrameArchived { seq, tar: Buffer::from(tar), recorded, last }
}

/// Compresses and seals frames; they come in another order.
fn seal(mut frames: Vec<FrameArchived>, equal: Option<u64>) -> Vec<SegmentSealed> {
    frames.reverse();
    let parts = Arc::new(Mutex::new(Vec::new()));
    System::new().block_on(async {
        let data_key = DataKey::generate();
        let name =
            BackupName { policy_id: "p".into(), timestamp: "20260101T000000Z".into(), backup_id: "b".into() };
        let header = Header::new(&name, Recipients::from(UserKey::generate()).wrap(&data_key, "b"));
        let sealer = SegmentSealer::new(header, data_key).with_equal_parts(equal);
        let failures = Failures::channel().0;
        let next = Parts(parts.clone()).start().recipient();
        let encryptor = Threaded::start(failures.clone(), move || Encryptor::new(sealer, next)).recipient();
        let compressor = Threaded::start(failures, move || Compressor::new(Compression::Fast, encryptor));
        for frame in frames {
            compressor.send(frame).await.unwrap().unwrap();
        }
    });
    std::mem::take(&mut *parts.lock().unwrap())
}

fn listed(part: &SegmentSealed) -> Vec<Listed> {
    part.listed.entries.unpack().flat_map(Result::unwrap).collect()
}

fn unchanged(numbers: std::ops::Range<u64>) -> Vec<Listed> {
    numbers.map(|first| Listed::Unchanged { first, count: 1 }).collect()
}

#[test]
fn records_without_tar_add_no_frame_and_are_committed_with_the_part_that_comes_next() {
    let records = |seq| frame(seq, Vec::new(), false);
    let frames =
        [records(0), frame(1, vec![7; 5000], false), records(2), records(3), frame(4, vec![0; 1024], true)];
    for equal in [None, Some(8 << 20)] {
        let parts = seal(frames.iter().map(|f| frame(f.seq, f.tar.to_vec(), f.last)).collect(), equal);
        let [part] = &parts[..] else { panic!("{} parts", parts.len()) };
        let tar_bytes: Vec<_> = part.segment.frames.iter().map(|frame| frame.tar_bytes).collect();
        assert_eq!(tar_bytes, [5000, 1024]);
        assert_eq!(listed(part), unchanged(0..5));
        assert_eq!((part.cursor.entry, part.last), (5, true));
    }
}

#[test]
fn what_is_recorded_behind_a_full_part_is_not_committed_with_it() {
    let noise = |n: u64| {
        let mut state = n + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..1 << 20).map(|_| next()).collect::<Vec<u8>>()
    };
    // Eight frames are a part of 8 MiB and a little more.
    let full = (0..8).map(|seq| frame(seq, noise(seq), false));
    let rest = [frame(8, Vec::new(), false), frame(9, vec![0; 1024], true)];
    let parts = seal(full.chain(rest).collect(), None);
    let [first, second] = &parts[..] else { panic!("{} parts", parts.len()) };
    assert_eq!((listed(first), first.cursor.entry), (unchanged(0..8), 8));
    assert_eq!((listed(second), second.cursor.entry), (unchanged(8..10), 10));
}
