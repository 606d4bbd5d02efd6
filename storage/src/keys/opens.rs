//! Those who can get at the data key of a backup.

use crate::error::Result;
use crate::keys::data_key::DataKey;
use crate::keys::identity::Identity;
use crate::keys::recipients::Recipients;
use crate::keys::user_key::WrappedKey;

/// Opens backups: an identity does; recipients do for backups that were sealed for them, while keys are symmetric.
pub trait OpensBackups: std::fmt::Debug + Send + Sync {
    /// The data key of a backup, which its header has in `wraps`.
    ///
    /// # Errors
    /// [`Error::WrongKey`](crate::Error::WrongKey) or [`Error::WrongPassphrase`](crate::Error::WrongPassphrase) when it was
    /// sealed for others; `Integrity` when the wrapped key was altered.
    fn data_key(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey>;
}

impl OpensBackups for Identity {
    fn data_key(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        self.unwrap(wraps, backup_id)
    }
}

impl OpensBackups for Recipients {
    fn data_key(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        self.reopen(wraps, backup_id)
    }
}
