//! What becomes of one backup.

use crate::error::Category;

/// What became of a backup.
#[derive(Debug)]
pub(in crate::lifecycle) enum Outcome {
    /// This many bytes were written for it.
    Copied { bytes: u64 },
    /// Nothing had to be done.
    Skipped { reason: String },
    /// It was left out for a reason that a person must see.
    PassedOver { reason: String },
    /// It cannot be copied as it is.
    Failed { reason: String, cause: Category },
}
