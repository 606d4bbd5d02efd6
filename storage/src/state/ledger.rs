//! The ledger of one job: what a run needs to know to resume it.
//!
//! ```text
//! job                       the job's record
//! scan/<index:u64be>        a chunk of the walk, by the index of its first step
//! part/<number:u32be>       a part that the store holds: its segment and its receipt
//! cursor/<number:u32be>     where in the walk that part ends
//! entry/<number:u32be>/<chunk:u32be>      entries that ended in that part
//! problem/<number:u32be>/<chunk:u32be>    entries that were skipped or changed in it
//! ```
//! A part is recorded when its row is there, which is written when all else is flushed, in one batch with the cursor:
//! after a crash, all of it is there, or none of it counts. What a run wrote before it died without that row is
//! overwritten,
//! or comes after what the row counts.
//!
//! Long lists are read key by key, and not as a range: sled releases a leaf only after a number of accesses.

mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::database::Database;
use crate::error::{Error, Result};
use crate::failpoint::Failpoint;
use crate::manifest::part_entries::PartEntries;
use crate::memory::packed;
use crate::memory::packed::{Packed, Packer};
use crate::state::job::{JobEvent, JobState};
use crate::state::records::{Cursor, Job, PartRecord};

const JOB: &[u8] = b"job";
const SCAN: &[u8] = b"scan/";
const PART: &[u8] = b"part/";
const CURSOR: &[u8] = b"cursor/";
const ENTRY: &[u8] = b"entry/";
const PROBLEM: &[u8] = b"problem/";

/// The ledger of one job. Clones share it.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    now: Mutex<Now>,
}

/// A part as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct PartRow {
    part: PartRecord,
    /// How many entries ended in it.
    entries: usize,
    /// How many were skipped or changed in it.
    problems: usize,
}

/// What is asked for often.
#[derive(Debug)]
struct Now {
    job: Job,
    steps: u64,
    parts: u32,
    tar_bytes: u64,
}

impl Ledger {
    /// Begins a ledger; it is flushed before this returns.
    pub(super) fn begin(database: Database, job: Job) -> Result<Self> {
        let this = Self(Arc::new(Inner {
            database,
            now: Mutex::new(Now { job, steps: 0, parts: 0, tar_bytes: 0 }),
        }));
        this.put_job(&this.now().job)?;
        Ok(this)
    }

    /// Reads the ledger of a job that was begun; `None` when a crash came before its record.
    pub(super) fn read(database: Database) -> Result<Option<Self>> {
        let Some(job) = database.get(JOB)? else { return Ok(None) };
        let job: Job = decode(&database, &job)?;
        let this = Self(Arc::new(Inner {
            database,
            now: Mutex::new(Now { job, steps: 0, parts: 0, tar_bytes: 0 }),
        }));
        let steps = this.count_steps()?;
        let parts = this.read_parts()?;
        if let Some(last) = parts.last() {
            this.cursor(last.segment.number)?;
        }
        let tar_bytes =
            parts.iter().flat_map(|part| &part.segment.frames).map(|f| u64::from(f.tar_bytes)).sum();
        let mut now = this.now();
        (now.steps, now.parts, now.tar_bytes) = (steps, parts.len() as u32, tar_bytes);
        drop(now);
        Ok(Some(this))
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's record.
    pub fn job(&self) -> Job {
        self.now().job.clone()
    }

    /// Moves the job on; flushed.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] when the event cannot happen in the job's state; those of the disk.
    pub fn advance(&self, event: JobEvent) -> Result<JobState> {
        let mut now = self.now();
        let state = now.job.state.next(&event)?;
        self.replace(&mut now, |job| job.state = state)?;
        Ok(state)
    }

    /// Changes anything but the job's state, which is [`advance`](Self::advance)'s; flushed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn update(&self, change: impl FnOnce(&mut Job)) -> Result<()> {
        let mut now = self.now();
        let state = now.job.state;
        self.replace(&mut now, |job| {
            change(job);
            job.state = state;
        })
    }

    /// Records the report of the job's backup, as a value of the record and no text in it; flushed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn set_summary(&self, report: &impl Serialize) -> Result<()> {
        let summary = serde_json::to_value(report).map_err(|e| self.damaged(&e.to_string()))?;
        self.update(|job| job.summary = Some(summary))
    }

    /// The record in memory changes only when the one on disk has.
    fn replace(&self, now: &mut Now, change: impl FnOnce(&mut Job)) -> Result<()> {
        let mut job = now.job.clone();
        change(&mut job);
        self.put_job(&job)?;
        now.job = job;
        Ok(())
    }

    fn put_job(&self, job: &Job) -> Result<()> {
        let record = self.encode(job)?;
        self.database().put(JOB, record)?;
        self.database().flush()
    }

    /// What was written before survives a crash.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn flush(&self) -> Result<()> {
        self.database().flush()
    }

    /// Records a part that the store holds, where in the walk it ends, and what ended in it.
    ///
    /// Ordering law (must): all of it is flushed before this returns, and the part's memory is not released before.
    ///
    /// # Errors
    /// [`Error::Replay`] when it is not the part after the last; those of the disk.
    pub fn commit(&self, part: &PartRecord, cursor: &Cursor, listed: &PartEntries) -> Result<()> {
        let mut now = self.now();
        let number = part.segment.number;
        if number != now.parts + 1 {
            return Err(Error::Replay { expected: now.parts + 1, found: number });
        }
        self.list(number, listed)?;
        Failpoint::PartListed.reached();
        let (entries, problems) = (listed.entries.len(), listed.problems.len());
        let row = PartRow { part: part.clone(), entries, problems };
        let mut batch = sled::Batch::default();
        batch.insert(key(PART, &number.to_be_bytes()), self.encode(&row)?);
        batch.insert(key(CURSOR, &number.to_be_bytes()), self.encode(cursor)?);
        self.database().apply(batch)?;
        Failpoint::PartWritten.reached();
        self.database().flush()?;
        Failpoint::PartRecorded.reached();
        now.parts = number;
        now.tar_bytes += part.segment.frames.iter().map(|frame| u64::from(frame.tar_bytes)).sum::<u64>();
        Ok(())
    }

    /// How many parts are recorded.
    pub fn part_count(&self) -> u32 {
        self.now().parts
    }

    /// Bytes of tar in the recorded parts.
    pub fn tar_bytes(&self) -> u64 {
        self.now().tar_bytes
    }

    /// The recorded parts, in order.
    ///
    /// # Errors
    /// Those of the disk, and damage.
    pub fn parts(&self) -> Result<Vec<PartRecord>> {
        self.read_parts()
    }

    /// The last recorded part, and where in the walk it ends.
    ///
    /// # Errors
    /// Those of the disk, and damage.
    pub fn last_part(&self) -> Result<Option<(PartRecord, Cursor)>> {
        match self.part_count() {
            0 => Ok(None),
            last => Ok(Some((self.record::<PartRow>(PART, last)?.part, self.cursor(last)?))),
        }
    }

    fn cursor(&self, number: u32) -> Result<Cursor> {
        self.record(CURSOR, number)
    }

    fn record<T: DeserializeOwned>(&self, prefix: &[u8], number: u32) -> Result<T> {
        let found = self.database().get(&key(prefix, &number.to_be_bytes()))?;
        let found = found
            .ok_or_else(|| self.database().damaged(format!("the record of part {number} is missing")))?;
        decode(self.database(), &found)
    }

    fn read_parts(&self) -> Result<Vec<PartRecord>> {
        let mut parts = Vec::new();
        for found in self.database().range(PART, PART.to_vec()) {
            let PartRow { part, .. } = decode(self.database(), &found?.1)?;
            if part.segment.number != parts.len() as u32 + 1 {
                let reason = format!("part {} is missing", parts.len() + 1);
                return Err(self.database().damaged(reason));
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// What ended in a part.
    ///
    /// # Errors
    /// Those of the disk, and damage.
    pub fn committed(&self, number: u32) -> Result<PartEntries> {
        let PartRow { entries, problems, .. } = self.record(PART, number)?;
        let found = PartEntries {
            entries: self.read_all(ENTRY, number, entries)?,
            problems: self.read_all(PROBLEM, number, problems)?,
        };
        // What is missing here would be missing in the manifest, in silence.
        if (found.entries.len(), found.problems.len()) != (entries, problems) {
            let reason = format!("entries of part {number} are missing");
            return Err(self.database().damaged(reason));
        }
        Ok(found)
    }

    /// Writes what ended in a part; flushed.
    pub(super) fn list(&self, number: u32, PartEntries { entries, problems }: &PartEntries) -> Result<()> {
        self.put_all(ENTRY, number, entries)?;
        self.put_all(PROBLEM, number, problems)?;
        // A power failure may keep what was written last and lose what was written before.
        if entries.is_empty() && problems.is_empty() { Ok(()) } else { self.database().flush() }
    }

    /// Not in the batch of the part's row, since sled holds a batch in memory.
    fn put_all<T>(&self, prefix: &'static [u8], number: u32, records: &Packed<T>) -> Result<()> {
        for (i, chunk) in (0u32..).zip(records.chunks()) {
            let key = key(prefix, &[number.to_be_bytes(), i.to_be_bytes()].concat());
            self.database().put(&key, chunk?.bytes)?;
        }
        Ok(())
    }

    /// The first `count` records. More are of a run that died before the part's row was there.
    fn read_all<T: DeserializeOwned>(
        &self,
        prefix: &'static [u8],
        number: u32,
        count: usize,
    ) -> Result<Packed<T>> {
        let mut records = Packer::default();
        for i in 0u32.. {
            if records.len() >= count {
                break;
            }
            let key = key(prefix, &[number.to_be_bytes(), i.to_be_bytes()].concat());
            let Some(chunk) = self.database().get(&key)? else { break };
            // Damage is this ledger's; that the temporary folder is full is not.
            let unpacked = packed::unpack::<T>(&chunk).map_err(|reason| self.database().damaged(reason))?;
            records.push_chunk(unpacked.len(), &chunk)?;
        }
        records.finish()
    }

    /// Forgets all parts behind `keep`, and what ended in them; flushed.
    ///
    /// # Errors
    /// Those of the disk, and damage.
    pub fn truncate(&self, keep: u32) -> Result<()> {
        let mut now = self.now();
        let behind = |prefix| self.database().range(prefix, key(prefix, &(keep + 1).to_be_bytes()));
        let mut batch = sled::Batch::default();
        for prefix in [PART, CURSOR] {
            for found in behind(prefix) {
                batch.remove(found?.0);
            }
        }
        self.database().apply(batch)?;
        self.database().flush()?;
        // Without the part's row nothing of this counts.
        for prefix in [ENTRY, PROBLEM] {
            for found in behind(prefix) {
                self.database().remove(&found?.0)?;
            }
        }
        let left = self.read_parts()?;
        now.parts = left.len() as u32;
        now.tar_bytes =
            left.iter().flat_map(|part| &part.segment.frames).map(|f| u64::from(f.tar_bytes)).sum();
        Ok(())
    }

    /// The error of a ledger that does not hold what it must.
    pub fn damaged(&self, reason: &str) -> Error {
        self.database().damaged(reason)
    }

    fn encode(&self, record: &impl Serialize) -> Result<Vec<u8>> {
        encode(self.database(), record)
    }
}

pub(super) fn encode(database: &Database, record: &impl Serialize) -> Result<Vec<u8>> {
    // By name, so that a later program may add members.
    rmp_serde::to_vec_named(record).map_err(|e| database.damaged(e))
}

pub(super) fn decode<T: DeserializeOwned>(database: &Database, bytes: &[u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|e| database.damaged(format!("a record cannot be read: {e}")))
}

fn key(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

fn suffix<const N: usize>(key: &[u8], prefix: &[u8]) -> Option<[u8; N]> {
    key.strip_prefix(prefix)?.try_into().ok()
}
