//! The writers, as the extractor sees them: who has how much to do, and which files have not come out yet.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use actix::prelude::*;
use intellistor_storage::manifest::Entry;

use super::MOST_UNDER_WAY;
use crate::link::{Link, Reply};
use crate::restore::extractor::frames::Frames;
use crate::restore::extractor::placed::{FilesPlaced, PlacedFile};
use crate::restore::extractor::ticket::{Ended, Ticket, Told};
use crate::stage::waiting;
use crate::target::FilePlace;

/// The most files in a batch: small ones cost one message together.
const BATCH_FILES: usize = 64;
/// A batch of this many ends with its folder: the system lets only one writer at a time change a folder's names.
const BATCH_OF_A_FOLDER: usize = 8;
/// A batch of this load ends: large files do not wait for each other.
const BATCH_LOAD: u64 = 1 << 20;
/// What a file costs besides its bytes, in bytes that are written meanwhile.
const FILE_LOAD: u64 = 16 << 10;

#[derive(Debug)]
pub(super) struct Writers {
    writers: Vec<One>,
    batch: Option<Batch>,
    /// Which writer has begun a file whose content goes on in the next run.
    going_on: Option<usize>,
    /// Keys of their paths.
    under_way: HashSet<u64>,
    hasher: RandomState,
    to: Sender<Vec<Ended>>,
    ended: Receiver<Vec<Ended>>,
}

#[derive(Debug)]
struct One {
    link: Link<FilesPlaced>,
    load: u64,
}

/// Files of one run for one writer.
#[derive(Debug)]
struct Batch {
    writer: usize,
    frames: Frames,
    files: Vec<PlacedFile>,
    load: u64,
    told: Arc<Told>,
}

impl Batch {
    fn ends_before(&self, place: &FilePlace) -> bool {
        let leaves = || self.files.last().is_some_and(|last| !last.place.is_beside(place));
        self.files.len() == BATCH_FILES
            || self.load >= BATCH_LOAD
            || self.files.len() >= BATCH_OF_A_FOLDER && leaves()
    }
}

impl Writers {
    pub(super) fn new(writers: Vec<Recipient<FilesPlaced>>) -> Self {
        // What has not come out is bounded by its number.
        let one = |next| One { link: Link::new(next, MOST_UNDER_WAY), load: 0 };
        let (to, ended) = channel();
        Self {
            writers: writers.into_iter().map(one).collect(),
            batch: None,
            going_on: None,
            under_way: HashSet::new(),
            hasher: RandomState::new(),
            to,
            ended,
        }
    }

    /// A run has come: more of the file that goes on, if there is one. `goes_on` says that this is not all of it.
    pub(super) fn go_on(&mut self, frames: &Frames, goes_on: bool) -> Reply {
        let Some(writer) = self.going_on.take() else { return Ok(()) };
        self.going_on = goes_on.then_some(writer);
        let placed = FilesPlaced { frames: frames.clone(), continues: true, files: Vec::new(), goes_on };
        self.writers[writer].link.send(placed)
    }

    /// Gives a file of the run to the writer that has least to do.
    pub(super) fn add(&mut self, entry: Entry, place: FilePlace, frames: &Frames) -> Reply {
        if self.batch.as_ref().is_some_and(|batch| batch.ends_before(&place)) {
            self.hand_over(false)?;
        }
        let idle = self.writers.iter().enumerate().min_by_key(|(_, one)| one.load).map_or(0, |(i, _)| i);
        let batch = self.batch.get_or_insert_with(|| Batch {
            writer: idle,
            frames: frames.clone(),
            files: Vec::with_capacity(BATCH_FILES),
            load: 0,
            told: Told::new(self.to.clone()),
        });
        let load = entry.size.saturating_add(FILE_LOAD);
        batch.load = batch.load.saturating_add(load);
        let one = &mut self.writers[batch.writer];
        one.load = one.load.saturating_add(load);
        let key = key(&self.hasher, entry.raw_path());
        let ticket = Ticket::new(key, batch.writer, load, batch.told.clone());
        self.under_way.insert(key);
        batch.files.push(PlacedFile { entry, place, ticket });
        Ok(())
    }

    /// Hands over what was added. `goes_on` says that the last file goes on in the next run.
    pub(super) fn hand_over(&mut self, goes_on: bool) -> Reply {
        let Some(Batch { writer, frames, files, .. }) = self.batch.take() else { return Ok(()) };
        if goes_on {
            self.going_on = Some(writer);
        }
        self.writers[writer].link.send(FilesPlaced { frames, continues: false, files, goes_on })
    }

    /// Whether the file with this path has not come out yet.
    pub(super) fn have(&self, path: &[u8]) -> bool {
        !self.under_way.is_empty() && self.under_way.contains(&key(&self.hasher, path))
    }

    /// As [`have`](Self::have), for the path or one of those above it.
    pub(super) fn have_on_the_way_to(&self, path: &[u8]) -> bool {
        !self.under_way.is_empty() && keys(&self.hasher, path).any(|key| self.under_way.contains(&key))
    }

    /// How many files have not come out yet.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The next files that have come out, if any have.
    pub(super) fn ended(&mut self) -> Option<Vec<Ended>> {
        let ended = self.ended.try_recv().ok();
        self.note(ended)
    }

    /// Waits for the next ones; whatever happens to a writer, its tickets are heard of.
    pub(super) fn wait(&mut self) -> Option<Vec<Ended>> {
        let ended = waiting(|| self.ended.recv().ok());
        self.note(ended)
    }

    fn note(&mut self, all: Option<Vec<Ended>>) -> Option<Vec<Ended>> {
        for ended in all.iter().flatten() {
            self.under_way.remove(&ended.key);
            let one = &mut self.writers[ended.writer];
            one.load = one.load.saturating_sub(ended.load);
        }
        all
    }
}

/// Stands for a path. Two paths with one key would only wait for each other.
fn key(hasher: &RandomState, path: &[u8]) -> u64 {
    keys(hasher, path).last().unwrap_or_default()
}

/// The keys of the paths above a path, from the top, and its own. In one pass: a deep path is as long as it has many above it.
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
