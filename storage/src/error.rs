//! What can go wrong at rest, told so that a person knows what to do next.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::layout::BackupName;
use crate::catalog::ownership::Owner;
use crate::disk::shortage;
use crate::state::Holder;
use crate::state::job::IllegalTransition;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The network, the service or the disk may recover by itself.
    Temporary,
    /// Only a person can change the outcome.
    Permanent,
}

/// An error of the storage crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Occurs when an object store refuses or cannot be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Occurs when bytes from a store are not the bytes that were sealed: damaged, cut, swapped or forged.
    #[error(
        "{what} fails its integrity check: {reason}. Nothing from it was used. Restore from another backup, or fetch the object again if the store may have been at fault"
    )]
    Integrity {
        /// The object, segment, frame or entry.
        what: String,
        /// What did not match.
        reason: String,
    },
    /// Occurs when a store has the archive or manifest of another backup under a backup's key.
    #[error(
        "{what} fails its integrity check: it belongs to {found}, and should belong to {expected}. Nothing from it was used. Somebody has moved or copied objects in the store; restore from another backup"
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
        "{what} has format version {found}, this program reads version {known}. Use a newer program if a newer one made the backup; otherwise the object is damaged"
    )]
    UnsupportedVersion {
        /// The object.
        what: String,
        /// The version that it states.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// Occurs when no configured key is the one that sealed the backup.
    #[error(
        "the backup is sealed with key {sealed_with}, the configured key is {configured}. Set INTELLISTOR_KEY, INTELLISTOR_KEY_FILE or INTELLISTOR_PASSPHRASE to the key that made the backup"
    )]
    WrongKey {
        /// Key ids that the backup names, comma separated.
        sealed_with: String,
        /// The id of the key at hand.
        configured: String,
    },
    /// Occurs when the configured passphrase does not open the backup.
    #[error(
        "the passphrase is not the one that sealed this backup (key id {sealed_with}). Set INTELLISTOR_PASSPHRASE to the passphrase that made it"
    )]
    WrongPassphrase {
        /// Key ids that the backup names, comma separated.
        sealed_with: String,
    },
    /// Occurs when a configured key is malformed.
    #[error("{origin} does not hold a usable key: {reason}. `backup-client key-create` makes one")]
    BadKey {
        /// The variable or file.
        origin: String,
        /// What is wrong with it; never the key itself.
        reason: String,
    },
    /// Occurs when a store's URL has neither of the two forms.
    #[error(
        "{url:?} names no store: {reason}. Write s3://bucket/prefix, or file:///folder as in file:///mnt/nas or file:///C:/backups"
    )]
    BadStoreUrl {
        /// What was written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a policy belongs to another machine in the store.
    #[error(
        "in {store} the policy {policy_id} belongs to the machine {host} since {since}, and this one is {this_host}. Nothing was written. Give this machine's policy another policy_id; or, if this machine replaces {host}, run once with --take-over; or, where machines come and go as containers do, set INTELLISTOR_MACHINE to one name for all of them",
        host = owner.host,
        since = owner.since
    )]
    NotOwner {
        /// The policy.
        policy_id: String,
        /// The store's URL.
        store: String,
        /// The machine that it belongs to.
        owner: Box<Owner>,
        /// The name of this machine.
        this_host: String,
    },
    /// Occurs when what should say which machine a policy belongs to is something else.
    #[error(
        "{store}: {key} should say which machine the policy belongs to, but {reason}. Nothing else was written. Look at that object; if no other machine backs up this policy there, run once with --take-over, which rewrites it"
    )]
    UnreadableOwner {
        /// The object.
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
    #[error("another run of this policy is active{}; its queue is {}", held_by(holder.as_ref()), folder.display())]
    Busy {
        /// The queue's folder.
        folder: PathBuf,
        /// Who has it, as far as that can be told.
        holder: Option<Holder>,
    },
    /// Occurs when the queue cannot be read or written.
    #[error("cannot {action} the queue {}: {reason}. {}", path.display(), kind.hint())]
    Queue {
        /// "open", "read", "write", ...
        action: &'static str,
        /// Its database.
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
            ". That file system holds no file so large (FAT32 ends at 4 GiB), or `ulimit -f` is lower"
        }
        ErrorKind::ReadOnlyFilesystem => {
            ". It is mounted read-only: mount it for writing, or choose another place"
        }
        ErrorKind::PermissionDenied => ". Check who may read and write there, and which account runs this",
        _ => return shortage::advice(source),
    };
    advice.to_owned()
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" (process {})", holder.pid))
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

impl QueueErrorKind {
    fn hint(self) -> &'static str {
        match self {
            Self::Full => "Free some space, then run again to resume",
            Self::Short => {
                "Nothing is wrong with the disk. Where files are too many, raise the limit, as with `ulimit -n 1024`, or \
                 LimitNOFILE=1024 in a systemd unit; then run again"
            }
            Self::Io => "Check the disk and who may write there; INTELLISTOR_HOME names another place",
            Self::Damaged => "The next run moves it aside and starts a new job; no backup is affected",
        }
    }
}

/// What an object store answered.
#[derive(Debug, thiserror::Error)]
#[error("{store}: cannot {operation}{}{key}: {reason}. {}", if key.is_empty() { "" } else { " " }, kind.hint())]
pub struct StoreError {
    /// Decides the hint and whether a retry helps.
    pub kind: StoreErrorKind,
    /// The store's URL.
    pub store: String,
    /// "read", "write", "list", ...
    pub operation: &'static str,
    /// The object's key, or the prefix of a listing.
    pub key: String,
    /// The store's own words.
    pub reason: String,
    /// How to repeat the call, where the kind is temporary.
    pub retry: RetryAdvice,
}

/// How a call that failed is repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetryAdvice {
    /// For minutes, with pauses that grow.
    #[default]
    Patient,
    /// The same, with no pause shorter than this: the store has asked for it (`Retry-After`).
    After(Duration),
    /// A few times: either the next call succeeds, or a person has to act.
    Brief,
}

impl StoreError {
    /// An error that is repeated for minutes where its kind is temporary.
    pub fn new(
        kind: StoreErrorKind,
        store: impl Into<String>,
        operation: &'static str,
        key: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        let (store, key, reason) = (store.into(), key.into(), reason.into());
        Self { kind, store, operation, key, reason, retry: RetryAdvice::default() }
    }

    /// Whether trying again may help.
    pub fn retry_class(&self) -> RetryClass {
        self.kind.retry_class()
    }
}

/// The kinds of store errors that call for different actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The object does not exist.
    NotFound,
    /// An object that was to be put only where there is none exists.
    AlreadyExists,
    /// The bucket or the store's folder does not exist.
    NoSuchStore,
    /// The store's folder is another one than before: its disk is not mounted, or it was replaced.
    OtherStore,
    /// The credentials are missing, unknown or expired.
    Credentials,
    /// The credentials are valid but lack a permission.
    AccessDenied,
    /// The endpoint did not answer: name not resolved, connection refused or cut.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The store asks to slow down (HTTP 429, 503).
    Throttled,
    /// The store failed (HTTP 5xx).
    ServerFault,
    /// The multipart upload is unknown to the store: aborted, expired or completed.
    UploadGone,
    /// The bytes that arrived are not the bytes that were sent.
    ChecksumMismatch,
    /// No space or quota left.
    Full,
    /// There are no credentials at all.
    NoCredentials,
    /// The bucket is in another region.
    WrongRegion,
    /// A variable about the way to the store holds what cannot be used.
    BadSetting,
    /// The endpoint does not speak what its URL says: TLS, or HTTP without.
    BadEndpoint,
    /// The endpoint's certificate was issued by an authority that is not trusted here.
    Certificate,
    /// The endpoint's certificate is not valid: expired, for another name.
    BadCertificate,
    /// The proxy wants credentials.
    Proxy,
    /// The object is archived where it cannot be read at once.
    ColdStorage,
    /// The system does not let this account use the store's folder.
    FolderDenied,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file system holds no file so large.
    FileTooLarge,
    /// The clocks of this machine and of the store differ too much for a signature to count, as they do right after
    /// a sleep.
    ClockSkew,
    /// The store lacks the operation, or an option of it.
    Unsupported,
    /// The store wants all parts of an upload but the last to be equally large.
    UnequalParts,
    /// The request itself was refused.
    Rejected,
}

impl StoreErrorKind {
    /// Whether trying again may help.
    pub fn retry_class(self) -> RetryClass {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::Throttled
            | Self::ServerFault
            | Self::ClockSkew
            | Self::ChecksumMismatch => RetryClass::Temporary,
            _ => RetryClass::Permanent,
        }
    }

    /// Whether a setting of ours is wrong, and the store need not even be asked.
    pub fn is_configuration(self) -> bool {
        matches!(self, Self::NoCredentials | Self::WrongRegion | Self::BadSetting | Self::BadEndpoint)
    }

    /// Whether the store itself cannot be used until a person has changed something: each request would end so.
    pub fn is_of_the_store(self) -> bool {
        self.is_configuration()
            || matches!(
                self,
                Self::NoSuchStore
                    | Self::OtherStore
                    | Self::Credentials
                    | Self::Certificate
                    | Self::BadCertificate
                    | Self::Proxy
            )
    }

    /// What the reader can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotFound => "Check the key; `backup-client list` shows the backups that exist",
            Self::AlreadyExists => {
                "Another program has put it; look at what is there before anything replaces it"
            }
            Self::NoSuchStore => {
                "Check the bucket or folder in AWS_S3_BUCKET or in the policy's `store`; it must exist beforehand"
            }
            Self::OtherStore => {
                "Mount the disk that holds the store, then run again; if it was replaced on purpose, run \
                 `intellistor-agent run --new-store` once"
            }
            Self::Credentials => {
                "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary credentials, AWS_SESSION_TOKEN"
            }
            Self::AccessDenied => {
                "Grant this permission to the credentials; docs/STORES.md has the whole policy that a backup needs"
            }
            Self::Unreachable => {
                "Check AWS_ENDPOINT_URL, AWS_REGION, the proxy (HTTPS_PROXY, NO_PROXY) and the network"
            }
            Self::Timeout => "Check the network, and whether the store is overloaded",
            Self::Throttled => "The store asks for fewer requests; try again later",
            Self::ServerFault => "The store had an error of its own; try again later",
            Self::UploadGone => "The upload was aborted or expired in the store; run the backup again",
            Self::ChecksumMismatch => {
                "Bytes were altered on the way; try again, and check the network's hardware if it recurs"
            }
            Self::Full => "Free some space or raise the quota, then run again",
            Self::NoCredentials => {
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, here or in the file of --env-file"
            }
            Self::WrongRegion => {
                "Set it where the other AWS_* variables are set, such as the file of --env-file"
            }
            Self::BadSetting => "Correct the variable, or unset it",
            Self::BadEndpoint => "Correct AWS_ENDPOINT_URL",
            Self::Certificate => {
                "Put the authority's certificate (PEM) into a file, and that file's path into AWS_CA_BUNDLE"
            }
            Self::BadCertificate => {
                "Whoever runs the endpoint has to replace it; see also that AWS_ENDPOINT_URL names the right host and \
                 that this machine's clock is right"
            }
            Self::Proxy => {
                "Put user and password into the proxy's URL (http://user:password@host:port), or the endpoint's host into \
                 NO_PROXY"
            }
            Self::ColdStorage => {
                "Have a readable copy made (`aws s3api restore-object`), wait until it is there, and run this again; a \
                 bucket's lifecycle rules should leave backups out"
            }
            Self::FolderDenied => "Check who may read and write in that folder, and which account runs this",
            Self::ReadOnly => "Mount it for writing, or choose a folder on another file system",
            Self::FileTooLarge => {
                "FAT32 ends at 4 GiB: use exFAT, NTFS or ext4; where the file system is not the limit, see `ulimit -f`"
            }
            Self::ClockSkew => {
                "Set this machine's clock, or let it be set (NTP): it may differ from the store's by 15 minutes at most"
            }
            Self::UnequalParts => {
                "INTELLISTOR_S3_EQUAL_PARTS=yes makes the parts equal from the start; otherwise each run has to detect it"
            }
            Self::Unsupported => {
                "The store lacks what was asked of it; docs/STORES.md says what a store must have"
            }
            Self::Rejected => "The store rejected the request; its message is above",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
