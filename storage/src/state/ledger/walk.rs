//! The walk of a job, as it is kept: chunks of its steps, by the index of their first.

use std::cmp::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Ledger, SCAN, key, suffix};
use crate::error::Result;
use crate::failpoint::Failpoint;
use crate::memory::packed;
use crate::memory::packed::{Chunk, Packed};
use crate::state::database::Database;

impl Ledger {
    /// Forgets the walk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn clear_scan(&self) -> Result<()> {
        for found in self.database().range(SCAN, SCAN.to_vec()) {
            self.database().remove(&found?.0)?;
        }
        self.now().steps = 0;
        Ok(())
    }

    /// Adds steps to the walk. They survive a crash after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// Those of the disk.
    pub fn add_scan<T: Serialize>(&self, steps: &[T]) -> Result<()> {
        let mut now = self.now();
        for chunk in Packed::of(steps)?.chunks() {
            let Chunk { records, bytes } = chunk?;
            self.database().put(&key(SCAN, &now.steps.to_be_bytes()), bytes)?;
            now.steps += records as u64;
        }
        drop(now);
        Failpoint::ScanAdded.reached();
        Ok(())
    }

    /// The walk from the step `from` on, some steps at a time.
    ///
    /// # Errors
    /// Each item: those of the disk, and damage.
    pub fn scan<T: DeserializeOwned>(&self, from: u64) -> impl Iterator<Item = Result<Vec<T>>> + use<T> {
        let (database, end) = (self.database().clone(), self.step_count());
        // What is missing here would be missing in the backup, in silence.
        let missing = |database: &Database| database.damaged("a chunk of the walk is missing");
        // The chunk in which the first step is may begin before it.
        let mut next = if from < end { self.chunk_of_step(from).map(Some) } else { Ok(None) };
        std::iter::from_fn(move || {
            let first = match std::mem::replace(&mut next, Ok(None)) {
                Ok(first) => first?,
                Err(error) => return Some(Err(error)),
            };
            let read = || -> Result<Vec<T>> {
                let chunk =
                    database.get(&key(SCAN, &first.to_be_bytes()))?.ok_or_else(|| missing(&database))?;
                packed::unpack(&chunk).map_err(|reason| database.damaged(reason))
            };
            let mut steps = match read() {
                Ok(steps) => steps,
                Err(error) => return Some(Err(error)),
            };
            let past = first + steps.len() as u64;
            next = match past.cmp(&end) {
                Ordering::Less if past > first => Ok(Some(past)),
                Ordering::Equal => Ok(None),
                _ => Err(missing(&database)),
            };
            steps.drain(..from.saturating_sub(first).min(steps.len() as u64) as usize);
            Some(Ok(steps))
        })
    }

    /// Index of the first step of the chunk that a step is in.
    fn chunk_of_step(&self, step: u64) -> Result<u64> {
        let before = self.database().before(&key(SCAN, &(step + 1).to_be_bytes()))?;
        let first = before.and_then(|key| suffix(&key, SCAN)).map(u64::from_be_bytes);
        first.ok_or_else(|| self.database().damaged("a chunk of the walk is missing"))
    }

    /// How many steps of the walk there are.
    pub fn step_count(&self) -> u64 {
        self.now().steps
    }

    pub(super) fn count_steps(&self) -> Result<u64> {
        let Some(last) = self.database().range(SCAN, SCAN.to_vec()).next_back() else { return Ok(0) };
        let (key, chunk) = last?;
        let first = suffix(&key, SCAN).map(u64::from_be_bytes);
        let first = first.ok_or_else(|| self.database().damaged("a chunk of the walk has no index"))?;
        let steps: Vec<serde::de::IgnoredAny> =
            packed::unpack(&chunk).map_err(|reason| self.database().damaged(reason))?;
        Ok(first + steps.len() as u64)
    }
}
