#![allow(clippy::unwrap_used)]

use intellistor_storage::Error;
use intellistor_storage::archive::{FrameRecord, Header, SegmentRecord};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::{EntryKind, Extent};

use super::*;
use crate::link::Stopped;

/// An archive with frames of `(sealed, tar)` bytes, with a segment of its own for each list.
pub(crate) fn archive(segments: &[&[(u32, u32)]]) -> ArchiveSet {
    let name =
        BackupName { policy_id: "p".into(), timestamp: "20260101T000000Z".into(), backup_id: "b".into() };
    let header = Header::new(&name, Vec::new());
    let mut offset = 0;
    let mut records = Vec::new();
    for (i, frames) in segments.iter().enumerate() {
        let head = 36 + if i == 0 { header.encoded().len() as u64 } else { 0 };
        let bytes = head + frames.iter().map(|(sealed, _)| u64::from(*sealed) + 4).sum::<u64>();
        let frames = frames.iter().copied().map(FrameRecord::from).collect();
        records.push(SegmentRecord {
            number: i as u32 + 1,
            offset,
            bytes,
            salt: [0; 32],
            sha256: [0; 32],
            frames,
        });
        offset += bytes;
    }
    let mut archives = ArchiveSet::default();
    archives.add("key".to_owned(), header, DataKey::generate(), &records).unwrap();
    archives
}

/// A file whose content is at `(offset, length)` in the tar stream.
pub(crate) fn file(path: &str, extents: &[(u64, u64)]) -> Entry {
    Entry {
        relative_path: path.to_owned(),
        path_bytes: None,
        kind: EntryKind::File,
        size: extents.iter().map(|(_, length)| length).sum(),
        mtime_ns: 0,
        unix: None,
        windows: None,
        xattrs: Vec::new(),
        link_target: None,
        link_target_bytes: None,
        sha256: None,
        extents: extents
            .iter()
            .map(|(offset, length)| Extent { archive: 0, offset: *offset, length: *length, at: None })
            .collect(),
        ..Entry::default()
    }
}

/// Ranges as `(frame numbers, names)`; every frame holds `tar` bytes.
fn plan(ranges: RangeBuilder<'_>, tar: u64, entries: &[Entry]) -> Vec<(Vec<u64>, Vec<String>)> {
    let planned = plan_all(ranges, entries);
    assert!(
        planned
            .iter()
            .enumerate()
            .all(|(i, range)| range.seq == i as u64 && range.last == (i + 1 == planned.len()))
    );
    let listed = |range: RangePlanned| {
        let frames = range.frames.iter().map(|frame| frame.tar_offset / tar).collect();
        (frames, range.entries.into_iter().map(|entry| entry.relative_path).collect())
    };
    planned.into_iter().map(listed).collect()
}

pub(crate) fn plan_all(mut ranges: RangeBuilder<'_>, entries: &[Entry]) -> Vec<RangePlanned> {
    let mut planned = Vec::new();
    for entry in entries {
        let taken = ranges.add(entry.clone(), &mut |range| {
            planned.push(range);
            Ok(())
        });
        taken.unwrap();
    }
    planned.push(ranges.finish());
    planned
}

/// Small ranges, so that small tests have many.
pub(crate) fn small(archives: &ArchiveSet) -> RangeBuilder<'_> {
    RangeBuilder::with_limits(
        archives,
        Limits { sealed_bytes: 400, tar_bytes: 300, entries: 3, entries_bytes: RANGE_ENTRIES_BYTES },
    )
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn neighbours_share_a_run_and_gaps_end_it() {
    let archive =
        archive(&[&[(50, 100), (50, 100)], &[(50, 100), (50, 100), (50, 100), (50, 100), (50, 100)]]);
    let entries = [
        file("a", &[(0, 10)]),
        file("b", &[(20, 10)]),
        file("empty", &[]),
        file("c", &[(150, 100)]),
        file("d", &[(510, 10)]),
    ];
    let planned = plan(small(&archive), 100, &entries);
    assert_eq!(
        planned,
        [(vec![0], names(&["a", "b", "empty"])), (vec![1, 2], names(&["c"])), (vec![5], names(&["d"]))]
    );
}

#[test]
fn content_continues_in_ranges_without_entries() {
    let archive = archive(&[&[(50, 100); 10]]);
    let entries = [
        file("small", &[(0, 10)]),
        file("large", &[(50, 800)]),
        file("after", &[(860, 10)]),
        file("end", &[(900, 1)]),
    ];
    let planned = plan(small(&archive), 100, &entries);
    let expected = [
        (vec![0, 1, 2], names(&["small", "large"])),
        (vec![3, 4, 5], names(&[])),
        (vec![6, 7, 8], names(&["after"])),
        (vec![9], names(&["end"])),
    ];
    assert_eq!(planned, expected);
}

#[test]
fn a_frame_between_two_runs_is_fetched_once() {
    let archive = archive(&[&[(50, 100); 4]]);
    let entries =
        [file("a", &[(0, 300)]), file("b", &[(290, 5)]), file("c", &[(295, 10)]), file("d", &[(299, 1)])];
    let planned = plan(small(&archive), 100, &entries);
    assert_eq!(planned, [(vec![0, 1, 2], names(&["a", "b", "c"])), (vec![3], names(&["d"]))]);
}

#[test]
fn a_link_may_go_back() {
    let archive = archive(&[&[(50, 100); 9]]);
    let entries = [
        file("a", &[(700, 10)]),
        file("link", &[(100, 10)]),
        file("b", &[(720, 10)]),
        file("c", &[(800, 10)]),
    ];
    let planned = plan(small(&archive), 100, &entries);
    assert_eq!(
        planned,
        [(vec![7], names(&["a"])), (vec![1], names(&["link", "b"])), (vec![8], names(&["c"]))]
    );
}

#[test]
fn entries_without_content_fill_runs_too() {
    let archive = archive(&[&[(50, 100)]]);
    let entries: Vec<Entry> = (0..7).map(|i| file(&i.to_string(), &[])).collect();
    let planned = plan(small(&archive), 100, &entries);
    assert_eq!(
        planned,
        [(vec![], names(&["0", "1", "2"])), (vec![], names(&["3", "4", "5"])), (vec![], names(&["6"]))]
    );
    assert_eq!(plan(small(&archive), 100, &[]), [(vec![], vec![])]);
}

#[test]
fn what_compresses_well_is_bounded_by_what_it_opens_to() {
    let mib = 1 << 20;
    let archive = archive(&[&[(1000, mib); 40]]);
    let planned = plan_all(RangeBuilder::new(&archive), &[file("zeros", &[(0, 40 << 20)])]);
    assert_eq!(planned.len(), 10);
    assert!(
        planned
            .iter()
            .all(|range| range.frames.iter().map(|f| u64::from(f.tar_bytes)).sum::<u64>() <= RANGE_TAR_BYTES)
    );
}

#[test]
fn what_does_not_compress_is_bounded_by_what_is_fetched() {
    let mib = 1 << 20;
    let archive = archive(&[&[(mib + 400, mib); 40]]);
    let planned = plan_all(RangeBuilder::new(&archive), &[file("noise", &[(0, 40 << 20)])]);
    assert_eq!(planned.len(), 20);
}

#[test]
fn extents_outside_are_refused_and_a_stop_is_passed_on() {
    let archive = archive(&[&[(50, 100); 9]]);
    let taken = |entry: Entry| small(&archive).add(entry, &mut |_| Err(Stopped));
    let refused = |taken| matches!(taken, Err(StageError::Failed(Error::Integrity { .. })));
    assert!(refused(taken(file("a", &[(850, 100)]))));
    let mut foreign = file("a", &[(0, 10)]);
    foreign.extents[0].archive = 1;
    assert!(refused(taken(foreign)));
    assert!(matches!(taken(file("a", &[(0, 700)])), Err(StageError::Stopped(Stopped))));
}
