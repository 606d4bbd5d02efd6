//! The key that a user keeps: where it comes from, and how it wraps a data key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::cipher::{NONCE_BYTES, TAG_BYTES};
use crate::keys::data_key::DataKey;
use crate::keys::passphrase;
use crate::keys::passphrase::{ARGON2_MOST_WORK, Argon2id};
use crate::keys::secret::{KeyId, Secret, random};

/// The key that a user keeps. With it every backup that it sealed can be read; without it, none.
#[derive(Clone)]
pub struct UserKey(Origin);

#[derive(Clone)]
enum Origin {
    Raw(Secret),
    Passphrase(Zeroizing<String>),
}

impl UserKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Origin::Raw(Secret(random())))
    }

    /// Reads a key from base64 of 32 bytes; white space around it is ignored. `origin` names the variable or
    /// file in errors.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the text is anything else.
    pub fn from_base64(origin: &str, text: &str) -> Result<Self> {
        let bad = |reason: String| Error::BadKey { origin: origin.to_owned(), reason };
        let bytes = Zeroizing::new(
            STANDARD
                .decode(text.trim())
                .map_err(|_| bad("it is not the base64 form of 32 bytes".to_owned()))?,
        );
        let secret = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| bad(format!("it has {} bytes, but a key has 32", bytes.len())))?;
        Ok(Self(Origin::Raw(Secret(secret))))
    }

    /// Uses a passphrase, stretched by Argon2id with a salt of each backup's own.
    ///
    /// # Errors
    /// [`Error::BadKey`] when it is empty.
    pub fn from_passphrase(origin: &str, passphrase: String) -> Result<Self> {
        if passphrase.is_empty() {
            return Err(Error::BadKey { origin: origin.to_owned(), reason: "it is empty".to_owned() });
        }
        Ok(Self(Origin::Passphrase(Zeroizing::new(passphrase))))
    }

    /// Why a passphrase should seal nothing, where it is one that is easily guessed. It opens what it sealed all the same.
    pub fn weakness(&self) -> Option<String> {
        let Origin::Passphrase(passphrase) = &self.0 else { return None };
        passphrase::weakness(passphrase)
    }

    /// The key as base64, to be kept by its owner; `None` for a passphrase.
    pub fn to_base64(&self) -> Option<Zeroizing<String>> {
        match &self.0 {
            Origin::Raw(secret) => Some(Zeroizing::new(STANDARD.encode(secret.0))),
            Origin::Passphrase(_) => None,
        }
    }

    /// The key's public name; `None` for a passphrase, whose name differs from backup to backup.
    pub fn id(&self) -> Option<KeyId> {
        match &self.0 {
            Origin::Raw(secret) => Some(KeyId::of(secret)),
            Origin::Passphrase(_) => None,
        }
    }

    /// Wraps a data key for the header of a backup.
    pub(super) fn wrap(&self, data_key: &DataKey, backup_id: &str) -> WrappedKey {
        let (secret, argon2id) = match &self.0 {
            Origin::Raw(secret) => (secret.clone(), None),
            Origin::Passphrase(passphrase) => {
                let stretch = Argon2id::with_new_salt();
                let secret = stretch.stretch(passphrase).expect("our own cost is within our own bounds");
                (secret, Some(stretch))
            }
        };
        let key_id = KeyId::of(&secret);
        let nonce: [u8; NONCE_BYTES] = random();
        let cipher = secret.derive(None, &[b"intellistor/v1/wrap"]).cipher();
        // It never grows, which would leave the key behind.
        let mut wrapped = Vec::with_capacity(data_key.0.0.len() + TAG_BYTES);
        wrapped.extend_from_slice(&data_key.0.0);
        wrapped.extend_from_slice(&[0; TAG_BYTES]);
        cipher.seal(nonce, &wrap_context(backup_id, &key_id), &mut wrapped);
        WrappedKey { key_id, nonce, wrapped, argon2id }
    }

    /// Opens whichever of `wraps` this key made.
    ///
    /// # Errors
    /// [`Error::WrongKey`] or [`Error::WrongPassphrase`] when this key made none of them;
    /// [`Error::Integrity`] when it made one that was altered since.
    pub(super) fn unwrap(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        let mut work: u64 = 0;
        for wrap in wraps {
            work = wrap.argon2id.as_ref().map_or(work, |argon2id| argon2id.work().saturating_add(work));
        }
        if matches!(self.0, Origin::Passphrase(_)) && work > ARGON2_MOST_WORK {
            return Err(Argon2id::refused());
        }
        for wrap in wraps {
            let secret = match (&self.0, &wrap.argon2id) {
                (Origin::Raw(secret), None) => secret.clone(),
                (Origin::Passphrase(passphrase), Some(argon2id)) => argon2id.stretch(passphrase)?,
                _ => continue,
            };
            if KeyId::of(&secret) == wrap.key_id {
                return wrap.open(&secret, backup_id);
            }
        }
        let sealed_with = wraps.iter().map(|w| w.key_id.0.as_str()).collect::<Vec<_>>().join(", ");
        let by_passphrase = wraps.iter().any(|wrap| wrap.argon2id.is_some());
        Err(match self.id() {
            Some(configured) => Error::WrongKey { sealed_with, configured: configured.0 },
            None if by_passphrase => Error::WrongPassphrase { sealed_with },
            None => Error::WrongKey { sealed_with, configured: "a passphrase".to_owned() },
        })
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Origin::Raw(secret) => write!(f, "UserKey({})", KeyId::of(secret)),
            Origin::Passphrase(_) => f.write_str("UserKey(passphrase)"),
        }
    }
}

fn wrap_context(backup_id: &str, key_id: &KeyId) -> Vec<u8> {
    [backup_id.as_bytes(), b"/", key_id.0.as_bytes()].concat()
}

/// A data key as the header of a backup carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKey {
    /// The user key that opens it.
    pub key_id: KeyId,
    #[serde(with = "crate::text::base64_array")]
    nonce: [u8; 12],
    /// Ciphertext and tag.
    #[serde(with = "crate::text::base64_bytes")]
    wrapped: Vec<u8>,
    /// How the user key came from a passphrase, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<Argon2id>,
}

impl WrappedKey {
    /// Whether a passphrase opens it. Its key id then differs from backup to backup, with the salt.
    pub fn is_of_passphrase(&self) -> bool {
        self.argon2id.is_some()
    }

    fn open(&self, secret: &Secret, backup_id: &str) -> Result<DataKey> {
        let altered = || Error::integrity("the wrapped key", "it was altered, or belongs to another backup");
        let aad = wrap_context(backup_id, &self.key_id);
        let cipher = secret.derive(None, &[b"intellistor/v1/wrap"]).cipher();
        let mut room = Zeroizing::new(Vec::with_capacity(self.wrapped.len()));
        let key = cipher.open(self.nonce, &aad, &self.wrapped, &mut room).ok_or_else(altered)?;
        key.try_into().map(|key| DataKey(Secret(key))).map_err(|_| altered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_opens_only_what_it_wrapped() {
        let (mine, other) = (UserKey::generate(), UserKey::generate());
        let data_key = DataKey::generate();
        let wrap = mine.wrap(&data_key, "b1");
        assert_eq!(mine.unwrap(std::slice::from_ref(&wrap), "b1").unwrap().0.0, data_key.0.0);
        let message = other.unwrap(std::slice::from_ref(&wrap), "b1").unwrap_err().to_string();
        assert!(
            message.contains(&mine.id().unwrap().0) && message.contains(&other.id().unwrap().0),
            "{message}"
        );
        assert!(matches!(mine.unwrap(&[wrap], "b2"), Err(Error::Integrity { .. })));
    }

    #[test]
    fn a_passphrase_opens_what_it_wrapped() {
        let mine = UserKey::from_passphrase("test", "maçã verde".into()).unwrap();
        let other = UserKey::from_passphrase("test", "maca verde".into()).unwrap();
        let wraps = [mine.wrap(&DataKey::generate(), "b1")];
        mine.unwrap(&wraps, "b1").unwrap();
        assert!(matches!(other.unwrap(&wraps, "b1"), Err(Error::WrongPassphrase { .. })));
        assert!(matches!(UserKey::generate().unwrap(&wraps, "b1"), Err(Error::WrongKey { .. })));
    }

    #[test]
    fn a_hostile_header_cannot_make_us_allocate_without_bound() {
        let mine = UserKey::from_passphrase("test", "x".into()).unwrap();
        let wrap = mine.wrap(&DataKey::generate(), "b1");
        let refused = |wraps: &[WrappedKey]| {
            let outcome = mine.unwrap(wraps, "b1");
            assert!(
                matches!(&outcome, Err(Error::Integrity { what, .. }) if what == "the wrapped key"),
                "{outcome:?}"
            );
            // Had it been stretched it would be another key, or for many of ours the right one.
        };
        for (memory_kib, passes, lanes) in
            [(u32::MAX, 1, 1), (1 << 20, 1, 1), (129 << 10, 1, 1), (64, 7, 1), (64, u32::MAX, 1), (64, 1, 5)]
        {
            let mut forged = wrap.clone();
            let argon2id = forged.argon2id.as_mut().unwrap();
            (argon2id.memory_kib, argon2id.passes, argon2id.lanes) = (memory_kib, passes, lanes);
            refused(&[forged]);
        }
        refused(&vec![wrap.clone(); 5]);
        mine.unwrap(&[wrap], "b1").unwrap();
    }

    #[test]
    fn a_passphrase_that_is_easily_guessed_is_weak_and_opens_all_the_same() {
        let weakness = |text: &str| UserKey::from_passphrase("test", text.to_owned()).unwrap().weakness();
        for weak in ["x", "password1", "maçã verd", "aaaaaaaaaaaaaaaa", "abababababab", "123456789012345"] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for fair in ["maçã verde", "correct horse battery staple", "1234567890123456", "kX7#-qpL2v"] {
            assert_eq!(weakness(fair), None, "{fair}");
        }
        assert_eq!(UserKey::generate().weakness(), None);
    }

    #[test]
    fn base64_round_trips_and_its_errors_name_the_origin() {
        let key = UserKey::from_base64("INTELLISTOR_KEY", &format!(" {TEXT}\n")).unwrap();
        assert_eq!(key.to_base64().unwrap().as_str(), TEXT);
        for bad in ["", "x", "AAECAw==", &format!("{TEXT}{TEXT}")] {
            let message = UserKey::from_base64("INTELLISTOR_KEY", bad).unwrap_err().to_string();
            assert!(
                message.contains("INTELLISTOR_KEY") && (bad.len() < 4 || !message.contains(bad)),
                "{message}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = UserKey::from_base64("test", TEXT).unwrap();
        let bytes: Vec<u8> = (0..32).collect();
        // As base64, as hex in both cases, and as a list of numbers; a few bytes of it would be too many.
        let forms = [TEXT[..8].to_owned(), hex::encode(&bytes[8..16]), hex::encode_upper(&bytes[8..16])];
        let forms =
            forms.into_iter().chain([format!("{:?}", &bytes[8..12]).trim_matches(['[', ']']).to_owned()]);
        let passphrase = UserKey::from_passphrase("test", "maçã verde".to_owned()).unwrap();
        let data_key = DataKey(Secret(bytes.clone().try_into().unwrap()));
        for shown in
            [format!("{key:?}"), format!("{data_key:?}"), format!("{passphrase:?}"), format!("{key:#?}")]
        {
            let leaked: Vec<_> = forms.clone().filter(|form| shown.contains(form.as_str())).collect();
            assert!(leaked.is_empty() && !shown.contains("verde"), "{shown} holds {leaked:?}");
        }
        let expected = format!("UserKey({})", key.id().unwrap());
        assert_eq!(
            (format!("{key:?}"), format!("{passphrase:?}")),
            (expected, "UserKey(passphrase)".to_owned())
        );
    }
}
