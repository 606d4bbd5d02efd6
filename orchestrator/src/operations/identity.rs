//! Whether what has a backup's name in a store is what this job has sent. The only place that decides it.
//!
//! An agent's home can be copied: a snapshot of a machine is restored, or started twice. Two runs then work on one
//! job, with the same name and the same keys, and each makes the rest of the archive under salts of its own. Sizes
//! are the same more often than not; digests and salts are not.

use futures::{StreamExt as _, TryStreamExt as _};
use intellistor_storage::archive::{Header, SegmentRecord, archive_digest};
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_storage::objects::{Composite, ObjectStore};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::{Error, Result};

/// A segment's number and salt stand at its begin.
const SEGMENT_HEAD_BYTES: u64 = 36;
/// So many segments are looked at at the same time.
const LOOKS: usize = 16;

/// What has a name in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    Absent,
    /// What this job has sent.
    Ours,
    /// Something else.
    Other,
}

/// Compares the archive of a backup with what was sent: by the digest of its parts, where the store gives that one, else
/// by the header and the salt of each segment, which nothing else has.
pub(crate) async fn archive(
    store: &dyn ObjectStore,
    header: &Header,
    segments: &[&SegmentRecord],
) -> Result<Held> {
    let key = header.name().archive_key();
    let sent: u64 = segments.iter().map(|segment| segment.bytes).sum();
    match store.head(&key).await? {
        None => return Ok(Held::Absent),
        Some(bytes) if bytes != sent => return Ok(Held::Other),
        Some(_) => {}
    }
    let sha256 = archive_digest(segments.iter().copied());
    let sent = Composite { sha256, parts: segments.len() as u32 };
    // Not every store that gives a digest makes it as S3 does, of the archive's own parts alone, or gives it to everybody.
    let is_ours = store.composite(&key).await.is_ok_and(|found| found == Some(sent))
        || has_salts(store, &key, header, segments).await?;
    Ok(if is_ours { Held::Ours } else { Held::Other })
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
        .buffer_unordered(LOOKS)
        .try_fold(true, |all, this| async move { Ok(all && this) })
        .await
}

/// As [`archive`], before one is there: to who may not list, the store answers "denied" for what does not exist.
pub(crate) async fn archive_before(
    store: &dyn ObjectStore,
    header: &Header,
    segments: &[&SegmentRecord],
) -> Result<Held> {
    match archive(store, header, segments).await {
        Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::AccessDenied => {
            Ok(Held::Absent)
        }
        found => found,
    }
}

/// The manifest of a backup, if it is authentic and describes the very archive that was sent; `None` where it is
/// another one, or none. It need not be the same byte for byte: a run that died right after it had put one has left
/// the id of another trace in it.
pub(crate) async fn manifest(
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
    let is_ours = archive.is_some_and(|archive| archive.segments.iter().eq(segments.iter().copied()));
    Ok(is_ours.then_some(found))
}
