//! A manifest's head, read before anything is verified: anyone who can write to the store may have made it.
//!
//! **In:** the name of a backup. **Out:** what its manifest says besides its entries, without segments and frames. **Guarantee:**
//! what comes before the entries is fetched, and no more than a bound of it; no key is needed. As of a
//! [`Preamble`](super::Preamble), nothing may be decided by it: it serves sums that people read.

use super::head::Head;
use super::lines::{ENTRIES, TRAILER, unknown};
use super::preamble::read_header;
use super::refused::refused;
use crate::catalog::layout::BackupName;
use crate::error::Result;
use crate::objects::store::ObjectStore;

/// What is asked for first: a head names a few thousand frames in it, some gigabytes of archive.
const FIRST_BYTES: u64 = 64 << 10;
/// What is asked for at a time after that.
const RANGE_BYTES: u64 = 1 << 20;
/// The frames of some 10 TiB. A longer head is an error here, and is read where it is verified.
const MOST_BYTES: usize = 64 << 20;

/// Reads a head. Unverified.
///
/// # Errors
/// Those of the store; [`Error::Integrity`](crate::Error::Integrity) when it is no such manifest, or another backup's;
/// [`Error::UnsupportedVersion`](crate::Error::UnsupportedVersion).
pub async fn fetch_head(store: &dyn ObjectStore, name: &BackupName) -> Result<Head> {
    let key = name.manifest_key();
    let mut found = store.get_range(&key, 0..FIRST_BYTES).await?.to_vec();
    read_header(&found, name)?;
    let mut asked = FIRST_BYTES;
    let mut searched = 0;
    let end = loop {
        match end_of_head(&found, searched) {
            Some(end) => break end,
            None if (found.len() as u64) < asked => {
                return Err(refused("it has an unknown form (a list is missing)"));
            }
            None if found.len() > MOST_BYTES => {
                return Err(refused(format!(
                    "what it says before its entries is longer than {MOST_BYTES} bytes"
                )));
            }
            // The line may be cut.
            None => searched = found.len().saturating_sub(ENTRIES.len().max(TRAILER.len()) + 1),
        }
        found.extend_from_slice(&store.get_range(&key, asked..asked + RANGE_BYTES).await?);
        asked += RANGE_BYTES;
    };
    let head = found[..end].trim_ascii_end();
    let members = head.strip_suffix(b",").unwrap_or(head);
    let mut head: Head = serde_json::from_slice(&[members, b"}"].concat()).map_err(unknown)?;
    if head.name != *name {
        return Err(refused("it is another backup's"));
    }
    for archive in &mut head.archives {
        archive.segments = Vec::new();
    }
    Ok(head)
}

/// Where the line begins that ends the head.
fn end_of_head(document: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(next) = document[at..].iter().position(|byte| *byte == b'\n') {
        at += next + 1;
        if document[at..].starts_with(ENTRIES) || document[at..].starts_with(TRAILER) {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::archive::header::Header;
    use crate::keys::{DataKey, Recipients, UserKey};
    use crate::manifest::draft::{BackupFacts, ManifestDraft};
    use crate::manifest::head::RootRecord;
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    async fn put(store: &MemoryStore, roots: usize) -> BackupName {
        let name =
            BackupName { policy_id: "p".into(), timestamp: "20261101T020000Z".into(), backup_id: "b".into() };
        let data_key = DataKey::generate();
        let keys: Recipients = UserKey::generate().into();
        let header = Header::new(&name, keys.wrap(&data_key, &name.backup_id));
        let root = |n: usize| RootRecord { path: format!("/{n}"), prefix: format!("{n}"), files: Some(1) };
        let facts = BackupFacts { roots: (0..roots).map(root).collect(), ..BackupFacts::default() };
        let mut manifest = ManifestDraft::new(None).finish(&header, &data_key, facts).unwrap();
        manifest.put(store, &header, &data_key).await.unwrap();
        name
    }

    #[tokio::test]
    async fn a_head_of_any_length_is_read_without_a_key() {
        for roots in [1, 100_000] {
            let store = MemoryStore::default();
            let name = put(&store, roots).await;
            let head = fetch_head(&store, &name).await.unwrap();
            assert_eq!((head.name, head.roots.len()), (name, roots));
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_anothers_is_refused() {
        let store = MemoryStore::default();
        let name = put(&store, 10).await;
        let whole = store.get_range(&name.manifest_key(), 0..1 << 20).await.unwrap();
        let cut = end_of_head(&whole, 0).unwrap() - 1;
        store.put(&name.manifest_key(), whole.slice(..cut)).await.unwrap();
        assert!(fetch_head(&store, &name).await.is_err());
        let other = BackupName { backup_id: "c".into(), ..name };
        store.put(&other.manifest_key(), whole).await.unwrap();
        assert!(fetch_head(&store, &other).await.is_err());
        store.put(&other.manifest_key(), Bytes::from_static(b"{}\n\n\n\n")).await.unwrap();
        assert!(fetch_head(&store, &other).await.is_err());
    }
}
