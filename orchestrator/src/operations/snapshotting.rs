//! Snapshots for a run: taken as the policy's `vss` says, read instead of the live files, given back after the last read.
//!
//! - **In:** a policy, and what makes snapshots. **Out:** where each of its paths is read, and what result, log and manifest
//!   say of it.
//! - **Guarantees:** under `required` there is an error, and nothing was read, where one of the paths is in no snapshot.
//!   Under `try` every path that is read as it is has its reason, and the run goes on. It needs a person's eye, and the run
//!   ends with exit code 3, where a snapshot should have been made and was not: otherwise files in use would be missing
//!   every night without a word. It does not where none can be made, today as tomorrow: on a share, a FAT drive, a system
//!   without VSS, or for an account without the rights, which a person has chosen.
//! - **After a crash:** nothing is left. Windows deletes the snapshots of a process that ends; a resumed job has the roots
//!   of its walk recorded as [`RootView`]s, and finds its files in a new snapshot, or as they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use intellistor_actors::backup::scan_reader::MovedRoot;
use intellistor_actors::source::{ExcludedFolder, Excludes, Root, make_roots, resolve};
use intellistor_storage::Error as StorageError;
use intellistor_storage::manifest::{SnapshotRecord, WriterRecord};
use intellistor_storage::state::{Findings, RootView};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::policy::{Policy, VssMode};
use crate::snapshots::{
    Hresult, LiveReason, SnapshotError, SnapshotPlan, SnapshotSet, SnapshotSystem, VolumeReport,
    volume_reports,
};
use crate::system_files::note_of_snapshots;

/// The snapshots of a run, or none. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct RunSnapshots {
    system: SnapshotSystem,
    /// The policy's paths, and where they are read in a snapshot.
    paths: Vec<(PathBuf, Option<PathBuf>)>,
    /// The root of each snapshot, and of its volume.
    real: Vec<(PathBuf, PathBuf)>,
    set: Mutex<Option<SnapshotSet>>,
    /// When the work on them began, in milliseconds since 1970 UTC: what is changed later is not in them.
    began_ms: i64,
    records: Vec<SnapshotRecord>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

impl RunSnapshots {
    /// For a run that reads all files as they are.
    pub(crate) fn none(policy: &Policy) -> Self {
        Self::empty(policy, &SnapshotSystem::default())
    }

    fn empty(policy: &Policy, system: &SnapshotSystem) -> Self {
        Self {
            system: system.clone(),
            paths: policy.paths.iter().map(|path| (path.clone(), None)).collect(),
            real: Vec::new(),
            set: Mutex::default(),
            began_ms: Utc::now().timestamp_millis(),
            records: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes what the policy asks for. Blocks no reactor, and may take minutes.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`] and [`Error::NotInSnapshot`] under `required`; [`Error::Interrupted`].
    pub(crate) async fn take(
        policy: &Policy,
        system: &SnapshotSystem,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mode = VssMode::of(policy.vss, system.is_elevated);
        let mut snapshots = Self::empty(policy, system);
        if mode == VssMode::Off {
            return Ok(snapshots);
        }
        let (system, cancel, paths) = (system.clone(), cancel.clone(), policy.paths.clone());
        let take = move || {
            let paths: Vec<_> = paths.iter().map(|path| absolute(path)).collect();
            let plan = SnapshotPlan::new(paths.iter().map(String::as_str), &*system.volumes);
            let taken = system.provider.take(&plan.volumes, &|| cancel.is_cancelled());
            (plan, taken)
        };
        let taken = tokio::task::spawn_blocking(take).await;
        let (plan, taken) =
            taken.map_err(|error| Error::Defect(format!("the snapshots could not be made: {error}")))?;
        if taken.as_ref().is_err_and(SnapshotError::is_cancelled) {
            return Err(Error::Interrupted);
        }
        if mode == VssMode::Required {
            let taken = taken.as_ref().map_err(|error| Error::NoSnapshot(Box::new(error.clone())))?;
            check_complete(&plan, taken)?;
        }
        snapshots.describe(&plan, taken.as_ref());
        if let Ok(set) = taken {
            snapshots.adopt(&plan, set);
            snapshots.notes.extend(note_of_snapshots());
        }
        snapshots.log();
        Ok(snapshots)
    }

    /// What is said of each volume and path.
    fn describe(&mut self, plan: &SnapshotPlan, taken: Result<&SnapshotSet, &SnapshotError>) {
        self.records = volume_reports(plan, taken).into_iter().map(record).collect();
        let is_elevated = self.system.is_elevated;
        let mut live = Vec::new();
        match taken {
            Ok(set) => {
                let left_out = set.left_out.iter().map(|left_out| {
                    (
                        left_out.volume.root.clone(),
                        left_out.reason.to_string(),
                        is_failure(&left_out.reason, is_elevated),
                    )
                });
                live.extend(left_out);
                self.warnings.extend(set.warnings.iter().map(ToString::to_string));
            }
            Err(error) => {
                let volumes: Vec<_> = plan.volumes.iter().map(|volume| volume.root.as_str()).collect();
                if !volumes.is_empty() {
                    live.push((volumes.join(", "), error.to_string(), is_failure(error, is_elevated)));
                }
            }
        }
        live.extend(plan.paths.iter().filter_map(|path| {
            let reason = path.location.as_ref().err()?;
            // The walk itself reports a path that is missing.
            let is_failure =
                is_elevated && matches!(reason, LiveReason::Unknown { .. }) && Path::new(&path.path).exists();
            Some((path.path.clone(), reason.to_string(), is_failure))
        }));
        for (what, reason, is_failure) in live {
            let text = format!("{what} was read as it is, without a snapshot: {reason}");
            if is_failure { self.warnings.push(text) } else { self.notes.push(text) }
        }
    }

    fn adopt(&mut self, plan: &SnapshotPlan, set: SnapshotSet) {
        for (path, planned) in self.paths.iter_mut().zip(&plan.paths) {
            let location = planned.location.as_ref().ok();
            path.1 = location.and_then(|location| set.read_at(location)).map(PathBuf::from);
        }
        let real = |snapshot: &crate::snapshots::VolumeSnapshot| {
            (PathBuf::from(&snapshot.device), PathBuf::from(&snapshot.volume.root))
        };
        self.real = set.snapshots.iter().map(real).collect();
        *self.set.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(set);
    }

    fn log(&self) {
        for record in self.records.iter().filter(|record| record.used) {
            let SnapshotRecord { volume, snapshot, set, created, .. } = record;
            tracing::info!(volume, snapshot, set, created, "files are read in a snapshot");
        }
        // A person is warned with all else that needs attention, when the backup is published.
        self.notes.iter().chain(&self.warnings).for_each(|text| tracing::info!("{text}"));
    }

    /// Whether any path is read in a snapshot.
    pub(crate) fn are_used(&self) -> bool {
        self.paths.iter().any(|(_, read_at)| read_at.is_some())
    }

    /// Whether they are still there, or there were none.
    pub(crate) fn are_held(&self) -> bool {
        !self.are_used() || self.set.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// From when on files may have another content than the backup; `None` where they are read as they are.
    pub(crate) fn began_ms(&self) -> Option<i64> {
        self.are_used().then_some(self.began_ms)
    }

    /// The policy's roots, as a walk takes them.
    pub(crate) fn roots(&self) -> Vec<Root> {
        let paths: Vec<_> = self.paths.iter().map(|(path, _)| path.clone()).collect();
        let roots = make_roots(&paths).into_iter().zip(&self.paths);
        roots.map(|(root, (_, read_at))| Root { snapshot: read_at.clone(), ..root }).collect()
    }

    /// The same folders left out in the snapshots, where another system of numbers may hold their identities, and named as
    /// they really are.
    pub(crate) fn excludes(&self, excludes: Excludes) -> Excludes {
        if !self.are_used() {
            return excludes;
        }
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(set) = set.as_ref() else { return excludes };
        let inside = |folder: &ExcludedFolder| {
            let location = self.system.volumes.locate(&absolute(folder.path())).ok()?;
            let inside = PathBuf::from(set.read_at(&location)?);
            inside.exists().then(|| ExcludedFolder::new(inside, folder.reason()))
        };
        let inside: Vec<_> = excludes.folders().iter().filter_map(inside).collect();
        excludes.and_folders(inside).and_real_paths(self.real.clone())
    }

    /// Where each root is read, to be recorded with a walk; empty where there is no snapshot among them.
    pub(crate) fn views(&self) -> Vec<RootView> {
        if !self.are_used() {
            return Vec::new();
        }
        self.paths
            .iter()
            .filter_map(|(path, read_at)| Some(view(path, place(path, read_at.as_ref())?)))
            .collect()
    }

    /// The roots of a recorded walk that are elsewhere in this run. `recorded` is empty where the walk read all of them as
    /// they are.
    pub(crate) fn moved(&self, recorded: &[RootView]) -> Vec<MovedRoot> {
        let (mut moved, mut folders) = (Vec::new(), Vec::new());
        for (path, read_at) in &self.paths {
            let known = recorded.iter().find(|view| view.path == *path).map(|view| view.read_at.clone());
            if known.is_none() && read_at.is_none() {
                continue;
            }
            let Some(from) = known.or_else(|| place(path, None)) else { continue };
            // Of a path that is gone nothing is read, least of all where it was: a snapshot's number is given again, to one
            // of another volume.
            let to = place(path, read_at.as_ref()).unwrap_or_else(|| PathBuf::from(absolute(path)));
            // A root that is a file, or was one, is walked from its folder.
            if let Some((from, to)) = from.parent().zip(to.parent()) {
                let folder = MovedRoot { from: from.to_owned(), to: to.to_owned() };
                folders.push((path.is_dir() || !path.exists(), folder));
            }
            moved.push(MovedRoot { from, to });
        }
        if moved.iter().all(|root| root.from == root.to) {
            return Vec::new();
        }
        folders.sort_by_key(|(may_be_none, _)| *may_be_none);
        for (_, folder) in folders {
            if !moved.contains(&folder) {
                moved.push(folder);
            }
        }
        moved
    }

    /// Adds what is to be said of them.
    pub(crate) fn add_to(&self, findings: &mut Findings) {
        for record in &self.records {
            if !findings.snapshots.contains(record) {
                findings.snapshots.push(record.clone());
            }
        }
        for (all, own) in [(&mut findings.notes, &self.notes), (&mut findings.warnings, &self.warnings)] {
            let new: Vec<_> = own.iter().filter(|text| !all.contains(*text)).cloned().collect();
            all.extend(new);
        }
    }

    /// What a job that is resumed says of the snapshot that its walk was read in.
    pub(crate) fn resumed_note(&self, recorded: &[RootView]) -> Option<String> {
        let how = match (recorded.is_empty(), self.are_used()) {
            (true, false) => return None,
            (true, true) => "what was left of it was read in a snapshot, and what was sent before was not",
            (false, true) => {
                "the snapshot of the earlier run is gone, and what was left was read in a new one: files of this backup are of \
                 two moments"
            }
            (false, false) => {
                "the snapshot of the earlier run is gone, and what was left was read as it is: files of this backup are of \
                 different moments"
            }
        };
        Some(format!("the job was resumed: {how}"))
    }

    /// Gives them back, after the last read. Returns what needs attention.
    pub(crate) async fn end(&self, succeeded: bool) -> Vec<String> {
        let Some(set) = self.set.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Vec::new();
        };
        let ended = tokio::task::spawn_blocking(move || set.complete(succeeded)).await;
        let problem = match ended {
            Ok(Ok(())) => return Vec::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the snapshots were not given back: {error}"),
        };
        if !succeeded {
            tracing::warn!("{problem}");
        }
        vec![problem]
    }

    /// An error about a file in a snapshot, with the path that people know.
    pub(crate) fn named(&self, error: Error) -> Error {
        match error {
            Error::Storage(StorageError::Io { action, path, source }) => {
                let real = self
                    .real
                    .iter()
                    .find_map(|(snapshot, real)| Some(real.join(path.strip_prefix(snapshot).ok()?)));
                Error::Storage(StorageError::Io { action, path: real.unwrap_or(path), source })
            }
            error => error,
        }
    }

    /// These, or new ones where they were given back already: for a backup that is begun again.
    pub(crate) async fn or_new(
        self: Arc<Self>,
        policy: &Policy,
        cancel: &CancellationToken,
    ) -> Result<Arc<Self>> {
        if self.are_held() {
            return Ok(self);
        }
        Ok(Arc::new(Self::take(policy, &self.system, cancel).await?))
    }
}

/// Under `required`, every path is to be in a snapshot.
fn check_complete(plan: &SnapshotPlan, set: &SnapshotSet) -> Result<()> {
    if let Some(left_out) = set.left_out.first() {
        return Err(Error::NoSnapshot(Box::new(left_out.reason.clone())));
    }
    for planned in &plan.paths {
        if let Err(reason) = &planned.location {
            return Err(Error::NotInSnapshot { path: planned.path.clone(), reason: reason.clone() });
        }
    }
    Ok(())
}

/// Whether a snapshot should have been made, and a person has to look why it was not.
fn is_failure(error: &SnapshotError, is_elevated: bool) -> bool {
    let is_for_want_of_rights = !is_elevated && error.code() == Some(Hresult::ACCESS_DENIED);
    !error.is_of_the_system() && !is_for_want_of_rights
}

fn record(report: VolumeReport) -> SnapshotRecord {
    let VolumeReport { volume, used, reason, call, code, snapshot, set, created, writers } = report;
    let writer = |writer: crate::snapshots::FailedWriter| WriterRecord {
        name: writer.name,
        state: writer.state.to_owned(),
        code: writer.code.hex(),
    };
    SnapshotRecord {
        volume,
        used,
        reason,
        call: call.map(|call| call.to_string()),
        code: code.map(|code| code.hex()),
        snapshot: snapshot.map(|id| id.to_string()),
        set: set.map(|id| id.to_string()),
        created: created.map(|at| DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)),
        writers: writers.into_iter().map(writer).collect(),
    }
}

fn view(path: &Path, read_at: PathBuf) -> RootView {
    RootView { path: path.to_owned(), read_at }
}

/// Where a root is read, without links.
fn place(path: &Path, read_at: Option<&PathBuf>) -> Option<PathBuf> {
    read_at.cloned().or_else(|| resolve(path).ok())
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
