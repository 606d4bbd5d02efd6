//! The header: what is needed before the first frame can be opened, and by whom.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::archive::frame::FRAME_BYTES;
use crate::catalog::layout::BackupName;
use crate::error::{Error, Result};
use crate::keys::user_key::WrappedKey;

const MAGIC: &[u8; 4] = b"ISBK";
/// The version that this program writes and reads.
pub const FORMAT_VERSION: u8 = 1;
/// Magic, version, length.
pub(crate) const PREFIX_BYTES: usize = 9;
/// Room for some hundred wrapped keys; a hostile length must not make us allocate more.
const MAX_BODY_BYTES: usize = 64 << 10;
/// What a header takes at most.
pub const MOST_HEADER_BYTES: u64 = (PREFIX_BYTES + MAX_BODY_BYTES) as u64;
const WHAT: &str = "the archive's header";

/// The header, with the exact bytes that its digest covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    body: Body,
    encoded: Vec<u8>,
    digest: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    backup_id: String,
    policy_id: String,
    timestamp: String,
    frame_bytes: u32,
    keys: Vec<WrappedKey>,
}

impl Header {
    /// A header for a new archive.
    pub fn new(name: &BackupName, keys: Vec<WrappedKey>) -> Self {
        let BackupName { policy_id, timestamp, backup_id } = name.clone();
        let body = Body { backup_id, policy_id, timestamp, frame_bytes: FRAME_BYTES as u32, keys };
        let json = serde_json::to_vec(&body).expect("a header has only JSON types");
        let mut encoded = Vec::with_capacity(PREFIX_BYTES + json.len());
        encoded.extend_from_slice(MAGIC);
        encoded.push(FORMAT_VERSION);
        encoded.extend_from_slice(&u32::try_from(json.len()).expect("a header is small").to_be_bytes());
        encoded.extend_from_slice(&json);
        Self { digest: Sha256::digest(&encoded).into(), body, encoded }
    }

    /// The header's whole length in bytes, read from its first [`PREFIX_BYTES`].
    ///
    /// # Errors
    /// [`Error::Integrity`] when this is no archive, [`Error::UnsupportedVersion`] when it is a later one.
    pub(crate) fn length(prefix: &[u8; PREFIX_BYTES]) -> Result<usize> {
        let [m0, m1, m2, m3, version, length @ ..] = prefix;
        if [*m0, *m1, *m2, *m3] != *MAGIC {
            return Err(Error::integrity(
                WHAT,
                "it does not begin with ISBK, so it is not an Intellistor archive",
            ));
        }
        if *version != FORMAT_VERSION {
            return Err(Error::UnsupportedVersion {
                what: "the archive".to_owned(),
                found: u32::from(*version),
                known: u32::from(FORMAT_VERSION),
            });
        }
        match u32::from_be_bytes(*length) as usize {
            body if body <= MAX_BODY_BYTES => Ok(PREFIX_BYTES + body),
            body => Err(Error::integrity(
                WHAT,
                format!("it claims {body} bytes, but at most {MAX_BODY_BYTES} are allowed"),
            )),
        }
    }

    /// Reads the header of `what` ("the archive", ...), which must be of the backup `name`: a store may hold another one's
    /// bytes under its key.
    ///
    /// # Errors
    /// [`Error::OtherBackup`]; [`Error::Integrity`] or [`Error::UnsupportedVersion`].
    pub fn of(name: &BackupName, what: &str, encoded: &[u8]) -> Result<Self> {
        let header = Self::parse(encoded)?;
        let found = header.name();
        if found == *name {
            Ok(header)
        } else {
            let (found, expected) = (Box::new(found), Box::new(name.clone()));
            Err(Error::OtherBackup { what: what.to_owned(), found, expected })
        }
    }

    fn parse(encoded: &[u8]) -> Result<Self> {
        let cut = || Error::integrity(WHAT, "it is cut short");
        let length = Self::length(encoded.first_chunk().ok_or_else(cut)?)?;
        if encoded.len() != length {
            return Err(cut());
        }
        let body: Body = serde_json::from_slice(&encoded[PREFIX_BYTES..])
            .map_err(|e| Error::integrity(WHAT, e.to_string()))?;
        if body.frame_bytes == 0 || body.frame_bytes as usize > FRAME_BYTES {
            return Err(Error::integrity(WHAT, format!("its frames claim {} bytes", body.frame_bytes)));
        }
        Ok(Self { digest: Sha256::digest(encoded).into(), encoded: encoded.to_vec(), body })
    }

    /// What names the backup.
    pub fn name(&self) -> BackupName {
        let Body { backup_id, policy_id, timestamp, .. } = self.body.clone();
        BackupName { policy_id, timestamp, backup_id }
    }

    /// The backup's id, to which every key is bound.
    pub fn backup_id(&self) -> &str {
        &self.body.backup_id
    }

    /// The most tar bytes that a frame holds.
    pub fn frame_bytes(&self) -> usize {
        self.body.frame_bytes as usize
    }

    /// The data key, once for each user key that opens it.
    pub fn keys(&self) -> &[WrappedKey] {
        &self.body.keys
    }

    /// The bytes as they stand in the archive.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// SHA-256 of [`encoded`](Self::encoded); every frame is bound to it.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::{DataKey, Recipients, UserKey};
    use proptest::prelude::*;

    pub(crate) fn sample() -> (Header, DataKey, UserKey) {
        let name = BackupName {
            policy_id: "p".into(),
            timestamp: "20261123T020000Z".into(),
            backup_id: "b-1".into(),
        };
        let (data_key, user_key) = (DataKey::generate(), UserKey::generate());
        (
            Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, &name.backup_id)),
            data_key,
            user_key,
        )
    }

    #[test]
    fn it_reads_back() {
        let (header, ..) = sample();
        assert_eq!(Header::parse(header.encoded()).unwrap(), header);
    }

    #[test]
    fn it_must_be_of_the_backup_that_is_meant() {
        let header = sample().0;
        let name = header.name();
        assert_eq!(Header::of(&name, "the archive", header.encoded()).unwrap(), header);
        for other in [
            BackupName { policy_id: "another".into(), ..name.clone() },
            BackupName { timestamp: "20261124T020000Z".into(), ..name.clone() },
            BackupName { backup_id: "b-2".into(), ..name.clone() },
        ] {
            let message = Header::of(&other, "the archive", header.encoded()).unwrap_err().to_string();
            assert!(message.contains(&name.to_string()) && message.contains(&other.to_string()), "{message}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut encoded = sample().0.encoded().to_vec();
        encoded[4] = 9;
        let message = Header::parse(&encoded).unwrap_err().to_string();
        assert!(message.contains("version 9") && message.contains("version 1"), "{message}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise: Vec<u8>, at in 0usize..400, flip: u8) {
            let _ = Header::parse(&noise);
            let mut encoded = sample().0.encoded().to_vec();
            let at = at % encoded.len();
            encoded[at] ^= flip;
            let _ = Header::parse(&encoded);
        }
    }
}
