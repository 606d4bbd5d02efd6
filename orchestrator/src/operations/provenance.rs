//! Decides whether what has a backup's name in a store is what this job has sent.
//!
//! An agent's home can be copied: a snapshot of a machine is restored, or started twice. Two runs then work on one
//! job, with the same name and keys, and each makes the rest of the archive with salts of its own. Sizes often agree;
//! digests and salts do not.

use futures::{StreamExt as _, TryStreamExt as _};
use intellistor_storage::archive::{Header, SegmentRecord, archive_digest};
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::{Composite, ObjectStore};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::{Error, Result};

/// A segment begins with its number and salt.
const SEGMENT_HEAD_BYTES: u64 = 36;
/// Segments whose heads are read concurrently.
const CONCURRENT_READS: usize = 16;

/// Who sent what has a backup's name in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// Nothing has that name.
    Absent,
    /// This job.
    Own,
    /// Another sender.
    Foreign,
    /// Something of the same size, which shows no digest and is in a storage class that is not read at once: it may be either.
    Unreadable,
}

/// The error about an object that has a name of this job, and another sender.
pub(crate) fn overtaken(store: &dyn ObjectStore, key: &str) -> Error {
    Error::Overtaken { key: key.to_owned(), store: store.url() }
}

/// Compares the archive of a backup with what was sent: by the digest of its parts, where the store gives it, else by
/// the header and the salts of its segments, which are unique.
pub(crate) async fn of_archive(
    store: &dyn ObjectStore,
    header: &Header,
    segments: &[&SegmentRecord],
) -> Result<Provenance> {
    let key = header.name().archive_key();
    let sent: u64 = segments.iter().map(|segment| segment.bytes).sum();
    match store.head(&key).await? {
        None => return Ok(Provenance::Absent),
        Some(bytes) if bytes != sent => return Ok(Provenance::Foreign),
        Some(_) => {}
    }
    let sha256 = archive_digest(segments.iter().copied());
    let sent = Composite { sha256, parts: segments.len() as u32 };
    // Not every store that gives a digest computes it as S3 does, over the archive's own parts, or gives it to every
    // account.
    if store.composite(&key).await.is_ok_and(|found| found == Some(sent)) {
        return Ok(Provenance::Own);
    }
    match has_salts(store, &key, header, segments).await {
        Ok(true) => Ok(Provenance::Own),
        Ok(false) => Ok(Provenance::Foreign),
        Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::ColdStorage => {
            Ok(Provenance::Unreadable)
        }
        Err(error) => Err(error),
    }
}

async fn has_salts(
    store: &dyn ObjectStore,
    key: &str,
    header: &Header,
    segments: &[&SegmentRecord],
) -> Result<bool> {
    let head = |segment: &&SegmentRecord| {
        let before: &[u8] = if segment.number == 1 { header.encoded() } else { &[] };
        let expected = [before, &segment.number.to_be_bytes(), &segment.salt].concat();
        (segment.offset..segment.offset + before.len() as u64 + SEGMENT_HEAD_BYTES, expected)
    };
    let heads: Vec<_> = segments.iter().map(head).collect();
    futures::stream::iter(heads)
        .map(
            |(range, expected)| async move { Ok::<_, Error>(store.get_range(key, range).await? == expected) },
        )
        .buffer_unordered(CONCURRENT_READS)
        .try_fold(true, |all, this| async move { Ok(all && this) })
        .await
}

/// As [`of_archive`], before the archive exists: without the right to list, a store answers "denied" for a key that does
/// not exist.
pub(crate) async fn of_archive_before(
    store: &dyn ObjectStore,
    header: &Header,
    segments: &[&SegmentRecord],
) -> Result<Provenance> {
    match of_archive(store, header, segments).await {
        Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::AccessDenied => {
            Ok(Provenance::Absent)
        }
        found => found,
    }
}

/// The manifest of a backup, if it is authentic and describes the archive that was sent; `None` where there is none, or
/// another one. Its bytes may differ: a run that crashed right after it had put one has left another trace id in it.
pub(crate) async fn own_manifest(
    store: &dyn ObjectStore,
    header: &Header,
    data_key: &DataKey,
    segments: &[&SegmentRecord],
) -> Result<Option<VerifiedManifest>> {
    let found = match VerifiedManifest::fetch_own(store, header, data_key).await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::NotFound => return Ok(None),
        Err(Storage::Integrity { .. } | Storage::UnsupportedVersion { .. } | Storage::OtherBackup { .. }) => {
            return Ok(None);
        }
        found => found?,
    };
    let archive = found.head().archives.first();
    let is_own = archive.is_some_and(|archive| archive.segments.iter().eq(segments.iter().copied()));
    Ok(is_own.then_some(found))
}
