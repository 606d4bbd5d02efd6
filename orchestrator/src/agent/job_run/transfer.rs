//! Makes the archive's parts, sends and commits them.
//!
//! **In:** a recorded scan, and the parts that earlier runs committed. **Out:** all parts, committed. **After a crash:**
//! the next run resumes behind the last committed part.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use intellistor_actors::backup::archiver::{BaseRemarks, Resume, RunContent};
use intellistor_actors::backup::changes::Step;
use intellistor_actors::backup::links::LinkTable;
use intellistor_actors::progress::Progress;
use intellistor_storage::archive::{SegmentRecord, SegmentSealer, equal_part_bytes};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::{Base, Listed, PartEntries};
use intellistor_storage::objects::{ObjectStore, ObjectStoreExt as _, SharedStore, Upload};
use intellistor_storage::state::Ledger;
use tokio_util::sync::CancellationToken;

use crate::agent::open_job::OpenJob;
use crate::error::Result;
use crate::operations::copies::Copies;
use crate::operations::snapshotting::RunSnapshots;
use crate::pipeline::backup::{BackupPipeline, WalkSource};
use crate::pipeline::system::on_system;
use crate::policy::Policy;

/// For parts in flight when a run is stopped. Whatever stops it waits 10 s.
const IN_FLIGHT_TIMEOUT: Duration = Duration::from_secs(8);

/// What is read, and where.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct Source<'a> {
    pub(in crate::agent) policy: &'a Policy,
    pub(in crate::agent) snapshots: &'a RunSnapshots,
}

pub(in crate::agent) async fn transfer(
    job: &OpenJob,
    Source { policy, snapshots }: Source<'_>,
    store: &SharedStore,
    copies: &Copies,
    base: Option<Arc<Base>>,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<()> {
    let OpenJob { ledger, header, data_key, .. } = job;
    if is_closed(ledger)? {
        // The earlier run crashed after the last commit, before it recorded the job's next state.
        return Ok(());
    }
    // A disk that is not mounted would look like a folder from which everything has vanished.
    policy.check_paths()?;
    let upload = begin_upload(ledger, &**store).await?;
    let scanned = ledger.job().scanned.filter(|scanned| scanned.steps == ledger.step_count());
    let scanned = scanned.ok_or_else(|| ledger.damaged("steps of the walk are missing"))?;
    progress.total_entries.raise_to(scanned.entries);
    progress.total_bytes.raise_to(scanned.bytes);
    let (last, resume) = position(ledger, progress)?;
    let sent: Vec<_> = ledger.parts()?.into_iter().map(|part| part.segment).collect();
    let teed = copies.tee(store, &upload.key, &sent).await;
    let content_key = job.content_key(base.as_deref())?;
    let remarks = Arc::<Mutex<BaseRemarks>>::default();
    let (header, data_key) = (header.clone(), data_key.clone());
    // The scan is recorded, so a run that resumes makes parts of the same size.
    let equal = store.capabilities().parts.equal.then(|| equal_part_bytes(scanned.bytes));
    let pipeline = BackupPipeline {
        walk: WalkSource::Ledger {
            ledger: ledger.clone(),
            from: resume.cursor.entry,
            moved: snapshots.moved(&ledger.job().views),
        },
        resume,
        base,
        remarks: remarks.clone(),
        content_key,
        compression: policy.compression,
        sealer: match &last {
            Some(last) => SegmentSealer::resume(header, data_key, last),
            None => SegmentSealer::new(header, data_key),
        }
        .with_equal_parts(equal),
        store: teed,
        upload,
        log: ledger.clone(),
        next_part: last.as_ref().map_or(1, |last| last.number + 1),
        progress: progress.clone(),
        in_flight_timeout: IN_FLIGHT_TIMEOUT,
    };
    let cancel = cancel.clone();
    let sent = on_system("backup", move || async move { pipeline.run(&cancel).await.map(drop) }).await;
    let BaseRemarks { warnings, notes } =
        std::mem::take(&mut *remarks.lock().unwrap_or_else(PoisonError::into_inner));
    if !warnings.is_empty() || !notes.is_empty() {
        ledger.update(|job| {
            let base = job.base.get_or_insert_default();
            base.alerts.extend(warnings);
            // A run that resumes finds the same.
            base.notes.extend(notes);
            base.notes.dedup();
        })?;
    }
    sent.map_err(|error| snapshots.named(error))
}

/// Whether the last recorded part closes the archive.
pub(super) fn is_closed(ledger: &Ledger) -> Result<bool> {
    Ok(ledger.last_part()?.is_some_and(|(part, _)| part.last))
}

/// The job's upload. Ordering law (must): the job, and with it the archive's key, is recorded before the upload
/// begins, so that one which a crash leaves unrecorded is found by its key.
async fn begin_upload(ledger: &Ledger, store: &dyn ObjectStore) -> Result<Upload> {
    let job = ledger.job();
    if let Some(upload) = job.upload {
        return Ok(upload);
    }
    let upload = store.begin_upload(&job.name.archive_key()).await?;
    Failpoint::UploadBegun.reached();
    ledger.update(|job| job.upload = Some(upload.clone()))?;
    Failpoint::UploadRecorded.reached();
    Ok(upload)
}

/// The last committed part, and where the archiver resumes behind it. The progress begins there.
fn position(ledger: &Ledger, progress: &Progress) -> Result<(Option<SegmentRecord>, Resume)> {
    let Some((last, cursor)) = ledger.last_part()? else { return Ok((None, Resume::default())) };
    let (mut count, mut bytes) = (0, 0);
    let (mut content, mut pieces) = (RunContent::default(), Vec::new());
    let entries = (1..=last.segment.number).flat_map(|number| {
        let (listed, failed) = match ledger.committed(number) {
            Ok(listed) => (listed, None),
            Err(error) => (PartEntries::default(), Some(Err(error))),
        };
        listed.entries.into_unpacked().chain(failed)
    });
    let entries = entries.map(|entries| {
        let entries = entries?;
        for listed in &entries {
            match listed {
                Listed::Pieces(chunks) => {
                    pieces.extend_from_slice(chunks);
                    continue;
                }
                Listed::Unchanged { count: entries, .. } => count += entries,
                Listed::Entry { entry, .. } => {
                    count += 1;
                    let size = if entry.kind.has_content() { entry.size } else { 0 };
                    bytes = u64::saturating_add(bytes, size);
                    content.add(entry)?;
                }
            }
            // They were those of an entry that is complete now.
            pieces.clear();
        }
        Ok(entries)
    });
    let links = LinkTable::rebuild(ledger.scan::<Step>(0), cursor.entry, entries)?;
    progress.entries.raise_to(count);
    progress.bytes.raise_to(bytes);
    let tar_bytes = ledger.tar_bytes();
    Ok((Some(last.segment), Resume { tar_bytes, cursor, links, content, pieces }))
}
