//! Incremental backups through the library: what changed is reported and stored, the rest is not, and all comes back.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::os::unix::fs::symlink;

use intellistor::policy::{DetectChanges, ManifestForm};
use intellistor::{BackupOptions, BackupReport, Policy, RestoreOptions, RunOptions};
use intellistor_tests::memory_sandbox::{MemorySandbox, assert_clean, write};
use intellistor_tests::tree::{self, Ignore};

const MIB: usize = 1 << 20;

fn sandbox() -> MemorySandbox {
    let sandbox = MemorySandbox::create();
    for i in 0..40_u32 {
        write(&sandbox.source().join(format!("folder {}/file {i:02}", i % 4)), tree::noise(i.into(), 3_000));
    }
    write(&sandbox.source().join("large"), tree::noise(99, 4 * MIB));
    sandbox
}

async fn back_up(sandbox: &MemorySandbox, policy: &Policy) -> BackupReport {
    let report = sandbox.vault.backup(policy, BackupOptions::default()).await.unwrap();
    assert_restores(sandbox, &report).await;
    report
}

/// The backup is what the source is now, and every byte of it verifies.
async fn assert_restores(sandbox: &MemorySandbox, report: &BackupReport) {
    let out = tempfile::tempdir_in(sandbox.dir.path()).unwrap();
    let out = out.path().join("out");
    let restored = sandbox.vault.restore(&report.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Allocation]);
    sandbox.vault.verify(&report.name, RunOptions::default()).await.unwrap();
}

fn counts(report: &BackupReport) -> (u64, u64, u64, u64, u64) {
    let changes = report.changes;
    (changes.new, changes.changed, changes.moved, changes.deleted, changes.unchanged)
}

#[tokio::test]
async fn a_second_run_reads_and_stores_nothing() {
    let sandbox = sandbox();
    tree::let_age(&sandbox.source());
    let full = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!((counts(&full), full.base.as_deref()), ((41, 0, 0, 0, 0), None));
    let second = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!(counts(&second), (0, 0, 0, 0, 41));
    assert_eq!(second.base.as_ref(), Some(&full.name.backup_id));
    assert_eq!(second.changes.bytes_read, 0);
    assert_eq!(second.changes.bytes_referenced, full.totals.bytes);
    assert_eq!(second.totals, full.totals);
    assert!(second.archive_bytes < 4096, "{}", second.archive_bytes);
    assert!(second.is_complete(), "{:?}", second.warnings);
    // And once more, based on a backup that stored nothing.
    let third = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!((counts(&third), third.base), ((0, 0, 0, 0, 41), Some(second.name.backup_id)));
}

#[tokio::test]
async fn each_kind_of_change_is_reported_and_only_what_is_new_is_stored() {
    let sandbox = sandbox();
    let source = sandbox.source();
    tree::let_age(&source);
    let full = back_up(&sandbox, &sandbox.policy()).await;
    fs::rename(source.join("folder 0/file 00"), source.join("folder 1/moved")).unwrap();
    fs::copy(source.join("folder 0/file 04"), source.join("copied")).unwrap();
    tree::set_mtime(&source.join("folder 0/file 08"), 1_000_000_000, 0);
    fs::remove_file(source.join("folder 0/file 12")).unwrap();
    write(&source.join("folder 0/file 16"), tree::noise(1_000, 2_000));
    write(&source.join("new"), tree::noise(1_001, 2_000));
    let day = back_up(&sandbox, &sandbox.policy()).await;
    let (new, changed, moved, deleted, unchanged) = counts(&day);
    // A copy is new under its path; a time alone is a change that stores nothing.
    assert_eq!((new, changed, moved, unchanged), (2, 2, 1, 37), "{:?}", day.changes);
    assert!(deleted == 1 || deleted == 2, "{deleted}");
    assert!((4_000..12_000).contains(&day.archive_bytes), "{} bytes", day.archive_bytes);
    assert_eq!(day.base, Some(full.name.backup_id));
}

#[tokio::test]
async fn a_large_file_costs_what_changed_in_it() {
    let sandbox = sandbox();
    let source = sandbox.source();
    back_up(&sandbox, &sandbox.policy()).await;
    let mut bytes = fs::read(source.join("large")).unwrap();
    bytes[2 * MIB..2 * MIB + 100].copy_from_slice(&tree::noise(7, 100));
    bytes.splice(MIB..MIB, tree::noise(8, 1_000));
    fs::write(source.join("large"), &bytes).unwrap();
    let day = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!(day.changes.changed, 1);
    assert!(day.archive_bytes < 400 << 10, "{} bytes", day.archive_bytes);
    // The same content under another name, and the old name again as it was: yesterday's dump.
    fs::rename(source.join("large"), source.join("large 2")).unwrap();
    let day = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!((day.changes.moved, day.changes.changed), (1, 0), "{:?}", day.changes);
    assert!(day.archive_bytes < 8 << 10, "{} bytes", day.archive_bytes);
}

#[tokio::test]
async fn content_that_changed_behind_its_size_and_mtime_is_found_by_its_ctime() {
    for (detect_changes, is_found) in
        [(DetectChanges::Ctime, true), (DetectChanges::Mtime, false), (DetectChanges::Content, true)]
    {
        let sandbox = sandbox();
        let file = sandbox.source().join("folder 1/file 01");
        tree::set_mtime(&file, 1_600_000_000, 5);
        tree::let_age(&sandbox.source());
        let policy = Policy { detect_changes, ..sandbox.policy() };
        let full = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
        fs::write(&file, tree::noise(555, 3_000)).unwrap();
        tree::set_mtime(&file, 1_600_000_000, 5);
        let day = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
        assert_eq!(day.base, Some(full.name.backup_id));
        assert_eq!(day.changes.changed, u64::from(is_found), "{detect_changes:?}");
        if is_found {
            assert_restores(&sandbox, &day).await;
        }
    }
}

#[tokio::test]
async fn a_path_may_become_anything_else_and_back() {
    let sandbox = sandbox();
    let path = sandbox.source().join("folder 2/file 02");
    let other = sandbox.source().join("folder 2/file 06");
    let make: [&dyn Fn(); 6] = [
        &|| fs::create_dir(&path).unwrap(),
        &|| symlink("file 06", &path).unwrap(),
        &|| fs::hard_link(&other, &path).unwrap(),
        &|| fs::write(&path, "a file again").unwrap(),
        &|| write(&path.join("below/it"), "deep"),
        &|| fs::write(&path, "a file for good").unwrap(),
    ];
    back_up(&sandbox, &sandbox.policy()).await;
    for make in make {
        match fs::symlink_metadata(&path).unwrap().is_dir() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        make();
        let day = back_up(&sandbox, &sandbox.policy()).await;
        assert!(day.base.is_some());
    }
}

#[tokio::test]
async fn a_sealed_manifest_is_a_base_as_well() {
    let sandbox = sandbox();
    let policy = Policy { manifest: ManifestForm::Sealed, ..sandbox.policy() };
    let full = back_up(&sandbox, &policy).await;
    write(&sandbox.source().join("new"), "new");
    let day = back_up(&sandbox, &policy).await;
    assert_eq!((day.base, day.changes.new), (Some(full.name.backup_id), 1));
    let plain = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!((plain.base, plain.changes.new), (Some(day.name.backup_id), 0));
}

#[tokio::test]
async fn names_that_are_not_utf_8_and_special_files_are_unchanged_too() {
    let sandbox = MemorySandbox::with_odd_files();
    tree::let_age(&sandbox.source());
    let full = sandbox.back_up().await;
    let second = sandbox.back_up().await;
    let files = full.totals.files + full.totals.symlinks;
    assert_eq!((second.changes.unchanged, second.changes.bytes_read), (files, 0), "{:?}", second.changes);
    assert_eq!(second.totals, full.totals);
    let before = tree::snapshot(&sandbox.source());
    tree::assert_same(&before, &sandbox.restore(&second, |o| o).await, &[Ignore::Special]);
}
