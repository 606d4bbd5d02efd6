//! What an attacker, a broken disk or a stranger's archive can do to a restore: nothing outside `--out`, nothing
//! half-restored, nothing unnoticed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use intellistor::{
    BackupName, BackupOptions, Category, Entry, EntryKind, Error, Policy, RestoreOptions, RestoreReport,
    RunOptions, UserKey,
};
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::manifest::Extent;
use intellistor_storage::objects::{MemoryStore, ObjectStore as _, ObjectStoreExt as _};
use intellistor_tests::hostile_backup::{HostileBackup, entry, members};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
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
    for (path, facts) in tree::snapshot(out) {
        let text = String::from_utf8_lossy(&path).into_owned();
        assert!(!text.contains(".part"), "{text} was left behind");
        let original = expected.get(&path).unwrap_or_else(|| panic!("{text} was not in the source"));
        assert_eq!(facts.sha256, original.sha256, "{text}");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_an_archive_is_noticed_and_restores_nothing_wrong() {
    let victim = Victim::new().await;
    let whole = victim.archive().await;
    for i in 0..whole.len() {
        victim.store.alter(&victim.name.archive_key(), |bytes| bytes[i] ^= 1);
        let message = victim.verify().await.unwrap_err();
        assert!(
            matches!(message.category(), Category::Integrity | Category::Failed | Category::Configuration),
            "byte {i}: {message}"
        );
        let out = victim.dir.path().join(format!("out-{i}"));
        // What the manifest repeats (the header, salts) may be damaged without harm to a restore.
        if let Ok(report) = victim.restore(&out).await
            && report.damaged_count == 0
        {
            assert_eq!(report.restored, report.found);
        }
        assert_nothing_half_restored(&victim.source(), &out);
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
    for keep in (0..whole.len()).step_by(7) {
        victim.store.alter(&victim.name.archive_key(), |bytes| bytes.truncate(keep));
        assert!(victim.verify().await.is_err(), "cut at {keep}");
        let out = victim.dir.path().join(format!("out-{keep}"));
        match victim.restore(&out).await {
            Ok(report) => assert!(report.damaged_count > 0 || report.restored == report.found),
            Err(error) => assert_ne!(error.category(), Category::Configuration, "{error}"),
        }
        assert_nothing_half_restored(&victim.source(), &out);
        let salvaged = victim.dir.path().join(format!("salvaged-{keep}"));
        let options = RestoreOptions::to(&salvaged).without_manifest();
        let seemed_whole =
            victim.vault.restore(&victim.name, options).await.is_ok_and(|report| report.damaged_count == 0);
        assert!(!seemed_whole, "cut at {keep}");
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

/// Restores a hostile backup, and asserts that nothing outside the target changed.
async fn restore_hostile(
    hostile: &HostileBackup,
    without_manifest: bool,
) -> (Result<RestoreReport, Error>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/precious.txt"), "precious").unwrap();
    let before = tree::snapshot(&dir.path().join("outside"));
    let names = || fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let vault = Vault::new(Arc::new(hostile.store.clone()), hostile.key.clone());
    let mut options = RestoreOptions::to(dir.path().join("out"));
    options.without_manifest = without_manifest;
    let outcome = vault.restore(&hostile.name, options).await;
    tree::assert_same(&before, &tree::snapshot(&dir.path().join("outside")), &[]);
    assert!(names().iter().all(|name| name == "out" || name == "outside"), "{:?}", names());
    (outcome, dir)
}

fn with_content(path: &str, offset: u64, content: &[u8]) -> Entry {
    Entry {
        size: content.len() as u64,
        sha256: Some(Sha256::digest(content).into()),
        extents: vec![Extent { archive: 0, offset, length: content.len() as u64, at: None }],
        ..entry(path, EntryKind::File)
    }
}

fn link(path: &str, kind: EntryKind, target: &str) -> Entry {
    Entry { link_target: Some(target.to_owned()), ..entry(path, kind) }
}

#[tokio::test]
async fn hostile_names_restore_nothing() {
    let hostile = HostileBackup::new();
    let names =
        ["..", "../x", "a/../../x", "/tmp/intellistor-hostile", "", "a//b", "a/./b", "./../x", "a\0b"];
    let entries: Vec<_> = names.iter().map(|name| with_content(name, 0, b"evil")).collect();
    hostile.put(b"evil", &entries).await;
    let (outcome, dir) = restore_hostile(&hostile, false).await;
    let report = outcome.unwrap();
    assert_eq!((report.restored, report.warning_count), (0, names.len() as u64), "{:?}", report.warnings);
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
    assert!(!Path::new("/tmp/intellistor-hostile").exists());
}

#[tokio::test]
async fn nothing_is_written_through_a_planted_link() {
    let hostile = HostileBackup::new();
    let entries = [
        link("rel", EntryKind::Symlink, "../outside"),
        with_content("rel/planted.txt", 0, b"evil"),
        link("file", EntryKind::Symlink, "../outside/precious.txt"),
        with_content("file", 0, b"evil"),
        entry("rel", EntryKind::Directory),
        with_content("rel/again.txt", 0, b"evil"),
        link("hard", EntryKind::Hardlink, "../outside/precious.txt"),
        link("hard2", EntryKind::Hardlink, "rel/precious.txt"),
        link("hard3", EntryKind::Hardlink, "never"),
        with_content("good.txt", 0, b"evil"),
    ];
    hostile.put(b"evil", &entries).await;
    let (outcome, dir) = restore_hostile(&hostile, false).await;
    let report = outcome.unwrap();
    assert!(report.warning_count >= 5, "{:?}", report.warnings);
    // The link of that name was replaced, not followed.
    assert_eq!(fs::read(dir.path().join("out/file")).unwrap(), b"evil");
    assert!(!dir.path().join("out/file").is_symlink());
    assert_eq!(fs::read(dir.path().join("out/good.txt")).unwrap(), b"evil");
    for hard in ["hard", "hard2", "hard3"] {
        assert!(!dir.path().join("out").join(hard).exists(), "{hard}");
    }
}

#[tokio::test]
async fn lying_extents_are_damage_and_not_memory() {
    let hostile = HostileBackup::new();
    let content = b"evil".to_vec();
    let extent = |offset, length, at| Extent { archive: 0, offset, length, at };
    let with = |path: &str, size, extents| Entry { size, extents, ..with_content(path, 0, &content) };
    let entries = [
        with("backwards", 8, vec![extent(0, 4, Some(8)), extent(0, 4, Some(0))]),
        with("end", 4, vec![extent(0, 4, Some(u64::MAX - 1))]),
        with("larger", 2, vec![extent(0, 4, None)]),
        with("wrong-digest", 3, vec![extent(0, 3, None)]),
        with_content("good", 0, &content),
    ];
    hostile.put(&content, &entries).await;
    let (outcome, dir) = restore_hostile(&hostile, false).await;
    let report = outcome.unwrap();
    assert_eq!(report.restored, 1, "{report:?}");
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 1);

    for outside in [extent(1 << 40, 4, None), extent(u64::MAX, 4, None), extent(0, u64::MAX, None)] {
        let hostile = HostileBackup::new();
        hostile.put(&content, &[with("outside", 4, vec![outside])]).await;
        let (outcome, dir) = restore_hostile(&hostile, false).await;
        assert!(outcome.map_or(true, |report| report.restored == 0), "{outside:?}");
        assert!(!dir.path().join("out/outside").exists());
    }
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_is_inflated() {
    // Ten GiB of zeros in ten KiB and more: gzip members that claim, and hold, far more than a frame may.
    let hostile = HostileBackup::new();
    let bomb = {
        let mut gzip = std::process::Command::new("sh");
        gzip.args(["-c", "head -c 1073741824 /dev/zero | gzip -9"]);
        gzip.output().unwrap().stdout
    };
    let bomb = &bomb[..bomb.len().min(1 << 20)];
    let mut frames = vec![(bomb.to_vec(), 1 << 20); 10];
    frames.extend(members(b""));
    let segments = hostile.put_archive(&frames).await;
    let entries = [Entry {
        size: 10 << 20,
        extents: vec![Extent { archive: 0, offset: 0, length: 10 << 20, at: None }],
        sha256: Some([0; 32]),
        ..entry("bomb", EntryKind::File)
    }];
    hostile.put_manifest(segments, &entries).await;
    let (outcome, dir) = restore_hostile(&hostile, false).await;
    let report = outcome.unwrap();
    assert_eq!((report.restored, report.damaged_count), (0, 1));
    assert!(!dir.path().join("out/bomb").exists());
    let (outcome, _dir) = restore_hostile(&hostile, true).await;
    assert_eq!(outcome.unwrap_err().category(), Category::Integrity);
}

/// A tar entry as no honest program writes it.
fn tar_entry(path: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[tokio::test]
async fn a_hostile_tar_restores_nothing_outside_without_its_manifest_either() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let hostile = HostileBackup::new();
    let tar = [
        tar_entry("../escaped.txt", Regular, "", b"evil"),
        tar_entry("/tmp/intellistor-hostile-tar", Regular, "", b"evil"),
        tar_entry("out-link", Symlink, "../outside", b""),
        tar_entry("out-link/planted.txt", Regular, "", b"evil"),
        tar_entry("out-link/", Directory, "", b""),
        tar_entry("hard", Link, "../outside/precious.txt", b""),
        tar_entry("hard", Regular, "", b"evil"),
        tar_entry("good.txt", Regular, "", b"good"),
    ]
    .concat();
    hostile.put_archive(&members(&tar)).await;
    let (outcome, dir) = restore_hostile(&hostile, true).await;
    let report = outcome.unwrap();
    assert!(report.warning_count >= 4, "{:?}", report.warnings);
    assert_eq!(fs::read(dir.path().join("out/good.txt")).unwrap(), b"good");
    assert!(!Path::new("/tmp/intellistor-hostile-tar").exists());

    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
        let hostile = HostileBackup::new();
        hostile.put_archive(&members(&tar_entry("device", kind, "", b""))).await;
        let (outcome, dir) = restore_hostile(&hostile, true).await;
        assert!(outcome.is_err());
        assert!(!dir.path().join("out/device").exists());
    }
}

fn archive_and_key() -> (Vec<u8>, UserKey, Vec<Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let hostile = HostileBackup::new();
    let bytes = runtime.block_on(async {
        hostile.put_archive(&members(b"the only frame")).await;
        hostile.store.get_range(&hostile.name.archive_key(), 0..u64::MAX).await.unwrap()
    });
    let frames = read(&bytes, &hostile.key).unwrap();
    (bytes.to_vec(), hostile.key, frames)
}

fn read(bytes: &[u8], key: &UserKey) -> Result<Vec<Vec<u8>>, intellistor_storage::Error> {
    let mut reader = ArchiveReader::open(bytes, &HostileBackup::new().name, &key.clone().into())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame.tar);
    }
    Ok(frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_mutation_of_an_archive_panics_or_yields_other_frames(
        cut in 0usize..2000,
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        flips in proptest::collection::vec((0usize..2000, any::<u8>()), 0..4),
    ) {
        let (mut bytes, key, frames) = archive_and_key();
        let whole = bytes.clone();
        for (at, bits) in flips {
            let at = at % bytes.len();
            bytes[at] ^= bits;
        }
        bytes.truncate(cut);
        bytes.extend(noise);
        if let Ok(read) = read(&bytes, &key) {
            prop_assert_eq!(&bytes, &whole);
            prop_assert_eq!(read, frames);
        }
    }
}
