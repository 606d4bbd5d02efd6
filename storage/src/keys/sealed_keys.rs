//! Keys that a manifest has, sealed under its backup's data key: those of the archives that it depends on, and the chain's
//! content key. Whoever can open the backup can then open all that it needs, whatever user key sealed those.
//!
//! ```text
//! sealed          = nonce:12 || AES-256-GCM ciphertext:32 || tag:16
//! key             = HKDF-SHA256(ikm = data key, info = "intellistor/v1/sealed-keys" || backup_id)
//! associated data = purpose || "/" || context
//! ```
//! | purpose | context |
//! | --- | --- |
//! | `data key` | the `backup_id` of the dependency |
//! | `content key` | nothing |
//!
//! The nonce is made of fresh randomness and of what is sealed. A manifest that is built again after a crash has other nonces;
//! and should two copies of a machine draw the same random bytes, other keys still get other nonces (nonce law).

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::cipher::{Cipher, NONCE_BYTES, TAG_BYTES};
use crate::keys::content_key::ContentKey;
use crate::keys::data_key::DataKey;
use crate::keys::secret::{Secret, random};

const DATA_KEY: &str = "data key";
const CONTENT_KEY: &str = "content key";

impl DataKey {
    /// Seals a dependency's data key under this one, which is that of the backup `backup_id`.
    #[must_use]
    pub fn seal_data_key(&self, backup_id: &str, dependency_id: &str, key: &DataKey) -> Vec<u8> {
        self.seal_secret(DATA_KEY, backup_id, dependency_id, &key.0.0)
    }

    /// Opens what [`Self::seal_data_key`] made for the same two backups.
    ///
    /// # Errors
    /// [`Error::Integrity`] when it is anything else.
    pub fn open_data_key(&self, backup_id: &str, dependency_id: &str, sealed: &[u8]) -> Result<DataKey> {
        self.open_secret(DATA_KEY, backup_id, dependency_id, sealed).map(DataKey)
    }

    /// Seals the chain's content key under this one, which is that of the backup `backup_id`.
    #[must_use]
    pub fn seal_content_key(&self, backup_id: &str, key: &ContentKey) -> Vec<u8> {
        self.seal_secret(CONTENT_KEY, backup_id, "", &key.0.0)
    }

    /// Opens what [`Self::seal_content_key`] made for the same backup.
    ///
    /// # Errors
    /// [`Error::Integrity`] when it is anything else.
    pub fn open_content_key(&self, backup_id: &str, sealed: &[u8]) -> Result<ContentKey> {
        self.open_secret(CONTENT_KEY, backup_id, "", sealed).map(ContentKey)
    }

    fn seal_secret(&self, purpose: &str, backup_id: &str, context: &str, secret: &[u8; 32]) -> Vec<u8> {
        let associated = associated(purpose, context);
        let nonce = self.nonce(backup_id, &associated, secret);
        // It never grows, which would leave the secret behind.
        let mut sealed = Vec::with_capacity(NONCE_BYTES + secret.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret);
        sealed.extend_from_slice(&[0; TAG_BYTES]);
        self.sealing_cipher(backup_id).seal(nonce, &associated, &mut sealed[NONCE_BYTES..]);
        sealed
    }

    fn open_secret(&self, purpose: &str, backup_id: &str, context: &str, sealed: &[u8]) -> Result<Secret> {
        let mut room = Zeroizing::new(Vec::with_capacity(size_of::<Secret>()));
        let opened = sealed.split_first_chunk().and_then(|(nonce, sealed)| {
            if sealed.len() != size_of::<Secret>() + TAG_BYTES {
                return None;
            }
            let aad = associated(purpose, context);
            self.sealing_cipher(backup_id).open(*nonce, &aad, sealed, &mut room)?.try_into().ok()
        });
        let what = || match context {
            "" => format!("the sealed {purpose}"),
            context => format!("the sealed {purpose} of {context}"),
        };
        opened
            .map(Secret)
            .ok_or_else(|| Error::integrity(what(), "it was altered, or belongs to another backup"))
    }

    /// Nonce law (must): another one for everything that is sealed, also if the randomness is not fresh.
    fn nonce(&self, backup_id: &str, associated: &[u8], secret: &[u8; 32]) -> [u8; NONCE_BYTES] {
        let info: [&[u8]; 4] = [b"intellistor/v1/sealed-nonce", backup_id.as_bytes(), associated, secret];
        let derived = self.0.derive(Some(&random::<32>()), &info);
        *derived.0.first_chunk().expect("a derived key is longer than a nonce")
    }

    fn sealing_cipher(&self, backup_id: &str) -> Cipher {
        self.0.derive(None, &[b"intellistor/v1/sealed-keys", backup_id.as_bytes()]).cipher()
    }
}

fn associated(purpose: &str, context: &str) -> Vec<u8> {
    [purpose.as_bytes(), b"/", context.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_by_the_same_key_for_the_same_backups() {
        let (mine, other, dependency) = (DataKey::generate(), DataKey::generate(), DataKey::generate());
        let sealed = mine.seal_data_key("b2", "b1", &dependency);
        assert_eq!(mine.open_data_key("b2", "b1", &sealed).unwrap().0.0, dependency.0.0);
        for refused in [
            other.open_data_key("b2", "b1", &sealed),
            mine.open_data_key("b3", "b1", &sealed),
            mine.open_data_key("b2", "b0", &sealed),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("the sealed data key of b"), "{message}");
        }
        assert!(mine.open_content_key("b2", &sealed).is_err());
        let content = ContentKey::generate();
        let sealed = mine.seal_content_key("b2", &content);
        assert_eq!(mine.open_content_key("b2", &sealed).unwrap().0.0, content.0.0);
        assert!(mine.open_data_key("b2", "", &sealed).is_err());
        assert!(mine.open_content_key("b1", &sealed).is_err());
    }

    #[test]
    fn what_was_altered_cut_or_lengthened_is_refused() {
        let mine = DataKey::generate();
        let sealed = mine.seal_data_key("b2", "b1", &DataKey::generate());
        assert_eq!(sealed.len(), 60);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(mine.open_data_key("b2", "b1", &altered).is_err(), "byte {at}");
            assert!(mine.open_data_key("b2", "b1", &sealed[..at]).is_err(), "{at} bytes");
        }
        assert!(mine.open_data_key("b2", "b1", &[&sealed[..], &[0]].concat()).is_err());
    }

    #[test]
    fn no_two_seals_are_alike() {
        let (mine, key) = (DataKey::generate(), DataKey::generate());
        let [one, two] = [(); 2].map(|()| mine.seal_data_key("b2", "b1", &key));
        assert_ne!(one[..NONCE_BYTES], two[..NONCE_BYTES]);
        assert_ne!(one[NONCE_BYTES..], two[NONCE_BYTES..]);
    }

    #[test]
    fn its_bytes_are_those_of_the_format() {
        // HKDF, the nonce in front and the associated data, put together once more.
        let (mine, key) = (DataKey(Secret([3; 32])), DataKey(Secret([4; 32])));
        let sealed = mine.seal_data_key("b2", "b1", &key);
        let derived = mine.0.derive(None, &[b"intellistor/v1/sealed-keysb2"]);
        let (nonce, ciphertext) = sealed.split_first_chunk().unwrap();
        assert_eq!(
            derived.cipher().open(*nonce, b"data key/b1", ciphertext, &mut Vec::new()).unwrap(),
            [4; 32]
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", ContentKey(Secret([7; 32]))), "ContentKey(..)");
    }
}
