//! What a walk leaves out: what the policy excludes, and what this program itself writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::metadata::{FileId, FileMetadata};
use super::root_counts::RootCounts;
use super::roots::resolve;
use super::source_path::SourcePath;
use super::stat::metadata_at;
use super::system_files::{LeftOutByRule, RulesBelow, SystemFiles};
use crate::globs::{BadGlob, PathGlobs};

/// A folder or file that the walk leaves out although it is below a root, since this program writes it, such as a store.
/// It is known by its identity, so links, other spellings and second mounts make no difference.
#[derive(Debug, Clone)]
pub struct ExcludedFolder {
    path: PathBuf,
    reason: String,
    /// Known once the folder exists: a store makes its folders when it is first written to.
    identity: Arc<OnceLock<FileId>>,
}

impl ExcludedFolder {
    /// Excludes the folder at `path`, because of `reason`, as in "the backup is written there".
    pub fn new(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        let folder = Self { path: path.into(), reason: reason.into(), identity: Arc::default() };
        folder.identity();
        folder
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn identity(&self) -> Option<FileId> {
        if let Some(identity) = self.identity.get() {
            return Some(*identity);
        }
        let found = metadata_at(&resolve(&self.path).ok()?).ok()?.identity?;
        Some(*self.identity.get_or_init(|| found))
    }

    /// Whether a path leads to the folder, or to something in it.
    pub fn contains(&self, path: &Path) -> bool {
        let (Some(identity), Ok(path)) = (self.identity(), resolve(path)) else { return false };
        path.ancestors()
            .any(|above| metadata_at(above).is_ok_and(|metadata| metadata.identity == Some(identity)))
    }
}

/// What a policy leaves out. An excluded folder is left out with all that is in it. Clones share the record of what
/// they have met.
#[derive(Debug, Clone)]
pub struct Excludes {
    globs: PathGlobs,
    folders: Vec<ExcludedFolder>,
    one_file_system: bool,
    caches: bool,
    fetch_from_cloud: bool,
    streams: bool,
    /// Where a store keeps the policy's backups, relative to the store.
    own_backups: Option<String>,
    /// Folders in snapshots, and where they really are.
    real: Vec<(PathBuf, PathBuf)>,
    system_files: Arc<SystemFiles>,
    met: Arc<Mutex<Met>>,
}

#[derive(Debug, Default)]
struct Met {
    /// Excluded folders that the walk has met, with the reason.
    folders: BTreeMap<PathBuf, String>,
    /// What was counted below each root, once it was walked to its end.
    roots: BTreeMap<PathBuf, RootCounts>,
    /// What each rule about files of the system has left out.
    system_files: LeftOutByRule,
}

impl Excludes {
    /// Compiles the patterns. Each is matched on the path relative to the root, without the root's own name, so that a
    /// policy with one more root leaves out what it did before. Case is ignored where the system ignores it.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        let globs = if cfg!(windows) { PathGlobs::ignoring_case(patterns) } else { PathGlobs::new(patterns) };
        Ok(Self {
            globs: globs?,
            folders: Vec::new(),
            one_file_system: false,
            caches: false,
            fetch_from_cloud: false,
            streams: false,
            own_backups: None,
            real: Vec::new(),
            system_files: Arc::default(),
            met: Arc::default(),
        })
    }

    /// Whether to stay on the file system of each root: of what is mounted below, only the folder is found.
    #[must_use]
    pub fn one_file_system(mut self, stays: bool) -> Self {
        self.one_file_system = stays;
        self
    }

    /// Whether to leave out what is in folders that are marked as caches.
    #[must_use]
    pub fn and_caches(mut self, leaves_out: bool) -> Self {
        self.caches = leaves_out;
        self
    }

    /// Whether files that are in the cloud, and not on this machine, are fetched to be backed up; they are left out otherwise.
    #[must_use]
    pub fn fetch_from_cloud(mut self, fetches: bool) -> Self {
        self.fetch_from_cloud = fetches;
        self
    }

    /// Whether alternate data streams are found; they are counted otherwise.
    #[must_use]
    pub fn and_streams(mut self, finds: bool) -> Self {
        self.streams = finds;
        self
    }

    /// Leaves out what is in stores that hold backups at `own_backups`, a path relative to the store.
    #[must_use]
    pub fn and_stores_with(mut self, own_backups: impl Into<String>) -> Self {
        self.own_backups = Some(own_backups.into());
        self
    }

    /// Where the folders of snapshots really are, for what is said of them.
    #[must_use]
    pub fn and_real_paths(mut self, of_snapshots: impl IntoIterator<Item = (PathBuf, PathBuf)>) -> Self {
        self.real.extend(of_snapshots);
        self
    }

    /// Leaves out these folders as well.
    #[must_use]
    pub fn and_folders(mut self, folders: impl IntoIterator<Item = ExcludedFolder>) -> Self {
        self.folders.extend(folders);
        self
    }

    /// Leaves out files of the system, too.
    #[must_use]
    pub fn and_system_files(mut self, system_files: SystemFiles) -> Self {
        self.system_files = Arc::new(system_files);
        self
    }

    /// The rules about files of the system that apply below a root. Its path is the real one, whatever is read instead.
    pub(super) fn system_files_below(&self, root: &Path) -> RulesBelow {
        if self.system_files.is_empty() {
            return RulesBelow::default();
        }
        let real = resolve(root).unwrap_or_else(|_| root.to_owned());
        self.system_files.below(&real.to_string_lossy())
    }

    pub(super) fn note_system_file(&self, rule: &str) {
        let mut met = self.met();
        match met.system_files.get_mut(rule) {
            Some(count) => *count += 1,
            None => _ = met.system_files.insert(rule.to_owned(), 1),
        }
    }

    /// Rules about files of the system that have left something out, and how many entries; a folder counts as one.
    pub fn met_system_files(&self) -> Vec<(String, u64)> {
        self.met().system_files.clone().into_iter().collect()
    }

    /// Whether a path, relative to its root, is excluded. The root itself is never excluded: `*` and `?` would match
    /// its `.`.
    pub(super) fn leave_out(&self, below_root: &[u8]) -> bool {
        !below_root.is_empty()
            && !self.globs.is_empty()
            && self.globs.is_match(&String::from_utf8_lossy(below_root))
    }

    /// The folders that are left out, since this program writes them.
    pub fn folders(&self) -> &[ExcludedFolder] {
        &self.folders
    }

    pub(super) fn stay_on_file_system(&self) -> bool {
        self.one_file_system
    }

    pub(super) fn leave_out_caches(&self) -> bool {
        self.caches
    }

    pub(super) fn may_fetch(&self) -> bool {
        self.fetch_from_cloud
    }

    pub(super) fn finds_streams(&self) -> bool {
        self.streams
    }

    pub(super) fn own_backups(&self) -> Option<&str> {
        self.own_backups.as_deref()
    }

    pub(super) fn real_path(&self, path: &SourcePath) -> PathBuf {
        let path = path.as_path();
        let real = |(snapshot, real): &(PathBuf, PathBuf)| Some(real.join(path.strip_prefix(snapshot).ok()?));
        self.real.iter().find_map(real).unwrap_or_else(|| path.to_owned())
    }

    pub(super) fn note_own_store(&self, path: &SourcePath) {
        let reason = "it is a store that holds backups of this policy".to_owned();
        self.met().folders.insert(self.real_path(path), reason);
    }

    /// Whether a path is an excluded folder.
    pub(super) fn excludes_folder(&self, path: &SourcePath, metadata: &FileMetadata) -> bool {
        let Some(found) = metadata.identity.filter(|_| !self.folders.is_empty()) else { return false };
        let Some(folder) = self.folders.iter().find(|folder| folder.identity() == Some(found)) else {
            return false;
        };
        self.met().folders.insert(self.real_path(path), folder.reason.clone());
        true
    }

    pub(super) fn root_walked(&self, root: &Path, counts: RootCounts) {
        self.met().roots.insert(root.to_owned(), counts);
    }

    /// What was counted below the roots that were walked to their end.
    pub fn counts(&self) -> RootCounts {
        self.met().roots.values().copied().sum()
    }

    /// Patterns that have matched nothing so far.
    pub fn unmatched(&self) -> Vec<String> {
        self.globs.unmatched().map(str::to_owned).collect()
    }

    /// Excluded folders that a walk has met, with the reason.
    pub fn met_folders(&self) -> Vec<(PathBuf, String)> {
        self.met().folders.clone().into_iter().collect()
    }

    /// How many files were found below a root, once it was walked to its end; links count.
    pub fn files_below(&self, root: &Path) -> Option<u64> {
        self.met().roots.get(root).map(|counts| counts.files)
    }

    fn met(&self) -> std::sync::MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
