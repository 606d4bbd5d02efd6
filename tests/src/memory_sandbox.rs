//! A source on disk, and a store in memory that is used through the library: what tests of backups and restores share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use intellistor::{BackupOptions, BackupReport, Policy, RestoreOptions, RestoreReport, UserKey};
use intellistor_storage::objects::MemoryStore;
use tempfile::TempDir;

use crate::sample_tree;
use crate::tree::{self, Tree};
use crate::vault::Vault;

/// The id of its policy.
pub const POLICY: &str = "everything";

#[derive(Debug)]
pub struct MemorySandbox {
    pub dir: TempDir,
    pub memory: MemoryStore,
    pub key: UserKey,
    pub vault: Vault,
}

impl MemorySandbox {
    pub fn create() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let (memory, key) = (MemoryStore::default(), UserKey::generate());
        let vault = Vault::new(Arc::new(memory.clone()), key.clone());
        Self { dir, memory, key, vault }
    }

    pub fn with_odd_files() -> Self {
        let sandbox = Self::create();
        sample_tree::make(&sandbox.source());
        sandbox
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn source(&self) -> PathBuf {
        self.at("source")
    }

    pub fn policy(&self) -> Policy {
        Policy::new(POLICY, [self.source()]).unwrap()
    }

    pub async fn back_up(&self) -> BackupReport {
        self.vault.backup(&self.policy(), BackupOptions::default()).await.unwrap()
    }

    /// Restores into a new folder and reads it.
    pub async fn restore(
        &self,
        backup: &BackupReport,
        options: impl FnOnce(RestoreOptions) -> RestoreOptions,
    ) -> Tree {
        self.restore_with_report(backup, options).await.0
    }

    pub async fn restore_with_report(
        &self,
        backup: &BackupReport,
        options: impl FnOnce(RestoreOptions) -> RestoreOptions,
    ) -> (Tree, RestoreReport) {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let options = options(RestoreOptions::to(out.path().join("out")));
        let report = self.vault.restore(&backup.name, options).await.unwrap();
        assert_clean(&report);
        assert_eq!(report.found, report.restored);
        (tree::snapshot(&out.path().join("out")), report)
    }
}

#[track_caller]
pub fn assert_clean(report: &RestoreReport) {
    assert_eq!(
        (report.warning_count, report.damaged_count),
        (0, 0),
        "{:?} {:?}",
        report.warnings,
        report.damaged
    );
}

pub fn write(path: &Path, body: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
}

pub fn names(tree: &Tree) -> Vec<String> {
    tree.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

/// The names of files and links, without the folders that they are in.
pub fn leaves(tree: &Tree) -> Vec<String> {
    let mut tree = tree.clone();
    tree.retain(|_, entry| entry.kind != tree::Kind::Folder);
    names(&tree)
}
