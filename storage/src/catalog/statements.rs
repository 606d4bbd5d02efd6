//! What is said about a backup after it was made: small JSON objects beside it, each proven with the backup's data key, so that
//! no one without a key can hide a backup or end a hold.
//!
//! ```json
//! {"statement":"forgotten","version":1,"header":"SVNCSwEA...","id":"0196...","time":"2026-11-26T02:00:00Z",
//!  "by":"db01 (intellistor 0.1.0)","why":"retention: no rule keeps it","prunable_from":"2026-12-04T02:00:00Z","sweeping":false,
//!  "hmac_sha256":"9f86d0..."}
//! ```
//! `header` is the archive's [`Header`], with the wrapped data key: a statement is proven without its manifest, which a sweep
//! deletes first, and without a byte of the archive. `hmac_sha256` is HMAC-SHA256 over all bytes before the comma that
//! precedes it, under HKDF-SHA256(data key, "intellistor/v1/statement" || backup_id).
//!
//! Law (must): `forgotten.json` is written by whoever forgets and by the sweep alone, `hold.json` by whoever holds, releases
//! and unforgets alone. Of two that contradict each other, [`standing`](super::standing) says which counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::Mac as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::archive::header::Header;
use crate::catalog::layout::{BackupName, ObjectKind};
use crate::error::{Error, Result};
use crate::keys::{DataKey, OpensBackups};
use crate::objects::error::StoreErrorKind;
use crate::objects::options::PutOptions;
use crate::objects::store::ObjectStore;

/// A header has up to 64 KiB, in base64.
const MOST_BYTES: u64 = 128 << 10;
const VERSION: u32 = 1;
const TAG: &str = ",\"hmac_sha256\":\"";

/// One kind of statement.
pub trait Statement: Serialize + DeserializeOwned + Send + Sync {
    /// The object that it is in.
    const OBJECT: ObjectKind;
    /// What names the kind.
    const NAME: &'static str;
}

/// The backup is not listed any more, and may be deleted from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// A UUID: which forgetting it was. An [`Hold::unforgets`] names it.
    pub id: String,
    /// When, by the store's clock where it is known.
    #[serde(with = "crate::text::rfc3339")]
    pub time: DateTime<Utc>,
    /// Host and tool.
    pub by: String,
    /// The reason, for people.
    pub why: String,
    /// A sweep may delete the backup from then on.
    #[serde(with = "crate::text::rfc3339")]
    pub prunable_from: DateTime<Utc>,
    /// A sweep has begun to delete it: nothing takes that back.
    pub sweeping: bool,
    /// When it was first put, by the store's clock: a sweep that put it again says so, or its wait would begin anew.
    #[serde(default, with = "crate::text::rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub put: Option<DateTime<Utc>>,
}

/// The backup is kept whatever the rules say, or is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    #[serde(with = "crate::text::rfc3339")]
    pub time: DateTime<Utc>,
    /// Host and tool.
    pub by: String,
    /// The reason, for people.
    pub why: String,
    /// `false` once it was released.
    pub held: bool,
    /// Each [`Forgotten::id`] that was taken back, the newest last; kept over later holds. One that is not among them counts again
    /// if it is put again, by a sweep that had planned with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unforgets: Vec<String>,
}

/// A person has said that what this backup lacks is not lost: retention goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    #[serde(with = "crate::text::rfc3339")]
    pub time: DateTime<Utc>,
    /// Host and tool.
    pub by: String,
}

impl Statement for Forgotten {
    const OBJECT: ObjectKind = ObjectKind::Forgotten;
    const NAME: &'static str = "forgotten";
}

impl Statement for Hold {
    const OBJECT: ObjectKind = ObjectKind::Hold;
    const NAME: &'static str = "hold";
}

impl Statement for Confirmed {
    const OBJECT: ObjectKind = ObjectKind::Confirmed;
    const NAME: &'static str = "confirmed";
}

/// What is under a statement's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<S> {
    Nothing,
    /// Proven.
    Proven(S),
    /// It proves nothing, for this reason: forged, damaged, of another backup, or made with another key.
    Unproven(String),
}

impl<S> Found<S> {
    /// What it says, if it is proven.
    pub fn proven(self) -> Option<S> {
        match self {
            Self::Proven(statement) => Some(statement),
            Self::Nothing | Self::Unproven(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Document<'d, S> {
    statement: String,
    version: u32,
    header: std::borrow::Cow<'d, str>,
    #[serde(flatten)]
    says: S,
}

/// The bytes of a statement about the backup with this header.
///
/// # Errors
/// [`Error::Io`] when it cannot be encoded.
pub fn encode<S: Statement>(header: &Header, data_key: &DataKey, says: &S) -> Result<Bytes> {
    let document = Document {
        statement: S::NAME.to_owned(),
        version: VERSION,
        header: STANDARD.encode(header.encoded()).into(),
        says,
    };
    let mut text = serde_json::to_string(&document).map_err(|e| Error::io("write", S::NAME)(e.into()))?;
    text.pop();
    let mut mac = data_key.statement_mac(header.backup_id());
    mac.update(text.as_bytes());
    let tag = hex::encode(mac.finalize().into_bytes());
    text += &format!("{TAG}{tag}\"}}\n");
    Ok(text.into())
}

/// Reads a statement about `name`; the inner error says why it proves nothing.
pub fn decode<S: Statement>(name: &BackupName, bytes: &[u8], keys: &dyn OpensBackups) -> Result<S, String> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("it is larger than {} KiB", MOST_BYTES >> 10));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let document: Document<'_, S> =
        serde_json::from_str(text).map_err(|e| format!("it cannot be read ({e})"))?;
    if document.statement != S::NAME {
        return Err(format!("it says {:?}, and should say {:?}", document.statement, S::NAME));
    }
    if document.version != VERSION {
        return Err(format!("it has version {}; this program knows version {VERSION}", document.version));
    }
    let header = STANDARD.decode(&*document.header).map_err(|e| format!("its header is not base64 ({e})"))?;
    let header = Header::of(name, "the statement", &header).map_err(|e| e.to_string())?;
    let data_key = keys.data_key(header.keys(), header.backup_id()).map_err(|e| e.to_string())?;
    let altered = || "it was altered, or made without the key".to_owned();
    let (covered, tag) = text.rsplit_once(TAG).ok_or_else(altered)?;
    let tag = tag.trim_end().strip_suffix("\"}").and_then(|tag| hex::decode(tag).ok()).ok_or_else(altered)?;
    let mut mac = data_key.statement_mac(header.backup_id());
    mac.update(covered.as_bytes());
    mac.verify_slice(&tag).map_err(|_| altered())?;
    Ok(document.says)
}

/// Puts a statement, in the place of an earlier one of its kind.
///
/// # Errors
/// Those of the store.
pub async fn put<S: Statement>(
    store: &dyn ObjectStore,
    header: &Header,
    data_key: &DataKey,
    says: &S,
) -> Result<()> {
    let key = header.name().key(S::OBJECT);
    // Damage of what says that a backup is forgotten lists it again; and on a full disk pruning begins with replacing it.
    let in_place_if_full = S::OBJECT == ObjectKind::Forgotten;
    let options = PutOptions { in_place_if_full, ..PutOptions::default() };
    store.put_with(&key, encode(header, data_key, says)?, &options).await
}

/// Reads what is said about a backup.
///
/// # Errors
/// Those of the store.
pub async fn read<S: Statement>(
    store: &dyn ObjectStore,
    name: &BackupName,
    keys: &dyn OpensBackups,
) -> Result<Found<S>> {
    match store.get_range(&name.key(S::OBJECT), 0..MOST_BYTES + 1).await {
        Ok(bytes) => Ok(decode(name, &bytes, keys).map_or_else(Found::Unproven, Found::Proven)),
        Err(Error::Store(error)) if error.kind == StoreErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// What is said about a backup, without a proof: for listings without a key. `None` where nothing is said, or nothing that can
/// be read.
///
/// # Errors
/// Those of the store.
pub async fn read_unproven<S: Statement>(store: &dyn ObjectStore, name: &BackupName) -> Result<Option<S>> {
    match store.get_range(&name.key(S::OBJECT), 0..MOST_BYTES + 1).await {
        Ok(bytes) => Ok(serde_json::from_slice::<Document<'_, S>>(&bytes).ok().map(|document| document.says)),
        Err(Error::Store(error)) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The header in a statement, unproven: the only one that is left of a backup whose manifest is gone.
///
/// # Errors
/// Those of the store; [`Error::Integrity`] when there is none.
pub async fn header_in<S: Statement>(store: &dyn ObjectStore, name: &BackupName) -> Result<Header> {
    #[derive(Deserialize)]
    struct Start {
        header: String,
    }
    let bytes = store.get_range(&name.key(S::OBJECT), 0..MOST_BYTES + 1).await?;
    let start: Start = serde_json::from_slice(&bytes).map_err(|e| {
        Error::integrity(format!("{} statement", S::NAME), format!("it cannot be read ({e})"))
    })?;
    let header = STANDARD.decode(start.header);
    let header = header.map_err(|e| {
        Error::integrity(format!("{} statement", S::NAME), format!("its header is not base64 ({e})"))
    })?;
    Header::of(name, "the statement", &header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Recipients, UserKey};
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    fn name(backup_id: &str) -> BackupName {
        let (policy_id, timestamp) = ("p".to_owned(), "20261126T020000Z".to_owned());
        BackupName { policy_id, timestamp, backup_id: backup_id.to_owned() }
    }

    fn sealed(backup_id: &str, keys: &Recipients) -> (Header, DataKey) {
        let data_key = DataKey::generate();
        (Header::new(&name(backup_id), keys.wrap(&data_key, backup_id)), data_key)
    }

    fn hold() -> Hold {
        let (by, why) = ("h".to_owned(), "an \"audit\",\"hmac_sha256\":\"".to_owned());
        Hold { time: Utc::now(), by, why, held: true, unforgets: Vec::new() }
    }

    #[tokio::test]
    async fn what_was_said_with_the_key_is_proven_and_nothing_else_is() {
        let (mine, other): (Recipients, Recipients) =
            (UserKey::generate().into(), UserKey::generate().into());
        let store = MemoryStore::default();
        let (header, data_key) = sealed("b1", &mine);
        assert_eq!(read::<Hold>(&store, &name("b1"), &mine).await.unwrap(), Found::Nothing);
        put(&store, &header, &data_key, &hold()).await.unwrap();
        let found = read::<Hold>(&store, &name("b1"), &mine).await.unwrap().proven().unwrap();
        assert_eq!((found.why, found.held), (hold().why, true));
        assert_eq!(header_in::<Hold>(&store, &name("b1")).await.unwrap(), header);
        let Found::Unproven(why) = read::<Hold>(&store, &name("b1"), &other).await.unwrap() else {
            panic!("another key proves it")
        };
        assert!(why.contains("key"), "{why}");

        let (foreign, forger) = sealed("b1", &other);
        let bytes = encode(&header, &data_key, &hold()).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for (what, altered) in [
            ("other words", text.replace("audit", "audot")),
            ("released", text.replace("true", "false")),
            ("cut", text[..text.len() - 4].to_owned()),
            ("another kind", text.replace("\"hold\"", "\"forgotten\"")),
            ("no tag", text.replace("hmac_sha256\":\"", "x\":\"")),
            (
                "a header of the forger's",
                String::from_utf8(encode(&foreign, &forger, &hold()).unwrap().to_vec()).unwrap(),
            ),
            (
                "a key of the forger's",
                String::from_utf8(encode(&header, &forger, &hold()).unwrap().to_vec()).unwrap(),
            ),
        ] {
            assert!(decode::<Hold>(&name("b1"), altered.as_bytes(), &mine).is_err(), "{what}");
        }
        assert!(decode::<Hold>(&name("b2"), &bytes, &mine).is_err(), "of another backup");
        store.put(&name("b1").key(ObjectKind::Hold), Bytes::from_static(b"{}")).await.unwrap();
        assert!(matches!(read::<Hold>(&store, &name("b1"), &mine).await.unwrap(), Found::Unproven(_)));
    }
}
