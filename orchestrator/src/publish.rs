//! The last steps of every backup: the archive appears, then the manifest, which makes the backup exist.

use intellistor_storage::archive::{Header, SegmentRecord, archive_digest};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::{ManifestDraft, Origin, RootRecord, put_manifest};
use intellistor_storage::objects::{ObjectStore, PartReceipt, Upload};
use intellistor_telemetry::trace;

use crate::{BackupReport, Error, Result};

/// A report names no more problems than this; the manifest has them all.
const MOST_PROBLEMS: usize = 100;

/// Makes the archive appear in the store, after checking that the store has what was sent.
///
/// Ordering law (must): the sizes and digests of all parts are compared before, and the archive's size after.
pub(crate) async fn archive(
    store: &dyn ObjectStore,
    upload: &Upload,
    parts: &[(&SegmentRecord, &PartReceipt)],
) -> Result<()> {
    let differs = |(segment, receipt): &&(&SegmentRecord, &PartReceipt)| {
        receipt.number != segment.number
            || receipt.bytes != segment.bytes
            || receipt.sha256.is_some_and(|digest| digest != segment.sha256)
    };
    if let Some((segment, _)) = parts.iter().find(differs) {
        return Err(Error::NotAsSent(format!("part {} has another size or checksum", segment.number)));
    }
    Failpoint::BeforeComplete.reached();
    let receipts: Vec<_> = parts.iter().map(|(_, receipt)| (*receipt).clone()).collect();
    store.complete_upload(upload, &receipts).await?;
    Failpoint::ArchiveCompleted.reached();
    let (sent, held) = (parts.iter().map(|(segment, _)| segment.bytes).sum(), store.head(&upload.key).await?);
    if held != Some(sent) {
        return Err(Error::NotAsSent(format!("{} has {held:?} bytes, {sent} were sent", upload.key)));
    }
    Ok(())
}

/// Makes the manifest and puts it. The report's time is left for the caller to fill in.
pub(crate) async fn manifest(
    store: &dyn ObjectStore,
    header: &Header,
    data_key: &DataKey,
    mut draft: ManifestDraft,
    roots: Vec<RootRecord>,
) -> Result<BackupReport> {
    let name = header.name();
    let segments = draft.segments();
    let (parts, sha256) = (segments.len() as u32, archive_digest(segments));
    let archive_bytes = segments.iter().map(|s| s.bytes).sum();
    let problems = draft.first_problems(MOST_PROBLEMS)?;
    let (manifest, head) = draft.finish(header, data_key, origin(), roots)?;
    Failpoint::BeforeManifest.reached();
    // Ordering law (must): the manifest is what makes the backup exist, so it is put last.
    put_manifest(store, &name.manifest_key(), &manifest).await?;
    Failpoint::ManifestPut.reached();
    Ok(BackupReport {
        store: store.url(),
        key_backup: name.archive_key(),
        key_manifest: name.manifest_key(),
        name,
        totals: head.totals,
        archive_bytes,
        manifest_bytes: manifest.bytes(),
        parts,
        archive_sha256: sha256.iter().map(|b| format!("{b:02x}")).collect(),
        seconds: 0.0,
        problems,
        trace_id: trace::current_id(),
    })
}

fn origin() -> Origin {
    Origin {
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        os: std::env::consts::OS.to_owned(),
        tool: concat!("intellistor ", env!("CARGO_PKG_VERSION")).to_owned(),
        trace_id: trace::current_id(),
    }
}
