//! The key of one backup.

use std::fmt;

use sha2::Sha256;

use crate::keys::cipher::Cipher;
use crate::keys::secret::{Secret, random};

/// The random key of one backup. Everything in the backup is sealed under keys derived from it.
#[derive(Clone)]
pub struct DataKey(pub(super) Secret);

impl DataKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Secret(random()))
    }

    pub(crate) fn segment_cipher(&self, salt: &[u8; 32], backup_id: &str, number: u32) -> Cipher {
        self.0
            .derive(Some(salt), &[b"intellistor/v1/segment", backup_id.as_bytes(), &number.to_be_bytes()])
            .cipher()
    }

    /// The data key of the archive that has the sealed lists of the backup's manifest.
    pub(crate) fn entries_key(&self, backup_id: &str) -> Self {
        Self(self.0.derive(None, &[b"intellistor/v1/entries", backup_id.as_bytes()]))
    }

    /// For what is said of the backup after it was made.
    pub(crate) fn statement_mac(&self, backup_id: &str) -> hmac::Hmac<Sha256> {
        self.mac(b"intellistor/v1/statement", backup_id)
    }

    pub(crate) fn manifest_mac(&self, backup_id: &str) -> hmac::Hmac<Sha256> {
        self.mac(b"intellistor/v1/manifest", backup_id)
    }

    fn mac(&self, purpose: &[u8], backup_id: &str) -> hmac::Hmac<Sha256> {
        let key = self.0.derive(None, &[purpose, backup_id.as_bytes()]);
        <hmac::Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key.0).expect("HMAC takes a key of any length")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}
