//! The last steps of every backup: the archive appears, then the manifest, which makes the backup exist.
//!
//! Neither ever replaces what another sender put there: see `provenance`.

use chrono::Utc;
use intellistor_storage::archive::{Header, SegmentRecord, archive_digest};
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::keys::{ContentKey, DataKey, Recipients};
use intellistor_storage::manifest::{
    BackupFacts, Base, Changes, ManifestDocuments, ManifestDraft, NewManifest, Origin, VerifiedManifest,
};
use intellistor_storage::objects::{ObjectStore, PartReceipt, Upload};
use intellistor_storage::state::Findings;
use intellistor_storage::{Error as Storage, StoreErrorKind};
use intellistor_telemetry::{metrics, trace};

use crate::alerts;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::machine::TOOL;
use crate::operations::base;
use crate::operations::provenance::{self, Provenance};
use crate::operations::report::BackupReport;
use crate::policy::ManifestForm;

/// A report lists this many; the manifest has all.
const MOST_PROBLEMS: usize = 100;

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
    // Not every store supports the condition below.
    match provenance::of_archive_before(store, header, &segments).await? {
        Provenance::Own => return Ok(()),
        Provenance::Foreign => return Err(overtaken(store, &upload.key)),
        Provenance::Absent => {}
    }
    Failpoint::BeforeComplete.reached();
    let receipts: Vec<_> = parts.iter().map(|(_, receipt)| (*receipt).clone()).collect();
    let completed = store.complete_with(upload, &receipts, true).await;
    Failpoint::ArchiveCompleted.reached();
    match completed {
        Ok(()) => match provenance::of_archive(store, header, &segments).await? {
            Provenance::Own => Ok(()),
            _ => Err(Error::NotAsSent(format!("{} is not what its parts were", upload.key))),
        },
        // An earlier request, of this process or a crashed one, may have been carried out.
        Err(Storage::Store(error))
            if matches!(error.kind, StoreErrorKind::UploadGone | StoreErrorKind::AlreadyExists) =>
        {
            match provenance::of_archive(store, header, &segments).await? {
                Provenance::Own => Ok(()),
                Provenance::Foreign => Err(overtaken(store, &upload.key)),
                Provenance::Absent => Err(Error::Storage(error.into())),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// A backup that exists.
#[derive(Debug)]
pub(crate) struct Published {
    /// Without `seconds`, which the caller fills in.
    pub(crate) report: BackupReport,
    pub(crate) manifest: PublishedManifest,
    /// The archives that it depends on, by key and size.
    pub(crate) dependencies: Vec<(String, u64)>,
}

/// The manifest as it is in the store.
#[derive(Debug)]
pub(crate) enum PublishedManifest {
    /// It was put now.
    Put(Box<NewManifest>),
    /// It existed, put by a run that crashed right after.
    Found(Box<VerifiedManifest>),
}

impl PublishedManifest {
    pub(crate) fn documents(&self) -> &ManifestDocuments {
        match self {
            Self::Put(manifest) => manifest.documents(),
            Self::Found(manifest) => manifest.documents(),
        }
    }
}

/// What a manifest is made with, besides what was archived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) header: &'a Header,
    pub(crate) data_key: &'a DataKey,
    pub(crate) catalog: &'a Catalog,
    pub(crate) recipients: &'a Recipients,
    pub(crate) base: Option<&'a Base>,
    /// When the walk began, or earlier.
    pub(crate) began_ms: i64,
    /// The key of its sketches.
    pub(crate) content_key: &'a ContentKey,
    pub(crate) form: ManifestForm,
}

/// Makes the manifest and puts it.
///
/// # Errors
/// [`Error::DependencyLost`] when an archive that it would name is gone; those of the store.
pub(crate) async fn manifest(
    publication: Publication<'_>,
    mut draft: ManifestDraft,
    findings: Findings,
) -> Result<Published> {
    let Publication { store, header, data_key, catalog, recipients, base, .. } = publication;
    let Findings { roots, notes, alarms, compared } = findings;
    let name = header.name();
    let segments = draft.segments().to_vec();
    let (parts, sha256) = (segments.len() as u32, archive_digest(&segments));
    let archive_bytes = segments.iter().map(|s| s.bytes).sum();
    let problems = draft.first_problems(MOST_PROBLEMS)?;
    // What was moved is not in its old place any more, and not deleted.
    let deleted = compared.map_or(0, |compared| compared.deleted.saturating_sub(draft.changes().moved));
    let facts = BackupFacts {
        origin: origin(&catalog.machine),
        roots,
        began_ms: publication.began_ms,
        deleted,
        brake: None,
        content_key: Some(publication.content_key.clone()),
        sealed: publication.form == ManifestForm::Sealed,
    };
    let manifest = draft.finish(header, data_key, facts)?;
    let head = manifest.head().clone();
    let base_name = base.map(|base| &base.manifest().head().name);
    let mut warnings = alerts::of_store(catalog, recipients, &name, base_name, Utc::now()).await;
    let base_files = base.map_or(0, |base| {
        let totals = base.manifest().head().totals;
        totals.files + totals.symlinks
    });
    warnings.extend(alerts::of_changes(&head.changes, base_files, !alarms.is_empty()));
    warnings.extend(alarms);
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    // Another machine may have taken the policy over while this one was sending.
    catalog.confirm(&name.policy_id).await?;
    let dependencies: Vec<_> =
        head.archives.iter().skip(1).map(|archive| (archive.key.clone(), archive.bytes)).collect();
    confirm_dependencies(store, &dependencies).await?;
    Failpoint::BeforeManifest.reached();
    // Ordering law (must): the manifest is what makes the backup exist, so it is put last.
    let manifest = put(store, header, data_key, &segments, manifest).await?;
    Failpoint::ManifestPut.reached();
    let report = BackupReport {
        store: store.url(),
        key_backup: name.archive_key(),
        key_manifest: name.manifest_key(),
        name,
        totals: head.totals,
        archive_bytes,
        manifest_bytes: manifest.documents().bytes(),
        parts,
        archive_sha256: hex::encode(sha256),
        seconds: 0.0,
        problems,
        warnings,
        notes,
        roots: head.roots,
        base: head.base.map(|base| base.backup_id),
        changes: head.changes,
        trace_id: trace::current_id(),
    };
    tracing::info!(base = report.base, "{}", report.summary());
    let Changes { unchanged, changed, new, moved, bytes_referenced, .. } = report.changes;
    metrics::backup_made(&report.name.policy_id, unchanged, changed + new + moved, bytes_referenced);
    Ok(Published { report, manifest, dependencies })
}

/// Publish law (must): every archive that a manifest names is looked at right before the manifest is put.
async fn confirm_dependencies(store: &dyn ObjectStore, dependencies: &[(String, u64)]) -> Result<()> {
    let found = base::look_at(store, dependencies.to_vec()).await?;
    for ((key, bytes), state) in dependencies.iter().zip(found) {
        if let Some(what) = state.problem(*bytes) {
            return Err(Error::DependencyLost { key: key.clone(), what });
        }
    }
    Ok(())
}

async fn put(
    store: &dyn ObjectStore,
    header: &Header,
    data_key: &DataKey,
    segments: &[SegmentRecord],
    mut manifest: NewManifest,
) -> Result<PublishedManifest> {
    let key = header.name().manifest_key();
    let segments: Vec<_> = segments.iter().collect();
    // Not every store supports a conditional put. Without the right to list, a missing object is "access denied".
    let is_there = match store.head(&key).await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => false,
        found => found?.is_some(),
    };
    if !is_there {
        match manifest.put(store, header, data_key).await {
            Ok(()) => return Ok(PublishedManifest::Put(Box::new(manifest))),
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    match provenance::own_manifest(store, header, data_key, &segments).await? {
        Some(found) => Ok(PublishedManifest::Found(Box::new(found))),
        None => Err(overtaken(store, &key)),
    }
}

pub(crate) fn overtaken(store: &dyn ObjectStore, key: &str) -> Error {
    Error::Overtaken { key: key.to_owned(), store: store.url() }
}

fn origin(machine: &Machine) -> Origin {
    Origin {
        host: machine.host().to_owned(),
        machine: Some(machine.id().to_owned()),
        os: std::env::consts::OS.to_owned(),
        tool: TOOL.to_owned(),
        trace_id: trace::current_id(),
    }
}
