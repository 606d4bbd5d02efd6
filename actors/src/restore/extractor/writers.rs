//! The writers, as the extractor sees them: the load of each, and which files they have not completed.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use actix::prelude::*;
use intellistor_storage::manifest::{Entry, EntryKind, streams};

use crate::link::{Link, Reply};
use crate::restore::extractor::completion::{CompletedFile, Completion, CompletionBatch};
use crate::restore::extractor::files_placed::{FilesPlaced, MAX_IN_FLIGHT, PlacedFile};
use crate::restore::frame_view::FrameView;
use crate::stage_span::waiting;
use crate::target::ContentDestination;

/// The most files in a batch: small ones cost one message together.
const BATCH_FILES: usize = 64;
/// A batch of this many ends with its folder: the system lets only one writer at a time change a folder's names.
const FOLDER_BATCH_FILES: usize = 8;
/// A batch of this load ends: large files do not wait for each other.
const BATCH_LOAD: u64 = 1 << 20;
/// What a file costs besides its bytes, in bytes that are written meanwhile.
const FILE_LOAD: u64 = 16 << 10;

#[derive(Debug)]
pub(super) struct Writers {
    writers: Vec<Writer>,
    batch: Option<Batch>,
    /// The writer that has begun a file of which the next range has more.
    unfinished: Option<usize>,
    /// The file that was added last, by its key, and its writer.
    last: Option<(u64, usize)>,
    /// Keys of the paths of files that are not completed.
    in_flight: HashSet<u64>,
    hasher: RandomState,
    sender: Sender<Vec<CompletedFile>>,
    completed: Receiver<Vec<CompletedFile>>,
}

#[derive(Debug)]
struct Writer {
    link: Link<FilesPlaced>,
    load: u64,
}

/// Files of one range for one writer.
#[derive(Debug)]
struct Batch {
    writer: usize,
    frames: FrameView,
    files: Vec<PlacedFile>,
    load: u64,
    completions: Arc<CompletionBatch>,
}

impl Batch {
    fn ends_before(&self, destination: &ContentDestination) -> bool {
        let leaves_folder = || self.files.last().is_some_and(|last| !last.destination.is_beside(destination));
        self.files.len() == BATCH_FILES
            || self.load >= BATCH_LOAD
            || self.files.len() >= FOLDER_BATCH_FILES && leaves_folder()
    }
}

impl Writers {
    pub(super) fn new(writers: Vec<Recipient<FilesPlaced>>) -> Self {
        // The number of files in flight bounds the messages, too.
        let writer = |next| Writer { link: Link::new(next, MAX_IN_FLIGHT), load: 0 };
        let (sender, completed) = channel();
        Self {
            writers: writers.into_iter().map(writer).collect(),
            batch: None,
            unfinished: None,
            last: None,
            in_flight: HashSet::new(),
            hasher: RandomState::new(),
            sender,
            completed,
        }
    }

    /// Gives the frames of a new range to the writer with an unfinished file, if there is one. `continues_in_next` says
    /// that the next range has more of it.
    pub(super) fn continue_file(&mut self, frames: &FrameView, continues_in_next: bool) -> Reply {
        let Some(writer) = self.unfinished.take() else { return Ok(()) };
        self.unfinished = continues_in_next.then_some(writer);
        let (frames, files) = (frames.clone(), Vec::new());
        let placed = FilesPlaced { frames, continues_previous: true, files, continues_in_next };
        self.writers[writer].link.send(placed)
    }

    /// Gives a file of the range to the writer with the least load, and a stream of it to the same one, which so has completed the
    /// file when it comes to the stream.
    pub(super) fn add(&mut self, entry: Entry, destination: ContentDestination, frames: &FrameView) -> Reply {
        let owner = owner_of(&entry).map(|owner| key(&self.hasher, owner));
        let same = owner.and_then(|owner| Some(self.last.filter(|(file, _)| *file == owner)?.1));
        if same.is_none() && self.batch.as_ref().is_some_and(|batch| batch.ends_before(&destination)) {
            self.hand_over(false)?;
        }
        let idle =
            self.writers.iter().enumerate().min_by_key(|(_, writer)| writer.load).map_or(0, |(i, _)| i);
        let idle = same.unwrap_or(idle);
        let batch = self.batch.get_or_insert_with(|| Batch {
            writer: idle,
            frames: frames.clone(),
            files: Vec::with_capacity(BATCH_FILES),
            load: 0,
            completions: CompletionBatch::new(self.sender.clone()),
        });
        let load = entry.size.saturating_add(FILE_LOAD);
        batch.load = batch.load.saturating_add(load);
        let writer = &mut self.writers[batch.writer];
        writer.load = writer.load.saturating_add(load);
        let key = key(&self.hasher, entry.raw_path());
        if same.is_none() {
            self.last = Some((key, batch.writer));
        }
        let completion = Completion::new(key, batch.writer, load, batch.completions.clone());
        self.in_flight.insert(key);
        batch.files.push(PlacedFile { entry, destination, completion });
        Ok(())
    }

    /// Hands over what was added. `continues_in_next` says that the next range has more of the last file.
    pub(super) fn hand_over(&mut self, continues_in_next: bool) -> Reply {
        let Some(Batch { writer, frames, files, .. }) = self.batch.take() else { return Ok(()) };
        if continues_in_next {
            self.unfinished = Some(writer);
        }
        let placed = FilesPlaced { frames, continues_previous: false, files, continues_in_next };
        self.writers[writer].link.send(placed)
    }

    /// Whether the file with this path is not completed.
    pub(super) fn have(&self, path: &[u8]) -> bool {
        !self.in_flight.is_empty() && self.in_flight.contains(&key(&self.hasher, path))
    }

    /// As [`have_on_path_to`](Self::have_on_path_to), for what a stream has to wait for: not for its file, where the same writer gets both.
    pub(super) fn have_before_stream(&self, path: &[u8]) -> bool {
        let owner = streams::split(path).map(|(owner, _)| owner);
        let follows =
            owner.filter(|owner| self.last.is_some_and(|(file, _)| file == key(&self.hasher, owner)));
        match follows {
            None => self.have_on_path_to(path),
            Some(owner) => {
                let folder = owner.iter().rposition(|byte| *byte == b'/').map(|slash| &owner[..slash]);
                self.have(path) || folder.is_some_and(|folder| self.have_on_path_to(folder))
            }
        }
    }

    /// As [`have`](Self::have), for the path or one of those above it.
    pub(super) fn have_on_path_to(&self, path: &[u8]) -> bool {
        !self.in_flight.is_empty() && keys(&self.hasher, path).any(|key| self.in_flight.contains(&key))
    }

    /// How many files are not completed.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The next completed files, if any are.
    pub(super) fn try_completed(&mut self) -> Option<Vec<CompletedFile>> {
        let completed = self.completed.try_recv().ok();
        self.note(completed)
    }

    /// Waits for the next completed files. A file completes whatever happens to its writer.
    pub(super) fn wait_completed(&mut self) -> Option<Vec<CompletedFile>> {
        let completed = waiting(|| self.completed.recv().ok());
        self.note(completed)
    }

    fn note(&mut self, completed: Option<Vec<CompletedFile>>) -> Option<Vec<CompletedFile>> {
        for file in completed.iter().flatten() {
            self.in_flight.remove(&file.key);
            let writer = &mut self.writers[file.writer];
            writer.load = writer.load.saturating_sub(file.load);
        }
        completed
    }
}

/// The path of the file that has a stream.
fn owner_of(entry: &Entry) -> Option<&[u8]> {
    if entry.kind == EntryKind::Stream { Some(streams::split(entry.raw_path())?.0) } else { None }
}

/// A hash that identifies a path. Two paths with one key would only wait for each other.
fn key(hasher: &RandomState, path: &[u8]) -> u64 {
    keys(hasher, path).last().unwrap_or_default()
}

/// The keys of the paths above a path, from the top, and its own. In one pass, since a path may have many above it.
fn keys(hasher: &RandomState, path: &[u8]) -> impl Iterator<Item = u64> {
    let mut state = hasher.build_hasher();
    path.split(|byte| *byte == b'/').map(move |name| {
        state.write(name);
        state.write_u8(b'/');
        state.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_keys_of_those_above_it() {
        let hasher = RandomState::new();
        let above: Vec<u64> = ["a", "a/bc", "a/bc/d"].map(|path| key(&hasher, path.as_bytes())).to_vec();
        assert_eq!(keys(&hasher, b"a/bc/d").collect::<Vec<_>>(), above);
        for other in ["ab", "ab/c", "a/b/cd", "a/bcd", "bc"] {
            assert!(!above.contains(&key(&hasher, other.as_bytes())), "{other}");
        }
    }
}
