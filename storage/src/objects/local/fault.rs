//! What the system answers, before the store's URL and the key are added.

use std::io;

use crate::disk::shortage;
use crate::objects::error::StoreErrorKind;

/// The kind and the reason.
pub(super) struct LocalError(pub(super) StoreErrorKind, pub(super) String);

pub(super) type LocalResult<T> = std::result::Result<T, LocalError>;

impl From<io::Error> for LocalError {
    fn from(e: io::Error) -> Self {
        let kind = match e.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => StoreErrorKind::FolderDenied,
            io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            io::ErrorKind::FileTooLarge => StoreErrorKind::FileTooLarge,
            io::ErrorKind::NotADirectory => StoreErrorKind::NoSuchStore,
            io::ErrorKind::TimedOut => StoreErrorKind::Timeout,
            _ => StoreErrorKind::ServerFault,
        };
        Self(kind, format!("{e}{}", shortage::advice(&e)))
    }
}

pub(super) fn nothing_above() -> LocalError {
    LocalError(StoreErrorKind::NoSuchStore, "the folder above it does not exist".to_owned())
}

pub(super) fn missing() -> LocalError {
    LocalError(StoreErrorKind::NoSuchStore, "the folder does not exist".to_owned())
}

pub(super) fn rejected(reason: impl Into<String>) -> LocalError {
    LocalError(StoreErrorKind::Rejected, reason.into())
}
