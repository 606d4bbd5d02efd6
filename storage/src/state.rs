//! What a policy's runs remember on this machine: the only room that knows sled.
//!
//! One folder for each policy, locked by the run that uses it:
//!
//! ```text
//! lock            locked as long as a run lives; the system unlocks it when the process dies, however it dies
//! holder.json     who has it locked, for people
//! view.json       the job and the history, for people, while sled cannot be asked
//! job/            a database: the ledger of the one job that has not ended
//! history/        a database: jobs that have ended, logs that are still to be sent, names of jobs begun
//! damaged-*/      databases that could not be opened; three are kept
//! ```
//! **In:** what a run does, step by step. **Out:** where the next run has to go on. **Guarantees:** what a method's doc
//! calls flushed survives a crash of process and machine; what a batch holds survives as a whole or not at all; a part
//! is recorded only after the part before it. **After a crash:** a ledger is read whole before it is used. One that is
//! damaged, or written by a newer program, is moved aside and told; a new job is then started, for the bucket, and
//! not this folder, is the truth. The folder `job/` goes when its job is closed, which bounds what sled takes on the
//! disk.

mod database;
pub mod job;
mod ledger;
mod records;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ledger::Ledger;
pub use records::{Cursor, Findings, HalfSent, Job, PartRecord, PendingLog, RunSpan, Scanned};

use crate::catalog::layout::BackupName;
use crate::disk::private_folder::create_private_folder;
use crate::error::{Error, Result};
use crate::failpoint::Failpoint;
use database::Database;
use ledger::{decode, encode};

/// Jobs that are remembered after their end.
const MOST_HISTORY: usize = 100;
/// Of these, so many can be seen while a run is active.
const MOST_VIEWED: usize = 10;
const HISTORY: &[u8] = b"history/";
const OUTBOX: &[u8] = b"outbox/";
const BEGUN: &[u8] = b"begun/";
const STORES: &[u8] = b"stores/";

/// The process that has a queue locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: i64,
}

/// What others can see of a queue.
#[derive(Debug)]
pub enum Peek {
    /// A run is active.
    Running(Option<Holder>, View),
    /// None is.
    Idle(View),
}

/// The job and the history, as the last run wrote them down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// The job that has not ended.
    pub job: Option<Job>,
    /// Jobs that have, newest first.
    pub history: Vec<Job>,
    /// Logs that are still to be sent.
    pub outbox: usize,
}

/// A policy's queue, locked as long as this lives.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    history: Database,
    notices: Vec<String>,
    _lock: File,
}

impl Queue {
    /// Opens the queue in `folder`, which is made if it is missing, for this user alone.
    ///
    /// # Errors
    /// [`Error::Busy`] at once when another process has it; [`Error::Queue`] and [`Error::Io`] when the disk refuses.
    pub fn open(folder: &Path) -> Result<Self> {
        create_private_folder(folder).map_err(Error::io("create the queue's folder", folder))?;
        let lock = lock(folder)?;
        let holder = Holder { pid: std::process::id(), since_ms: chrono::Utc::now().timestamp_millis() };
        if let Err(error) = write_whole(&folder.join("holder.json"), &holder) {
            // It is for people; the lock holds without it.
            tracing::debug!(%error, "it is not written down who has the queue");
        }
        let (history, notice) = Database::open(&folder.join("history"))?;
        Ok(Self { folder: folder.to_owned(), history, notices: notice.into_iter().collect(), _lock: lock })
    }

    /// What had to be repaired or moved aside since this was asked last, for people.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn job_folder(&self) -> PathBuf {
        self.folder.join("job")
    }

    /// The job that has not ended. Finishes what a crash left of closing one, and moves aside a ledger that cannot be
    /// read.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn job(&mut self) -> Result<Option<Ledger>> {
        let folder = self.job_folder();
        if !folder.exists() {
            self.tell_of_lost_jobs()?;
            return Ok(None);
        }
        let (database, notice) = Database::open(&folder)?;
        let is_told = notice.is_some();
        self.notices.extend(notice);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Ledger::read(database)));
        let found = found.unwrap_or_else(|_| {
            let reason = "reading it panicked".to_owned();
            let kind = crate::QueueErrorKind::Damaged;
            Err(Error::Queue { action: "read", path: folder.clone(), reason, kind })
        });
        match found {
            Ok(Some(ledger)) if ledger.job().state.is_ended() => {
                self.close(ledger)?;
                Ok(None)
            }
            Ok(Some(ledger)) => Ok(Some(ledger)),
            Ok(None) => {
                fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
                if !is_told {
                    self.tell_of_lost_jobs()?;
                }
                Ok(None)
            }
            Err(problem @ Error::Queue { kind: crate::QueueErrorKind::Damaged, .. }) => {
                let aside = database::move_aside(&folder)?;
                self.notices
                    .push(format!("{problem}. It was moved to {}; a new job is started", aside.display()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tell_of_lost_jobs(&mut self) -> Result<()> {
        for lost in self.begun()? {
            let timestamp = &lost.timestamp;
            self.notices.push(format!("the ledger of the job of {timestamp} is gone; a new job is started"));
        }
        Ok(())
    }

    /// Begins a job. Its name is flushed before its ledger, so that what it leaves in a store can be found even when
    /// the ledger is lost.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(&mut self, job: Job) -> Result<Ledger> {
        self.history.put(&begun_key(&job.name), encode(&self.history, &job.name)?)?;
        self.history.flush()?;
        let (database, notice) = Database::open(&self.job_folder())?;
        self.notices.extend(notice);
        let ledger = Ledger::begin(database, job)?;
        self.write_view(Some(&ledger));
        Failpoint::JobRecorded.reached();
        Ok(ledger)
    }

    /// Gives a job another name, and the header that goes with it. The old name stays among the lost ones, until what
    /// it has in a store is cleared.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn rename(&self, ledger: &Ledger, name: BackupName, header: Vec<u8>) -> Result<()> {
        self.history.put(&begun_key(&name), encode(&self.history, &name)?)?;
        self.history.flush()?;
        ledger.update(|job| (job.name, job.header) = (name, header))
    }

    /// Jobs that were begun and never closed, but for `active`: their ledgers are lost.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn lost_jobs(&self, active: &BackupName) -> Result<Vec<BackupName>> {
        let mut begun = self.begun()?;
        begun.retain(|name| name != active);
        Ok(begun)
    }

    fn begun(&self) -> Result<Vec<BackupName>> {
        let begun = self.history.range(BEGUN, BEGUN.to_vec());
        begun.map(|found| decode(&self.history, &found?.1)).collect()
    }

    /// Forgets a lost job, once nothing of it is left in the store.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn forget_lost_job(&self, name: &BackupName) -> Result<()> {
        self.history.remove(&begun_key(name))?;
        self.history.flush()
    }

    /// Moves a job that has ended into the history, and removes its ledger. What a crash leaves of it, the next
    /// [`job`](Self::job) finishes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn close(&mut self, ledger: Ledger) -> Result<()> {
        let job = ledger.job();
        let mut batch = sled::Batch::default();
        // In the order of their ends: names are given by clocks, which may be wrong by years.
        let mut others = Vec::new();
        let (mut key, mut newest) = (None, 0);
        for found in self.history.range(HISTORY, HISTORY.to_vec()).rev() {
            let (other, value) = found?;
            newest = newest.max(sequence_of(&other));
            // A crash may have come after this, and before the ledger was removed: then the job is there already.
            if decode::<Job>(&self.history, &value)?.name == job.name {
                key = Some(other);
            } else {
                others.push(other);
            }
        }
        let key = key.unwrap_or_else(|| [HISTORY, &u64::to_be_bytes(newest + 1)[..]].concat());
        let old = others.split_off(others.len().min(MOST_HISTORY - 1));
        batch.insert(key, encode(&self.history, &job)?);
        batch.remove(begun_key(&job.name));
        for key in old {
            batch.remove(key);
        }
        self.history.apply(batch)?;
        self.history.flush()?;
        Failpoint::JobInHistory.reached();
        drop(ledger);
        let folder = self.job_folder();
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        self.write_view(None);
        Failpoint::JobClosed.reached();
        Ok(())
    }

    /// Jobs that have ended, newest first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn history(&self) -> Result<Vec<Job>> {
        let found = self.history.range(HISTORY, HISTORY.to_vec()).rev();
        found.map(|found| decode(&self.history, &found?.1)).collect()
    }

    /// Which store a folder was when a run last wrote to it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn known_store(&self, folder: &Path) -> Result<Option<String>> {
        let found = self.history.get(&store_key(folder))?;
        found.map(|id| decode(&self.history, &id)).transpose()
    }

    /// Remembers which store a folder is; flushed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remember_store(&self, folder: &Path, id: &str) -> Result<()> {
        self.history.put(&store_key(folder), encode(&self.history, &id)?)?;
        self.history.flush()
    }

    /// Logs that are still to be sent, oldest first.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn outbox(&self) -> Result<Vec<PendingLog>> {
        let found = self.history.range(OUTBOX, OUTBOX.to_vec());
        found.map(|found| decode(&self.history, &found?.1)).collect()
    }

    /// Adds a log to be sent; flushed. One of the same run is replaced.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn enqueue_log(&self, log: &PendingLog) -> Result<()> {
        self.history.put(&outbox_key(log), encode(&self.history, log)?)?;
        self.history.flush()
    }

    /// Forgets a log that the store has; flushed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn log_shipped(&self, log: &PendingLog) -> Result<()> {
        self.history.remove(&outbox_key(log))?;
        self.history.flush()
    }

    /// Writes down what others may see. It is a view and no record: where it cannot be written, an older one shows.
    pub fn write_view(&self, ledger: Option<&Ledger>) {
        let view = || -> Result<View> {
            let mut history = self.history()?;
            history.truncate(MOST_VIEWED);
            Ok(View { job: ledger.map(Ledger::job), history, outbox: self.outbox()?.len() })
        };
        let path = self.folder.join("view.json");
        let written = view()
            .map_err(|e| e.to_string())
            .and_then(|view| write_whole(&path, &view).map_err(|e| e.to_string()));
        if let Err(error) = written {
            tracing::debug!(error, "the queue's view was not written");
        }
    }
}

/// Looks at a queue without changing it, also while a run is active.
///
/// # Errors
/// Those of the disk.
pub fn peek(folder: &Path) -> Result<Peek> {
    let view = read_json(&folder.join("view.json")).unwrap_or_default();
    let file = match File::open(folder.join("lock")) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Peek::Idle(view)),
        opened => opened.map_err(Error::io("look into", folder))?,
    };
    // Shared, so that two who look do not see each other as a run.
    match file.try_lock_shared() {
        Ok(()) => Ok(Peek::Idle(view)),
        Err(TryLockError::WouldBlock) => Ok(Peek::Running(read_json(&folder.join("holder.json")), view)),
        Err(TryLockError::Error(e)) => Err(Error::io("look into", folder)(e)),
    }
}

fn lock(folder: &Path) -> Result<File> {
    /// Whoever looks at a queue holds its lock for a moment.
    const PATIENCE: Duration = Duration::from_millis(20);
    let path = folder.join("lock");
    let failed = |e| Error::io("lock", &path)(e);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < 10 => std::thread::sleep(PATIENCE),
            Err(TryLockError::WouldBlock) => {
                let holder = read_json(&folder.join("holder.json"));
                return Err(Error::Busy { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
    }
    Ok(file)
}

/// The file appears whole or not at all; it need not survive a crash.
fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(value)?)?;
    fs::rename(&beside, path)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The place of an ended job among the others, from its key.
fn sequence_of(key: &[u8]) -> u64 {
    let number = key.strip_prefix(HISTORY).and_then(|number| number.try_into().ok());
    number.map_or(0, u64::from_be_bytes)
}

fn begun_key(name: &BackupName) -> Vec<u8> {
    [BEGUN, name.archive_key().as_bytes()].concat()
}

fn store_key(folder: &Path) -> Vec<u8> {
    [STORES, folder.to_string_lossy().as_bytes()].concat()
}

fn outbox_key(log: &PendingLog) -> Vec<u8> {
    [OUTBOX, log.timestamp.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
