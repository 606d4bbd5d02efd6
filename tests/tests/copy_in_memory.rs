//! `copy` through the library, between stores in memory: what arrives, what is left alone, what is refused.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use intellistor::{
    BackupName, BackupOptions, BackupReport, Catalog, Category, CopyOptions, CopyReport, CopySelection,
    Machine, RestoreOptions, RunOptions, StoreErrorKind,
};
use intellistor_storage::catalog::layout::ObjectKind;
use intellistor_storage::catalog::ownership;
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Hold, Statement};
use intellistor_storage::objects::{
    Fault, Faulty, MemoryStore, ObjectStore, ObjectStoreExt as _, Operation, PutOptions, Retry, RetryPolicy,
    SharedStore,
};
use intellistor_tests::memory_sandbox::{MemorySandbox, POLICY, write};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;

const ALL: CopySelection = CopySelection::All;

fn sandbox() -> MemorySandbox {
    let sandbox = MemorySandbox::create();
    for i in 0..20_u32 {
        write(&sandbox.source().join(format!("file {i:02}")), tree::noise(i.into(), 3_000));
    }
    sandbox
}

/// A full backup and increments on it, each with a file of its own.
async fn chain(sandbox: &MemorySandbox, increments: u32) -> Vec<BackupReport> {
    let mut made = vec![sandbox.back_up().await];
    for day in 0..increments {
        write(&sandbox.source().join(format!("day {day}")), tree::noise(u64::from(day) + 90, 4_000));
        made.push(sandbox.back_up().await);
    }
    made
}

fn options(selection: CopySelection) -> CopyOptions {
    // All stores in memory have one URL.
    CopyOptions { selection, dry_run: false, other_endpoint: true, run: RunOptions::default() }
}

async fn copy(
    sandbox: &MemorySandbox,
    to: SharedStore,
    selection: CopySelection,
) -> intellistor::Result<CopyReport> {
    let Vault { catalog, identity, .. } = &sandbox.vault;
    intellistor::copy(catalog, &Catalog::new(to), identity, POLICY, options(selection)).await
}

fn key_of(report: &BackupReport) -> CopySelection {
    CopySelection::Named(vec![report.name.clone()])
}

async fn whole(store: &MemoryStore, key: &str) -> Bytes {
    store.get_range(key, 0..u64::MAX).await.unwrap()
}

async fn assert_restores(sandbox: &MemorySandbox, target: &MemoryStore, name: &BackupName) {
    let vault = Vault::new(Arc::new(target.clone()), sandbox.key.clone());
    let [copied, original] = [&vault, &sandbox.vault].map(|vault| async move {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("out");
        vault.restore(name, RestoreOptions::to(&out)).await.unwrap();
        tree::snapshot(&out)
    });
    tree::assert_same(&original.await, &copied.await, &[]);
}

/// Says something about a backup in a store.
async fn say<S: Statement>(sandbox: &MemorySandbox, store: &MemoryStore, backup: &BackupReport, says: &S) {
    let manifest = sandbox.vault.show(&backup.name).await.unwrap();
    statements::put(store, manifest.header(), manifest.data_key(), says).await.unwrap();
}

fn forgotten(ago: TimeDelta, sweeping: bool) -> Forgotten {
    let time = Utc::now() - ago;
    let (id, by, why) = ("f1".to_owned(), "h".to_owned(), "by hand".to_owned());
    Forgotten { id, time, by, why, prunable_from: time + TimeDelta::days(8), sweeping, put: None }
}

#[tokio::test]
async fn a_chain_arrives_byte_for_byte_and_a_second_copy_sends_nothing() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 5).await;
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert!(report.is_complete() && report.warnings.is_empty(), "{report:?}");
    let copied: Vec<_> = report.copied.iter().map(|copied| copied.key.as_str()).collect();
    assert_eq!(
        copied,
        made.iter().map(|backup| backup.key_backup.as_str()).collect::<Vec<_>>(),
        "oldest first"
    );
    assert_eq!(target.keys(), sandbox.memory.keys());
    for key in target.keys() {
        assert_eq!(whole(&target, &key).await, whole(&sandbox.memory, &key).await, "{key}");
    }
    assert_eq!((report.objects, target.open_uploads()), (target.keys().len() as u64, 0));
    for backup in &made {
        assert_restores(&sandbox, &target, &backup.name).await;
    }
    let (parts, faulty) = (target.parts_sent(), Arc::new(Faulty::new(Arc::new(target.clone()))));
    let (read, before) = (target.bytes_read(), sandbox.memory.bytes_read());
    let again = copy(&sandbox, faulty.clone(), ALL).await.unwrap();
    assert_eq!(
        (again.copied.len(), again.skipped.len(), again.objects, again.bytes),
        (0, 6, 0, 0),
        "{again:?}"
    );
    assert_eq!(target.parts_sent(), parts);
    let writes = [Operation::Put, Operation::BeginUpload, Operation::PutPart, Operation::CompleteUpload];
    assert!(writes.iter().all(|operation| faulty.calls(*operation) == 0));
    let manifests: u64 = made.iter().map(|backup| backup.manifest_bytes).sum();
    assert!(target.bytes_read() - read < 2_000, "the target's archives were read");
    assert!(sandbox.memory.bytes_read() - before < manifests + 2_000, "the source's archives were read");
}

#[tokio::test]
async fn the_newest_alone_brings_the_archives_that_it_needs_and_no_other_manifest() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 2).await;
    let newest = made.last().unwrap();
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), CopySelection::Latest).await.unwrap();
    assert_eq!((report.copied.len(), &report.copied[0].key), (1, &newest.key_backup));
    let manifests = target.keys().into_iter().filter(|key| key.ends_with("manifest.json"));
    assert_eq!(manifests.collect::<Vec<_>>(), std::slice::from_ref(&newest.key_manifest));
    assert!(target.keys().contains(&made[0].key_backup));
    assert_restores(&sandbox, &target, &newest.name).await;
    // The others follow, and find their archives there.
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!((report.copied.len(), report.skipped.len()), (2, 1), "{report:?}");
    assert_eq!(target.keys(), sandbox.memory.keys());
    assert!(target.parts_sent().values().all(|times| *times <= 3), "{:?}", target.parts_sent());
}

#[tokio::test]
async fn a_damaged_archive_costs_the_backups_that_need_it_and_no_other() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 2).await;
    let options = BackupOptions { full: true, ..BackupOptions::default() };
    let full = sandbox.vault.backup(&sandbox.policy(), options).await.unwrap();
    sandbox.memory.alter(&made[0].key_backup, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert!(report.is_damaged && report.failed.len() == 3, "{report:?}");
    for failed in &report.failed {
        assert!(failed.reason.contains(&made[0].key_backup), "{}", failed.reason);
        assert!(failed.reason.contains("segment 1"), "{}", failed.reason);
    }
    assert_eq!(report.copied.iter().map(|copied| &copied.key).collect::<Vec<_>>(), [&full.key_backup]);
    assert_restores(&sandbox, &target, &full.name).await;
    assert!(!target.keys().contains(&made[0].key_backup));
    let manifests = target.keys().into_iter().filter(|key| key.ends_with("manifest.json")).count();
    assert_eq!((manifests, target.open_uploads()), (1, 0));
}

#[tokio::test]
async fn a_manifest_that_was_altered_is_refused_and_the_others_are_copied() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 1).await;
    sandbox.memory.alter(&made[1].key_manifest, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!((report.copied.len(), report.failed.len(), report.is_damaged), (1, 1, true), "{report:?}");
    assert_eq!(report.failed[0].key, made[1].key_backup);
    assert!(!target.keys().iter().any(|key| *key == made[1].key_backup || *key == made[1].key_manifest));
}

#[tokio::test]
async fn what_the_target_has_under_a_key_is_never_replaced() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 1).await;
    for key in [&made[1].key_backup, &made[1].key_manifest] {
        let target = MemoryStore::default();
        let bytes = whole(&sandbox.memory, key).await;
        // Of the same size.
        let other = Bytes::from(bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
        target.put(key, other.clone()).await.unwrap();
        let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
        assert_eq!((report.copied.len(), report.failed.len()), (1, 1), "{report:?}");
        assert!(report.failed[0].reason.contains(key.as_str()), "{}", report.failed[0].reason);
        assert_eq!(whole(&target, key).await, other);
        assert_restores(&sandbox, &target, &made[0].name).await;
    }
}

/// Whatever call fails, the next copy ends it, and no part that had arrived is sent again.
#[tokio::test]
async fn a_copy_that_failed_is_continued_part_by_part() {
    let sandbox = MemorySandbox::create();
    tree::write_noise(&sandbox.source().join("grande.bin"), 7, 34 << 20);
    let full = sandbox.back_up().await;
    for (operation, nth) in [
        (Operation::BeginUpload, 1),
        (Operation::PutPart, 1),
        (Operation::PutPart, 3),
        (Operation::PutPart, 5),
        (Operation::CompleteUpload, 1),
        (Operation::Put, 2),
        (Operation::Head, 2),
    ] {
        for fault in [Fault::Fails, Fault::AnswerLost] {
            let fault = fault(StoreErrorKind::AccessDenied);
            let target = MemoryStore::default();
            let faulty = Arc::new(Faulty::new(Arc::new(target.clone())));
            faulty.fail(operation, nth, fault);
            let what = format!("{operation:?} {nth} {fault:?}");
            let first = copy(&sandbox, faulty.clone(), ALL).await;
            let held = target.parts_sent();
            let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
            assert!(report.is_complete(), "{what}: {report:?}");
            assert!(first.is_ok() || report.copied.len() + report.skipped.len() == 1, "{what}");
            let sent = target.parts_sent();
            assert_eq!(sent.len() as u32, full.parts, "{what}");
            assert!(sent.iter().all(|(_, times)| *times == 1), "{what}: {held:?}, then {sent:?}");
            assert_eq!(target.open_uploads(), 0, "{what}");
            assert_eq!(target.keys(), sandbox.memory.keys(), "{what}");
            assert_eq!(
                whole(&target, &full.key_backup).await,
                whole(&sandbox.memory, &full.key_backup).await
            );
        }
    }
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_counts() {
    let sandbox = sandbox();
    let full = sandbox.back_up().await;
    let target = MemoryStore::default();
    let faulty = Arc::new(Faulty::new(Arc::new(target.clone())));
    faulty.fail(Operation::CompleteUpload, 1, Fault::AnswerLost(StoreErrorKind::Timeout));
    let policy = RetryPolicy { first_delay: Duration::ZERO, ..RetryPolicy::default() };
    let report = copy(&sandbox, Arc::new(Retry::new(faulty, policy)), ALL).await.unwrap();
    assert_eq!(report.copied.len(), 1, "{report:?}");
    assert_restores(&sandbox, &target, &full.name).await;
}

#[tokio::test]
async fn a_dry_run_says_it_all_and_writes_nothing() {
    let sandbox = sandbox();
    chain(&sandbox, 2).await;
    let target = MemoryStore::default();
    let options = CopyOptions { dry_run: true, ..options(ALL) };
    let (Vault { catalog, identity, .. }, to) = (&sandbox.vault, Catalog::new(Arc::new(target.clone())));
    let planned = intellistor::copy(catalog, &to, identity, POLICY, options).await.unwrap();
    assert_eq!((target.keys().len(), target.open_uploads(), target.parts_sent().len()), (0, 0, 0));
    let done = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!(planned.copied, done.copied);
    // The owner's file is not part of any backup.
    assert_eq!((planned.bytes, planned.objects + 1), (done.bytes, done.objects));
}

#[tokio::test]
async fn another_machines_policy_and_the_store_itself_are_refused_before_anything_is_written() {
    let sandbox = sandbox();
    sandbox.back_up().await;
    let target = MemoryStore::default();
    ownership::claim(&target, POLICY, &Machine::named("another"), "test", false).await.unwrap();
    let before = target.keys();
    let refused = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap_err();
    assert_eq!(refused.category(), Category::Configuration);
    assert!(refused.to_string().contains("the machine another"), "{refused}");
    assert_eq!((target.keys(), target.open_uploads()), (before, 0));

    let Vault { catalog, identity, .. } = &sandbox.vault;
    let options = CopyOptions { other_endpoint: false, ..options(ALL) };
    let refused = intellistor::copy(catalog, catalog, identity, POLICY, options).await.unwrap_err();
    assert_eq!(refused.category(), Category::Configuration);
    assert!(refused.to_string().contains("itself"), "{refused}");
}

#[tokio::test]
async fn a_backup_of_another_policy_is_refused_and_one_that_is_gone_is_reported() {
    let sandbox = sandbox();
    let full = sandbox.back_up().await;
    let target = MemoryStore::default();
    let other = BackupName { policy_id: "other".into(), ..full.name.clone() };
    let refused =
        copy(&sandbox, Arc::new(target.clone()), CopySelection::Named(vec![other])).await.unwrap_err();
    assert_eq!(refused.category(), Category::Configuration, "{refused}");
    assert!(target.keys().is_empty());
    let gone = BackupName { backup_id: "0a".into(), ..full.name.clone() };
    let both = CopySelection::Named(vec![gone, full.name.clone()]);
    let report = copy(&sandbox, Arc::new(target.clone()), both).await.unwrap();
    assert_eq!((report.copied.len(), report.failed.len(), report.is_damaged), (1, 1, false), "{report:?}");
}

#[tokio::test]
async fn forgotten_backups_are_copied_only_where_they_are_named() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 2).await;
    say(&sandbox, &sandbox.memory, &made[1], &forgotten(TimeDelta::hours(3), false)).await;
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!(report.copied.len(), 2, "{report:?}");
    assert!(!target.keys().contains(&made[1].key_manifest));
    let report = copy(&sandbox, Arc::new(target.clone()), key_of(&made[1])).await.unwrap();
    assert_eq!((report.copied.len(), report.warnings.len()), (1, 1), "{report:?}");
    assert!(
        !target.keys().contains(&made[1].name.key(ObjectKind::Forgotten)),
        "what was said stays with the source"
    );
    assert_restores(&sandbox, &target, &made[1].name).await;
}

#[tokio::test]
async fn what_was_forgotten_in_the_target_is_not_copied_again_unless_it_is_named() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 1).await;
    let target = MemoryStore::default();
    copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    say(&sandbox, &target, &made[1], &forgotten(TimeDelta::days(3), false)).await;
    target.delete(&made[1].key_manifest).await.unwrap();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert!(report.is_complete() && report.skipped.len() == 2, "{report:?}");
    assert!(report.skipped[1].reason.contains("forgotten in the target"), "{report:?}");
    assert!(!target.keys().contains(&made[1].key_manifest));
    // Its base is listed there: nothing that it names can be swept.
    let report = copy(&sandbox, Arc::new(target.clone()), key_of(&made[1])).await.unwrap();
    assert_eq!(report.copied.len(), 1, "{report:?}");
    assert!(report.warnings[0].contains("unforget"), "{report:?}");
}

#[tokio::test]
async fn nothing_that_a_sweep_may_take_is_named_by_a_new_manifest() {
    for (ago, sweeping, is_copied) in [
        (TimeDelta::hours(2), false, true),
        (TimeDelta::days(3), false, false),
        (TimeDelta::hours(2), true, false),
    ] {
        let sandbox = sandbox();
        let made = chain(&sandbox, 1).await;
        let target = MemoryStore::default();
        copy(&sandbox, Arc::new(target.clone()), key_of(&made[0])).await.unwrap();
        say(&sandbox, &target, &made[0], &forgotten(ago, sweeping)).await;
        let report = copy(&sandbox, Arc::new(target.clone()), key_of(&made[1])).await.unwrap();
        assert_eq!(report.copied.len() == 1, is_copied, "{ago} {sweeping}: {report:?}");
        assert_eq!(target.keys().contains(&made[1].key_manifest), is_copied, "{ago} {sweeping}");
        if !is_copied {
            let reason = &report.passed_over[0].reason;
            assert!(reason.contains(&made[0].key_backup) && reason.contains("prune"), "{reason}");
        }
    }
}

#[tokio::test]
async fn holds_come_along_and_forged_ones_do_not() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 1).await;
    let (by, why) = ("h".to_owned(), "audit".to_owned());
    let hold = Hold { time: Utc::now(), by, why, held: true, unforgets: Vec::new() };
    say(&sandbox, &sandbox.memory, &made[0], &hold).await;
    let forged = made[1].name.key(ObjectKind::Hold);
    sandbox.memory.put(&forged, Bytes::from_static(b"{}")).await.unwrap();
    let target = MemoryStore::default();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    let key = made[0].name.key(ObjectKind::Hold);
    assert_eq!(whole(&target, &key).await, whole(&sandbox.memory, &key).await);
    assert!(!target.keys().contains(&forged));
    assert!(
        report.is_complete() && report.warnings.len() == 1 && report.warnings[0].contains(&forged),
        "{report:?}"
    );
    // What is said in the target is the target's.
    say(&sandbox, &target, &made[0], &Hold { held: false, ..hold }).await;
    let released = whole(&target, &key).await;
    copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!(whole(&target, &key).await, released);
}

#[tokio::test]
async fn an_archive_that_the_target_has_lost_is_copied_again() {
    let sandbox = sandbox();
    let made = chain(&sandbox, 1).await;
    let target = MemoryStore::default();
    copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    target.delete(&made[0].key_backup).await.unwrap();
    let report = copy(&sandbox, Arc::new(target.clone()), ALL).await.unwrap();
    assert_eq!((report.objects, report.copied.len(), report.skipped.len()), (1, 1, 1), "{report:?}");
    assert_restores(&sandbox, &target, &made[1].name).await;
}

/// A store whose clock is two hours later once a manifest was put: the process was stopped meanwhile. An archive may be gone then.
#[derive(Debug)]
struct Stopped {
    store: MemoryStore,
    takes: Option<String>,
}

#[async_trait::async_trait]
impl ObjectStore for Stopped {
    intellistor_storage::forward!(store: url folders capabilities now_ms prepare get_range head list delete erase);
    intellistor_storage::forward!(store: attributes retain set_legal_hold check_object_lock begin_with put_part);
    intellistor_storage::forward!(store: list_parts last_part_ms complete_with composite list_uploads abort_upload);

    async fn put_with(
        &self,
        key: &str,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<(), intellistor::StorageError> {
        self.store.put_with(key, body, options).await?;
        if key.ends_with("manifest.json") {
            self.store.set_now_ms((Utc::now() + TimeDelta::hours(2)).timestamp_millis());
            if let Some(archive) = &self.takes {
                self.store.delete(archive).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_copy_that_was_stopped_before_its_manifest_is_looked_at_again_and_forgotten_if_it_is_not_whole() {
    for is_taken in [false, true] {
        let sandbox = sandbox();
        let made = chain(&sandbox, 1).await;
        let store = MemoryStore::default();
        store.set_now_ms(Utc::now().timestamp_millis());
        let takes = is_taken.then(|| made[0].key_backup.clone());
        let target = Arc::new(Stopped { store: store.clone(), takes });
        let report = copy(&sandbox, target, key_of(&made[1])).await.unwrap();
        assert_eq!(
            (report.copied.len() == 1, report.passed_over.len() == 1),
            (!is_taken, is_taken),
            "{report:?}"
        );
        let standing = Standing::read(&store, &made[1].name, &sandbox.vault.identity).await.unwrap();
        assert_eq!(standing.forgotten().is_some(), is_taken, "{standing:?}");
        if is_taken {
            assert!(report.passed_over[0].reason.contains(&made[0].key_backup), "{report:?}");
        }
    }
}
