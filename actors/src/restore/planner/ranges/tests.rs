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
    let (header, records) = sealed(segments);
    let mut archives = ArchiveSet::default();
    archives.add("key".to_owned(), header, DataKey::generate(), &records).unwrap();
    archives
}

fn sealed(segments: &[&[(u32, u32)]]) -> (Header, Vec<SegmentRecord>) {
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
    (header, records)
}

/// Archives with so many frames of 100 bytes each.
pub(crate) fn archives(frames: &[usize]) -> ArchiveSet {
    let mut set = ArchiveSet::default();
    for (number, frames) in frames.iter().enumerate() {
        let (header, records) = sealed(&[&vec![(50, 100); *frames]]);
        set.add(format!("key-{number}"), header, DataKey::generate(), &records).unwrap();
    }
    set
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
        Limits {
            sealed_bytes: 400,
            spread_sealed_bytes: 800,
            tar_bytes: 300,
            entries: 3,
            entries_bytes: RANGE_ENTRIES_BYTES,
            window_frames: 4,
        },
    )
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn neighbours_share_a_request_and_gaps_do_not() {
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
    assert_eq!(planned, [(vec![0], names(&["a", "b", "empty"])), (vec![1, 2, 5], names(&["c", "d"]))]);
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
    assert_eq!(planned, [(vec![1, 7], names(&["a", "link", "b"])), (vec![8], names(&["c"]))]);
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

/// An entry with a byte in each of these frames of 100 bytes, by archive and number.
fn bytes_in(path: &str, frames: &[(u32, u64)]) -> Entry {
    let extent =
        |&(archive, frame): &(u32, u64)| Extent { archive, offset: frame * 100, length: 1, at: None };
    Entry { extents: frames.iter().map(extent).collect(), ..file(path, &[]) }
}

#[test]
fn adjacent_frames_are_one_request_also_with_others_between_them() {
    let archives = archives(&[9, 9]);
    let entries = [bytes_in("a", &[(0, 3), (1, 7), (0, 4)]), bytes_in("b", &[(1, 7), (1, 0)])];
    let planned = plan_all(small(&archives), &entries);
    let requests = |range: &RangePlanned| -> Vec<Vec<FrameId>> {
        range.requests().map(|frames| frames.iter().map(id).collect()).collect()
    };
    assert_eq!(requests(&planned[0]), [vec![(0, 300), (0, 400)], vec![(1, 700)]]);
    assert_eq!((requests(&planned[1]), planned.len()), (vec![vec![(1, 0)]], 2));
}

#[test]
fn what_a_range_reuses_is_what_was_requested_and_not_dropped() {
    let archives = archives(&[9, 9, 9]);
    let entries = [
        bytes_in("a", &[(0, 0), (1, 0), (2, 0)]),
        bytes_in("b", &[(0, 1), (1, 0), (2, 1)]),
        bytes_in("c", &[(1, 0), (0, 0), (0, 2)]),
        bytes_in("d", &[(2, 0)]),
        bytes_in("e", &[(0, 1), (2, 0)]),
    ];
    let planned = plan_all(small(&archives), &entries);
    assert_eq!((&planned[0].reused, &planned[0].dropped), (&vec![], &vec![]));
    assert_eq!(planned[1].frames.iter().map(id).collect::<Vec<_>>(), [(0, 100), (0, 200), (2, 100)]);
    assert_eq!(planned[1].reused, [(1, 0), (0, 0), (2, 0)]);
    // The window has four frames: of six, those that were used longest ago go, and are fetched again.
    assert_eq!(planned[1].dropped, [(0, 100), (2, 100)]);
    assert_eq!(planned[2].frames.iter().map(id).collect::<Vec<_>>(), [(0, 100)]);
}

/// A disk image after 30 days of 200 random blocks each: in the order of the file, its blocks are in 31 archives.
#[test]
fn a_file_in_many_archives_fetches_its_frames_about_once() {
    const DAYS: usize = 30;
    const BLOCKS: usize = 4_800;
    const BLOCK: u64 = 64 << 10;
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut places: Vec<(u32, u64)> = (0..BLOCKS as u64).map(|block| (0, block * BLOCK)).collect();
    for day in 1..=DAYS as u32 {
        let mut blocks: Vec<usize> = (0..200).map(|_| random(BLOCKS)).collect();
        blocks.sort_unstable();
        blocks.iter().zip(0..).for_each(|(block, at)| places[*block] = (day, at * BLOCK));
    }
    let mut set = ArchiveSet::default();
    for day in 0..=DAYS {
        let frames = if day == 0 { 300 } else { 13 };
        let (header, records) = sealed(&[&vec![((1 << 20) + 100, 1 << 20); frames]]);
        set.add(format!("key-{day}"), header, DataKey::generate(), &records).unwrap();
    }
    let extents = places.iter().map(|&(archive, offset)| Extent { archive, offset, length: BLOCK, at: None });
    let image = Entry { extents: extents.collect(), ..file("image", &[]) };
    let planned = plan_all(RangeBuilder::new(&set), &[image]);
    let mut fetched: Vec<FrameId> = planned.iter().flat_map(|range| range.frames.iter().map(id)).collect();
    let requests: usize = planned.iter().map(|range| range.requests().count()).sum();
    let all = fetched.len();
    fetched.sort_unstable();
    fetched.dedup();
    assert!(all * 100 <= fetched.len() * 110, "{all} frames were fetched for {}", fetched.len());
    assert!(requests < all, "adjacent frames of the oldest archive are fetched together: {requests}");
}
