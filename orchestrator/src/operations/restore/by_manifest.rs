//! Restores with the manifest: only what was asked for is fetched, and no file gets its name unchecked.

use std::sync::Arc;
use std::time::Instant;

use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::{ArchiveIndex, ArchiveReader, MOST_HEADER_BYTES, Opener};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::changed_entries::Changed;
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::{RestoreOptions, open_target};
use crate::operations::show::show;
use crate::pipeline::restore::RestorePipeline;
use crate::pipeline::system::on_system;

/// A restore fetches nothing but the frames that it needs, so it does not look at the archive's header before. Where frames
/// do not open, that they are another backup's says more than a list of files.
async fn see_whose_archive_it_is(catalog: &Catalog, identity: &Identity, name: &BackupName) -> Result<()> {
    let start = catalog.store.get_range(&name.archive_key(), 0..MOST_HEADER_BYTES).await;
    match start.and_then(|start| ArchiveReader::open(&start[..], name, identity).map(drop)) {
        Err(error @ StorageError::OtherBackup { .. }) => Err(error.into()),
        // Whatever else is wrong with it, the report says what came of it.
        _ => Ok(()),
    }
}

pub(crate) async fn restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    // A pattern that is no glob is told before anything is fetched.
    options.globs(false)?;
    // Nothing is written before the manifest was verified.
    let manifest = Arc::new(show(catalog, identity, name).await?);
    let only = options.globs(manifest.head().origin.os == "windows")?;
    let changed = Changed::among(&manifest, only.as_ref())?;
    let index = ArchiveIndex::new(manifest.header().clone(), &manifest.head().archives[0].segments)?;
    let index = Arc::new(index);
    let pipeline = RestorePipeline {
        target: open_target(&options.out)?,
        opener: Opener::new(index.clone(), manifest.data_key().clone()),
        index,
        key: name.archive_key(),
        manifest,
        only: only.clone(),
        store: catalog.store.clone(),
        progress: options.run.progress.clone(),
    };
    let cancel = options.run.cancel.clone();
    let extracted = on_system("restore", move || async move { pipeline.run(&cancel).await }).await?;
    if extracted.damaged_count > 0 {
        see_whose_archive_it_is(catalog, identity, name).await?;
    }
    let mut report = options.report(name, only.as_ref(), extracted, started)?;
    (report.changed, report.changed_count) = (changed.listed, changed.count);
    Ok(report)
}
