//! What somebody who has the key can plant in a backup: a restore writes nothing outside `--out`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use intellistor::{Category, Entry, EntryKind, Error, RestoreOptions, RestoreReport, UserKey};
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::manifest::Extent;
use intellistor_storage::objects::ObjectStore as _;
use intellistor_tests::hostile_backup::{HostileBackup, entry, members};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

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
        assert_eq!(outcome.unwrap_err().category(), Category::Integrity, "{outside:?}");
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
