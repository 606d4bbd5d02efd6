//! Writes a backup as one plain, complete `tar.gz`.
//!
//! The archive of a full backup is one: its frames are written as they are. For a backup with a base one is made from the
//! manifest, with content from all archives that it names.

use std::io::Write;
use std::sync::Arc;

use intellistor_actors::restore::tar_sink::TarSink;
use intellistor_storage::archive::{ArchiveReader, ArchiveSet};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_telemetry::names::span;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::cold_archives;
use crate::operations::report::DecryptReport;
use crate::operations::root_span::{root, stopped_by, traced};
use crate::operations::run_options::RunOptions;
use crate::operations::show::show;
use crate::operations::stream;
use crate::pipeline::content::ContentPipeline;
use crate::pipeline::system::on_system;

/// Writes a backup as plain `tar.gz`, which `tar xzf` restores.
///
/// # Errors
/// Those of the store and the key, and of `out`. What was written before one is incomplete.
pub async fn decrypt(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    out: Box<dyn Write + Send>,
    run: RunOptions,
) -> Result<DecryptReport> {
    let BackupName { policy_id, backup_id, .. } = name;
    let cancel = run.cancel.clone();
    let written = async {
        let manifest = show(catalog, identity, name).await?;
        let archives = Arc::new(manifest.archives()?);
        let written = if manifest.head().base.is_none() {
            write_archive(catalog, identity, name, out, run).await
        } else {
            write_entries(catalog, manifest, archives.clone(), out, run).await
        };
        cold_archives::name_all(&*catalog.store, &archives, written).await
    };
    let written = stopped_by(&cancel, written);
    traced(span::DECRYPT, policy_id, root!(span::DECRYPT, policy_id, backup_id), written).await
}

async fn write_archive(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    mut out: Box<dyn Write + Send>,
    run: RunOptions,
) -> Result<DecryptReport> {
    let (identity, expected) = (identity.clone(), name.clone());
    stream::read_archive(catalog.store.clone(), name.archive_key(), run, move |source| {
        let failed = |e| intellistor_storage::Error::io("write", "the output")(e);
        let mut archive = ArchiveReader::open(source, &expected, &identity)?;
        let mut report = DecryptReport::default();
        while let Some(frame) = archive.next_frame()? {
            out.write_all(&frame.gzip).map_err(failed)?;
            report.bytes_written += frame.gzip.len() as u64;
            report.frames += 1;
        }
        out.flush().map_err(failed)?;
        Ok(report)
    })
    .await
}

async fn write_entries(
    catalog: &Catalog,
    manifest: VerifiedManifest,
    archives: Arc<ArchiveSet>,
    out: Box<dyn Write + Send>,
    run: RunOptions,
) -> Result<DecryptReport> {
    let pipeline = ContentPipeline {
        manifest: Arc::new(manifest),
        archives,
        filter: None,
        store: catalog.store.clone(),
        sink: TarSink::new(out),
        progress: run.progress,
    };
    let cancel = run.cancel;
    let written = on_system("decrypt", move || async move { pipeline.run(&cancel).await }).await?;
    let finished = tokio::task::spawn_blocking(move || written.finish()).await;
    let finished = finished.map_err(|e| Error::Defect(format!("the writing thread panicked: {e}")))?;
    let (bytes_written, frames) = finished?;
    Ok(DecryptReport { bytes_written, frames })
}
