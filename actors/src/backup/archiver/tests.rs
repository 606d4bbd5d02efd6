#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use intellistor_storage::archive::FRAME_BYTES;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::backup::changes::FilesCompared;
use crate::backup::read_ahead::ReadAhead;
use crate::link::Reply;
use crate::source::{Excludes, Walk, make_roots};
use crate::threaded::Threaded;

const FRAME: u64 = FRAME_BYTES as u64;

/// Frames as they came, of one run or of several in a row.
type Stream = Vec<Arc<FrameArchived>>;

/// Takes every frame over at once.
#[derive(Debug)]
struct Collector(Arc<Mutex<Stream>>);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<FrameArchived> for Collector {
    type Result = Reply;

    fn handle(&mut self, frame: FrameArchived, _: &mut Self::Context) -> Reply {
        self.0.lock().unwrap().push(Arc::new(frame));
        Ok(())
    }
}

/// Runs an archiver over what a walk found, from where `resume` says.
fn run(walked: &[Step], resume: Resume) -> Stream {
    let (first, taken) = (resume.cursor.entry, Arc::new(Mutex::new(Stream::new())));
    let batch = FilesCompared { first, steps: walked[first as usize..].to_vec(), last: true };
    System::new().block_on(async {
        let (failures, mut failed) = Failures::channel();
        let next = Collector(taken.clone()).start().recipient();
        let config = ArchiverConfig { next, window: 2, progress: Arc::default(), resume };
        let archiver = Threaded::start(failures.clone(), move || Archiver::new(config));
        let ahead = Threaded::start(failures, move || ReadAhead::new(archiver.recipient()));
        let reply = ahead.send(batch).await.unwrap();
        assert_eq!(reply, Ok(()), "{:?}", failed.try_recv());
    });
    let frames = std::mem::take(&mut *taken.lock().unwrap());
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!((frame.seq, frame.last), (i as u64, i + 1 == frames.len()));
        assert!(frame.tar.len() <= FRAME_BYTES && !frame.tar.is_empty());
    }
    assert_eq!(*frames.last().unwrap().tar, END_MARKER);
    frames
}

const END_MARKER: [u8; 1024] = [0; 1024];

/// What a run does that finds `sent` committed; all frames, the sent ones first.
fn resume_after(walked: &[Step], sent: &[Arc<FrameArchived>]) -> Stream {
    let cursor = sent.last().map_or_else(Cursor::default, |frame| frame.recorded.cursor.clone());
    let committed = sent.iter().map(|frame| Ok(frame.recorded.entries.clone()));
    let links = LinkTable::rebuild(std::iter::once(Ok(walked.to_vec())), cursor.entry, committed).unwrap();
    let tar_bytes = sent.iter().map(|frame| frame.tar.len() as u64).sum();
    let made = run(walked, Resume { tar_bytes, cursor, links });
    [sent, &made].concat()
}

fn walk(dir: &Path) -> Vec<Step> {
    let walk = Walk::new(make_roots(&[dir.to_owned()]), Excludes::new(&[]).unwrap());
    walk.map(|walked| Step::without_base(walked.unwrap())).collect()
}

fn tar_of(frames: &[Arc<FrameArchived>]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.tar.clone()).collect()
}

fn entries_of(frames: &[Arc<FrameArchived>]) -> Vec<Entry> {
    let listed = frames.iter().flat_map(|frame| frame.recorded.entries.clone());
    let entry = |listed| match listed {
        Listed::Entry { entry, .. } => Some(entry),
        _ => None,
    };
    listed.filter_map(entry).collect()
}

fn problems_of(frames: &[Arc<FrameArchived>]) -> Vec<Problem> {
    frames.iter().flat_map(|frame| frame.recorded.problems.clone()).collect()
}

/// An entry as the tar crate reads it.
#[derive(Debug)]
struct InTar {
    kind: EntryType,
    content: std::ops::Range<u64>,
    link: Option<Vec<u8>>,
}

/// Reads a tar stream to its end marker, and gives each path's last entry.
fn read_tar(bytes: &[u8]) -> BTreeMap<Vec<u8>, InTar> {
    let (mut found, mut end) = (BTreeMap::new(), 0);
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut path = entry.path_bytes().into_owned();
        if let Some(records) = entry.pax_extensions().unwrap() {
            for record in records.map(Result::unwrap).filter(|r| r.key() == Ok("GNU.sparse.name")) {
                path = record.value_bytes().to_vec();
            }
        }
        if path.ends_with(b"/") {
            path.pop();
        }
        let start = entry.raw_file_position();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        end = start + (content.len() as u64).next_multiple_of(512);
        let link = entry.link_name_bytes().map(|link| link.into_owned());
        let kind = entry.header().entry_type();
        found.insert(path, InTar { kind, content: start..start + content.len() as u64, link });
    }
    // A reader that met zeros where a header should be would have stopped early.
    assert_eq!(end + END_MARKER.len() as u64, bytes.len() as u64, "the stream ends at its end marker");
    found
}

/// The content that an entry's extents give.
fn content_of(entry: &Entry, tar: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for extent in &entry.extents {
        content.resize(extent.at.unwrap_or(content.len() as u64) as usize, 0);
        content.extend_from_slice(&tar[extent.offset as usize..][..extent.length as usize]);
    }
    content.resize(entry.size as usize, 0);
    content
}

/// Checks a stream against the tree as it is now: valid tar, one record for each path, right bytes where the records
/// point, and the last copy in the stream is the one that is recorded. Gives the paths that are recorded.
#[track_caller]
fn assert_sound(frames: &[Arc<FrameArchived>], dir: &Path, what: &str) -> Vec<String> {
    let tar = tar_of(frames);
    let in_tar = read_tar(&tar);
    let entries = entries_of(frames);
    let mut paths = Vec::new();
    for entry in &entries {
        let what = format!("{what}: {}", entry.relative_path);
        assert!(!paths.contains(&entry.relative_path), "{what} is recorded twice");
        paths.push(entry.relative_path.clone());
        let last = in_tar.get(entry.raw_path()).unwrap_or_else(|| panic!("{what} is not in the tar"));
        let source = dir.join(&entry.relative_path);
        match entry.kind {
            EntryKind::Directory => assert_eq!(last.kind, EntryType::Directory, "{what}"),
            EntryKind::Symlink => assert_eq!(last.link.as_deref(), entry.raw_link_target(), "{what}"),
            EntryKind::Hardlink => {
                assert_eq!((last.kind, last.link.as_deref()), (EntryType::Link, entry.raw_link_target()));
                assert!(in_tar.contains_key(entry.raw_link_target().unwrap()), "{what}");
            }
            EntryKind::File => {
                assert_eq!(last.kind, EntryType::Regular, "{what}");
                for extent in &entry.extents {
                    let range = extent.offset..extent.offset + extent.length;
                    let within = last.content.start <= range.start && range.end <= last.content.end;
                    assert!(within, "{what}: {range:?} is not in the last copy, {:?}", last.content);
                }
            }
        }
        if matches!(entry.kind, EntryKind::File | EntryKind::Hardlink) {
            let content = content_of(entry, &tar);
            let digest: [u8; 32] = Sha256::digest(&content).into();
            assert_eq!(Some(digest), entry.sha256, "{what}");
            assert!(content == fs::read(source).unwrap(), "{what} has other bytes");
        }
    }
    paths
}

fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Cuts the stream of a tree behind each frame, resumes from there, and expects the stream that no cut would have made.
/// Then does so with a second cut. Gives the cursors at the cuts.
fn cut_everywhere(dir: &Path) -> Vec<(u64, Cursor)> {
    let walked = walk(dir);
    let whole = resume_after(&walked, &[]);
    assert_sound(&whole, dir, "the whole");
    let (tar, entries) = (tar_of(&whole), entries_of(&whole));
    let paths: Vec<_> = walked
        .iter()
        .filter_map(|step| match step {
            Step::Read { scanned, .. } => Some(String::from_utf8_lossy(&scanned.relative_path).into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(entries.iter().map(|e| e.relative_path.clone()).collect::<Vec<_>>(), paths);
    let same = |frames: &[Arc<FrameArchived>], what: &str| {
        assert!(tar_of(frames) == tar, "{what}: another stream");
        assert_eq!(entries_of(frames), entries, "{what}");
        assert_eq!(problems_of(frames), problems_of(&whole), "{what}");
    };
    let (mut cursors, mut position) = (Vec::new(), 0);
    for first in 1..whole.len() {
        let again = resume_after(&walked, &whole[..first]);
        same(&again, &format!("cut behind frame {first}"));
        for second in first + 1..again.len() {
            same(
                &resume_after(&walked, &again[..second]),
                &format!("cut behind frames {first} and {second}"),
            );
        }
        position += whole[first - 1].tar.len() as u64;
        cursors.push((position, whole[first - 1].recorded.cursor.clone()));
    }
    cursors
}

#[test]
fn a_file_of_several_frames_is_gone_on_with_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), b"before").unwrap();
    fs::write(dir.path().join("grande"), noise(1, 4 * FRAME + 300_000)).unwrap();
    fs::write(dir.path().join("z"), b"after").unwrap();
    let cursors = cut_everywhere(dir.path());
    let halves = cursors.iter().filter(|(_, cursor)| cursor.partial_entry.is_some()).count();
    assert_eq!(halves, 4, "{cursors:?}");
}

#[test]
fn a_sparse_file_is_gone_on_with_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("ilhas")).unwrap();
    for island in 0..6 {
        file.write_all_at(&noise(island, 600_000), 4096 + (island << 22)).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    File::create(dir.path().join("só buraco")).unwrap().set_len(8 << 20).unwrap();
    fs::write(dir.path().join("z"), noise(7, FRAME)).unwrap();
    let cursors = cut_everywhere(dir.path());
    assert!(cursors.len() >= 4, "{cursors:?}");
    let header = cursors[0].1.partial_entry.as_ref().unwrap();
    assert!(header.stored_bytes < 5 << 20, "the file is archived as a sparse one: {header:?}");
}

#[test]
fn cuts_at_the_very_ends_of_headers_contents_and_paddings_lose_nothing() {
    // A header with a time in nanoseconds takes three blocks, the root's folder does too.
    let dir = tempfile::tempdir().unwrap();
    let headers = 6 * 512;
    for (i, bytes) in [
        FRAME - headers, // Its content ends with a frame; an empty file comes next.
        0,
        FRAME - 2 * headers / 2,   // The next header begins within a frame.
        FRAME - headers / 2 - 100, // The padding crosses a frame's end.
        2 * FRAME - headers / 2,
        0,
        0,
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{i}"));
        fs::write(&path, noise(i as u64, bytes)).unwrap();
        set_mtime(&path, 1_700_000_000);
    }
    let cursors = cut_everywhere(dir.path());
    let at_an_edge = |(position, cursor): &&(u64, Cursor)| {
        cursor.partial_entry.as_ref().is_some_and(|half| half.tar_offset == *position)
    };
    assert!(cursors.iter().any(|c| at_an_edge(&c)), "no entry begins with a frame: {cursors:?}");
}

#[test]
fn small_files_links_and_folders_come_once_each_wherever_the_cut_is() {
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..6 {
        let folder = dir.path().join(format!("pasta {folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..150 {
            fs::write(folder.join(format!("{file:03}")), noise(file, (file * 37) % 3000)).unwrap();
        }
        symlink("000", folder.join("ligação")).unwrap();
        fs::write(folder.join("vazio"), b"").unwrap();
    }
    let at = |name: &str| dir.path().join(name);
    // Names of one file on both sides of every cut, and a pair on one side of each.
    for folder in 1..6 {
        fs::hard_link(at("pasta 0/100"), at(&format!("pasta {folder}/outro nome"))).unwrap();
    }
    fs::hard_link(at("pasta 0/101"), at("pasta 0/101 também")).unwrap();
    fs::hard_link(at("pasta 5/101"), at("pasta 5/101 também")).unwrap();
    let cursors = cut_everywhere(dir.path());
    assert!(cursors.len() >= 3, "{cursors:?}");
    let links = entries_of(&resume_after(&walk(dir.path()), &[]))
        .iter()
        .filter(|entry| entry.kind == EntryKind::Hardlink)
        .count();
    assert_eq!(links, 7);
}

#[test]
fn a_header_of_many_blocks_may_be_cut_in_itself() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("funda".repeat(40)).join("pasta".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    for file in 0..400 {
        let path = deep.join(format!("{}{file}", "n".repeat(200)));
        fs::write(&path, b"pouco").unwrap();
        xattr::set(&path, "user.nota", "x".repeat(2000).as_bytes()).unwrap();
    }
    let cursors = cut_everywhere(dir.path());
    let in_a_header = |(position, cursor): &&(u64, Cursor)| {
        cursor.partial_entry.as_ref().is_some_and(|half| {
            half.tar_offset < *position && *position < half.tar_offset + half.header.len() as u64
        })
    };
    assert!(cursors.iter().any(|c| in_a_header(&c)), "no header crosses a frame's end: {cursors:?}");
}

/// What happens to a file while the run is down.
type Change = (&'static str, fn(&Path));

/// Keeps size and time.
fn overwrite(path: &Path, at: u64) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"outro", at).unwrap();
    file.set_modified(before).unwrap();
}

const CHANGES: [Change; 10] = [
    ("other bytes at its begin, size and time as before", |path| overwrite(path, 1)),
    ("other bytes at its end, size and time as before", |path| overwrite(path, 4 * FRAME + 100)),
    ("a newer time", |path| set_mtime(path, 1_800_000_000)),
    ("grown", |path| {
        let mut all = fs::read(path).unwrap();
        all.extend(noise(9, 700_000));
        fs::write(path, all).unwrap();
    }),
    ("shrunk", |path| File::options().write(true).open(path).unwrap().set_len(1000).unwrap()),
    ("shrunk, time as before", |path| {
        let before = fs::metadata(path).unwrap().modified().unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(FRAME + 5).unwrap();
        file.set_modified(before).unwrap();
    }),
    ("emptied", |path| fs::write(path, b"").unwrap()),
    ("replaced by the same bytes", |path| {
        let (all, time) = (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap());
        let beside = path.with_extension("novo");
        fs::write(&beside, all).unwrap();
        File::options().write(true).open(&beside).unwrap().set_modified(time).unwrap();
        fs::rename(beside, path).unwrap();
    }),
    ("replaced by a sparse one", |path| {
        fs::remove_file(path).unwrap();
        let file = File::create(path).unwrap();
        file.write_all_at(b"ilha", 1 << 20).unwrap();
        file.set_len(4 * FRAME + 300_000).unwrap();
    }),
    ("given a mode", |path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }),
];

/// Changes after which there is nothing to archive.
const ENDS: [Change; 3] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("replaced by a folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("replaced by a link", |path| {
        fs::remove_file(path).unwrap();
        symlink("z", path).unwrap();
    }),
];

/// A tree with one file of almost five frames among small ones, what a walk found, and the stream of a whole run.
struct Scenario {
    dir: TempDir,
    walked: Vec<Step>,
    whole: Stream,
}

impl Scenario {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "y", "z"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::write(dir.path().join("grande"), noise(1, 4 * FRAME + 300_000)).unwrap();
        set_mtime(&dir.path().join("grande"), 1_700_000_000);
        let walked = walk(dir.path());
        let whole = resume_after(&walked, &[]);
        Self { dir, walked, whole }
    }

    fn big(&self) -> PathBuf {
        self.dir.path().join("grande")
    }

    /// The numbers of frames behind which the big file is cut.
    fn cuts(&self) -> Vec<usize> {
        let is_cut = |n: &usize| self.whole[n - 1].recorded.cursor.partial_entry.is_some();
        let cuts: Vec<_> = (1..self.whole.len()).filter(is_cut).collect();
        assert_eq!(cuts.len(), 4);
        cuts
    }
}

#[test]
fn a_file_that_changed_while_the_run_was_down_is_archived_as_it_is_now() {
    for (what, change) in CHANGES {
        for cut in Scenario::new().cuts() {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..cut]);
            let what = format!("{what}, cut behind frame {cut}");
            let paths = assert_sound(&again, place.dir.path(), &what);
            assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            assert_eq!(problems_of(&again), [], "{what}");
            // The run may be cut again, also within the zeros that complete the old copy.
            for second in cut + 1..again.len() {
                let third = resume_after(&place.walked, &again[..second]);
                let what = format!("{what} and {second}");
                let paths = assert_sound(&third, place.dir.path(), &what);
                assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_changes_again_after_a_second_cut_is_archived_as_it_is_then() {
    for (first, change) in CHANGES {
        for (second, change_again) in CHANGES.iter().filter(|(name, _)| *name != first) {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..2]);
            let size = fs::metadata(place.big()).unwrap().len();
            // What is written at the end of a file that has none makes it a larger one: that is a change too.
            change_again(&place.big());
            for cut in [3, 4].into_iter().filter(|cut| *cut < again.len()) {
                if again[..cut].iter().any(|frame| {
                    entries_of(std::slice::from_ref(frame))
                        .iter()
                        .any(|entry| entry.relative_path == "grande")
                }) {
                    continue;
                }
                let what = format!("{first} ({size} bytes), then {second}, cut behind frames 2 and {cut}");
                let third = resume_after(&place.walked, &again[..cut]);
                let paths = assert_sound(&third, place.dir.path(), &what);
                assert_eq!(paths.len(), 6, "{what}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_after_a_cut_is_recorded_as_skipped_and_the_stream_stays_valid() {
    for (what, change) in ENDS {
        for cut in Scenario::new().cuts() {
            let place = Scenario::new();
            change(&place.big());
            let again = resume_after(&place.walked, &place.whole[..cut]);
            let what = format!("{what}, cut behind frame {cut}");
            let paths = assert_sound(&again, place.dir.path(), &what);
            assert_eq!(paths.len(), 5, "{what}: {paths:?}");
            let problems = problems_of(&again);
            assert_eq!(problems.len(), 1, "{what}: {problems:?}");
            assert_eq!(
                (problems[0].relative_path.as_str(), problems[0].kind),
                ("grande", ProblemKind::Skipped)
            );
            for second in cut + 1..again.len() {
                let third = resume_after(&place.walked, &again[..second]);
                let paths = assert_sound(&third, place.dir.path(), &format!("{what} and {second}"));
                assert_eq!(paths.len(), 5, "{what} and {second}: {paths:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_is_recorded_as_skipped_once_however_often_the_run_is_cut() {
    let place = Scenario::new();
    fs::remove_file(place.big()).unwrap();
    let again = resume_after(&place.walked, &place.whole[..2]);
    for second in 3..again.len() {
        let third = resume_after(&place.walked, &again[..second]);
        let problems = problems_of(&third);
        assert_eq!(problems.len(), 1, "cut behind frames 2 and {second}: {problems:?}");
    }
}

#[test]
fn a_file_that_was_gone_and_is_back_is_no_skipped_one() {
    let place = Scenario::new();
    let away = place.dir.path().with_extension("away");
    fs::rename(place.big(), &away).unwrap();
    let again = resume_after(&place.walked, &place.whole[..2]);
    fs::rename(&away, place.big()).unwrap();
    for second in 3..again.len() {
        let amid_zeros = again[second - 1].recorded.cursor.partial_entry.is_some();
        if amid_zeros {
            let third = resume_after(&place.walked, &again[..second]);
            let paths = assert_sound(&third, place.dir.path(), &format!("cut behind frames 2 and {second}"));
            assert!(paths.contains(&"grande".to_owned()), "{paths:?}");
            assert_eq!(problems_of(&third), [], "cut behind frames 2 and {second}");
        }
    }
}

#[test]
fn links_whose_file_was_written_to_between_scan_and_archive_stay_sound_over_any_cut() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), noise(1, FRAME + 5000)).unwrap();
    for name in ["b", "c", "d"] {
        fs::hard_link(at("a"), at(name)).unwrap();
    }
    let walked = walk(dir.path());
    fs::write(at("a"), noise(2, FRAME + 5000)).unwrap();
    let whole = resume_after(&walked, &[]);
    assert_sound(&whole, dir.path(), "the whole");
    for cut in 1..whole.len() {
        let again = resume_after(&walked, &whole[..cut]);
        let paths = assert_sound(&again, dir.path(), &format!("cut behind frame {cut}"));
        assert_eq!(paths.len(), 5, "cut behind frame {cut}: {paths:?}");
    }
}
