//! A backup that an operation over many of them has passed over.

use intellistor_storage::catalog::layout::BackupName;
use serde::Serialize;

use crate::error::{Category, Error};
use crate::lifecycle::scope::is_of_backup;
use crate::operations::named_backup::NamedBackup;

/// A backup whose manifest could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadBackup {
    #[serde(flatten)]
    pub backup: NamedBackup,
    pub reason: String,
    /// Whether its bytes are not what was sealed; otherwise another key sealed it, another version wrote it, or it is gone.
    pub damaged: bool,
}

impl UnreadBackup {
    pub(crate) fn new(name: &BackupName, error: &Error) -> Self {
        let damaged = error.category() == Category::Integrity;
        Self { backup: name.into(), reason: error.to_string(), damaged }
    }

    /// Whether an error is about one backup, so that others may be readable.
    pub(crate) fn is_of_backup(error: &Error) -> bool {
        matches!(error, Error::ManifestLost { .. }) || is_of_backup(error)
    }
}
