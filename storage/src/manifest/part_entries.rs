//! What a manifest lists of one part of the archive.

use super::entry::Entry;
use super::problem::Problem;
use crate::error::Result;
use crate::memory::packed::Packed;

/// What a manifest lists of a part.
#[derive(Debug, Default)]
pub struct PartEntries {
    /// Entries whose last byte is in it.
    pub entries: Packed<Entry>,
    /// Entries that were skipped, or changed, before its end.
    pub problems: Packed<Problem>,
}

impl PartEntries {
    /// What is at hand.
    ///
    /// # Errors
    /// As [`Packed::of`].
    pub fn of(entries: &[Entry], problems: &[Problem]) -> Result<Self> {
        Ok(Self { entries: Packed::of(entries)?, problems: Packed::of(problems)? })
    }
}
