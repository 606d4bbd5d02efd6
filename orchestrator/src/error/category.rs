//! Kinds of errors, and which of the storage's errors are of which.

use intellistor_storage::Error as Storage;

/// Kinds of errors that call for different exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The operation failed.
    Failed,
    /// The policy, the environment or the arguments are wrong.
    Configuration,
    /// Bytes are not what was sealed.
    Integrity,
    /// Another run of the policy is active.
    Busy,
    /// Cancelled from outside.
    Interrupted,
}

pub(super) fn of_storage(error: &Storage) -> Category {
    match error {
        Storage::Integrity { .. } | Storage::OtherBackup { .. } => Category::Integrity,
        Storage::WrongKey { .. }
        | Storage::WrongPassphrase { .. }
        | Storage::BadKey { .. }
        | Storage::BadStoreUrl { .. }
        | Storage::NotOwner { .. }
        | Storage::UnreadableOwner { .. } => Category::Configuration,
        Storage::Store(store) if store.kind.is_configuration() => Category::Configuration,
        Storage::Busy { .. } => Category::Busy,
        _ => Category::Failed,
    }
}
