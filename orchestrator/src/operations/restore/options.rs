//! What to restore, where to, and the report that comes of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use intellistor_actors::globs::{self, PathGlobs};
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::target::Target;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_telemetry::trace;

use crate::error::{Error, Result};
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::report::{Integrity, RestoreReport, with_rest};
use crate::operations::run_options::RunOptions;

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The folder to restore into; nothing outside it is written.
    pub out: PathBuf,
    /// Globs on `relative_path`; empty for everything.
    pub only: Vec<String>,
    /// Read the archive alone, from its first byte to its last: for a backup whose manifest is lost.
    pub without_manifest: bool,
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

    /// The selection; `None` for everything. Names from Windows are matched without case.
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
        changed: ChangedEntries,
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
            out: self.out.clone(),
            found,
            restored,
            integrity: if damaged_count > 0 { Integrity::Failed } else { Integrity::Verified },
            bytes,
            fetched_bytes: self.run.progress.stored_bytes.get(),
            seconds: started.elapsed().as_secs_f64(),
            changed: changed.count,
            warnings: [with_rest(warnings, warning_count), changed.warnings()].concat(),
            warning_count,
            damaged: with_rest(damaged, damaged_count),
            damaged_count,
            trace_id: trace::current_id(),
        })
    }
}

pub(crate) fn open_target(out: &Path) -> Result<Target> {
    Target::open(out).map_err(|e| Error::Target { out: out.to_owned(), reason: e.to_string() })
}
