//! Completes the archive's upload, so that the archive appears.
//!
//! It never replaces what another sender put there: see [`provenance`].

use intellistor_storage::archive::{Header, SegmentRecord};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::objects::{ObjectStore, PartReceipt, Upload};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::{Error, Result};
use crate::operations::provenance::{self, Provenance};

/// Completes the archive, after checking that the store has what was sent. An archive that exists and consists of these
/// parts counts: a crash may have come between the store's work and its answer.
///
/// Ordering law (must): the sizes and digests of all parts are compared before, and the archive itself after.
pub(crate) async fn archive(
    store: &dyn ObjectStore,
    header: &Header,
    upload: &Upload,
    parts: &[(&SegmentRecord, &PartReceipt)],
) -> Result<()> {
    let differs = |(segment, receipt): &&(&SegmentRecord, &PartReceipt)| {
        receipt.number != segment.number
            || receipt.bytes != segment.bytes
            || receipt.sha256.is_some_and(|digest| digest != segment.sha256)
    };
    if let Some((segment, _)) = parts.iter().find(differs) {
        return Err(Error::NotAsSent(format!("part {} has a different size or checksum", segment.number)));
    }
    let segments: Vec<_> = parts.iter().map(|(segment, _)| *segment).collect();
    let receipts: Vec<_> = parts.iter().map(|(_, receipt)| (*receipt).clone()).collect();
    complete(store, header, upload, &segments, &receipts).await
}

/// Completes an upload whose parts, as they were compared with what was sent, have the bytes of these segments.
///
/// Ordering law (must): the archive itself is compared after.
pub(crate) async fn complete(
    store: &dyn ObjectStore,
    header: &Header,
    upload: &Upload,
    segments: &[&SegmentRecord],
    receipts: &[PartReceipt],
) -> Result<()> {
    // Not every store supports the condition below.
    match provenance::of_archive_before(store, header, segments).await? {
        Provenance::Own => return Ok(()),
        Provenance::Foreign | Provenance::Unreadable => {
            return Err(provenance::overtaken(store, &upload.key));
        }
        Provenance::Absent => {}
    }
    Failpoint::BeforeComplete.reached();
    let completed = store.complete_with(upload, receipts, true).await;
    Failpoint::ArchiveCompleted.reached();
    match completed {
        Ok(()) => match provenance::of_archive(store, header, segments).await? {
            // What was completed just now, where there was nothing, is what its parts are.
            Provenance::Own | Provenance::Unreadable => Ok(()),
            _ => Err(Error::NotAsSent(format!("{} is not what its parts were", upload.key))),
        },
        // An earlier request, of this process or a crashed one, may have been carried out.
        Err(Storage::Store(error))
            if matches!(error.kind, StoreErrorKind::UploadGone | StoreErrorKind::AlreadyExists) =>
        {
            match provenance::of_archive(store, header, segments).await? {
                Provenance::Own => Ok(()),
                Provenance::Foreign | Provenance::Unreadable => {
                    Err(provenance::overtaken(store, &upload.key))
                }
                Provenance::Absent => Err(Error::Storage(error.into())),
            }
        }
        Err(error) => Err(error.into()),
    }
}
