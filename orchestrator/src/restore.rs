//! Restores with the manifest: only what was asked for is fetched, and nothing takes its name unchecked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::extractor::Extracted;
use intellistor_actors::globs::{self, PathGlobs};
use intellistor_actors::target::Target;
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::{ArchiveIndex, ArchiveReader, MOST_HEADER_BYTES, Opener};
use intellistor_storage::layout::BackupName;
use intellistor_telemetry::trace;

use crate::changed::Changed;
use crate::pipeline::{RestorePipeline, on_system};
use crate::{Error, Result, RunOptions, Vault};

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The folder to restore into; nothing outside it is written.
    pub out: PathBuf,
    /// Globs on `relative_path`; empty for everything.
    pub only: Vec<String>,
    /// Read the archive alone, from its first byte to its last: for a backup whose manifest is lost.
    pub without_manifest: bool,
    /// Who watches, and who may stop it.
    pub run: RunOptions,
}

impl RestoreOptions {
    /// Everything, into `out`.
    pub fn to(out: impl Into<PathBuf>) -> Self {
        Self { out: out.into(), only: Vec::new(), without_manifest: false, run: RunOptions::default() }
    }

    /// Only what one of the globs matches.
    #[must_use]
    pub fn only(mut self, globs: impl IntoIterator<Item: Into<String>>) -> Self {
        self.only = globs.into_iter().map(Into::into).collect();
        self
    }

    /// Without the manifest.
    #[must_use]
    pub fn without_manifest(mut self) -> Self {
        self.without_manifest = true;
        self
    }

    /// The selection; `None` for everything. Names of Windows have no case.
    pub(crate) fn globs(&self, of_windows: bool) -> Result<Option<PathGlobs>> {
        Ok(match of_windows {
            _ if self.only.is_empty() => None,
            true => Some(PathGlobs::ignoring_case(&self.only)?),
            false => Some(PathGlobs::new(&self.only)?),
        })
    }

    /// The report of a restore that ran to its end; an error when `only` selected nothing.
    pub(crate) fn report(
        &self,
        name: &BackupName,
        only: Option<&PathGlobs>,
        mut extracted: Extracted,
        started: Instant,
    ) -> Result<RestoreReport> {
        if extracted.found == 0 && !self.only.is_empty() {
            let quoted: Vec<_> =
                self.only.iter().map(|glob| format!("{glob:?}{}", globs::suspicion(glob))).collect();
            let patterns = quoted.join(" or ");
            return Err(Error::NothingMatches { backup_id: name.backup_id.clone(), patterns });
        }
        for pattern in only.into_iter().flat_map(PathGlobs::unmatched) {
            let hint = globs::suspicion(pattern);
            extracted.warn(format!("nothing in the backup matches {pattern:?}{hint}"));
        }
        let Extracted { found, restored, bytes, warnings, warning_count, damaged, damaged_count } = extracted;
        Ok(RestoreReport {
            name: name.clone(),
            found,
            restored,
            bytes,
            fetched_bytes: self.run.progress.stored_bytes.get(),
            warnings,
            warning_count,
            damaged,
            damaged_count,
            changed: Vec::new(),
            changed_count: 0,
            seconds: started.elapsed().as_secs_f64(),
            trace_id: trace::current_id(),
        })
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreReport {
    /// The backup.
    pub name: BackupName,
    /// Entries that were selected.
    pub found: u64,
    /// Entries that were restored.
    pub restored: u64,
    /// Content of the restored files in bytes.
    pub bytes: u64,
    /// Bytes of archive that were fetched.
    pub fetched_bytes: u64,
    /// The first entries that could not be made, and attributes that could not be applied, with the reason.
    pub warnings: Vec<String>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The first entries whose bytes are not what was backed up; nothing of them was restored.
    pub damaged: Vec<String>,
    /// How many damaged entries there were.
    pub damaged_count: u64,
    /// The first of the selected entries that changed while they were backed up, with the reason: they are as they were
    /// read, which need not be as they ever were.
    pub changed: Vec<String>,
    /// How many changed entries there were.
    pub changed_count: u64,
    /// How long it took.
    pub seconds: f64,
    /// The trace that it was done in, where traces are on.
    pub trace_id: Option<String>,
}

pub(crate) fn open_target(out: &Path) -> Result<Target> {
    Target::open(out).map_err(|e| Error::Target { out: out.to_owned(), reason: e.to_string() })
}

/// A restore fetches nothing but the frames that it needs, so it does not look at the archive's header before. Where frames
/// do not open, that they are another backup's says more than a list of files.
async fn see_whose_archive_it_is(vault: &Vault, name: &BackupName) -> Result<()> {
    let start = vault.store.get_range(&name.archive_key(), 0..MOST_HEADER_BYTES).await;
    match start.and_then(|start| ArchiveReader::open(&start[..], name, &vault.key).map(drop)) {
        Err(error @ StorageError::OtherBackup { .. }) => Err(error.into()),
        // Whatever else is wrong with it, the report says what came of it.
        _ => Ok(()),
    }
}

pub(crate) async fn restore(
    vault: &Vault,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    // A pattern that is no glob is told before anything is fetched.
    options.globs(false)?;
    // Nothing is written before the manifest was verified.
    let manifest = Arc::new(vault.show(name).await?);
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
        store: vault.store.clone(),
        progress: options.run.progress.clone(),
    };
    let cancel = options.run.cancel.clone();
    let extracted = on_system("restore", move || async move { pipeline.run(&cancel).await }).await?;
    if extracted.damaged_count > 0 {
        see_whose_archive_it_is(vault, name).await?;
    }
    let mut report = options.report(name, only.as_ref(), extracted, started)?;
    (report.changed, report.changed_count) = (changed.listed, changed.count);
    Ok(report)
}
