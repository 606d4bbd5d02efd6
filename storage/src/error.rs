//! What can go wrong at rest, and what a person can do next.

use std::path::PathBuf;

use crate::catalog::layout::BackupName;
use crate::disk::shortage;
use crate::objects::error::{RetryClass, StoreError};
use crate::state::job::IllegalTransition;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the storage crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Occurs when an object store refuses or cannot be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Occurs when bytes from a store are not the bytes that were sealed: damaged, cut, swapped or forged.
    #[error("{what} fails its integrity check: {reason}. Nothing from it was used")]
    Integrity {
        /// The object, segment, frame or entry.
        what: String,
        /// What did not match.
        reason: String,
    },
    /// Occurs when a store has the archive or manifest of another backup under a backup's key.
    #[error(
        "{what} fails its integrity check: it belongs to {found}, and should belong to {expected}. Nothing from it \
         was used. Someone has moved or copied objects in the store"
    )]
    OtherBackup {
        /// "the archive", "the manifest", ...
        what: String,
        /// Whose it is.
        found: Box<BackupName>,
        /// Whose it should be.
        expected: Box<BackupName>,
    },
    /// Occurs when an archive or manifest states a format version that this program does not know.
    #[error(
        "{what} has format version {found}, but this program reads version {known}. If a newer program made the \
         backup, use that one; otherwise the object is damaged"
    )]
    UnsupportedVersion {
        what: String,
        /// The version that it states.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// Occurs when no configured key is the one that sealed the backup.
    #[error("the backup is sealed with key {sealed_with}, but the configured key is {configured}")]
    WrongKey {
        /// Key ids that the backup names, comma separated.
        sealed_with: String,
        /// The id of the key at hand.
        configured: String,
    },
    /// Occurs when the configured passphrase does not open the backup.
    #[error("the passphrase is not the one that sealed this backup (key id {sealed_with})")]
    WrongPassphrase {
        /// Key ids that the backup names, comma separated.
        sealed_with: String,
    },
    /// Occurs when a configured key is malformed.
    #[error("{origin} is not a usable key: {reason}")]
    BadKey {
        /// The variable or file.
        origin: String,
        /// What is wrong with it; never the key itself.
        reason: String,
    },
    /// Occurs when a store's URL has neither of the two forms.
    #[error(
        "{url:?} is not the URL of a store: {reason}. Write s3://bucket/prefix, or file:///folder as in \
         file:///mnt/nas or file:///C:/backups"
    )]
    BadStoreUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a policy belongs to another machine in the store.
    #[error(
        "in {store}, the policy {policy_id} belongs to the machine {host} since {since}, and this one is {this_host}. \
         Nothing was written"
    )]
    NotOwner {
        policy_id: String,
        /// The store's URL.
        store: String,
        /// The name of the machine that it belongs to.
        host: String,
        /// When that machine claimed it, in RFC 3339.
        since: String,
        /// The name of this machine.
        this_host: String,
    },
    /// Occurs when what should say which machine a policy belongs to is something else.
    #[error(
        "{store}: {key} should say which machine the policy belongs to, but {reason}. Nothing else was written"
    )]
    UnreadableOwner {
        key: String,
        /// The store's URL.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when an archive would outgrow what the format or the store can number.
    #[error("the archive is too large: {0}")]
    TooLarge(String),
    /// Occurs when another process is using a queue.
    #[error("another run of this policy is active{}; its queue is {}", held_by(*process), folder.display())]
    Busy {
        /// The queue's folder.
        folder: PathBuf,
        /// The id of that process, where it is known.
        process: Option<u32>,
    },
    /// Occurs when the queue cannot be read or written.
    #[error("cannot {action} the queue {}: {reason}", path.display())]
    Queue {
        /// "open", "read", "write", ...
        action: &'static str,
        path: PathBuf,
        /// What the disk or the database said.
        reason: String,
        /// Decides what to do.
        kind: QueueErrorKind,
    },
    /// Occurs when a part is recorded that is not the one after the last: a defect of this program.
    #[error(
        "part {found} is to be recorded, but part {expected} comes next. Please report this with the log"
    )]
    Replay {
        /// The part that comes next.
        expected: u32,
        /// The part that came.
        found: u32,
    },
    /// Occurs when something happens to a job that cannot happen in its state: a defect of this program.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// Occurs when the local file system refuses.
    #[error("cannot {action} {}: {source}{}", path.display(), what_to_do(source))]
    Io {
        /// "read", "write", "create", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// An integrity failure of `what`.
    pub fn integrity(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Integrity { what: what.into(), reason: reason.into() }
    }

    /// Wraps an I/O error with the action and the path; for use in `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether trying again may help.
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::Store(e) => e.retry_class(),
            _ => RetryClass::Permanent,
        }
    }
}

fn what_to_do(source: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let advice = match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ". Free some space, then run again",
        ErrorKind::FileTooLarge => {
            ". That file system cannot hold a file that large (FAT32 ends at 4 GiB), or `ulimit -f` is lower"
        }
        ErrorKind::ReadOnlyFilesystem => {
            ". It is mounted read-only: mount it for writing, or choose another place"
        }
        ErrorKind::PermissionDenied => ". Check that the account that runs this may read and write there",
        _ => return shortage::advice(source),
    };
    advice.to_owned()
}

fn held_by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}

/// The kinds of queue errors that call for different actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueErrorKind {
    /// No space or quota left.
    Full,
    /// This process or the system has run out of file handles or memory.
    Short,
    /// The disk refuses for another reason.
    Io,
    /// What it holds cannot be read, or not by this program.
    Damaged,
}
