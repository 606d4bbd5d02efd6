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
#[derive(Debug, Clone, thiserror::Error)]
#[error("{store}: cannot {operation}{}{key}: {reason}", if key.is_empty() { "" } else { " " })]
pub struct StoreError {
    /// Decides whether a retry helps, and what a person can do.
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

/// How the reason of [`StoreErrorKind::WrongRegion`] begins where the store named the region, which follows.
pub(crate) const IN_REGION: &str = "the bucket is in region ";

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

    /// The region that the bucket is in, where the store named it. It is read from `reason`: a field would make every
    /// error of this crate too large to return by value.
    pub fn bucket_region(&self) -> Option<&str> {
        self.reason.strip_prefix(IN_REGION)?.split(',').next()
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
    /// The object is under retention or a legal hold.
    Locked,
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
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
