//! The beginning of a manifest, read before anything is verified: anyone who can write to the store may have made it.
//!
//! It names the key that opens the rest, and serves lists and warnings; nothing else may be decided by it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};

use super::format::{FORMAT, MANIFEST_VERSION};
use super::head::{RootRecord, Totals};
use super::refused::refused;
use crate::archive::header::Header;
use crate::catalog::layout::BackupName;
use crate::error::{Error, Result};
use crate::objects::store::ObjectStore;

/// What is read before anything is verified must fit here: the header has at most 64 KiB, in base64.
pub(super) const PREAMBLE_BYTES: u64 = 128 << 10;
/// The first lines of most manifests.
const FIRST_BYTES: u64 = 4 << 10;

/// The beginning of a manifest. Whoever can write into the store can have made it: for lists and warnings, and nothing
/// else.
#[derive(Debug, Clone)]
pub struct Preamble {
    /// The archive's header, with the wrapped keys.
    pub header: Header,
    /// The name of the machine that made the backup.
    pub host: String,
    pub machine: Option<String>,
}

impl Preamble {
    /// Reads the first lines of a backup's manifest.
    ///
    /// # Errors
    /// Those of the store; [`Integrity`](crate::Error::Integrity) when they are not those of this backup's manifest.
    pub async fn fetch(store: &dyn ObjectStore, name: &BackupName) -> Result<Self> {
        let key = name.manifest_key();
        let first = store.get_range(&key, 0..FIRST_BYTES).await?;
        match Self::parse(&first, name) {
            Err(_) if first.len() as u64 == FIRST_BYTES => {
                Self::parse(&store.get_range(&key, 0..PREAMBLE_BYTES).await?, name)
            }
            parsed => parsed,
        }
    }

    fn parse(start: &[u8], name: &BackupName) -> Result<Self> {
        #[derive(Deserialize)]
        struct Origin {
            host: String,
            machine: Option<String>,
        }
        let (header, rest) = parse_preamble(start, name)?;
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let members = [b"{", line.trim_ascii_end().strip_suffix(b",").unwrap_or(line), b"}"].concat();
        let Origin { host, machine } = serde_json::from_slice(&members)
            .map_err(|e| refused(format!("it does not begin as a manifest does ({e})")))?;
        Ok(Self { header, host, machine })
    }
}

/// Finds the header without trusting anything: it must be within the first bytes.
pub(super) fn read_header(start: &[u8], name: &BackupName) -> Result<Header> {
    let start = &start[..start.len().min(PREAMBLE_BYTES as usize)];
    parse_preamble(start, name).map(|(header, _)| header)
}

/// The header in the first bytes of a manifest, and what follows it.
fn parse_preamble<'s>(start: &'s [u8], name: &BackupName) -> Result<(Header, &'s [u8])> {
    #[derive(Deserialize)]
    struct Start {
        format: String,
        version: u32,
        header: String,
    }
    // The writer ends each of the three members with a newline; close the object after them.
    let end = start.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).map(|(i, _)| i);
    let end = end.ok_or_else(|| refused("it does not begin as a manifest does".to_owned()))?;
    let closed = [start[..end].trim_ascii_end().strip_suffix(b",").unwrap_or(&start[..end]), b"}"].concat();
    let found: Start = serde_json::from_slice(&closed)
        .map_err(|e| refused(format!("it does not begin as a manifest does ({e})")))?;
    if found.format != FORMAT {
        return Err(refused(format!("it has the format {:?}", found.format)));
    }
    if found.version != MANIFEST_VERSION {
        return Err(Error::UnsupportedVersion {
            what: "the manifest".to_owned(),
            found: found.version,
            known: MANIFEST_VERSION,
        });
    }
    let header =
        STANDARD.decode(found.header).map_err(|e| refused(format!("its header is not base64 ({e})")))?;
    Ok((Header::of(name, "the manifest", &header)?, &start[end + 1..]))
}

/// Hundreds of folders fit in it, behind the header.
const BEGINNING: u64 = 256 << 10;

/// The folders of a backup, as the beginning of its manifest names them; `None` where they are not found there.
///
/// # Errors
/// Those of the store.
pub async fn fetch_roots(store: &dyn ObjectStore, name: &BackupName) -> Result<Option<Vec<RootRecord>>> {
    fetch_member(store, name, "roots").await
}

/// The sums of a backup, as the beginning of its manifest has them: unverified. `None` where they are not found there.
///
/// # Errors
/// Those of the store.
pub async fn fetch_totals(store: &dyn ObjectStore, name: &BackupName) -> Result<Option<Totals>> {
    fetch_member(store, name, "totals").await
}

async fn fetch_member<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    name: &BackupName,
    member: &str,
) -> Result<Option<T>> {
    Ok(member_in(&store.get_range(&name.manifest_key(), 0..BEGINNING).await?, member))
}

fn member_in<T: DeserializeOwned>(beginning: &[u8], member: &str) -> Option<T> {
    struct Member<'m, T>(&'m str, &'m mut Option<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Member<'_, T> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a manifest")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(member) = members.next_key::<Cow<'_, str>>()? {
                if member == self.0 {
                    *self.1 = Some(members.next_value()?);
                    break;
                }
                members.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let mut found = None;
    // It ends in an error where the document is cut off, or where nothing more is read.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(Member(member, &mut found));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_are_found_before_the_cut_and_not_behind_it() {
        let whole = br#"{"format":"x","version":1,"header":"AAAA","host":"h",
            "roots":[{"path":"/a","prefix":"","files":7}],"totals":{"entries":1},"entries":["#;
        let roots_in = |beginning| member_in::<Vec<RootRecord>>(beginning, "roots");
        let roots = roots_in(whole).unwrap();
        assert_eq!((roots[0].path.as_str(), roots[0].files), ("/a", Some(7)));
        assert_eq!(roots_in(&whole[..90]), None);
        assert_eq!(roots_in(b"no json"), None);
        let totals = br#"{"roots":[],"totals":{"entries":3,"files":2,"directories":1,"symlinks":0,"bytes":9,"skipped":4,"changed":5},"#;
        assert_eq!(member_in::<Totals>(totals, "totals").map(|t| (t.skipped, t.changed)), Some((4, 5)));
        let older = br#"{"roots":[{"path":"/a","prefix":""}]}"#;
        assert_eq!(roots_in(older).unwrap()[0].files, None);
    }
}
