//! Puts the manifest, which makes the backup exist, and completes the copies.
//!
//! **In:** an archive in the store. **Out:** the backup's report, recorded in the job. **After a crash:** a manifest that
//! is there already is recognised; a backup whose report is recorded is only copied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use intellistor_storage::archive::SegmentRecord;
use intellistor_storage::keys::Recipients;
use intellistor_storage::manifest::{Base, ManifestDocuments, ManifestDraft, Problem, ProblemKind};
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::state::{JobBase, Ledger};
use tokio_util::sync::CancellationToken;

use crate::agent::open_job::OpenJob;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::base::LocalManifest;
use crate::operations::copies::{Copies, CopySource};
use crate::operations::publish::Publication;
use crate::operations::report::BackupReport;
use crate::operations::{provenance, publish};
use crate::policy::{LockPolicy, ManifestForm};

pub(in crate::agent) struct Publisher<'a> {
    pub(in crate::agent) job: &'a OpenJob,
    pub(in crate::agent) store: &'a dyn ObjectStore,
    pub(in crate::agent) catalog: &'a Catalog,
    pub(in crate::agent) recipients: &'a Recipients,
    pub(in crate::agent) copies: &'a Copies,
    pub(in crate::agent) form: ManifestForm,
    pub(in crate::agent) lock: Option<LockPolicy>,
    pub(in crate::agent) prune_after: Duration,
    /// Gets the manifest, for the next run.
    pub(in crate::agent) local: &'a LocalManifest,
    pub(in crate::agent) cancel: &'a CancellationToken,
}

impl Publisher<'_> {
    /// Puts the manifest. `warnings` are those of the run so far, which began at `started`.
    pub(in crate::agent) async fn publish(
        &self,
        base: Option<Arc<Base>>,
        warnings: Vec<String>,
        started: Instant,
    ) -> Result<BackupReport> {
        let OpenJob { ledger, header, data_key, .. } = self.job;
        let draft = draft(ledger, base.clone())?;
        let (job, segments) = (ledger.job(), draft.segments().to_vec());
        let Self { store, catalog, recipients, .. } = *self;
        let base = base.as_deref();
        let content_key = &self.job.content_key(base)?;
        let publication = Publication {
            store,
            header,
            data_key,
            catalog,
            recipients,
            base,
            began_ms: job.began_ms,
            content_key,
            form: self.form,
            lock: self.lock,
            prune_after: self.prune_after,
        };
        let published = publish::manifest(publication, draft, job.findings).await?;
        self.local.save(&job.name, published.manifest.documents());
        let dependencies: Vec<_> =
            published.dependencies.iter().map(|(key, bytes)| (&**key, *bytes)).collect();
        let copy_warnings = self.copy(&segments, &dependencies, published.manifest.documents()).await?;
        let mut report = published.report;
        report.seconds = started.elapsed().as_secs_f64();
        let JobBase { alerts, notes, .. } = job.base.unwrap_or_default();
        report.warnings.splice(0..0, warnings.into_iter().chain(alerts));
        report.notes.splice(0..0, notes);
        report.warnings.extend(copy_warnings);
        ledger.set_summary(&report)?;
        Ok(report)
    }

    /// The report of a backup that an earlier run published. Completes the copies that this run is asked for.
    pub(in crate::agent) async fn published(&self) -> Result<BackupReport> {
        let OpenJob { ledger, header, data_key, .. } = self.job;
        let report = ledger.job().summary::<BackupReport>();
        let mut report =
            report.ok_or_else(|| Error::Defect("the job's summary cannot be read".to_owned()))?;
        report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if self.copies.is_empty() {
            return Ok(report);
        }
        let segments: Vec<_> = ledger.parts()?.into_iter().map(|part| part.segment).collect();
        let found = {
            let segments: Vec<_> = segments.iter().collect();
            provenance::own_manifest(self.store, header, data_key, &segments).await?
        };
        match found {
            Some(found) => {
                let archives = found.head().archives.iter().skip(1);
                let dependencies: Vec<_> = archives.map(|archive| (&*archive.key, archive.bytes)).collect();
                let warnings = self.copy(&segments, &dependencies, found.documents()).await?;
                report.warnings.retain(|warning| !warnings.contains(warning));
                report.warnings.extend(warnings);
            }
            None => {
                let key = &report.key_manifest;
                let warning =
                    format!("the backup was not copied: {key} in the store is not what was put there");
                tracing::warn!("{warning}");
                report.warnings.push(warning);
            }
        }
        Ok(report)
    }

    async fn copy(
        &self,
        segments: &[SegmentRecord],
        dependencies: &[(&str, u64)],
        manifest: &ManifestDocuments,
    ) -> Result<Vec<String>> {
        let segments = &segments.iter().collect::<Vec<_>>()[..];
        let OpenJob { header, data_key, .. } = self.job;
        let source = CopySource { store: self.store, header, data_key, segments, dependencies };
        self.copies.complete(source, manifest, self.cancel).await
    }
}

/// The manifest of all committed parts. Problems of entries go into the log.
fn draft(ledger: &Ledger, base: Option<Arc<Base>>) -> Result<ManifestDraft> {
    let mut draft = ManifestDraft::new(base);
    for part in ledger.parts()? {
        let listed = ledger.committed(part.segment.number)?;
        for problems in listed.problems.unpack() {
            for problem in problems? {
                let Problem { reason, kind, .. } = &problem;
                if *kind != ProblemKind::Note {
                    tracing::warn!(path = %problem.shown_path(), reason, ?kind, "skipped or changed");
                }
            }
        }
        draft.commit(part.segment, listed)?;
    }
    Ok(draft)
}
