//! Backups that a broken disk, or somebody without the key, has changed: nothing half-restored, nothing unnoticed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use intellistor::{
    BackupName, BackupOptions, Category, Error, Policy, RestoreOptions, RestoreReport, RunOptions, UserKey,
};
use intellistor_storage::objects::{MemoryStore, ObjectStore, ObjectStoreExt as _};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

/// A small backup in memory: some files, one archive of a few hundred bytes.
struct Victim {
    dir: TempDir,
    store: MemoryStore,
    vault: Vault,
    name: BackupName,
}

impl Victim {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("pasta")).unwrap();
        for (name, text) in [("a.txt", "um"), ("pasta/b.txt", "dois"), ("z.txt", "três")] {
            fs::write(source.join(name), text).unwrap();
        }
        let (store, key) = (MemoryStore::default(), UserKey::generate());
        let vault = Vault::new(Arc::new(store.clone()), key);
        let policy = Policy::new("victim", [source]).unwrap();
        let name = vault.backup(&policy, BackupOptions::default()).await.unwrap().name;
        Self { dir, store, vault, name }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    async fn archive(&self) -> Vec<u8> {
        self.store.get_range(&self.name.archive_key(), 0..u64::MAX).await.unwrap().to_vec()
    }

    async fn verify(&self) -> Result<(), Error> {
        self.vault.verify(&self.name, RunOptions::default()).await.map(drop)
    }

    async fn restore(&self, out: &Path) -> Result<RestoreReport, Error> {
        self.vault.restore(&self.name, RestoreOptions::to(out)).await
    }
}

/// No file has a temporary name, and every file that is there is one of the source's, whole.
fn assert_nothing_half_restored(source: &Path, out: &Path) {
    let expected = tree::snapshot(source);
    if !out.exists() {
        return;
    }
    for (path, entry) in tree::snapshot(out) {
        let text = String::from_utf8_lossy(&path).into_owned();
        assert!(!text.contains(".part"), "{text} was left behind");
        let original = expected.get(&path).unwrap_or_else(|| panic!("{text} was not in the source"));
        assert_eq!(entry.sha256, original.sha256, "{text}");
    }
}

/// Where the one frame is that has the three files: behind the archive's header and the segment's.
fn frame_of_files(archive: &[u8]) -> Range<usize> {
    let number = |at: usize| u32::from_be_bytes(archive[at..at + 4].try_into().unwrap()) as usize;
    let start = 9 + number(5) + 36;
    let end = start + 4 + number(start);
    assert!(end < archive.len(), "another frame closes the archive");
    start..end
}

/// Restores, and asserts that the three files are damaged, or that all five entries are restored.
async fn assert_restores_all_but(victim: &Victim, out: &Path, damaged: u64, what: &str) {
    let report = victim.restore(out).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let counts = (report.found, report.restored, report.damaged_count, report.warning_count);
    assert_eq!(counts, (5, 5 - damaged, damaged, 0), "{what}: {report:?}");
    assert_nothing_half_restored(&victim.source(), out);
}

#[tokio::test]
async fn every_flipped_byte_of_an_archive_is_noticed_and_restores_nothing_wrong() {
    let victim = Victim::new().await;
    let whole = victim.archive().await;
    let files = frame_of_files(&whole);
    for i in 0..whole.len() {
        victim.store.alter(&victim.name.archive_key(), |bytes| bytes[i] ^= 1);
        let error = victim.verify().await.unwrap_err();
        let expected = match i {
            // A later version of the format is what it seems to be.
            4 => Category::Failed,
            _ => Category::Integrity,
        };
        assert_eq!(error.category(), expected, "byte {i}: {error}");
        // The manifest repeats what else a restore needs.
        let damaged = if files.contains(&i) { 3 } else { 0 };
        let out = victim.dir.path().join(format!("out-{i}"));
        assert_restores_all_but(&victim, &out, damaged, &format!("byte {i}")).await;
        victim.store.alter(&victim.name.archive_key(), |bytes| bytes[i] ^= 1);
    }
    victim.verify().await.unwrap();
}

#[tokio::test]
async fn every_flipped_byte_of_a_manifest_is_refused() {
    let victim = Victim::new().await;
    let bytes = victim.store.head(&victim.name.manifest_key()).await.unwrap().unwrap() as usize;
    for i in 0..bytes {
        victim.store.alter(&victim.name.manifest_key(), |bytes| bytes[i] ^= 1);
        let out = victim.dir.path().join("out");
        assert!(victim.restore(&out).await.is_err(), "byte {i}");
        assert!(!out.exists(), "byte {i}: something was written before the manifest was verified");
        victim.store.alter(&victim.name.manifest_key(), |bytes| bytes[i] ^= 1);
    }
}

#[tokio::test]
async fn a_cut_archive_is_noticed_wherever_it_is_cut() {
    let victim = Victim::new().await;
    let whole = victim.archive().await;
    let files = frame_of_files(&whole);
    for keep in 0..whole.len() {
        let what = format!("cut at {keep}");
        victim.store.alter(&victim.name.archive_key(), |bytes| bytes.truncate(keep));
        assert_eq!(victim.verify().await.unwrap_err().category(), Category::Integrity, "{what}");
        let has_files = keep >= files.end;
        let out = victim.dir.path().join(format!("out-{keep}"));
        assert_restores_all_but(&victim, &out, if has_files { 0 } else { 3 }, &what).await;
        // Without the manifest, the frame is restored and the missing end counts as damage; with no whole frame there is
        // nothing to restore.
        let salvaged = victim.dir.path().join(format!("salvaged-{keep}"));
        let options = RestoreOptions::to(&salvaged).without_manifest();
        let outcome = victim.vault.restore(&victim.name, options).await;
        if has_files {
            let report = outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!((report.restored, report.damaged_count), (5, 1), "{what}: {report:?}");
        } else {
            assert_eq!(outcome.unwrap_err().category(), Category::Integrity, "{what}");
        }
        assert_nothing_half_restored(&victim.source(), &salvaged);
        let whole = whole.clone();
        victim.store.alter(&victim.name.archive_key(), |bytes| *bytes = whole);
    }
}

#[tokio::test]
async fn an_archive_and_a_manifest_of_different_backups_do_not_go_together() {
    let victim = Victim::new().await;
    let policy = Policy::new("victim", [victim.source()]).unwrap();
    let other = victim.vault.backup(&policy, BackupOptions::default()).await.unwrap().name;
    let get = async |key: String| victim.store.get_range(&key, 0..u64::MAX).await.unwrap();
    let (archive, manifest) = (get(victim.name.archive_key()).await, get(victim.name.manifest_key()).await);

    victim.store.put(&victim.name.archive_key(), get(other.archive_key()).await).await.unwrap();
    let message = victim.verify().await.unwrap_err();
    assert_eq!(message.category(), Category::Integrity, "{message}");
    let message = victim.restore(&victim.dir.path().join("out")).await.unwrap_err();
    assert_eq!(message.category(), Category::Integrity, "{message}");
    assert_nothing_half_restored(&victim.source(), &victim.dir.path().join("out"));
    victim.store.put(&victim.name.archive_key(), archive).await.unwrap();

    victim.store.put(&victim.name.manifest_key(), get(other.manifest_key()).await).await.unwrap();
    let message = victim.restore(&victim.dir.path().join("out2")).await.unwrap_err().to_string();
    assert!(message.contains(&other.backup_id) && message.contains(&victim.name.backup_id), "{message}");
    victim.store.put(&victim.name.manifest_key(), manifest).await.unwrap();
    victim.verify().await.unwrap();
}

/// What came of an operation that must have refused, and the bytes that it gave away.
async fn refusals(victim: &Victim) -> Vec<(&'static str, Error)> {
    let out = |name: &str| victim.dir.path().join(name);
    let decrypted = out("decrypted.tar.gz");
    let plain = Box::new(fs::File::create(&decrypted).unwrap());
    let refusals = vec![
        ("verify", victim.verify().await.unwrap_err()),
        ("restore", victim.restore(&out("out")).await.unwrap_err()),
        (
            "restore --without-manifest",
            victim
                .vault
                .restore(&victim.name, RestoreOptions::to(out("salvaged")).without_manifest())
                .await
                .unwrap_err(),
        ),
        ("decrypt", victim.vault.decrypt(&victim.name, plain, RunOptions::default()).await.unwrap_err()),
    ];
    assert_eq!(fs::metadata(decrypted).unwrap().len(), 0, "decrypt gave away what it then refused");
    assert!(!out("salvaged").exists());
    assert_nothing_half_restored(&victim.source(), &out("out"));
    refusals
}

#[tokio::test]
async fn no_command_opens_the_archive_of_another_backup() {
    let victim = Victim::new().await;
    // The same key opens them all, as it does on a machine with several policies.
    for policy_id in ["victim", "stranger"] {
        let policy = Policy::new(policy_id, [victim.source()]).unwrap();
        let other = victim.vault.backup(&policy, BackupOptions::default()).await.unwrap().name;
        let theirs = victim.store.get_range(&other.archive_key(), 0..u64::MAX).await.unwrap();
        victim.store.put(&victim.name.archive_key(), theirs).await.unwrap();
        for (operation, error) in refusals(&victim).await {
            let message = error.to_string();
            assert_eq!(error.category(), Category::Integrity, "{operation}: {message}");
            let names_both =
                message.contains(&other.to_string()) && message.contains(&victim.name.to_string());
            assert!(names_both, "{operation}: {message}");
        }
        let theirs = victim.store.get_range(&other.manifest_key(), 0..u64::MAX).await.unwrap();
        let ours = victim.store.get_range(&victim.name.manifest_key(), 0..u64::MAX).await.unwrap();
        victim.store.put(&victim.name.manifest_key(), theirs).await.unwrap();
        let error = victim.vault.show(&victim.name).await.unwrap_err();
        assert_eq!(error.category(), Category::Integrity, "{error}");
        assert!(error.to_string().contains(&other.to_string()), "{error}");
        victim.store.put(&victim.name.manifest_key(), ours).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_place_costs_only_the_files_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    (0..12u64).for_each(|i| tree::write_noise(&source.join(format!("{i:02}.bin")), i, 1 << 20));
    let (store, key) = (MemoryStore::default(), UserKey::generate());
    let vault = Vault::new(Arc::new(store.clone()), key);
    let policy = Policy::new("p", [source.clone()]).unwrap();
    let name = vault.backup(&policy, BackupOptions::default()).await.unwrap().name;
    store.alter(&name.archive_key(), |bytes| bytes[5 << 20] ^= 1);
    let out = dir.path().join("out");
    let report = vault.restore(&name, RestoreOptions::to(&out)).await.unwrap();
    assert!((1..=2).contains(&report.damaged_count), "{:?}", report.damaged);
    assert_eq!(report.restored + report.damaged_count, report.found);
    assert_nothing_half_restored(&source, &out);
}
