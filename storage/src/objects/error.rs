//! What an object store answered, by what calls for different actions.

use std::fmt;
use std::time::Duration;

/// Whether the same call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The network, the service or the disk may recover by itself.
    Temporary,
    /// Only a person can change the outcome.
    Permanent,
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
