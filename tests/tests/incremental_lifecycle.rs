//! Chains of incremental backups: which base is chosen, what becomes of it, and what is reported.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use intellistor::{BackupName, BackupOptions, BackupReport, Policy, RestoreOptions, RunOptions, UserKey};
use intellistor_storage::objects::{ObjectStore as _, ObjectStoreExt as _};
use intellistor_tests::memory_sandbox::{MemorySandbox, POLICY, assert_clean, write};
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;

fn sandbox() -> MemorySandbox {
    let sandbox = MemorySandbox::create();
    for i in 0..40_u32 {
        write(&sandbox.source().join(format!("file {i:02}")), tree::noise(i.into(), 3_000));
    }
    sandbox
}

async fn back_up(sandbox: &MemorySandbox) -> BackupReport {
    let report = sandbox.back_up().await;
    assert_restores(sandbox, &report).await;
    report
}

async fn assert_restores(sandbox: &MemorySandbox, report: &BackupReport) {
    let out = tempfile::tempdir_in(sandbox.dir.path()).unwrap();
    let out = out.path().join("out");
    let restored = sandbox.vault.restore(&report.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[]);
}

async fn archives(sandbox: &MemorySandbox, report: &BackupReport) -> usize {
    sandbox.vault.show(&report.name).await.unwrap().head().archives.len()
}

#[tokio::test]
async fn forty_increments_depend_on_at_most_32_archives_and_each_restores() {
    let sandbox = sandbox();
    back_up(&sandbox).await;
    for day in 0..40_u32 {
        write(
            &sandbox.source().join(format!("day {day:02}")),
            tree::noise(u64::from(day) + 500, 2_000 + day as usize),
        );
        let report = sandbox.back_up().await;
        let (base, archives) = (report.base.is_some(), archives(&sandbox, &report).await);
        assert!(base && archives <= 32, "{archives} archives on day {day}");
        assert_eq!((report.changes.new, report.changes.changed), (1, 0), "day {day}: {:?}", report.changes);
        if day % 8 == 7 || day > 28 {
            assert_restores(&sandbox, &report).await;
        }
    }
}

#[tokio::test]
async fn files_that_were_replaced_again_and_again_leave_few_dead_bytes() {
    let sandbox = sandbox();
    back_up(&sandbox).await;
    for day in 0..12_u64 {
        // Four fifths of the files are other ones each day.
        for i in 0..32_u64 {
            write(&sandbox.source().join(format!("file {i:02}")), tree::noise(1_000 + day * 40 + i, 3_000));
        }
        let report = back_up(&sandbox).await;
        let manifest = sandbox.vault.show(&report.name).await.unwrap();
        let archived: u64 = manifest.head().archives.iter().map(|archive| archive.bytes).sum();
        assert!(archived < 4 * report.totals.bytes, "{archived} bytes of archives on day {day}");
    }
}

#[tokio::test]
async fn an_archive_that_is_gone_or_cut_is_reported_and_its_files_are_stored_again() {
    for is_gone in [true, false] {
        let sandbox = sandbox();
        let full = back_up(&sandbox).await;
        write(&sandbox.source().join("new"), "new");
        back_up(&sandbox).await;
        if is_gone {
            sandbox.memory.delete(&full.key_backup).await.unwrap();
        } else {
            sandbox.memory.alter(&full.key_backup, |bytes| bytes.truncate(bytes.len() - 1));
        }
        let day = back_up(&sandbox).await;
        assert!(!day.is_complete());
        let warnings = day.warnings.join("\n");
        assert!(warnings.contains(&full.key_backup), "{warnings}");
        assert!(warnings.contains(if is_gone { "is missing" } else { "had" }), "{warnings}");
        // It is reported once: what follows depends on it no more.
        let next = back_up(&sandbox).await;
        assert!(next.is_complete(), "{:?}", next.warnings);
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_verify_and_the_next_full_is_whole() {
    let sandbox = sandbox();
    let full = back_up(&sandbox).await;
    sandbox.memory.alter(&full.key_backup, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    write(&sandbox.source().join("new"), "new");
    let day = sandbox.back_up().await;
    let error = sandbox.vault.verify(&day.name, RunOptions::default()).await.unwrap_err();
    assert_eq!(error.category(), intellistor::Category::Integrity, "{error}");
    let options = BackupOptions { full: true, ..BackupOptions::default() };
    let whole = sandbox.vault.backup(&sandbox.policy(), options).await.unwrap();
    assert_eq!(whole.base, None);
    assert_restores(&sandbox, &whole).await;
}

#[tokio::test]
async fn a_damaged_manifest_is_reported_and_the_backup_before_it_is_the_base() {
    let sandbox = sandbox();
    let full = back_up(&sandbox).await;
    let second = back_up(&sandbox).await;
    sandbox.memory.alter(&second.key_manifest, |bytes| {
        let end = bytes.len() - 200;
        bytes[end] ^= 1;
    });
    let third = back_up(&sandbox).await;
    assert_eq!(third.base, Some(full.name.backup_id));
    assert!(third.warnings.join("\n").contains(&second.key_manifest), "{:?}", third.warnings);
}

#[tokio::test]
async fn another_key_makes_a_full_and_is_reported_and_the_old_key_goes_on_where_it_was() {
    let sandbox = sandbox();
    let full = back_up(&sandbox).await;
    let other = Vault::new(Arc::new(sandbox.memory.clone()), UserKey::generate());
    let with_other = other.backup(&sandbox.policy(), BackupOptions::default()).await.unwrap();
    assert_eq!(with_other.base, None);
    assert!(with_other.warnings.join("\n").contains("another key"), "{:?}", with_other.warnings);
    let back = back_up(&sandbox).await;
    assert_eq!(back.base, Some(full.name.backup_id));
}

#[tokio::test]
async fn full_every_full_and_other_paths_begin_a_chain() {
    let sandbox = sandbox();
    let full = back_up(&sandbox).await;
    let always = Policy { full_every: Some(Duration::ZERO), ..sandbox.policy() };
    assert_eq!(sandbox.vault.backup(&always, BackupOptions::default()).await.unwrap().base, None);
    let seldom = Policy { full_every: Some(Duration::from_secs(3600)), ..sandbox.policy() };
    let day = sandbox.vault.backup(&seldom, BackupOptions::default()).await.unwrap();
    assert!(day.base.is_some_and(|base| base != full.name.backup_id));
    fs::create_dir(sandbox.at("second")).unwrap();
    let both = Policy::new(POLICY, [sandbox.source(), sandbox.at("second")]).unwrap();
    let first = sandbox.vault.backup(&both, BackupOptions::default()).await.unwrap();
    let second = sandbox.vault.backup(&both, BackupOptions::default()).await.unwrap();
    assert_eq!((first.base, second.base), (None, Some(first.name.backup_id)));
}

#[tokio::test]
async fn a_root_that_is_gone_and_files_that_change_together_are_reported() {
    let sandbox = sandbox();
    for i in 0..30 {
        write(&sandbox.at(&format!("second/file {i}")), [i; 100]);
    }
    let both = Policy::new(POLICY, [sandbox.source(), sandbox.at("second")]).unwrap();
    let back_up = async || sandbox.vault.backup(&both, BackupOptions::default()).await.unwrap();
    assert!(back_up().await.is_complete());
    fs::rename(sandbox.at("second"), sandbox.at("unmounted")).unwrap();
    fs::create_dir(sandbox.at("second")).unwrap();
    let gone = back_up().await;
    assert!(gone.warnings.join("\n").contains("Is its disk mounted?"), "{:?}", gone.warnings);
    assert_eq!(gone.changes.deleted, 30);
    fs::remove_dir(sandbox.at("second")).unwrap();
    fs::rename(sandbox.at("unmounted"), sandbox.at("second")).unwrap();
    assert!(back_up().await.base.is_some());
    for i in 0..40_u32 {
        write(&sandbox.source().join(format!("file {i:02}")), tree::noise(u64::from(i) + 9_000, 3_000));
    }
    let encrypted = back_up().await;
    assert!(encrypted.warnings.join("\n").contains("ransom"), "{:?}", encrypted.warnings);
    // Renamed and encrypted: nothing is left of what was there.
    for i in 0..40_u32 {
        fs::remove_file(sandbox.source().join(format!("file {i:02}"))).unwrap();
        write(
            &sandbox.source().join(format!("file {i:02}.locked")),
            tree::noise(u64::from(i) + 10_000, 3_000),
        );
    }
    let locked = back_up().await;
    assert!(locked.warnings.join("\n").contains("fewer than half are left"), "{:?}", locked.warnings);
}

#[tokio::test]
async fn a_copy_is_a_store_of_its_own() {
    let sandbox = sandbox();
    back_up(&sandbox).await;
    let copy = sandbox.at("copy");
    let with_copy = async || {
        let options = BackupOptions { copy_to: Some(copy.clone()), ..BackupOptions::default() };
        sandbox.vault.backup(&sandbox.policy(), options).await.unwrap()
    };
    let first = with_copy().await;
    assert_eq!((first.base.as_deref(), first.warnings.len()), (None, 0), "{:?}", first.warnings);
    assert!(first.notes.iter().any(|note| note.contains("store of its own")), "{:?}", first.notes);
    write(&sandbox.source().join("new"), "new");
    let second = with_copy().await;
    assert_eq!(second.base, Some(first.name.backup_id));
    // The copy, brought elsewhere, is all that a restore needs.
    fs::rename(&copy, sandbox.at("elsewhere")).unwrap();
    let url = intellistor::StoreUrl::local(&sandbox.at("elsewhere"));
    let elsewhere = Vault::open(&url, sandbox.key.clone()).await.unwrap();
    let out = sandbox.at("restored");
    assert_clean(&elsewhere.restore(&second.name, RestoreOptions::to(&out)).await.unwrap());
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Root]);
}

/// A backup dated years ahead is the base only where there is no other.
#[tokio::test]
async fn the_clock_set_back_does_not_lose_the_chain() {
    let sandbox = sandbox();
    let full = back_up(&sandbox).await;
    // What was published under a clock that was a day and a half ahead, by name.
    let ahead = Utc::now() + TimeDelta::hours(36);
    let future = BackupName { timestamp: ahead.format("%Y%m%dT%H%M%SZ").to_string(), ..full.name.clone() };
    let bytes = sandbox.memory.get_range(&full.key_manifest, 0..u64::MAX).await.unwrap();
    sandbox.memory.put(&future.manifest_key(), bytes).await.unwrap();
    let next = back_up(&sandbox).await;
    assert_eq!(next.base, Some(full.name.backup_id));
    assert!(next.warnings.join("\n").contains("dated in the future"), "{:?}", next.warnings);
}
