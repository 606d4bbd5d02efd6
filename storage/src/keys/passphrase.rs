//! A key from a passphrase, by Argon2id (RFC 9106, version 0x13), and passphrases that are too weak.

use std::collections::BTreeSet;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys::secret::{Secret, random};

/// RFC 9106's second recommendation is 64 MiB, 3 passes; one lane, so that the cost is the same everywhere.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 1;
/// Nothing of a header is authenticated before its key is stretched, so that a forged one decides what that costs: twice
/// the memory of our own, and for all wrapped keys of a header together four times our own work, a second or two.
const ARGON2_MOST_MEMORY_KIB: u32 = 2 * ARGON2_MEMORY_KIB;
const ARGON2_MOST_PASSES: u32 = 2 * ARGON2_PASSES;
const ARGON2_MOST_LANES: u32 = 4;
/// In KiB times passes.
pub(super) const ARGON2_MOST_WORK: u64 = 4 * ARGON2_MEMORY_KIB as u64 * ARGON2_PASSES as u64;

/// A passphrase of fewer characters is guessed from a stolen backup: Argon2id makes each guess slow, not the guesses many.
const PASSPHRASE_CHARACTERS: usize = 10;
/// Of them, so many differ.
const PASSPHRASE_DIFFERENT: usize = 5;
/// Of digits alone it takes more.
const PASSPHRASE_DIGITS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argon2id {
    #[serde(with = "crate::text::base64_array")]
    salt: [u8; 16],
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Argon2id {
    /// Our own cost, with a new salt.
    pub(super) fn with_new_salt() -> Self {
        Self { salt: random(), memory_kib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES }
    }

    pub(super) fn work(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    pub(super) fn refused() -> Error {
        Error::integrity("the wrapped key", "its Argon2id parameters are out of bounds")
    }

    pub(super) fn stretch(&self, passphrase: &str) -> Result<Secret> {
        if self.memory_kib > ARGON2_MOST_MEMORY_KIB
            || self.passes > ARGON2_MOST_PASSES
            || self.lanes > ARGON2_MOST_LANES
        {
            return Err(Self::refused());
        }
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| Self::refused())?;
        let mut secret = Secret([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, &mut secret.0)
            .map_err(|_| Self::refused())?;
        Ok(secret)
    }
}

/// Why a passphrase should seal nothing, where it is one that is easily guessed.
pub(super) fn weakness(passphrase: &str) -> Option<String> {
    let characters = passphrase.chars().count();
    let different = passphrase.chars().collect::<BTreeSet<_>>().len();
    if characters < PASSPHRASE_CHARACTERS {
        Some(format!("it has fewer than {PASSPHRASE_CHARACTERS} characters"))
    } else if different < PASSPHRASE_DIFFERENT {
        Some(format!("it has fewer than {PASSPHRASE_DIFFERENT} different characters"))
    } else if characters < PASSPHRASE_DIGITS && passphrase.chars().all(char::is_numeric) {
        Some(format!("it consists of digits only, and of fewer than {PASSPHRASE_DIGITS}"))
    } else {
        None
    }
}
