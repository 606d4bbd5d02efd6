//! What to restore, where to, and the report that comes of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use intellistor_actors::globs::{self, PathGlobs};
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::target::{Overwrite, Target};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::VerifiedManifest;
use intellistor_telemetry::trace;

use crate::error::{Error, Result};
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::report::{AccessLists, Integrity, RestoreReport, with_rest};
use crate::operations::run_options::RunOptions;

/// Where to restore to; nothing outside it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A folder, which is made if it is missing.
    Folder(PathBuf),
    /// The paths that the backup came from. Needs the manifest.
    Origin,
}

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub destination: Destination,
    /// What becomes of files that are there already. A restore without the manifest cannot compare them, and replaces what
    /// [`Overwrite::IfDifferent`] would compare.
    pub overwrite: Overwrite,
    /// Globs on `relative_path`; empty for everything.
    pub only: Vec<String>,
    /// Read the archive alone, from its first byte to its last: for a backup whose manifest is lost.
    pub without_manifest: bool,
    /// Files get no owner and no access list of the backup, but those that new files have where they are restored.
    pub without_access_lists: bool,
    pub run: RunOptions,
}

impl RestoreOptions {
    /// Everything, into `out`.
    pub fn to(out: impl Into<PathBuf>) -> Self {
        Self::new(Destination::Folder(out.into()))
    }

    /// Everything, to the paths that it came from.
    pub fn in_place() -> Self {
        Self::new(Destination::Origin)
    }

    fn new(destination: Destination) -> Self {
        let (overwrite, run) = (Overwrite::default(), RunOptions::default());
        let (without_manifest, without_access_lists) = (false, false);
        Self { destination, overwrite, only: Vec::new(), without_manifest, without_access_lists, run }
    }

    /// What becomes of files that are there already.
    #[must_use]
    pub fn overwriting(mut self, overwrite: Overwrite) -> Self {
        self.overwrite = overwrite;
        self
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

    /// Without owners and access lists of Windows.
    #[must_use]
    pub fn without_access_lists(mut self) -> Self {
        self.without_access_lists = true;
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

    /// What becomes of the access lists that a backup has.
    pub(super) fn access_lists(&self, manifest: &VerifiedManifest) -> Option<AccessLists> {
        match manifest.security().is_empty() {
            true => None,
            false if self.without_access_lists => Some(AccessLists::LeftOut),
            false if cfg!(windows) => Some(AccessLists::Restored),
            false => Some(AccessLists::Unsupported),
        }
    }

    /// The error of a selection that selects nothing.
    pub(super) fn nothing_matches(&self, name: &BackupName) -> Error {
        let quoted: Vec<_> =
            self.only.iter().map(|glob| format!("{glob:?}{}", globs::suspicion(glob))).collect();
        Error::NothingMatches { backup_id: name.backup_id.clone(), patterns: quoted.join(" or ") }
    }

    /// The report of a restore that ran to its end; an error when `only` selected nothing.
    pub(crate) fn report(
        &self,
        name: &BackupName,
        only: Option<&PathGlobs>,
        mut extracted: Extracted,
        changed: ChangedEntries,
        places: Vec<PathBuf>,
        started: Instant,
    ) -> Result<RestoreReport> {
        if extracted.found == 0 && !self.only.is_empty() {
            return Err(self.nothing_matches(name));
        }
        for pattern in only.into_iter().flat_map(PathGlobs::unmatched) {
            let hint = globs::suspicion(pattern);
            extracted.warn(format!("nothing in the backup matches {pattern:?}{hint}"));
        }
        let Extracted { found, restored, bytes, warnings, warning_count, damaged, damaged_count, .. } =
            extracted;
        let Extracted { unchanged, overwritten, overwritten_newer, left, streams_left_out, .. } = extracted;
        Ok(RestoreReport {
            name: name.clone(),
            out: match &self.destination {
                Destination::Folder(out) => Some(out.clone()),
                Destination::Origin => None,
            },
            places,
            found,
            restored,
            unchanged,
            overwritten,
            overwritten_newer,
            left,
            integrity: if damaged_count > 0 { Integrity::Failed } else { Integrity::Verified },
            bytes,
            fetched_bytes: self.run.progress.stored_bytes.get(),
            seconds: started.elapsed().as_secs_f64(),
            changed: changed.count,
            warnings: [with_rest(warnings, warning_count), changed.warnings()].concat(),
            warning_count,
            streams_left_out,
            access_lists: None,
            damaged: with_rest(damaged, damaged_count),
            damaged_count,
            trace_id: trace::current_id(),
        })
    }
}

pub(crate) fn open_target(out: &Path, overwrite: Overwrite) -> Result<Target> {
    match Target::open(out) {
        Ok(target) => Ok(target.overwriting(overwrite)),
        Err(e) => Err(Error::Target { out: out.to_owned(), reason: e.to_string() }),
    }
}

/// As [`open_target`], for a path that a backup names.
pub(crate) fn open_place(folder: &Path, overwrite: Overwrite) -> Result<Target> {
    match Target::open_place(folder) {
        Ok(target) => Ok(target.overwriting(overwrite)),
        Err(e) => Err(Error::Place { place: folder.to_owned(), reason: e.to_string() }),
    }
}
