//! A backup whose content is in its own archive and in that of an earlier one: what reads it back reads both.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::process::Command;
use std::sync::Arc;

use intellistor::{Category, Entry, EntryKind, Integrity, RestoreOptions, RunOptions};
use intellistor_storage::manifest::{Extent, UnixAttributes};
use intellistor_storage::objects::ObjectStore as _;
use intellistor_tests::hostile_backup::{HostileBackup, entry};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn noise(bytes: u64, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// What both archives have. It need not be a tar: nothing that has the manifest reads it as one.
struct Tars([Vec<u8>; 2]);

impl Tars {
    /// A file with content at places in the archives: number, offset, length, and place in the file where a hole comes before.
    fn file(&self, path: &str, size: u64, places: &[(u32, u64, u64, Option<u64>)]) -> Entry {
        let mut content = vec![0; size as usize];
        let mut next = 0;
        let extents = places.iter().map(|&(archive, offset, length, at)| {
            let start = at.unwrap_or(next) as usize;
            next = start as u64 + length;
            let bytes = &self.0[archive as usize][offset as usize..][..length as usize];
            content[start..next as usize].copy_from_slice(bytes);
            Extent { archive, offset, length, at }
        });
        let extents = extents.collect();
        let sha256 = Some(Sha256::digest(&content).into());
        Entry { size, extents, sha256, ..named(path, EntryKind::File) }
    }
}

fn named(path: &str, kind: EntryKind) -> Entry {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o640 };
    let unix = rustix::process::geteuid().as_raw();
    let unix = UnixAttributes { mode, uid: unix, gid: rustix::process::getegid().as_raw() };
    Entry { unix: Some(unix), mtime_ns: 1_700_000_000_000_000_000, ..entry(path, kind) }
}

struct Incremental {
    base: HostileBackup,
    own: HostileBackup,
    dir: TempDir,
}

impl Incremental {
    async fn new() -> Self {
        let tars = Tars([noise(3 * MIB, 1), noise(6 * MIB, 2)]);
        let changed = tars.file(
            "d/changed",
            3 * MIB + 700,
            &[(1, 0, MIB, None), (0, 0, 700, None), (1, MIB, 2 * MIB, None)],
        );
        let name_of = |path: &str| Entry {
            kind: EntryKind::Hardlink,
            relative_path: path.into(),
            link_target: Some("d/changed".into()),
            ..changed.clone()
        };
        let entries = [
            named(".", EntryKind::Directory),
            named("d", EntryKind::Directory),
            changed.clone(),
            tars.file("d/moved", MIB, &[(1, 5 * MIB, MIB, None)]),
            tars.file("d/new", 2 * MIB, &[(0, 700, 2 * MIB, None)]),
            Entry { link_target: Some("nowhere".into()), ..named("d/soft", EntryKind::Symlink) },
            tars.file("empty", 0, &[]),
            name_of("hard"),
            tars.file(
                "sparse",
                5 * MIB,
                &[(1, 3 * MIB, 4096, Some(MIB)), (0, 2 * MIB + 700, 8192, Some(3 * MIB))],
            ),
            // Twice the same, as of a file that was copied.
            tars.file("unchanged", MIB, &[(1, 4 * MIB, MIB, None)]),
            tars.file("unchanged too", MIB, &[(1, 4 * MIB, MIB, None)]),
        ];
        let base = HostileBackup::new();
        base.put(&tars.0[1], &[]).await;
        let own = HostileBackup::after(&base).await;
        own.put(&tars.0[0], &entries).await;
        Self { base, own, dir: tempfile::tempdir().unwrap() }
    }

    fn vault(&self) -> Vault {
        Vault::new(Arc::new(self.own.store.clone()), self.own.key.clone())
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

#[tokio::test]
async fn it_is_restored_verified_and_decrypted_from_both() {
    let backup = Incremental::new().await;
    let (vault, name) = (backup.vault(), &backup.own.name);
    let restored = vault.restore(name, RestoreOptions::to(backup.at("restored"))).await.unwrap();
    assert_eq!((restored.found, restored.restored, &restored.warnings), (11, 11, &vec![]));

    let report = vault.verify(name, RunOptions::default()).await.unwrap();
    assert_eq!((report.entries, report.bytes), (11, restored.bytes));
    let keys: Vec<&str> = report.archives.iter().map(|archive| archive.key.as_str()).collect();
    assert_eq!(keys, [name.archive_key(), backup.base.name.archive_key()]);
    assert_eq!(report.archive_bytes, report.archives.iter().map(|archive| archive.bytes).sum::<u64>());
    for archive in &report.archives {
        assert_eq!(backup.own.store.head(&archive.key).await.unwrap(), Some(archive.bytes));
    }

    let file = backup.at("plain.tar.gz");
    let out = Box::new(fs::File::create(&file).unwrap());
    let written = vault.decrypt(name, out, RunOptions::default()).await.unwrap();
    assert_eq!(file.metadata().unwrap().len(), written.bytes_written);
    let by_tar = backup.at("by tar");
    fs::create_dir(&by_tar).unwrap();
    let tar = Command::new("tar").arg("xzpf").arg(&file).arg("-C").arg(&by_tar).status();
    assert!(tar.expect("tar is on every system that runs these tests").success());
    tree::assert_same(&tree::snapshot(&backup.at("restored")), &tree::snapshot(&by_tar), &[]);
}

#[tokio::test]
async fn one_file_costs_its_own_frames() {
    let backup = Incremental::new().await;
    let options = RestoreOptions::to(backup.at("out")).only(["d/new", "d/moved"]);
    let report = backup.vault().restore(&backup.own.name, options).await.unwrap();
    assert_eq!(report.restored, 2);
    // Three frames of the own archive, one of the other.
    assert!((3 * MIB..4 * MIB + 4096).contains(&report.fetched_bytes), "{}", report.fetched_bytes);
}

/// What verify says once the earlier archive was changed, and the paths that a restore then lacks.
async fn damaged(backup: &Incremental, change: impl FnOnce(&mut Vec<u8>)) -> (String, Vec<String>) {
    backup.own.store.alter(&backup.base.name.archive_key(), change);
    refusal(backup).await
}

async fn refusal(backup: &Incremental) -> (String, Vec<String>) {
    let refused = backup.vault().verify(&backup.own.name, RunOptions::default()).await.unwrap_err();
    assert_eq!(refused.category(), Category::Integrity, "{refused}");
    // A place of its own each time, since what is there already is not restored again.
    let out = tempfile::tempdir_in(backup.dir.path()).unwrap();
    let report = backup.vault().restore(&backup.own.name, RestoreOptions::to(out.path())).await.unwrap();
    assert_eq!(report.integrity, Integrity::Failed);
    assert_eq!(report.restored + report.damaged_count + report.warning_count, report.found, "{report:?}");
    assert!(out.path().join("d/new").exists(), "what is in the own archive is restored");
    let key = backup.base.name.archive_key();
    assert!(report.damaged.iter().all(|line| line.contains(&key)), "{:?}", report.damaged);
    let paths = report.damaged.iter().map(|line| line.split(':').next().unwrap().to_owned());
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    (refused.to_string(), paths)
}

#[tokio::test]
async fn damage_to_the_earlier_archive_is_named_and_costs_what_is_in_it() {
    let backup = Incremental::new().await;
    let bytes = backup.own.store.head(&backup.base.name.archive_key()).await.unwrap().unwrap() as usize;
    let key = backup.base.name.archive_key();
    let (refused, lost) = damaged(&backup, |archive| archive[bytes - 200_000] ^= 1).await;
    assert!(refused.contains(&key) && refused.contains("--full"), "{refused}");
    assert_eq!(lost, ["d/moved"]);
    let (refused, lost) = damaged(&backup, |archive| archive.truncate(bytes * 6 / 10)).await;
    assert!(refused.contains(&key) && refused.contains("cut short"), "{refused}");
    assert_eq!(lost, ["d/moved", "sparse", "unchanged", "unchanged too"]);
    backup.own.store.delete(&key).await.unwrap();
    let (refused, lost) = refusal(&backup).await;
    assert!(
        refused.contains(&key) && refused.contains("missing") && refused.contains("back up again"),
        "{refused}"
    );
    assert_eq!(lost, ["d/changed", "d/moved", "sparse", "unchanged", "unchanged too"]);
}

#[tokio::test]
async fn extents_that_contradict_the_archives_are_refused() {
    let base = HostileBackup::new();
    base.put(&noise(2 * MIB, 2), &[]).await;
    let extent = |archive, offset, length, at| Extent { archive, offset, length, at };
    let file = |extents: Vec<Extent>| Entry { size: 100, extents, ..named("file", EntryKind::File) };
    for (what, extents, is_refused) in [
        ("an archive without a name", vec![extent(2, 0, 100, None)], true),
        ("beyond the end", vec![extent(1, 3 * MIB, 100, None)], true),
        ("beyond all numbers", vec![extent(1, u64::MAX - 10, 100, None)], true),
        ("overlapping", vec![extent(1, 0, 60, None), extent(0, 0, 60, Some(30))], false),
        ("more than its size", vec![extent(1, 0, 60, None), extent(0, 0, 60, None)], false),
    ] {
        let own = HostileBackup::after(&base).await;
        own.put(&noise(MIB, 1), &[file(extents)]).await;
        let vault = Vault::new(Arc::new(own.store.clone()), own.key.clone());
        let refused = vault.verify(&own.name, RunOptions::default()).await.unwrap_err();
        assert_eq!(refused.category(), Category::Integrity, "{what}: {refused}");
        let refused =
            vault.decrypt(&own.name, Box::new(Vec::new()), RunOptions::default()).await.unwrap_err();
        assert_eq!(refused.category(), Category::Integrity, "{what}: {refused}");
        let out = tempfile::tempdir().unwrap();
        match vault.restore(&own.name, RestoreOptions::to(out.path())).await {
            Err(error) => assert!(is_refused && error.category() == Category::Integrity, "{what}: {error}"),
            Ok(report) => assert!(!is_refused && report.damaged_count == 1, "{what}: {report:?}"),
        }
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "{what}");
    }
}
