//! The whole restore: a sealed backup in a store, through all four stages, onto the disk.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use intellistor_storage::Error;
use intellistor_storage::archive::{
    Compression, FRAME_BYTES, FrameCompressor, FrameRef, Header, Opener, SegmentRecord, SegmentSealer,
};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use intellistor_storage::manifest::{BackupFacts, Extent, ManifestDraft, PartEntries};
use intellistor_storage::objects::{LocalStore, ObjectStoreExt as _, SharedStore};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::ranges::tests::file;
use super::*;
use crate::link::{Failure, Stopped};
use crate::restore::extractor::extracted::Extracted;
use crate::restore::extractor::{Extractor, ExtractorConfig};
use crate::restore::fetcher::{Fetcher, FetcherConfig};
use crate::restore::memory::{FRAME_SHARE, MemoryBudget};
use crate::restore::opener::{FrameOpened, FrameOpener, RangeOpened};
use crate::restore::writer::{Writer, WriterConfig};
use crate::target::Target;
use crate::threaded::Threaded;

/// A backup of made-up content; its tar stream has no headers, since nothing here reads them.
struct Backup {
    manifest: Arc<VerifiedManifest>,
    archives: Arc<ArchiveSet>,
    /// By their numbers; the store has them under [`key`].
    sealed: Vec<Vec<u8>>,
}

fn key(archive: usize) -> String {
    format!("archive-{archive}")
}

/// An archive of `tar`, sealed under keys of its own.
struct SealedArchive {
    name: BackupName,
    header: Header,
    user_key: UserKey,
    data_key: DataKey,
    bytes: Vec<u8>,
    records: Vec<SegmentRecord>,
}

impl SealedArchive {
    fn of(backup_id: &str, tar: &[u8]) -> Self {
        let name = BackupName {
            policy_id: "p".into(),
            timestamp: "20260101T000000Z".into(),
            backup_id: backup_id.into(),
        };
        let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
        let header = Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, backup_id));
        let mut sealer = SegmentSealer::new(header.clone(), data_key.clone());
        let mut compressor = FrameCompressor::new(Compression::Fast);
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        let mut seal = |tar: &[u8], last: bool| {
            if let Some(part) = sealer.seal(&compressor.compress(tar), tar.len() as u32, last).unwrap() {
                bytes.extend_from_slice(&part.body);
                records.push(part.record);
            }
        };
        tar.chunks(FRAME_BYTES).for_each(|frame| seal(frame, false));
        seal(&[0; 1024], true);
        Self { name, header, user_key, data_key, bytes, records }
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

impl Backup {
    fn of(files: &[(String, Vec<u8>)], more: Vec<Entry>) -> Self {
        let mut tar = Vec::new();
        let mut entries = Vec::new();
        for (path, content) in files {
            let entry = file(path, &[(tar.len() as u64, content.len() as u64)]);
            entries.push(Entry { sha256: Some(Sha256::digest(content).into()), ..entry });
            tar.extend_from_slice(content);
        }
        entries.extend(more);
        Self::with_archives(&entries, vec![SealedArchive::of("b", &tar)])
    }

    /// A backup whose own archive is the first one.
    fn with_archives(entries: &[Entry], all: Vec<SealedArchive>) -> Self {
        let SealedArchive { name, header, user_key, data_key, records, .. } = &all[0];
        let mut draft = ManifestDraft::default();
        let mut entries = Some(PartEntries::of_new(entries, &[]).unwrap());
        for record in records {
            draft.commit(record.clone(), entries.take().unwrap_or_default()).unwrap();
        }
        let manifest = draft.finish(header, data_key, BackupFacts::default()).unwrap();
        let (document, _) = manifest.into_documents().into_parts();
        let manifest = Arc::new(VerifiedManifest::verify(document, name, &user_key.clone().into()).unwrap());
        let (mut archives, mut sealed) = (ArchiveSet::default(), Vec::new());
        for (number, archive) in all.into_iter().enumerate() {
            let SealedArchive { header, data_key, bytes, records, .. } = archive;
            archives.add(key(number), header, data_key, &records).unwrap();
            sealed.push(bytes);
        }
        Self { manifest, archives: Arc::new(archives), sealed }
    }

    fn frames(&self) -> Vec<FrameRef> {
        (0..self.archives.frame_count()).map(|i| self.archives.frame(i)).collect()
    }

    /// Restores, from a store that holds the archive as it is now.
    fn restore(&self, only: Option<&[&str]>) -> Restored {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("out");
        let (failures, mut failed) = Failures::channel();
        let progress = Arc::new(Progress::default());
        let only = only.map(|only| PathGlobs::new(only).unwrap());
        let most_frames = Arc::new(AtomicUsize::new(0));
        let outcome = System::new().block_on(async {
            let store = LocalStore::open(&work.path().join("store")).await.unwrap();
            for (number, bytes) in self.sealed.iter().enumerate() {
                store.put(&key(number), Bytes::copy_from_slice(bytes)).await.unwrap();
            }
            let store: SharedStore = Arc::new(store);
            let (done, outcome) = oneshot::channel();
            let target = Target::open(&out).unwrap();
            let writer =
                WriterConfig { out: out.clone(), alive: mpsc::channel(1).0, progress: progress.clone() };
            let start = |config: WriterConfig| Threaded::start(failures.clone(), move || Writer::new(config));
            let writers: Vec<_> = (0..3).map(|_| start(writer.clone())).collect();
            let extractor = ExtractorConfig {
                target,
                writers: writers.iter().map(|writer| writer.clone().recipient()).collect(),
                done,
                progress: progress.clone(),
            };
            let extractor = Threaded::start(failures.clone(), move || Extractor::new(extractor));
            let frames = Opener::new(self.archives.clone());
            let tap = FrameCount { next: extractor.recipient(), seen: Vec::new(), most: most_frames.clone() };
            let tap = tap.start();
            let opener = Threaded::start_many(3, failures.clone(), move || {
                FrameOpener::new(frames.clone(), tap.clone().recipient())
            });
            let fetcher = FetcherConfig {
                store,
                archives: self.archives.clone(),
                next: opener.clone().recipient(),
                failures: failures.clone(),
                progress: progress.clone(),
            };
            let fetcher = Fetcher::new(fetcher).start();
            let planner = PlannerConfig {
                manifest: self.manifest.clone(),
                archives: self.archives.clone(),
                only,
                filter: None,
                root: None,
                without_access_lists: false,
                inspector: None,
                next: fetcher.clone().recipient(),
                progress: progress.clone(),
            };
            let planner = Threaded::start(failures.clone(), move || Planner::new(planner));
            let planned = planner.send(Plan);
            tokio::select! {
                Some(failure) = failed.recv() => Err(failure),
                (_, outcome) = futures::future::join(planned, outcome) => Ok(outcome.unwrap()),
            }
        });
        let most_frames = most_frames.load(Ordering::Relaxed);
        Restored { _work: work, out, outcome, progress, most_frames }
    }
}

struct Restored {
    _work: TempDir,
    out: PathBuf,
    outcome: Result<Extracted, Failure>,
    progress: Arc<Progress>,
    /// Opened frames that were in memory at once.
    most_frames: usize,
}

/// Counts the opened frames in memory, wherever they are held.
struct FrameCount {
    next: Recipient<RangeOpened>,
    seen: Vec<Weak<FrameOpened>>,
    most: Arc<AtomicUsize>,
}

impl Actor for FrameCount {
    type Context = Context<Self>;
}

impl Handler<RangeOpened> for FrameCount {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, range: RangeOpened, _: &mut Self::Context) -> Self::Result {
        self.seen.retain(|frame| frame.strong_count() > 0);
        self.seen.extend(range.frames.iter().map(Arc::downgrade));
        self.most.fetch_max(self.seen.len(), Ordering::Relaxed);
        let sent = self.next.send(range);
        Box::pin(async move { sent.await.unwrap_or(Err(Stopped)) })
    }
}

/// Small files, then one that fills many ranges, then small files again.
fn files() -> Vec<(String, Vec<u8>)> {
    let small = |i: usize| (format!("small/{i:03}"), noise(20_000, i as u64 + 1));
    let large = ("large".to_owned(), noise(21 << 20, 99));
    let zeros = ("zeros".to_owned(), vec![0; 30 << 20]);
    (0..150).map(small).chain([large, zeros]).chain((150..400).map(small)).collect()
}

fn links() -> Vec<Entry> {
    let link =
        |path: &str, kind, to: &str| Entry { kind, link_target: Some(to.to_owned()), ..file(path, &[]) };
    vec![
        Entry { kind: EntryKind::Directory, ..file("empty folder", &[]) },
        // Wine 8 says that it makes one, and makes none.
        #[cfg(unix)]
        link("soft", EntryKind::Symlink, "../nowhere"),
        Entry {
            extents: file("", &[(20_000, 20_000)]).extents,
            size: 20_000,
            sha256: Some(Sha256::digest(noise(20_000, 2)).into()),
            ..link("hard", EntryKind::Hardlink, "small/001")
        },
    ]
}

#[test]
fn a_backup_comes_back_whole() {
    let files = files();
    let backup = Backup::of(&files, links());
    let restored = backup.restore(None);
    let outcome = restored.outcome.unwrap();
    assert_eq!((&outcome.warnings, &outcome.damaged), (&vec![], &vec![]));
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let all = 400 + 2 + links().len() as u64;
    assert_eq!((outcome.found, outcome.restored, outcome.bytes), (all, all, bytes as u64));
    for (path, content) in &files {
        assert!(fs::read(restored.out.join(path)).unwrap() == *content, "{path}");
    }
    assert_eq!(fs::read(restored.out.join("hard")).unwrap(), noise(20_000, 2));
    let progress = &restored.progress;
    assert_eq!((progress.entries.get(), progress.total_entries.get()), (all, all));
    assert_eq!((progress.bytes.get(), progress.total_bytes.get()), (bytes as u64, bytes as u64));
    // Each frame but the end marker once, and the heads of segments between them.
    let all = backup.frames();
    let fetched = progress.stored_bytes.get();
    assert!(fetched <= all[all.len() - 2].end() - all[0].offset, "{fetched}");
}

#[test]
fn one_file_costs_its_own_frames() {
    let backup = Backup::of(&files(), links());
    let restored = backup.restore(Some(&["small/399", "hard"]));
    let outcome = restored.outcome.unwrap();
    assert_eq!((outcome.found, outcome.restored, outcome.damaged_count), (2, 2, 0));
    assert_eq!(
        fs::read(restored.out.join("hard")).unwrap(),
        noise(20_000, 2),
        "its own content, without small/001"
    );
    assert!(!restored.out.join("small/001").exists());
    assert!(restored.progress.stored_bytes.get() < 4 << 20, "{}", restored.progress.stored_bytes.get());
}

#[test]
fn a_damaged_frame_costs_only_its_files() {
    let files = files();
    let mut backup = Backup::of(&files, Vec::new());
    let frame = backup.frames()[1];
    backup.sealed[0][frame.offset as usize + 100] ^= 1;
    let restored = backup.restore(None);
    let outcome = restored.outcome.unwrap();
    let mut at = 0u64;
    let mut lost = Vec::new();
    let (start, end) = (frame.tar_offset, frame.tar_offset + u64::from(frame.tar_bytes));
    for (path, content) in &files {
        let past = at + content.len() as u64;
        if at < end && past > start {
            lost.push(path.as_str());
        }
        assert_eq!(restored.out.join(path).exists(), !(at < end && past > start), "{path}");
        at = past;
    }
    let reported: Vec<&str> = outcome.damaged.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(reported, lost, "in the order of their paths");
    assert_eq!(outcome.restored, 402 - lost.len() as u64);
}

#[test]
fn an_archive_that_is_cut_short_gives_what_is_there() {
    let files = files();
    let mut backup = Backup::of(&files, Vec::new());
    let cut = backup.frames()[12].offset as usize + 50;
    backup.sealed[0].truncate(cut);
    let outcome = backup.restore(None).outcome.unwrap();
    assert_eq!((outcome.restored, outcome.damaged_count), (150, 252));
    let large = outcome.damaged.iter().find(|line| line.starts_with("large: "));
    assert!(large.is_some_and(|line| line.contains("cut short")), "{large:?}");
}

#[test]
fn a_store_that_refuses_ends_the_restore() {
    let mut backup = Backup::of(&files(), Vec::new());
    backup.sealed.clear();
    let restored = backup.restore(None);
    assert!(matches!(restored.outcome, Err(Failure::Error(Error::Store(_)))), "{:?}", restored.outcome);
}

/// The seam for backups that depend on earlier ones: an extent's archive decides which object is read and which data key
/// opens it, also within one file.
#[test]
fn content_in_two_archives_comes_back_from_both() {
    let (own, base) = (noise(9 << 20, 7), noise(9 << 20, 8));
    let pieces = |path: &str, pieces: &[(u32, usize, usize)]| {
        let mut content = Vec::new();
        let extents = pieces.iter().map(|(archive, offset, length)| {
            content.extend_from_slice(&[&own, &base][*archive as usize][*offset..offset + length]);
            Extent { archive: *archive, offset: *offset as u64, length: *length as u64, at: None }
        });
        let extents = extents.collect();
        let (size, sha256) = (content.len() as u64, Some(Sha256::digest(&content).into()));
        (Entry { size, sha256, extents, ..file(path, &[]) }, content)
    };
    const MIB: usize = 1 << 20;
    let files = [
        pieces("new", &[(0, 0, 1000)]),
        pieces("unchanged", &[(1, 500, 5 * MIB)]),
        // The same place in both, so that a mixed-up archive shows.
        pieces("changed", &[(1, 8 * MIB, 700), (0, 8 * MIB, 700), (1, 8 * MIB + 700, 300)]),
        pieces("across", &[(0, 2 * MIB - 9, 4 * MIB), (1, 0, 3 * MIB), (0, 7 * MIB, MIB)]),
        pieces("last of the one", &[(0, 9 * MIB - 10, 10)]),
        pieces("first of the other", &[(1, 0, 10)]),
    ];
    let entries: Vec<Entry> = files.iter().map(|(entry, _)| entry.clone()).collect();
    let archives = || vec![SealedArchive::of("own", &own), SealedArchive::of("base", &base)];

    let restored = Backup::with_archives(&entries, archives()).restore(None);
    let outcome = restored.outcome.unwrap();
    assert_eq!((outcome.restored, &outcome.damaged), (files.len() as u64, &vec![]));
    for (entry, content) in &files {
        let path = &entry.relative_path;
        assert!(fs::read(restored.out.join(path)).unwrap() == *content, "{path}");
    }

    let mut backup = Backup::with_archives(&entries, archives());
    let frame = *backup.frames().iter().find(|frame| frame.archive == 1 && frame.tar_offset > 0).unwrap();
    backup.sealed[1][frame.offset as usize + 100] ^= 1;
    let damaged = backup.restore(None).outcome.unwrap().damaged;
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    assert!(
        damaged
            .iter()
            .all(|text| text.contains("segment 1, frame 1 (byte") && text.contains("of archive-1: ")),
        "{damaged:?}"
    );

    let mut swapped = Backup::with_archives(&entries, archives());
    swapped.sealed.swap(0, 1);
    assert_eq!(swapped.restore(None).outcome.unwrap().restored, 0, "each archive has its own key");
}

/// Blocks of 64 KiB, each unlike any other of any archive, that take little room once they are compressed.
fn blocks(archive: u64, blocks: u64) -> Vec<u8> {
    let block = |block: u64| (archive << 32 | block).to_be_bytes().repeat((64 << 10) / 8);
    (0..blocks).flat_map(block).collect()
}

/// What remains of a disk image after some days, and small files: in the order of the file its blocks alternate between all
/// archives.
#[test]
fn content_that_alternates_between_archives_is_fetched_once_within_bounded_memory() {
    const BLOCK: u64 = 64 << 10;
    let counts = [100, 900, 100, 100, 100, 100, 100, 100];
    let tars: Vec<Vec<u8>> = (0..).zip(counts).map(|(archive, count)| blocks(archive, count)).collect();
    let mut next = [0_u64; 8];
    let mut order: Vec<usize> =
        (0..1_600).map(|i| if i % 16 < 9 { 1 } else { [0, 2, 3, 4, 5, 6, 7][i % 7] }).collect();
    order.retain(|archive| {
        next[*archive] += 1;
        next[*archive] <= counts[*archive]
    });
    next = [0; 8];
    let (mut extents, mut content) = (Vec::new(), Vec::new());
    for archive in order {
        let offset = next[archive] * BLOCK;
        next[archive] += 1;
        content.extend_from_slice(&tars[archive][offset as usize..][..BLOCK as usize]);
        extents.push(Extent { archive: archive as u32, offset, length: BLOCK, at: None });
    }
    let (size, sha256) = (content.len() as u64, Some(Sha256::digest(&content).into()));
    let image = Entry { size, sha256, extents, ..file("image", &[]) };
    let entries = [image.clone(), Entry { relative_path: "twin".into(), ..image }];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let all = tars.iter().zip(names).map(|(tar, name)| SealedArchive::of(name, tar)).collect();
    let backup = Backup::with_archives(&entries, all);
    let restored = backup.restore(Some(&["image"]));
    let outcome = restored.outcome.unwrap();
    assert_eq!((outcome.restored, &outcome.damaged), (1, &vec![]));
    assert!(fs::read(restored.out.join("image")).unwrap() == content);
    let frames = backup.frames();
    let sealed: u64 = frames.iter().map(|frame| frame.end() - frame.offset).sum();
    let fetched = restored.progress.stored_bytes.get();
    assert!(fetched <= sealed * 11 / 10, "{fetched} bytes of {sealed}");

    let budget = MemoryBudget::of(&backup.archives);
    let most = budget.window_frames + (budget.in_flight_bytes / FRAME_SHARE) as usize;
    let both = backup.restore(None);
    assert_eq!(both.outcome.unwrap().restored, 2);
    assert!(frames.len() > most && (2..=most).contains(&both.most_frames), "{} of {most}", both.most_frames);
}

#[test]
fn a_missing_archive_costs_only_what_is_in_it() {
    let (own, base) = (noise(3 << 20, 7), noise(3 << 20, 8));
    let at = |archive, offset, length| Extent { archive, offset, length, at: None };
    let of = |path: &str, extents: &[Extent]| {
        let part =
            |e: &Extent| [&own, &base][e.archive as usize][e.offset as usize..][..e.length as usize].to_vec();
        let content: Vec<u8> = extents.iter().flat_map(part).collect();
        let sha256 = Some(Sha256::digest(&content).into());
        Entry { size: content.len() as u64, sha256, extents: extents.to_vec(), ..file(path, &[]) }
    };
    let entries = [
        of("changed", &[at(0, 0, 10), at(1, 0, 1 << 20), at(0, 10, 10)]),
        of("new", &[at(0, 2 << 20, 1 << 20)]),
        of("unchanged", &[at(1, 2 << 20, 1 << 20)]),
    ];
    let archives = vec![SealedArchive::of("own", &own), SealedArchive::of("base", &base)];
    let mut backup = Backup::with_archives(&entries, archives);
    backup.sealed.pop();
    let restored = backup.restore(None);
    let outcome = restored.outcome.unwrap();
    assert_eq!((outcome.restored, outcome.damaged_count), (1, 2), "{:?}", outcome.damaged);
    assert!(restored.out.join("new").exists());
    let names_it = |line: &String| line.contains("archive archive-1: it is missing in the store");
    assert!(outcome.damaged.iter().all(names_it), "{:?}", outcome.damaged);
}

#[test]
fn a_backup_of_nothing_comes_back() {
    let backup = Backup::of(&[], Vec::new());
    assert_eq!(backup.restore(None).outcome.unwrap(), Extracted::default());
    assert_eq!(backup.restore(Some(&["x"])).outcome.unwrap(), Extracted::default());
}
