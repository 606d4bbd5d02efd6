//! Brings an archive to another store, byte for byte.
//!
//! **In:** an archive in a store, and what a verified manifest says of its segments. **Out:** the same object in the target,
//! compared with that. Segments are the parts where the target takes them so (`layout`), so that both stores give the object
//! the same composite digest. **In memory:** [`IN_FLIGHT_BYTES`] at most, or one part that is larger. **After a crash:** parts
//! that the target holds are not sent again, whichever they are.
//!
//! Law (must): every segment is compared with the manifest's digest while it passes, and nothing appears in the target before
//! all were. A damaged archive is copied nowhere.

mod layout;
mod segment_check;

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use intellistor_actors::progress::Progress;
use intellistor_storage::archive::{Header, SegmentRecord};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::objects::{ObjectStore, ObjectStoreExt as _, Part, PartReceipt, Upload};
use intellistor_storage::{Error as Storage, Hashed, StoreErrorKind};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::operations::archive_copy::layout::{PlannedPart, layout, of_segments};
use crate::operations::archive_copy::segment_check::SegmentCheck;
use crate::operations::publish;

/// Of parts that are read, hashed and sent: eight of the usual size. It leaves room for a verified manifest within 128 MiB.
const IN_FLIGHT_BYTES: u64 = 72 << 20;
/// What the budget is counted in.
const UNIT_BYTES: u64 = 1 << 20;
/// Parts that are read, or sent, at once.
const MOST_AT_ONCE: usize = 16;

/// An archive in a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveSource<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) header: &'a Header,
    pub(crate) segments: &'a [&'a SegmentRecord],
}

/// An unfinished upload, and those of the planned parts that it has.
type Unfinished = (Upload, BTreeMap<u32, PartReceipt>);

/// Copies an archive that the target does not have. Returns the bytes that were sent.
///
/// # Errors
/// `Interrupted`; those of either store; `Integrity` when a segment is not as it was sealed: what was sent is removed then.
pub(crate) async fn copy_archive(
    source: ArchiveSource<'_>,
    target: &dyn ObjectStore,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<u64> {
    match copy_in_parts(source, target, progress, cancel).await {
        // The store has said only now what parts it wants, and says so from now on; those that it holds it will not take.
        Err(error) if error.is_of_unequal_parts() => {
            tracing::info!(
                store = target.url(),
                "the store wants parts of equal size: the archive is sent again"
            );
            clear(target, &source.header.name().archive_key()).await;
            copy_in_parts(source, target, progress, cancel).await
        }
        copied => copied,
    }
}

async fn copy_in_parts(
    source: ArchiveSource<'_>,
    target: &dyn ObjectStore,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<u64> {
    let key = source.header.name().archive_key();
    let parts = layout(source.segments, &target.capabilities().parts)?;
    let (upload, held) = match unfinished(target, &key, &parts).await? {
        Some(found) => found,
        None => (target.begin_upload(&key).await?, BTreeMap::new()),
    };
    if !held.is_empty() {
        tracing::info!(key, held = held.len(), parts = parts.len(), "an unfinished copy is continued");
    }
    let held_bytes: u64 = held.values().map(|receipt| receipt.bytes).sum();
    let total: u64 = parts.iter().map(|part| part.bytes).sum();
    progress.bytes.add(held_bytes);
    let sent = send(source, target, &upload, &parts, held, progress);
    let receipts = match cancel.run_until_cancelled(sent).await {
        None => return Err(Error::Interrupted),
        Some(Ok(receipts)) => receipts,
        Some(Err(error)) => {
            if is_of_the_source(&error) {
                abort(target, &upload).await;
            }
            return Err(error);
        }
    };
    let receipts: Vec<_> = receipts.into_values().collect();
    publish::complete(target, source.header, &upload, source.segments, &receipts).await?;
    clear(target, &key).await;
    Ok(total - held_bytes)
}

/// The upload of an archive that has the most of its segments as parts, and how many.
pub(crate) async fn furthest(
    store: &dyn ObjectStore,
    key: &str,
    segments: &[SegmentRecord],
) -> Result<Option<(Upload, usize)>> {
    let segments: Vec<_> = segments.iter().collect();
    let found = unfinished(store, key, &of_segments(&segments)).await?;
    Ok(found.map(|(upload, held)| (upload, held.len())))
}

/// Removes the unfinished uploads of an archive. What is left takes space, and harms nothing.
pub(crate) async fn clear(store: &dyn ObjectStore, key: &str) {
    match store.list_uploads(key).await {
        Ok(left) => {
            for found in left.into_iter().filter(|found| found.upload.key == key) {
                abort(store, &found.upload).await;
            }
        }
        Err(error) => tracing::debug!(key, %error, "unfinished uploads could not be listed"),
    }
}

async fn abort(store: &dyn ObjectStore, upload: &Upload) {
    if let Err(error) = store.abort_upload(upload).await {
        tracing::warn!(key = upload.key, %error, "an unfinished upload could not be removed, and takes space");
    }
}

fn is_of_the_source(error: &Error) -> bool {
    matches!(error, Error::Storage(Storage::Integrity { .. }))
}

/// The upload that has the most of the planned parts.
async fn unfinished(store: &dyn ObjectStore, key: &str, parts: &[PlannedPart]) -> Result<Option<Unfinished>> {
    let listed = match store.list_uploads(key).await {
        Ok(listed) => listed,
        // Not every store lists uploads, and not to everyone: then the archive is sent anew.
        Err(Storage::Store(error))
            if matches!(
                error.kind,
                StoreErrorKind::AccessDenied | StoreErrorKind::Unsupported | StoreErrorKind::Rejected
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let mut most: Option<Unfinished> = None;
    for found in listed.into_iter().filter(|found| found.upload.key == key) {
        // A crash may have left one half made, or another process may have ended it just now.
        let Ok(listed) = store.list_parts(&found.upload).await else { continue };
        let is_begun = !listed.is_empty();
        let planned = |receipt: &PartReceipt| {
            let part = parts.get((receipt.number as usize).checked_sub(1)?)?;
            part.agrees(receipt).then_some(receipt.number)
        };
        let held: BTreeMap<_, _> =
            listed.into_iter().filter_map(|receipt| Some((planned(&receipt)?, receipt))).collect();
        // Of other parts: what is sent now would be mixed with them.
        if held.is_empty() && is_begun {
            continue;
        }
        if most.as_ref().is_none_or(|(_, most)| most.len() < held.len()) {
            most = Some((found.upload, held));
        }
    }
    Ok(most)
}

/// Sends the parts that are not held. Returns the receipts of all.
async fn send(
    source: ArchiveSource<'_>,
    target: &dyn ObjectStore,
    upload: &Upload,
    parts: &[PlannedPart],
    held: BTreeMap<u32, PartReceipt>,
    progress: &Progress,
) -> Result<BTreeMap<u32, PartReceipt>> {
    let budget = Arc::new(Semaphore::new((IN_FLIGHT_BYTES / UNIT_BYTES) as usize));
    let mut check = SegmentCheck::new(source.segments);
    // A held segment is one that was compared when it was sent; what is no segment has to be read for its neighbours' sake.
    let wanted =
        parts.iter().copied().filter(|part| part.sha256.is_none() || !held.contains_key(&part.number));
    let wanted: Vec<PlannedPart> = wanted.collect();
    let sent = stream::iter(wanted)
        .then(|part| {
            let (budget, units) = (budget.clone(), units(part.bytes));
            async move { (part, budget.acquire_many_owned(units).await) }
        })
        .map(|(part, room)| async move { Ok((part, read(source, part).await?, room)) })
        .buffered(MOST_AT_ONCE)
        .and_then(|(part, body, room)| ready(check.take(&part, &body).map(|()| (part, body, room))))
        .map_ok(|(part, body, room)| {
            let held =
                held.get(&part.number).filter(|held| held.sha256.is_none_or(|held| held == body.sha256()));
            async move {
                let receipt = match held {
                    Some(held) => held.clone(),
                    None => {
                        let part = Part { number: part.number, offset: part.offset, body };
                        let receipt = target.put_part(upload, &part).await?;
                        Failpoint::PartAcknowledged.reached();
                        progress.bytes.add(receipt.bytes);
                        progress.stored_bytes.add(receipt.bytes);
                        receipt
                    }
                };
                drop(room);
                Ok::<_, Error>(receipt)
            }
        })
        .try_buffer_unordered(MOST_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let mut receipts = held.clone();
    receipts.extend(sent.into_iter().map(|receipt| (receipt.number, receipt)));
    match parts.iter().find(|part| !receipts.get(&part.number).is_some_and(|receipt| part.agrees(receipt))) {
        None => Ok(receipts),
        Some(part) => Err(Error::NotAsSent(format!(
            "part {} of {} has a different size or checksum",
            part.number, upload.key
        ))),
    }
}

/// A part that is larger than the budget is alone.
fn units(bytes: u64) -> u32 {
    bytes.min(IN_FLIGHT_BYTES).div_ceil(UNIT_BYTES) as u32
}

async fn read(source: ArchiveSource<'_>, part: PlannedPart) -> Result<Hashed> {
    let key = source.header.name().archive_key();
    let range = part.offset..part.offset + part.bytes;
    let bytes = source.store.get_range(&key, range).await?;
    if bytes.len() as u64 != part.bytes {
        let found = part.offset + bytes.len() as u64;
        let reason = format!("it ends after {found} bytes in {}", source.store.url());
        return Err(Storage::integrity(format!("archive {key}"), reason).into());
    }
    let hashed = tokio::task::spawn_blocking(move || Hashed::new(bytes)).await;
    hashed.map_err(|e| Error::Defect(format!("the hashing thread panicked: {e}")))
}
