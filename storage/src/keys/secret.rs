//! Secret bytes: derived, turned into a cipher, zeroed when dropped.

use std::fmt;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::cipher::Cipher;

/// 32 secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Secret(pub(super) [u8; 32]);

impl Secret {
    pub(super) fn derive(&self, salt: Option<&[u8]>, info: &[&[u8]]) -> Self {
        let mut derived = Self([0; 32]);
        Hkdf::<Sha256>::new(salt, &self.0)
            .expand_multi_info(info, &mut derived.0)
            .expect("32 bytes are within HKDF's bound of 255 blocks");
        derived
    }

    pub(super) fn cipher(&self) -> Cipher {
        Cipher::new(&self.0)
    }
}

/// Random bytes from the operating system.
///
/// # Panics
/// When the system has no randomness to give: nothing may be sealed then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The public name of a user key: 8 bytes, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub(super) String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyId {
    pub(super) fn of(secret: &Secret) -> Self {
        Self(hex::encode(&secret.derive(None, &[b"intellistor/v1/key-id"]).0[..8]))
    }
}
