//! Who opens what was sealed.

use crate::error::Result;
use crate::keys::data_key::DataKey;
use crate::keys::user_key::{UserKey, WrappedKey};

/// Whoever restores: holds the secret that opens a wrapped key.
#[derive(Debug, Clone)]
pub struct Identity(UserKey);

impl Identity {
    /// Opens whichever of `wraps` was made for this identity.
    ///
    /// # Errors
    /// [`Error::WrongKey`](crate::Error::WrongKey) or [`Error::WrongPassphrase`](crate::Error::WrongPassphrase) when none
    /// was; `Integrity` when one was, and was altered since.
    pub fn unwrap(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        self.0.unwrap(wraps, backup_id)
    }
}

impl From<UserKey> for Identity {
    fn from(key: UserKey) -> Self {
        Self(key)
    }
}
