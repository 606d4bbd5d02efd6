//! A sled database that opens again, whatever happened to the process that had it open.
//!
//! sled 0.34 keeps its truth in a log, and snapshots beside it that make opening faster. A process that dies while it
//! writes a snapshot leaves one that sled refuses to open (spacejam/sled#1533, #1527), although its log is whole. So
//! unfinished snapshots are removed before opening, and all of them when opening fails: sled then replays its log.
//! What does not open even so is moved aside, and an empty one takes its place.

use std::fs;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sled::{Db, Tree};

use crate::disk::shortage::is_shortage;
use crate::error::{Error, QueueErrorKind, Result};

/// The layout of keys and values that this program writes and reads.
const SCHEMA: u32 = 1;
const SCHEMA_KEY: &[u8] = b"schema";
const TREE: &[u8] = b"intellistor";
/// sled's memory is bounded by this only while values are small: see `chunks`.
const CACHE_BYTES: u64 = 2 << 20;
const SEGMENT_BYTES: usize = 512 << 10;
/// Of databases that were moved aside, so many stay.
const MOST_ASIDE: usize = 3;
const ASIDE: &str = "damaged-";

/// An open database.
#[derive(Debug, Clone)]
pub(super) struct Database {
    db: Db,
    tree: Tree,
    path: PathBuf,
}

impl Database {
    /// Opens or makes the database `path`. Also tells what had to be done to it.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<String>)> {
        let problem = match Self::open_or_repair(path) {
            Ok(database) => return Ok((database, None)),
            Err(
                error @ Error::Queue {
                    kind: QueueErrorKind::Full | QueueErrorKind::Short | QueueErrorKind::Io,
                    ..
                },
            ) => return Err(error),
            Err(problem) => problem,
        };
        let aside = move_aside(path)?;
        let notice = format!("{problem}. It was moved to {}, and an empty one was created", aside.display());
        Ok((Self::open_or_repair(path)?, Some(notice)))
    }

    fn open_or_repair(path: &Path) -> Result<Self> {
        remove_snapshots(path, ".generating")?;
        match Self::try_to_open(path) {
            Err(Error::Queue { kind: QueueErrorKind::Damaged, .. }) if path.is_dir() => {
                remove_snapshots(path, "")?;
                Self::try_to_open(path)
            }
            opened => opened,
        }
    }

    fn try_to_open(path: &Path) -> Result<Self> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        // What sled cannot make sense of it takes for an empty database.
        let is_new = fs::metadata(path.join("db")).map_or(true, |file| file.len() == 0);
        // sled panics on some kinds of damage.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = open_unlocked(&config).map_err(|e| sled_error("open", path, e))?;
            let tree = db.open_tree(TREE).map_err(|e| sled_error("open", path, e))?;
            let this = Self { db, tree, path: path.to_owned() };
            this.check_schema(is_new)?;
            Ok(this)
        }));
        opened.unwrap_or_else(|panic| {
            let reason =
                panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "sled panicked".to_owned());
            Err(damaged("open", path, reason))
        })
    }

    fn check_schema(&self, is_new: bool) -> Result<()> {
        match self.get(SCHEMA_KEY)? {
            Some(found) => match found.as_slice().try_into().map(u32::from_be_bytes) {
                Ok(SCHEMA) => Ok(()),
                Ok(newer) => {
                    let reason =
                        format!("it was written by another version of this program (layout {newer})");
                    Err(damaged("use", &self.path, reason))
                }
                Err(_) => Err(damaged("use", &self.path, "it does not state its layout".to_owned())),
            },
            None if is_new && self.tree.is_empty() => {
                self.put(SCHEMA_KEY, SCHEMA.to_be_bytes().to_vec())?;
                self.flush()
            }
            None => Err(damaged("use", &self.path, "it does not state its layout".to_owned())),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.tree
            .get(key)
            .map(|value| value.map(|v| v.to_vec()))
            .map_err(|e| sled_error("read", &self.path, e))
    }

    pub(super) fn put(&self, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.tree.insert(key, value).map(drop).map_err(|e| sled_error("write", &self.path, e))
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<()> {
        self.tree.remove(key).map(drop).map_err(|e| sled_error("write", &self.path, e))
    }

    /// All of a batch, or nothing of it, survives a crash.
    pub(super) fn apply(&self, batch: sled::Batch) -> Result<()> {
        self.tree.apply_batch(batch).map_err(|e| sled_error("write", &self.path, e))
    }

    /// What was written before survives a crash of the machine.
    pub(super) fn flush(&self) -> Result<()> {
        self.db.flush().map_err(|e| sled_error("flush", &self.path, e))?;
        // On Linux sled only starts the writing (`sync_file_range`), which a power failure may undo.
        let synced =
            fs::File::options().write(true).open(self.path.join("db")).and_then(|file| file.sync_data());
        synced.map_err(|e| sled_error("flush", &self.path, sled::Error::Io(e)))
    }

    /// Keys that begin with `prefix`, from `from` on, ascending, with their values.
    pub(super) fn range(
        &self,
        prefix: &'static [u8],
        from: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>)>> + use<> {
        let path = self.path.clone();
        let mut end = prefix.to_vec();
        // No prefix of ours ends in the last byte.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.tree.range(from..end).map(move |found| {
            found.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(|e| sled_error("read", &path, e))
        })
    }

    /// The last key before `key`.
    pub(super) fn before(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.tree.get_lt(key).map_err(|e| sled_error("read", &self.path, e))?;
        Ok(found.map(|(key, _)| key.to_vec()))
    }

    pub(super) fn damaged(&self, reason: impl ToString) -> Error {
        damaged("read", &self.path, reason.to_string())
    }
}

/// Moves a database out of the way, and forgets the oldest of those that were moved before.
pub(super) fn move_aside(path: &Path) -> Result<PathBuf> {
    let failed = |e| Error::io("move aside the damaged queue", path)(e);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(failed(io::Error::from(ErrorKind::InvalidInput)));
    };
    let seconds = chrono::Utc::now().timestamp();
    let target = (0..1000)
        .map(|n| folder.join(format!("{ASIDE}{:011}-{name}", seconds + n)))
        .find(|target| !target.exists())
        .ok_or_else(|| failed(io::Error::from(ErrorKind::AlreadyExists)))?;
    fs::rename(path, &target).map_err(failed)?;
    let mut aside: Vec<_> = fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(ASIDE)))
        .collect();
    aside.sort();
    for old in aside.iter().rev().skip(MOST_ASIDE) {
        fs::remove_dir_all(old).map_err(failed)?;
    }
    Ok(target)
}

pub(super) fn remove_snapshots(path: &Path, suffix: &str) -> Result<()> {
    let failed = |e| Error::io("look into", path)(e);
    let listed = match fs::read_dir(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        listed => listed.map_err(failed)?,
    };
    for entry in listed {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(suffix)) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn damaged(action: &'static str, path: &Path, reason: String) -> Error {
    Error::Queue { action, path: path.to_owned(), reason, kind: QueueErrorKind::Damaged }
}

/// Opens a database that a thread of the run before may still be letting go of. No other process has it: the queue's
/// own lock is held.
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
    let mut attempt = 0;
    loop {
        match config.open() {
            // sled gives this no kind of its own.
            Err(sled::Error::Io(e)) if attempt < 100 && e.to_string().contains("could not acquire lock") => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

fn sled_error(action: &'static str, path: &Path, error: sled::Error) -> Error {
    let (kind, reason) = match error {
        sled::Error::Io(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            (QueueErrorKind::Full, e.to_string())
        }
        sled::Error::Io(e) if is_shortage(&e) => (QueueErrorKind::Short, e.to_string()),
        // A database that is cut short ends unexpectedly; and something else may have taken its place.
        sled::Error::Io(e)
            if matches!(
                e.kind(),
                ErrorKind::UnexpectedEof
                    | ErrorKind::InvalidData
                    | ErrorKind::NotADirectory
                    | ErrorKind::AlreadyExists
            ) =>
        {
            (QueueErrorKind::Damaged, e.to_string())
        }
        sled::Error::Io(e) => (QueueErrorKind::Io, e.to_string()),
        sled::Error::Corruption { .. } => (QueueErrorKind::Damaged, "its bytes are damaged".to_owned()),
        other => (QueueErrorKind::Damaged, other.to_string()),
    };
    Error::Queue { action, path: path.to_owned(), reason, kind }
}
