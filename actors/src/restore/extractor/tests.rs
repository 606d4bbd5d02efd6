#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use intellistor_storage::archive::{ArchiveSet, FrameRef};
use intellistor_storage::manifest::Extent;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::restore::extractor::extracted::MAX_LISTED;
use crate::restore::memory::MemoryShare;
use crate::restore::opener::FrameOpened;
use crate::restore::planner::ranges::tests::{archive, archives, file, plan_all, small};
use crate::restore::planner::ranges::{RangeBuilder, RangePlanned, id};
use crate::restore::writer::{Writer, WriterConfig};
use crate::threaded::Threaded;

/// Bytes of a made-up tar stream.
fn tar(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

/// Where in the made-up stream an archive's begins.
fn stream_of(archive: u32) -> u64 {
    u64::from(archive) << 40
}

/// A file whose digest is the one of the made-up stream.
fn honest(path: &str, extents: &[(u64, u64)]) -> Entry {
    let content: Vec<u8> =
        extents.iter().flat_map(|(offset, length)| tar(*offset..offset + length)).collect();
    Entry { sha256: Some(Sha256::digest(content).into()), ..file(path, extents) }
}

fn opened(range: RangePlanned, damaged: &dyn Fn(&FrameRef) -> bool) -> RangeOpened {
    let open = |frame: FrameRef| {
        let start = stream_of(frame.archive) + frame.tar_offset;
        let tar = if damaged(&frame) {
            Err(Error::integrity(format!("frame {}", frame.index), "damaged on purpose"))
        } else {
            Ok(tar(start..start + u64::from(frame.tar_bytes)).into())
        };
        Arc::new(FrameOpened { frame, tar, share: MemoryShare::default() })
    };
    let frames = range.frames.into_iter().map(open).collect();
    let RangePlanned { seq, reused, dropped, entries, continues_in_next, last, .. } = range;
    let share = MemoryShare::default();
    RangeOpened { seq, frames, reused, dropped, entries, continues_in_next, last, share }
}

struct Bench {
    out: TempDir,
    system: SystemRunner,
    extractor: Addr<Threaded<Extractor>>,
    outcome: oneshot::Receiver<Extracted>,
    _writers: Vec<Addr<Threaded<Writer>>>,
}

impl Bench {
    fn new() -> Self {
        let out = tempfile::tempdir().unwrap();
        let (done, outcome) = oneshot::channel();
        let target = Target::open(out.path()).unwrap();
        let (failures, _) = Failures::channel();
        let writer =
            WriterConfig { out: out.path().to_owned(), alive: mpsc::channel(1).0, progress: Arc::default() };
        let system = System::new();
        let (extractor, writers) = system.block_on(async {
            let start = |config: &WriterConfig| {
                let config = config.clone();
                Threaded::start(failures.clone(), move || Writer::new(config))
            };
            let writers: Vec<_> = (0..3).map(|_| start(&writer)).collect();
            let next = writers.iter().map(|writer| writer.clone().recipient()).collect();
            let config = ExtractorConfig { target, writers: next, done, progress: Arc::default() };
            let extractor = Threaded::start(failures.clone(), move || Extractor::new(config));
            (extractor, writers)
        });
        Self { out, system, extractor, outcome, _writers: writers }
    }

    fn take(&mut self, range: RangeOpened) {
        self.system.block_on(self.extractor.send(range)).unwrap().unwrap();
    }

    /// Restores all, in ranges of the usual size.
    fn restore(&mut self, archive: &ArchiveSet, entries: &[Entry]) -> Extracted {
        for range in plan_all(RangeBuilder::new(archive), entries) {
            self.take(opened(range, &|_| false));
        }
        self.outcome.try_recv().unwrap()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.out.path().join(path)).ok()
    }
}

fn hundreds(frames: usize) -> ArchiveSet {
    archive(&[&vec![(50, 100); frames]])
}

fn leftovers(out: &Path) -> usize {
    fs::read_dir(out)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"))
        .count()
}

#[test]
fn ranges_are_written_in_order_whatever_the_order_they_come_in() {
    let archive = hundreds(10);
    let entries = [honest("small", &[(0, 10)]), honest("large", &[(50, 800)]), honest("after", &[(860, 10)])];
    let mut bench = Bench::new();
    let ranges: Vec<RangeOpened> =
        plan_all(small(&archive), &entries).into_iter().map(|range| opened(range, &|_| false)).collect();
    let count = ranges.len();
    for (i, range) in ranges.into_iter().rev().enumerate() {
        assert!(bench.outcome.try_recv().is_err());
        bench.take(range);
        assert_eq!(bench.read("small").is_some(), i + 1 == count);
    }
    let outcome = bench.outcome.try_recv().unwrap();
    assert_eq!(outcome, Extracted { found: 3, restored: 3, bytes: 820, ..Extracted::default() });
    assert_eq!(bench.read("large").unwrap(), tar(50..850));
}

#[test]
fn a_damaged_frame_costs_only_what_is_in_it() {
    let archive = hundreds(12);
    let mut entries: Vec<Entry> = (0..40).map(|i| honest(&format!("f{i:02}"), &[(i * 25, 25)])).collect();
    entries.insert(20, honest("across", &[(450, 400)]));
    let mut bench = Bench::new();
    for range in plan_all(small(&archive), &entries) {
        bench.take(opened(range, &|frame| frame.index == 6));
    }
    let outcome = bench.outcome.try_recv().unwrap();
    let lost: Vec<&str> = outcome.damaged.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lost, ["across", "f24", "f25", "f26", "f27"]);
    assert_eq!((outcome.damaged_count, outcome.restored, outcome.found), (5, 36, 41));
    assert!(outcome.damaged[0].contains("damaged on purpose"), "{:?}", outcome.damaged);
    assert!(lost.iter().all(|name| bench.read(name).is_none()));
    assert_eq!(bench.read("f28").unwrap(), tar(700..725));
    assert_eq!(leftovers(bench.out.path()), 0);
}

#[test]
fn content_that_is_not_what_was_backed_up_gets_no_name() {
    let archive = hundreds(3);
    let wrong = Entry { sha256: Some([1; 32]), ..file("wrong", &[(0, 10)]) };
    let unknown = file("unknown", &[(10, 10)]);
    let too_small = Entry { size: 5, ..honest("too small", &[(20, 10)]) };
    let mut overlap = honest("overlap", &[(30, 10), (40, 10)]);
    overlap.extents[1].at = Some(5);
    let mut bench = Bench::new();
    fs::write(bench.out.path().join("wrong"), "what was there").unwrap();
    for range in
        plan_all(small(&archive), &[wrong, unknown, too_small, overlap, honest("right", &[(50, 10)])])
    {
        bench.take(opened(range, &|_| false));
    }
    let outcome = bench.outcome.try_recv().unwrap();
    assert_eq!((outcome.damaged_count, outcome.restored), (4, 1));
    assert_eq!(bench.read("wrong").unwrap(), b"what was there");
    assert!(bench.read("unknown").is_none() && bench.read("right").is_some());
}

#[test]
fn a_plan_that_ends_early_is_reported() {
    let archive = hundreds(9);
    let mut bench = Bench::new();
    let mut ranges = plan_all(small(&archive), &[honest("large", &[(0, 800)])]);
    let mut first = ranges.swap_remove(0);
    first.last = true;
    bench.take(opened(first, &|_| false));
    let outcome = bench.outcome.try_recv().unwrap();
    assert_eq!((outcome.found, outcome.damaged_count), (1, 1));
    assert_eq!(leftovers(bench.out.path()), 0);
}

#[test]
fn holes_count_as_zeros() {
    let archive = hundreds(2);
    let content = [vec![0; 1000], tar(0..60), vec![0; 440], tar(60..120), vec![0; 880]].concat();
    let mut sparse = Entry {
        sha256: Some(Sha256::digest(&content).into()),
        size: content.len() as u64,
        ..file("sparse", &[])
    };
    sparse.extents = vec![
        Extent { archive: 0, offset: 0, length: 60, at: Some(1000) },
        Extent { archive: 0, offset: 60, length: 60, at: Some(1500) },
    ];
    let all_hole =
        Entry { sha256: Some(Sha256::digest([0; 300_000]).into()), size: 300_000, ..file("hole", &[]) };
    let mut bench = Bench::new();
    for range in plan_all(small(&archive), &[sparse, all_hole]) {
        bench.take(opened(range, &|_| false));
    }
    let outcome = bench.outcome.try_recv().unwrap();
    assert_eq!((outcome.restored, outcome.bytes), (2, 302_440));
    assert_eq!(bench.read("sparse").unwrap(), content);
    assert_eq!(bench.read("hole").unwrap(), vec![0; 300_000]);
}

#[test]
fn what_cannot_be_made_is_listed_up_to_a_limit_and_counted() {
    let archive = hundreds(2);
    let mut bench = Bench::new();
    let mut entries: Vec<Entry> = (0..150).map(|i| honest(&format!("../{i}"), &[(i % 100, 10)])).collect();
    entries.push(honest("good", &[(0, 10)]));
    for range in plan_all(small(&archive), &entries) {
        bench.take(opened(range, &|_| false));
    }
    let outcome = bench.outcome.try_recv().unwrap();
    assert_eq!((outcome.warning_count, outcome.warnings.len(), outcome.restored), (150, MAX_LISTED, 1));
    assert!(outcome.warnings[0].starts_with("../0: refused:"), "{}", outcome.warnings[0]);
}

#[test]
fn a_full_disk_ends_the_restore() {
    // The one device that is always full.
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let error = std::io::Write::write_all(&mut &full, b"x").unwrap_err();
    assert!(matches!(TargetError::from_io("write it", error), TargetError::Fatal(_)));
    let out = tempfile::tempdir().unwrap();
    let (target, writers, done) = (Target::open(out.path()).unwrap(), Vec::new(), oneshot::channel().0);
    let config = ExtractorConfig { target, writers, done, progress: Arc::default() };
    let fatal = TargetError::Fatal(std::io::ErrorKind::StorageFull.into());
    let recorded = Extractor::new(config).record("a", 0, Err(fatal));
    assert!(matches!(recorded, Err(StageError::Failed(Error::Io { .. }))));
}

fn folder(path: &str, mtime_ns: i128) -> Entry {
    Entry { kind: EntryKind::Directory, mtime_ns, ..file(path, &[]) }
}

fn mtime_ns(path: &Path) -> i128 {
    let found = fs::symlink_metadata(path).unwrap();
    i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec())
}

#[test]
fn files_written_in_parallel_come_out_as_if_written_in_order() {
    let archive = archive(&[&vec![(900, 1000); 200]]);
    let mut entries = vec![honest("late/x", &[(0, 100_000)]), folder("late", 9), folder("twice", 7)];
    // A file where others want a folder: it was first.
    entries.push(honest("file", &[(0, 150_000)]));
    // Whichever writer is faster, the last one of a path stays, and a link is to what was there when it was made.
    for i in 0..300_u64 {
        entries.push(honest("twice/a", &[(i * 10, 10)]));
        if i % 100 == 0 {
            let link =
                Entry { kind: EntryKind::Hardlink, link_target: Some("twice/a".into()), ..file("", &[]) };
            entries.push(Entry { relative_path: format!("twice/link {i}"), ..link });
        }
    }
    // More than may be in flight, in folders that are left before their files are there, and entered again.
    for i in 0..1_500_u64 {
        if i % 3 == 0 {
            entries.push(folder(&format!("many/{}", i / 3), 1_000 + i128::from(i)));
        }
        entries.push(honest(&format!("many/{}/f", i / 3), &[(3_000 + i * 20, 20)]));
        entries.push(honest(&format!("many/{}/{i}", i / 3), &[(40_000 + i * 50, 50)]));
        entries.push(honest(&format!("many/{}/back {i}", i / 6), &[(120_000 + i, 1)]));
    }
    entries.push(honest("large", &[(120_000, 80_000)]));
    entries.insert(4, honest("file/below", &[(0, 1)]));
    let mut bench = Bench::new();
    let outcome = bench.restore(&archive, &entries);
    assert_eq!(outcome.warnings, ["file/below: file in its path is not a folder"]);
    assert_eq!((outcome.restored, outcome.damaged_count), (entries.len() as u64 - 1, 0));
    assert_eq!(bench.read("file").unwrap(), tar(0..150_000));
    assert_eq!(mtime_ns(&bench.out.path().join("late")), 9);
    assert_eq!(bench.read("twice/a").unwrap(), tar(2_990..3_000));
    for i in [0, 100, 200] {
        assert_eq!(bench.read(&format!("twice/link {i}")).unwrap(), tar(i * 10..i * 10 + 10));
    }
    assert_eq!(bench.read("large").unwrap(), tar(120_000..200_000));
    assert_eq!(mtime_ns(&bench.out.path().join("twice")), 7);
    for i in 0..500_u64 {
        let path = bench.out.path().join(format!("many/{i}"));
        assert_eq!(mtime_ns(&path), 1_000 + i128::from(i * 3), "{i}");
        let last = i * 3 + 2;
        assert_eq!(fs::read(path.join("f")).unwrap(), tar(3_000 + last * 20..3_020 + last * 20));
        assert_eq!(
            fs::read(path.join(last.to_string())).unwrap(),
            tar(40_000 + last * 50..40_050 + last * 50)
        );
    }
    assert_eq!(leftovers(bench.out.path()), 0);
}

/// No frame is fetched while the window has it, all that is reused is there, and the window stays within its bound.
fn assert_window(ranges: &[RangePlanned], most: usize) {
    let mut window = HashSet::new();
    for range in ranges {
        for frame in range.frames.iter().map(id) {
            assert!(window.insert(frame), "{frame:?} is fetched again");
        }
        assert!(range.reused.iter().all(|frame| window.contains(frame)));
        assert!(range.dropped.iter().all(|frame| window.remove(frame)));
        assert!(window.len() <= most);
    }
}

proptest! {
    #[test]
    fn content_in_any_archives_comes_back(
        frames in prop::collection::vec(1usize..12, 1..6),
        files in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), 0.0f64..1.0, 1u64..350), 0..12),
            0..12,
        ),
        shuffle in any::<u64>(),
    ) {
        let set = archives(&frames);
        let file = |(i, cuts): (usize, &Vec<(prop::sample::Index, f64, u64)>)| {
            let mut content = Vec::new();
            let extents = cuts.iter().map(|(archive, at, length)| {
                let archive = archive.index(frames.len());
                let bytes = frames[archive] as u64 * 100;
                let offset = (at * bytes as f64) as u64;
                let length = (*length).min(bytes - offset);
                let start = stream_of(archive as u32) + offset;
                content.extend(tar(start..start + length));
                Extent { archive: archive as u32, offset, length, at: None }
            });
            let extents = extents.collect();
            let (size, sha256) = (content.len() as u64, Some(Sha256::digest(&content).into()));
            (Entry { size, sha256, extents, ..file(&i.to_string(), &[]) }, content)
        };
        let files: Vec<(Entry, Vec<u8>)> = files.iter().enumerate().map(file).collect();
        let entries: Vec<Entry> = files.iter().map(|(entry, _)| entry.clone()).collect();
        let mut ranges = plan_all(small(&set), &entries);
        assert_window(&ranges, 4);
        // Where all that is needed fits into the window, it is fetched once.
        let roomy = plan_all(RangeBuilder::new(&set), &entries);
        let fetched: Vec<_> = roomy.iter().flat_map(|range| range.frames.iter().map(id)).collect();
        let distinct: HashSet<_> = fetched.iter().copied().collect();
        if frames.len() > 1 && frames.iter().sum::<usize>() <= 48 {
            prop_assert_eq!(fetched.len(), distinct.len());
        }
        ranges.sort_by_key(|range| (range.seq / 4, range.seq.wrapping_mul(shuffle | 1) >> 7));
        let mut bench = Bench::new();
        ranges.into_iter().for_each(|range| bench.take(opened(range, &|_| false)));
        let outcome = bench.outcome.try_recv().unwrap();
        prop_assert_eq!(outcome.damaged, Vec::<String>::new());
        for (entry, content) in &files {
            prop_assert_eq!(&bench.read(&entry.relative_path).unwrap(), content);
        }
    }

    #[test]
    fn every_plan_is_extracted(
        frames in prop::collection::vec((1u32..200, 1u32..150), 1..30),
        cuts in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0, any::<bool>()), 0..20),
        shuffle in any::<u64>(),
    ) {
        let sealed: Vec<(u32, u32)> = frames.iter().map(|(sealed, tar)| (sealed + 16, *tar)).collect();
        let archive = archive(&[&sealed]);
        let size = (0..archive.frame_count()).map(|i| u64::from(archive.frame(i).tar_bytes)).sum::<u64>();
        // Mostly in order, as archives are; some go back, as hard links do.
        let mut places: Vec<(u64, u64, bool)> = cuts
            .into_iter()
            .map(|(start, length, back)| {
                let start = (start * size as f64) as u64;
                (start, (length * (size - start) as f64) as u64, back)
            })
            .collect();
        places.sort_by_key(|(start, _, back)| (*back, *start));
        let entries: Vec<Entry> = places
            .iter()
            .enumerate()
            .map(|(i, (start, length, back))| {
                let half = length / 2;
                let extents = if *back { vec![(*start, half), (start + half, length - half)] } else { vec![(*start, *length)] };
                honest(&i.to_string(), &extents)
            })
            .collect();
        let mut ranges = plan_all(small(&archive), &entries);
        for range in &ranges {
            prop_assert!(range.entries.len() <= 3);
            prop_assert!(range.frames.len() <= 1 || range.frames.iter().map(|f| f.tar_bytes).sum::<u32>() <= 300);
            prop_assert!(range.requests().all(|frames| frames.windows(2).all(|f| f[0].end() == f[1].offset)));
        }
        assert_window(&ranges, 4);
        ranges.sort_by_key(|range| (range.seq / 4, range.seq.wrapping_mul(shuffle | 1) >> 7));
        let mut bench = Bench::new();
        for range in ranges {
            bench.take(opened(range, &|_| false));
        }
        let outcome = bench.outcome.try_recv().unwrap();
        prop_assert_eq!(outcome.damaged, Vec::<String>::new());
        prop_assert_eq!(outcome.restored, entries.len() as u64);
        for (i, (start, length, _)) in places.iter().enumerate() {
            prop_assert_eq!(bench.read(&i.to_string()).unwrap(), tar(*start..start + length));
        }
    }
}
