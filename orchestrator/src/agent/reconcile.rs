//! Brings a job's ledger in line with what the store has: the store is the truth.
//!
//! | the job's state | the store | then |
//! | --- | --- | --- |
//! | transferring | has all recorded parts | the job resumes behind the last of them |
//! | | lacks one | it resumes behind the part before; later records are dropped |
//! | | has another part in its place | the same, once: a request of a crashed run may have arrived late; the second time the home was copied, see below |
//! | | has forgotten the upload | the job is lost: it ends, and a new one begins |
//! | | has an archive of that name | the home was copied, and the other copy continued the job: it ends, what it had sent is left alone, and a new one begins |
//! | sealing | has the archive, by its digests | the manifest is next |
//! | | has another archive of that name | the home was copied, see above |
//! | | has the upload and all parts | the upload is completed again |
//! | | lacks parts | the job returns to transferring |
//! | publishing | has the archive | the manifest is put, or found |
//!
//! A job that has no upload yet is resumed under a new name: nothing is lost by it, and each of two copies has its own.

use intellistor_storage::archive::Header;
use intellistor_storage::objects::{ObjectStore, PartReceipt};
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{Ledger, PartRecord};
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use crate::error::Result;
use crate::operations::provenance::{self, Provenance};

/// What was dropped from a ledger.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// For the report.
    pub(super) notice: Option<String>,
    /// Whether the store has another part in the place of a recorded one.
    pub(super) has_other_parts: bool,
}

pub(super) async fn reconcile(
    ledger: &Ledger,
    header: &Header,
    store: &dyn ObjectStore,
) -> Result<Reconciled> {
    let job = ledger.job();
    let Some(upload) = job.upload else { return Ok(Reconciled::default()) };
    if !matches!(job.state, JobState::Transferring | JobState::Sealing) {
        return Ok(Reconciled::default());
    }
    let parts = ledger.parts()?;
    if job.state == JobState::Sealing {
        let segments: Vec<_> = parts.iter().map(|part| &part.segment).collect();
        match provenance::of_archive_before(store, header, &segments).await? {
            Provenance::Own => return Ok(Reconciled::default()),
            Provenance::Foreign | Provenance::Unreadable => {
                return Err(provenance::overtaken(store, &upload.key));
            }
            Provenance::Absent => {}
        }
    }
    let stored = match store.list_parts(&upload).await {
        // Listing only saves time: the store compares the parts again when the archive is completed.
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            tracing::warn!(%error, "cannot see which parts the store has; resuming from what was recorded");
            return Ok(Reconciled::default());
        }
        stored => stored?,
    };
    let keep = parts.iter().take_while(|part| is_stored(part, &stored)).count();
    if keep == parts.len() {
        return Ok(Reconciled::default());
    }
    let has_other_parts = parts
        .iter()
        .any(|part| !is_stored(part, &stored) && stored.iter().any(|s| s.number == part.segment.number));
    let (recorded, keep) = (parts.len() as u32, keep as u32);
    let notice = format!("the store has {keep} of {recorded} recorded parts; the rest is uploaded again");
    tracing::warn!(has_others = has_other_parts, "{notice}");
    ledger.truncate(keep)?;
    // The archive's last part is among those dropped.
    ledger.advance(JobEvent::PartsLost)?;
    Ok(Reconciled { notice: Some(notice), has_other_parts })
}

fn is_stored(part: &PartRecord, stored: &[PartReceipt]) -> bool {
    let number = part.segment.number;
    stored.iter().any(|found| {
        found.number == number
            && found.bytes == part.segment.bytes
            && found.sha256.is_none_or(|digest| digest == part.segment.sha256)
            && (found.etag == part.receipt.etag || found.etag.is_empty())
    })
}
