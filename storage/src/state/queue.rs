//! A policy's queue: its one job that has not ended, the jobs that have, and the logs that are still to be sent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::database::{self, Database};
use super::ledger::{Ledger, decode, encode};
use super::lock::{self, HOLDER, Holder};
use super::records::{Job, PendingLog};
use super::snapshot::{VIEW, View, read_view};
use crate::catalog::layout::BackupName;
use crate::disk::private_folder::create_private_folder;
use crate::disk::whole_file;
use crate::error::{Error, QueueErrorKind, Result};
use crate::failpoint::Failpoint;

/// Jobs that are remembered after their end.
pub(super) const MOST_HISTORY: usize = 100;
/// Of these, so many can be seen while a run is active.
pub(super) const MOST_VIEWED: usize = 10;
const HISTORY: &[u8] = b"history/";
const OUTBOX: &[u8] = b"outbox/";
const BEGUN: &[u8] = b"begun/";
const STORES: &[u8] = b"stores/";

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
        let lock = lock::lock(folder)?;
        if let Err(error) = whole_file::replace_json(&folder.join(HOLDER), &Holder::this_process()) {
            // It is for people; the lock holds without it.
            tracing::debug!(%error, "the queue does not record which process is using it");
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

    /// The job that has not ended. Finishes what a crash left of closing one, moves aside a ledger that cannot be
    /// read, and writes the view where it is lost or damaged.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn job(&mut self) -> Result<Option<Ledger>> {
        let found = self.find_job()?;
        if !matches!(read_view(&self.folder), Ok(Some(_))) {
            self.write_view(found.as_ref());
        }
        Ok(found)
    }

    fn find_job(&mut self) -> Result<Option<Ledger>> {
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
            let kind = QueueErrorKind::Damaged;
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
            Err(problem @ Error::Queue { kind: QueueErrorKind::Damaged, .. }) => {
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
            let good = history.iter().position(|job| job.summary.is_some());
            let last_good = good.filter(|at| *at >= MOST_VIEWED).map(|at| history.swap_remove(at));
            history.truncate(MOST_VIEWED);
            Ok(View { job: ledger.map(Ledger::job), history, last_good, outbox: self.outbox()?.len() })
        };
        let path = self.folder.join(VIEW);
        let written = view()
            .map_err(|e| e.to_string())
            .and_then(|view| whole_file::replace_json(&path, &view).map_err(|e| e.to_string()));
        if let Err(error) = written {
            tracing::debug!(error, "the queue's summary for `status` was not written");
        }
    }
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
