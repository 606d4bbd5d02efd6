//! The last steps of every backup: the archive appears, then the manifest, which makes the backup exist.
//!
//! Neither ever replaces what another sender put there: see `provenance`.
//!
//! | file | holds |
//! | --- | --- |
//! | `archive` | completes the archive's upload |
//! | `publication`, `facts` | what the manifest is made with, and says |
//! | `before_put` | what is confirmed and done once the archive is complete |
//! | `looks` | the publish law: what is looked at right before the manifest is put, and when again after it |
//! | `withdraw` | the one case in which a put is undone |

mod archive;
mod before_put;
mod facts;
mod looks;
mod publication;
mod withdraw;

use intellistor_storage::archive::{SegmentRecord, archive_digest};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::{
    Changes, ManifestDocuments, ManifestDraft, NewManifest, VerifiedManifest,
};
use intellistor_storage::state::Findings;
use intellistor_storage::{Error as Storage, StoreErrorKind};
use intellistor_telemetry::{metrics, trace};

pub(crate) use archive::{archive, complete};
pub(crate) use looks::Looks;
pub(crate) use publication::Publication;

use crate::error::{Error, Result};
use crate::lifecycle::brake;
use crate::operations::provenance;
use crate::operations::report::BackupReport;

/// A report lists this many; the manifest has all.
const MOST_PROBLEMS: usize = 100;

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

/// Makes the manifest and puts it.
///
/// # Errors
/// [`Error::BaseLost`] and [`Error::DependencyLost`] when what it would name is gone, or may go; [`Error::Forgotten`] when an
/// earlier run had put it; those of the store.
pub(crate) async fn manifest(
    publication: Publication<'_>,
    mut draft: ManifestDraft,
    findings: Findings,
) -> Result<Published> {
    let Publication { store, header, data_key, .. } = publication;
    let name = header.name();
    let segments = draft.segments().to_vec();
    let (parts, sha256) = (segments.len() as u32, archive_digest(&segments));
    let archive_bytes = segments.iter().map(|s| s.bytes).sum();
    let problems = draft.first_problems(MOST_PROBLEMS)?;
    let (mut notes, streams_left_out) = (findings.notes.clone(), findings.streams_left_out);
    let (facts, mut warnings) = facts::facts(&publication, &draft, findings).await?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut manifest = draft.finish(header, data_key, facts)?;
    let head = manifest.head().clone();
    notes.extend(brake::note(head.brake.as_ref(), &name));
    let before = before_put::before_put(&publication, &head).await?;
    let archives: Vec<_> = head.archives.iter().map(|archive| (archive.key.clone(), archive.bytes)).collect();
    let base = publication.base.map(|base| &base.manifest().head().name);
    let looks = Looks { store, keys: publication.recipients, name: &name, base, archives: &archives };
    let manifest = match put(&publication, &looks, &segments, &mut manifest).await? {
        Some(found) => PublishedManifest::Found(Box::new(found)),
        None => PublishedManifest::Put(Box::new(manifest)),
    };
    let (locked_until, of_locks) = before_put::settle_locks(&publication, &head, before).await;
    of_locks.iter().for_each(|warning| tracing::warn!("{warning}"));
    warnings.extend(of_locks);
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
        streams_left_out,
        roots: head.roots,
        snapshots: head.snapshots,
        base: head.base.map(|base| base.backup_id),
        changes: head.changes,
        locked_until,
        brake: head.brake,
        retention: None,
        trace_id: trace::current_id(),
    };
    tracing::info!(base = report.base, locked_until = report.locked_until, "{}", report.summary());
    let Changes { unchanged, changed, new, moved, bytes_referenced, .. } = report.changes;
    metrics::backup_made(&report.name.policy_id, unchanged, changed + new + moved, bytes_referenced);
    let dependencies = archives.into_iter().skip(1).collect();
    Ok(Published { report, manifest, dependencies })
}

/// Puts the manifest, unless an earlier run has: then the answer is what that one put.
///
/// Ordering law (must): the manifest is what makes the backup exist, so it is put last, after the [`looks`].
pub(crate) async fn put(
    publication: &Publication<'_>,
    looks: &Looks<'_>,
    segments: &[SegmentRecord],
    manifest: &mut NewManifest,
) -> Result<Option<VerifiedManifest>> {
    let Publication { store, header, data_key, .. } = *publication;
    let key = header.name().manifest_key();
    // Not every store supports a conditional put. Without the right to list, a missing object is "access denied".
    let is_there = match store.head(&key).await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => false,
        found => found?.is_some(),
    };
    if !is_there {
        match put_new(publication, looks, manifest).await {
            Ok(()) => return Ok(None),
            Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let segments: Vec<_> = segments.iter().collect();
    let Some(found) = provenance::own_manifest(store, header, data_key, &segments).await? else {
        return Err(provenance::overtaken(store, &key));
    };
    Failpoint::ManifestPut.reached();
    // How long that run had taken, it did not say.
    look_again(publication, looks).await?;
    Ok(Some(found))
}

async fn put_new(publication: &Publication<'_>, looks: &Looks<'_>, manifest: &mut NewManifest) -> Result<()> {
    let Publication { store, header, data_key, .. } = *publication;
    manifest.put_lists(store, header, data_key).await?;
    let look = looks.look_before_put().await?;
    Failpoint::BeforeManifest.reached();
    manifest.put_document(store).await?;
    Failpoint::ManifestPut.reached();
    if looks.was_late(look) {
        tracing::warn!(
            "more than an hour passed before the manifest was put; looking again at what it depends on"
        );
        look_again(publication, looks).await?;
    }
    Ok(())
}

/// Looks at what a manifest that is in the store relies on. Where it must not be, the backup is forgotten.
async fn look_again(publication: &Publication<'_>, looks: &Looks<'_>) -> Result<()> {
    match looks.look().await {
        Err(lost @ (Error::BaseLost { .. } | Error::DependencyLost { .. })) => {
            withdraw::withdraw(publication, &lost).await?;
            Err(lost)
        }
        looked => looked.map(drop),
    }
}
