//! Why an entry was not restored.

use std::io::{self, ErrorKind};

use intellistor_storage::disk::shortage::is_shortage;

/// Why an entry was not restored. The texts do not name the entry.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Occurs when an entry would leave the folder, or has a name that no file may have here. Nothing was written.
    #[error("refused: {0}")]
    Refused(String),
    /// Occurs when the system refuses this entry; others may go through.
    #[error("{0}")]
    Failed(String),
    /// Occurs when nothing more can be written: the disk or the quota is full, the disk is read-only, or the system is
    /// short of handles or memory.
    #[error("{0}")]
    Fatal(#[source] io::Error),
}

impl TargetError {
    /// Tells errors of the disk that concern all entries from those of one.
    pub fn from_io(doing: &str, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
                Self::Fatal(error)
            }
            _ if is_shortage(&error) => Self::Fatal(error),
            ErrorKind::IsADirectory => Self::Failed("a folder of that name is in the way".to_owned()),
            _ => Self::Failed(format!("cannot {doing}: {error}")),
        }
    }
}
