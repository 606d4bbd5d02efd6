//! Restores with the manifest: only what was asked for and is not there already is fetched, and no file gets its name unchecked.
//!
//! In place, each root of the backup is restored by itself, into a target of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::globs::PathGlobs;
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::{ArchiveReader, MOST_HEADER_BYTES};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::VerifiedManifest;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::cold_archives;
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::{Destination, RestoreOptions, open_place, open_target};
use crate::operations::restore::places::{self, Place};
use crate::operations::show::show;
use crate::pipeline::restore::RestorePipeline;
use crate::pipeline::system::on_system;

/// A restore fetches only the frames it needs, and not the archive's header. Where frames do not open, it is read: that the
/// archive is another backup's says more than a list of damaged files.
async fn check_archive_header(catalog: &Catalog, identity: &Identity, name: &BackupName) -> Result<()> {
    let start = catalog.store.get_range(&name.archive_key(), 0..MOST_HEADER_BYTES).await;
    match start.and_then(|start| ArchiveReader::open(&start[..], name, identity).map(drop)) {
        Err(error @ StorageError::OtherBackup { .. }) => Err(error.into()),
        // The report lists any other damage.
        _ => Ok(()),
    }
}

/// How many entries a restore is to end with.
fn count_selected(manifest: &VerifiedManifest, only: Option<&PathGlobs>) -> Result<u64> {
    let Some(only) = only else { return Ok(manifest.head().totals.entries) };
    let mut count = 0;
    let see = |path: &str| {
        count += u64::from(only.is_match(path));
        false
    };
    manifest.for_each_entry_at(see, |_| ControlFlow::Continue(()))?;
    Ok(count)
}

pub(crate) async fn restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    // An invalid glob is reported before anything is fetched.
    options.globs(false)?;
    // Nothing is written before the manifest was verified.
    let manifest = Arc::new(show(catalog, identity, name).await?);
    let only = options.globs(manifest.head().origin.os == "windows")?;
    let changed = ChangedEntries::among(&manifest, only.as_ref())?;
    let archives = Arc::new(manifest.archives()?);
    options.run.progress.selected_entries.add(count_selected(&manifest, only.as_ref())?);
    let mut places = Vec::new();
    // All are opened before the first is written to: one that cannot be must not be found in the middle.
    let targets = match &options.destination {
        Destination::Folder(out) => vec![(open_target(out, options.overwrite)?, None)],
        Destination::Origin => {
            let mut targets = Vec::new();
            for Place { path, folder, root } in places::places(&manifest, only.as_ref(), &catalog.machine)? {
                targets.push((open_place(&folder, options.overwrite)?, Some(root)));
                places.push(path);
            }
            targets
        }
    };
    let mut extracted = Extracted::default();
    for (target, root) in targets {
        let pipeline = RestorePipeline {
            target,
            root,
            without_access_lists: options.without_access_lists,
            archives: archives.clone(),
            manifest: manifest.clone(),
            only: only.clone(),
            store: catalog.store.clone(),
            progress: options.run.progress.clone(),
        };
        let cancel = options.run.cancel.clone();
        let restored = on_system("restore", move || async move { pipeline.run(&cancel).await }).await;
        extracted.append(cold_archives::name_all(&*catalog.store, &archives, restored).await?);
    }
    if extracted.damaged_count > 0 {
        check_archive_header(catalog, identity, name).await?;
    }
    let report = options.report(name, only.as_ref(), extracted, changed, places, started)?;
    Ok(RestoreReport { access_lists: options.access_lists(&manifest), ..report })
}
