#![allow(clippy::unwrap_used)]

mod days;
mod known;
mod resume;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use intellistor_storage::archive::FRAME_BYTES;
use intellistor_storage::manifest::{ChunkList, Extent, Problem, ProblemKind};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::backup::changes::FilesCompared;
use crate::backup::chunker::{Chunker, CutChunk, LARGEST_AVERAGE};
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

/// The same for all runs of a test.
fn content_key() -> ContentKey {
    static KEY: OnceLock<ContentKey> = OnceLock::new();
    KEY.get_or_init(ContentKey::generate).clone()
}

/// Runs an archiver over what a walk found, from where `resume` says.
fn run(walked: &[Step], resume: Resume, base: Option<BaseConfig>) -> Stream {
    let (first, taken) = (resume.cursor.entry, Arc::new(Mutex::new(Stream::new())));
    let batch = FilesCompared { first, steps: walked[first as usize..].to_vec(), last: true };
    System::new().block_on(async {
        let (failures, mut failed) = Failures::channel();
        let next = Collector(taken.clone()).start().recipient();
        let runtime = tokio::runtime::Handle::current();
        let base = base.map(|base| BaseConfig { runtime, ..base });
        let config = ArchiverConfig {
            next,
            window: 2,
            progress: Arc::default(),
            resume,
            base,
            content_key: content_key(),
        };
        let archiver = Threaded::start(failures.clone(), move || Archiver::new(config));
        let ahead = Threaded::start(failures, move || ReadAhead::new(archiver.recipient()));
        let reply = ahead.send(batch).await.unwrap();
        assert_eq!(reply, Ok(()), "{:?}", failed.try_recv());
    });
    let frames = std::mem::take(&mut *taken.lock().unwrap());
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!((frame.seq, frame.last), (i as u64, i + 1 == frames.len()));
        assert!(frame.tar.len() <= FRAME_BYTES);
    }
    assert_eq!(*frames.last().unwrap().tar, END_MARKER);
    frames
}

const END_MARKER: [u8; 1024] = [0; 1024];

/// What a run does that finds `sent` committed; all frames, the sent ones first.
fn resume_after(walked: &[Step], sent: &[Arc<FrameArchived>]) -> Stream {
    resume_with(walked, sent, None)
}

fn resume_with(walked: &[Step], sent: &[Arc<FrameArchived>], base: Option<BaseConfig>) -> Stream {
    let cursor = sent.last().map_or_else(Cursor::default, |frame| frame.recorded.cursor.clone());
    let committed = sent.iter().map(|frame| Ok(frame.recorded.entries.clone()));
    let links = LinkTable::rebuild(std::iter::once(Ok(walked.to_vec())), cursor.entry, committed).unwrap();
    let tar_bytes = sent.iter().map(|frame| frame.tar.len() as u64).sum();
    let (mut content, mut pieces) = (RunContent::default(), Vec::new());
    for listed in sent.iter().flat_map(|frame| &frame.recorded.entries) {
        match listed {
            Listed::Pieces(chunks) => pieces.extend(chunks),
            Listed::Unchanged { .. } => pieces.clear(),
            Listed::Entry { entry, .. } => {
                content.add(entry).unwrap();
                pieces.clear();
            }
        }
    }
    let made = run(walked, Resume { tar_bytes, cursor, links, content, pieces }, base);
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
    /// Whether it is a link in the place of a file.
    is_copy: bool,
}

/// Reads a tar stream to its end marker, and gives each path's last entry.
fn read_tar(bytes: &[u8]) -> BTreeMap<Vec<u8>, InTar> {
    let (mut found, mut end) = (BTreeMap::new(), 0);
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut path = entry.path_bytes().into_owned();
        let mut is_copy = false;
        if let Some(records) = entry.pax_extensions().unwrap() {
            for record in records.map(Result::unwrap) {
                match record.key() {
                    Ok("GNU.sparse.name") => path = record.value_bytes().to_vec(),
                    Ok(members::COPY) => is_copy = true,
                    _ => {}
                }
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
        found.insert(path, InTar { kind, content: start..start + content.len() as u64, link, is_copy });
    }
    // A reader that met zeros where a header should be would have stopped early.
    assert_eq!(end + END_MARKER.len() as u64, bytes.len() as u64, "the stream ends at its end marker");
    found
}

/// What an extent of an archive has.
fn bytes_of<'t>(extent: &Extent, tars: &[&'t [u8]]) -> &'t [u8] {
    &tars[extent.archive as usize][extent.offset as usize..][..extent.length as usize]
}

/// The content that an entry's extents give.
fn content_of(entry: &Entry, tars: &[&[u8]]) -> Vec<u8> {
    let mut content = Vec::new();
    for extent in &entry.extents {
        content.resize(extent.at.unwrap_or(content.len() as u64) as usize, 0);
        content.extend_from_slice(bytes_of(extent, tars));
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
        let last_of = |path: &[u8]| {
            let mut path = path;
            loop {
                let last = in_tar.get(path).unwrap_or_else(|| panic!("{what} is not in the tar"));
                match last.link.as_deref().filter(|_| last.is_copy && path != entry.raw_path()) {
                    Some(first) => path = first,
                    None => return last,
                }
            }
        };
        let mut last = last_of(entry.raw_path());
        let source = dir.join(&entry.relative_path);
        match entry.kind {
            EntryKind::Directory => assert_eq!(last.kind, EntryType::Directory, "{what}"),
            EntryKind::Symlink => assert_eq!(last.link.as_deref(), entry.raw_link_target(), "{what}"),
            EntryKind::Stream => panic!("{what}: no file here has streams"),
            EntryKind::Hardlink => {
                assert_eq!((last.kind, last.link.as_deref()), (EntryType::Link, entry.raw_link_target()));
                assert!(in_tar.contains_key(entry.raw_link_target().unwrap()), "{what}");
            }
            EntryKind::File => {
                if last.kind == EntryType::Link {
                    // A copy: what it points to has the content.
                    assert!(last.is_copy, "{what}");
                    last = last_of(last.link.as_deref().unwrap());
                }
                assert_eq!(last.kind, EntryType::Regular, "{what}");
                for extent in &entry.extents {
                    let range = extent.offset..extent.offset + extent.length;
                    let within = last.content.start <= range.start && range.end <= last.content.end;
                    assert!(within, "{what}: {range:?} is not in the last copy, {:?}", last.content);
                }
            }
        }
        if matches!(entry.kind, EntryKind::File | EntryKind::Hardlink) {
            let content = content_of(entry, &[&tar]);
            let digest: [u8; 32] = Sha256::digest(&content).into();
            assert_eq!(Some(digest), entry.sha256, "{what}");
            assert!(content == fs::read(source).unwrap(), "{what} has other bytes");
            assert_list(entry, &content, &[&tar], &what);
        }
    }
    paths
}

/// A large file has a list of its chunks, which is that of its content.
#[track_caller]
fn assert_list(entry: &Entry, content: &[u8], tars: &[&[u8]], what: &str) {
    assert_eq!(entry.chunks.is_some(), entry.size > content::SMALL_FILE_BYTES, "{what}");
    let Some(chunks) = &entry.chunks else { return };
    let list = ChunkList::decode(what, bytes_of(chunks, tars).to_vec(), entry.size).unwrap();
    for (at, chunk) in list.iter() {
        let bytes = &content[at as usize..][..chunk.length as usize];
        if chunk.is_hole() {
            assert!(bytes.iter().all(|byte| *byte == 0), "{what}: {at} is no hole");
        } else {
            assert_eq!(chunk.id, chunk_id(bytes), "{what}: {at}");
        }
    }
    assert!(entry.sketch.is_some() || list.iter().all(|(_, chunk)| chunk.is_hole()), "{what}");
}

/// The id of bytes that are one chunk.
fn chunk_id(bytes: &[u8]) -> [u8; 16] {
    let mut chunker = Chunker::new(LARGEST_AVERAGE);
    let mut ids = Vec::new();
    chunker.data(bytes, |_| Err("cut")).unwrap();
    let found = |chunk: CutChunk<'_>| {
        ids.push(chunk.id);
        Ok::<_, std::convert::Infallible>(())
    };
    chunker.end(found).unwrap();
    assert_eq!(ids.len(), 1);
    ids[0]
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
