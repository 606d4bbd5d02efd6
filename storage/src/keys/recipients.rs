//! Who can open what is sealed.

use crate::error::Result;
use crate::keys::data_key::DataKey;
use crate::keys::user_key::{UserKey, WrappedKey};

/// Those for whom a backup is sealed. Sealing needs them, and nothing else of a user's keys.
#[derive(Debug, Clone)]
pub struct Recipients(UserKey);

impl Recipients {
    /// Wraps a backup's data key, once for each recipient.
    pub fn wrap(&self, data_key: &DataKey, backup_id: &str) -> Vec<WrappedKey> {
        vec![self.0.wrap(data_key, backup_id)]
    }

    /// The data key of a backup that was sealed for these same recipients: of a job that is resumed. A user key can open
    /// what it sealed; for recipients that cannot, the job has to keep its data key.
    ///
    /// # Errors
    /// [`Error::WrongKey`](crate::Error::WrongKey) or [`Error::WrongPassphrase`](crate::Error::WrongPassphrase) when it
    /// was sealed for others; `Integrity` when the wrapped key was altered.
    pub fn reopen(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        self.0.unwrap(wraps, backup_id)
    }

    /// Why a passphrase should seal nothing, where it is one that is easily guessed.
    pub fn weakness(&self) -> Option<String> {
        self.0.weakness()
    }
}

impl From<UserKey> for Recipients {
    fn from(key: UserKey) -> Self {
        Self(key)
    }
}
