//! Converts the system's names to bytes, and back without loss.
//!
//! On Unix a name is bytes. On Windows it is UTF-16 that need not be valid: a valid name
//! becomes UTF-8, and a surrogate without its partner the three bytes that UTF-8 would have for it (WTF-8).

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

/// A name's bytes.
#[cfg(unix)]
pub(crate) fn to_bytes(name: &OsStr) -> Cow<'_, [u8]> {
    Cow::Borrowed(std::os::unix::ffi::OsStrExt::as_bytes(name))
}

/// The name of which `bytes` are the bytes.
#[cfg(unix)]
pub(crate) fn from_bytes(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// A name's bytes.
#[cfg(windows)]
pub(crate) fn to_bytes(name: &OsStr) -> Cow<'_, [u8]> {
    match name.to_str() {
        Some(text) => Cow::Borrowed(text.as_bytes()),
        None => Cow::Owned(utf16::to_bytes(std::os::windows::ffi::OsStrExt::encode_wide(name))),
    }
}

/// The name of which `bytes` are the bytes.
#[cfg(windows)]
pub(crate) fn from_bytes(bytes: &[u8]) -> OsString {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => std::os::windows::ffi::OsStringExt::from_wide(&utf16::from_bytes(bytes)),
    }
}

/// The bytes of a name in UTF-16.
#[cfg(any(windows, test))]
pub(crate) fn from_wide(wide: &[u16]) -> Vec<u8> {
    utf16::to_bytes(wide.iter().copied())
}

/// A path as its bytes, whatever they are.
pub(super) mod serde_path {
    use std::path::{Path, PathBuf};

    use serde::{Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&super::to_bytes(path.as_os_str()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(d)?;
        Ok(super::from_bytes(&bytes).into())
    }
}

#[cfg(any(windows, test))]
mod utf16 {
    pub(super) fn to_bytes(wide: impl Iterator<Item = u16>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for decoded in char::decode_utf16(wide) {
            match decoded {
                Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(lone) => {
                    let unit = lone.unpaired_surrogate();
                    let low = |shift: u32| 0x80 | (unit >> shift & 0x3f) as u8;
                    bytes.extend_from_slice(&[0xed, low(6), low(0)]);
                }
            }
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Vec<u16> {
        let mut wide = Vec::new();
        let mut lone = 0;
        for chunk in bytes.utf8_chunks() {
            wide.extend(chunk.valid().encode_utf16());
            for &byte in chunk.invalid() {
                // The second and third byte bring six bits each; the first means 0xd000.
                lone = if byte == 0xed { 0x0d } else { lone << 6 | u16::from(byte & 0x3f) };
                if lone > 0xd000 {
                    wide.push(std::mem::take(&mut lone));
                }
            }
        }
        wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_names_are_utf8() {
        assert_eq!(*to_bytes(OsStr::new("Cópia 😀")), *"Cópia 😀".as_bytes());
        assert_eq!(utf16::to_bytes("Cópia 😀".encode_utf16()), "Cópia 😀".as_bytes());
        assert_eq!(from_bytes("Cópia 😀".as_bytes()), "Cópia 😀");
    }

    proptest! {
        #[test]
        fn any_utf16_survives(wide in proptest::collection::vec(
            prop_oneof![0xd7f0_u16..0xe010, 0_u16..0x100, any::<u16>()], 0..12)
        ) {
            prop_assert_eq!(utf16::from_bytes(&utf16::to_bytes(wide.iter().copied())), wide);
        }
    }
}
