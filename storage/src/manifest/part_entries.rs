//! What a manifest lists of one part of the archive.

use super::entry::Entry;
use super::listed::{Change, Listed};
use super::problem::Problem;
use crate::error::Result;
use crate::memory::packed::Packed;

/// What a manifest lists of a part.
#[derive(Debug, Default)]
pub struct PartEntries {
    /// What ended in it, in the order of the walk.
    pub entries: Packed<Listed>,
    /// Entries that were skipped, or changed, before its end.
    pub problems: Packed<Problem>,
}

impl PartEntries {
    /// Entries of a backup without a base.
    ///
    /// # Errors
    /// As [`Packed::of`].
    pub fn of_new(entries: &[Entry], problems: &[Problem]) -> Result<Self> {
        let listed = entries.iter().map(|entry| Listed::Entry { entry: entry.clone(), change: Change::New });
        Ok(Self { entries: Packed::of(&listed.collect::<Vec<_>>())?, problems: Packed::of(problems)? })
    }
}
