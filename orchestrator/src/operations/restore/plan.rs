//! What a restore would do. Nothing is written: neither files, nor the folder to restore into.
//!
//! **In:** the manifest, and what is in the places to restore into; files of the right size and time are read to compare them.
//! **Out:** a [`RestorePlan`] with bounded lists. The bytes to fetch are those of the frames that the restore would ask for, since
//! it is planned in the same way.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use intellistor_actors::restore::planner::Selection;
use intellistor_actors::restore::planner::ranges::{RangeBuilder, RangePlanned};
use intellistor_actors::shown::NameList;
use intellistor_actors::target::{Cut, Finding, Inspector, Overwrite};
use intellistor_actors::threaded::StageError;
use intellistor_storage::archive::ArchiveSet;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::cold_archives;
use crate::operations::report::{NameMembers, is_zero, lossy_option};
use crate::operations::restore::options::{Destination, RestoreOptions};
use crate::operations::restore::places::{Place, places};
use crate::operations::show::show;

/// What a restore would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RestorePlan {
    /// Names the backup.
    #[serde(flatten, with = "NameMembers")]
    pub name: BackupName,
    /// Always true: nothing was restored.
    pub dry_run: bool,
    /// The folder to restore into; absent for a restore in place.
    #[serde(serialize_with = "lossy_option", skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// The paths to restore to in place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PathBuf>,
    /// Entries that are selected, folders included.
    pub found: u64,
    /// Entries under whose name is nothing.
    pub new: u64,
    /// Files and links that are there, and are what was backed up.
    pub identical: u64,
    /// Files and links that are there, and are not.
    pub different: NameList,
    /// Those of them that were modified later than what was backed up.
    pub newer: NameList,
    /// Entries that cannot be restored, since something else is in the way, with the reason.
    pub blocked: NameList,
    /// Files and links that would be replaced.
    pub overwrites: u64,
    /// Files and links that would stay as they are.
    pub leaves: u64,
    /// Alternate data streams that the file system has no place for; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams_left_out: u64,
    /// Content of the files that would be written.
    pub bytes_to_write: u64,
    /// Bytes of archives that would be fetched.
    pub bytes_to_fetch: u64,
    /// The archives that would be read.
    pub archives: Vec<NeededArchive>,
}

/// An archive that a restore reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededArchive {
    pub key: String,
    pub bytes_to_fetch: u64,
    /// It is in a storage class that is not read at once: a readable copy is to be requested first, which takes hours.
    pub cold: bool,
}

impl RestorePlan {
    /// Whether everything could be restored now.
    pub fn is_possible(&self) -> bool {
        self.blocked.is_empty() && self.archives.iter().all(|archive| !archive.cold)
    }
}

/// Says what [`restore`](crate::restore) would do with the same options.
///
/// # Errors
/// As for [`restore`](crate::restore). A place that cannot be written to is not found out.
pub async fn plan_restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    options.globs(false)?;
    let manifest = Arc::new(show(catalog, identity, name).await?);
    let only = options.globs(manifest.head().origin.os == "windows")?;
    let places = match &options.destination {
        Destination::Folder(_) => None,
        Destination::Origin => Some(places(&manifest, only.as_ref(), &catalog.machine)?),
    };
    let archives = manifest.archives()?;
    let (options, backup) = (options.clone(), name.clone());
    let compared = move || {
        let mut planner = PlanBuilder::new(&options, backup, &archives);
        let select =
            |only, root| Selection::new(only, root).without_access_lists(options.without_access_lists);
        match (&options.destination, &places) {
            (Destination::Folder(out), _) => {
                planner.plan.out = Some(out.clone());
                let inspector = Inspector::of(out)
                    .map_err(|e| Error::Target { out: out.clone(), reason: e.to_string() })?;
                planner.compare(&manifest, select(only, None), inspector)?;
            }
            (_, places) => {
                for Place { path, folder, root } in places.iter().flatten() {
                    planner.plan.places.push(path.clone());
                    let selection = select(only.clone(), Some(root.clone()));
                    let inspector = Inspector::of_place(folder)
                        .map_err(|e| Error::Place { place: folder.clone(), reason: e.to_string() })?;
                    planner.compare(&manifest, selection, inspector)?;
                }
            }
        }
        planner.finish()
    };
    let compared = tokio::task::spawn_blocking(compared).await;
    let mut plan =
        compared.unwrap_or_else(|e| Err(Error::Defect(format!("the comparing thread panicked: {e}"))))?;
    let keys = plan.archives.iter().map(|archive| archive.key.clone()).collect();
    let cold = cold_archives::cold_among(&*catalog.store, keys).await;
    for archive in &mut plan.archives {
        archive.cold = cold.contains(&archive.key);
    }
    Ok(plan)
}

struct PlanBuilder<'a> {
    archives: &'a ArchiveSet,
    options: &'a RestoreOptions,
    plan: RestorePlan,
    /// Bytes to fetch, by the archive's number.
    fetched: Vec<u64>,
}

impl<'a> PlanBuilder<'a> {
    fn new(options: &'a RestoreOptions, name: BackupName, archives: &'a ArchiveSet) -> Self {
        Self {
            archives,
            options,
            plan: RestorePlan { name, dry_run: true, ..RestorePlan::default() },
            fetched: vec![0; archives.numbers().len()],
        }
    }

    fn compare(
        &mut self,
        manifest: &VerifiedManifest,
        mut selection: Selection,
        mut inspector: Inspector,
    ) -> Result<()> {
        let cancel = self.options.run.cancel.clone();
        let mut ranges = RangeBuilder::new(self.archives);
        let mut failed = None;
        selection.for_each(manifest, |entry, selection| {
            let mut entry = selection.select(entry);
            let planned = match inspector.find(&entry, &|| cancel.is_cancelled()) {
                _ if cancel.is_cancelled() => Err(Error::Interrupted),
                Err(Cut) => Err(Error::Interrupted),
                Ok(finding) => {
                    self.add(&mut entry, finding);
                    let added = ranges.add(entry, &mut |range| {
                        self.fetch(&range);
                        Ok(())
                    });
                    added.map_err(|e| match e {
                        StageError::Failed(e) => e.into(),
                        StageError::Stopped(_) => Error::Interrupted,
                    })
                }
            };
            match planned {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(e) = failed {
            return Err(e);
        }
        self.fetch(&ranges.finish());
        Ok(())
    }

    fn fetch(&mut self, range: &RangePlanned) {
        // As the store is asked for them: with what is between adjacent frames.
        for frames in range.requests() {
            let (Some(first), Some(last)) = (frames.first(), frames.last()) else { continue };
            if let Some(bytes) = self.fetched.get_mut(first.archive as usize) {
                *bytes += last.end() - first.offset;
            }
        }
    }

    /// Counts an entry. One that is not to be written loses its extents.
    fn add(&mut self, entry: &mut Entry, finding: Finding) {
        let plan = &mut self.plan;
        plan.found += 1;
        let is_written = match finding {
            Finding::Missing => {
                plan.new += 1;
                true
            }
            Finding::InTheWay(reason) => {
                plan.blocked.add(&format!("{}: {reason}", entry.shown_path()));
                false
            }
            Finding::Unsupported => {
                plan.streams_left_out += 1;
                false
            }
            _ if entry.kind == EntryKind::Directory => false,
            found => {
                let is_same = found == Finding::Same;
                match found {
                    Finding::Different { is_newer } => {
                        plan.different.add(&entry.shown_path());
                        if is_newer {
                            plan.newer.add(&entry.shown_path());
                        }
                    }
                    _ => plan.identical += 1,
                }
                let is_replaced = match self.options.overwrite {
                    Overwrite::Always => true,
                    Overwrite::Never => false,
                    Overwrite::IfDifferent => !is_same,
                };
                if is_replaced {
                    plan.overwrites += 1;
                } else {
                    plan.leaves += 1;
                }
                is_replaced
            }
        };
        if !is_written {
            entry.extents.clear();
        } else if entry.kind.has_content() {
            plan.bytes_to_write = plan.bytes_to_write.saturating_add(entry.size);
        }
    }

    fn finish(mut self) -> Result<RestorePlan> {
        if self.plan.found == 0 && !self.options.only.is_empty() {
            return Err(self.options.nothing_matches(&self.plan.name));
        }
        for (number, bytes) in self.archives.numbers().zip(self.fetched) {
            if bytes > 0 {
                let key = self.archives.key(number)?.to_owned();
                self.plan.archives.push(NeededArchive { key, bytes_to_fetch: bytes, cold: false });
                self.plan.bytes_to_fetch += bytes;
            }
        }
        Ok(self.plan)
    }
}
