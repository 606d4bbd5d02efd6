use bytes::Bytes;
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::catalog::statements::{self, Forgotten};
use intellistor_storage::objects::ObjectStoreExt as _;

use super::*;
use crate::error::{Category, Error};
use crate::lifecycle::fixtures::Backups;

const BY_HAND: HoldOptions = HoldOptions { legal: false, dry_run: false };
const LEGAL: HoldOptions = HoldOptions { legal: true, dry_run: false };

impl Backups {
    async fn hold(&self, name: &BackupName, options: HoldOptions) -> Result<HoldReport> {
        hold(&self.catalog, &self.keys, "p", name, "an audit", options).await
    }

    async fn release(&self, name: &BackupName, options: HoldOptions) -> Result<HoldReport> {
        release(&self.catalog, &self.keys, "p", name, options).await
    }

    async fn unforget(&self, name: &BackupName) -> Result<HoldReport> {
        unforget(&self.catalog, &self.keys, "p", name, false).await
    }
}

#[tokio::test]
async fn a_hold_wins_until_it_is_released() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    backups.say_forgotten(&name, false).await;
    assert!(!backups.is_listed(&name).await);
    let held = backups.hold(&name, BY_HAND).await.unwrap();
    assert_eq!(
        (held.state, held.reason.as_deref(), held.changed),
        (BackupState::OnHold, Some("an audit"), true)
    );
    assert!(backups.is_listed(&name).await);
    assert!(!backups.hold(&name, BY_HAND).await.unwrap().changed, "it says so already");
    let released = backups.release(&name, BY_HAND).await.unwrap();
    assert_eq!((released.state, released.reason.as_deref()), (BackupState::Forgotten, Some("a reason")));
    assert!(!backups.is_listed(&name).await);
    let again = backups.release(&name, BY_HAND).await.unwrap();
    assert!(!again.changed && again.notes == ["it was not held"], "{again:?}");
}

#[tokio::test]
async fn what_was_unforgotten_stays_listed_also_without_the_right_to_delete_and_after_a_hold() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    let forgotten = backups.say_forgotten(&name, false).await;
    backups.hold(&name, BY_HAND).await.unwrap();
    assert_eq!(backups.unforget(&name).await.unwrap().state, BackupState::OnHold);
    assert!(!backups.has(&name, ObjectKind::Forgotten));
    // As if it had not been deleted.
    let (header, data_key) = backups.scope().open(&name).await.unwrap();
    statements::put(&backups.store, &header, &data_key, &forgotten).await.unwrap();
    assert_eq!(backups.release(&name, BY_HAND).await.unwrap().state, BackupState::Listed);
    assert!(backups.is_listed(&name).await);
    // Another forgetting counts.
    statements::put(&backups.store, &header, &data_key, &Forgotten { id: "f2".into(), ..forgotten })
        .await
        .unwrap();
    assert!(!backups.is_listed(&name).await);
    assert_eq!(backups.unforget(&name).await.unwrap().state, BackupState::Listed);
    let nothing = backups.unforget(&name).await.unwrap();
    assert!(!nothing.changed && nothing.notes == ["it was not forgotten"], "{nothing:?}");
}

#[tokio::test]
async fn nothing_takes_back_a_sweep_that_has_begun() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    backups.say_forgotten(&name, true).await;
    for refused in [backups.hold(&name, BY_HAND).await, backups.unforget(&name).await] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, Error::BeingSwept { why, .. } if why == "a reason"), "{error}");
    }
    assert!(!backups.has(&name, ObjectKind::Hold));
}

#[tokio::test]
async fn a_sweep_that_begins_after_the_look_is_seen_and_what_was_written_is_put_back() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    let fresh = Subject::find(backups.scope(), &name).await.unwrap();
    let hold = |said: Hold| Hold { held: true, why: "late".into(), ..said };
    backups.say_forgotten(&name, true).await;
    let error = fresh.say(hold, |found| found.held).await.unwrap_err();
    assert!(matches!(error, Error::BeingSwept { .. }), "{error}");
    assert!(backups.standing(&name).await.held().is_none());

    // One that was held before is held again: the sweep passes over it.
    let other = backups.make("20261102T020000Z").await;
    backups.say_forgotten(&other, false).await;
    backups.hold(&other, BY_HAND).await.unwrap();
    let held = Subject::find(backups.scope(), &other).await.unwrap();
    backups.say_forgotten(&other, true).await;
    held.say(hold, |found| found.held).await.unwrap_err();
    assert_eq!(backups.standing(&other).await.held().unwrap().why, "an audit");

    // One that is gone meanwhile.
    let gone = backups.make("20261103T020000Z").await;
    let subject = Subject::find(backups.scope(), &gone).await.unwrap();
    for kind in [ObjectKind::Manifest, ObjectKind::Archive] {
        backups.scope().store().delete(&gone.key(kind)).await.unwrap();
    }
    let error = subject.say(hold, |found| found.held).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchBackup { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_there_or_anothers_is_refused() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    let missing = BackupName { backup_id: "none".into(), ..name.clone() };
    let error = backups.hold(&missing, BY_HAND).await.unwrap_err();
    assert!(matches!(&error, Error::NoSuchBackup { why, .. } if why.contains("sweep")), "{error}");
    let orphan = BackupName { backup_id: "orphan".into(), ..name.clone() };
    backups.store.put(&orphan.archive_key(), Bytes::from_static(b"x")).await.unwrap();
    let error = backups.hold(&orphan, BY_HAND).await.unwrap_err();
    assert!(error.to_string().contains("no manifest"), "{error}");
    let foreign = BackupName { policy_id: "q".into(), ..name.clone() };
    let error = backups.hold(&foreign, BY_HAND).await.unwrap_err();
    assert_eq!(error.category(), Category::Configuration);

    // Another machine protects, and does not release.
    backups.catalog.claim("p", false).await.unwrap();
    let elsewhere = backups.catalog.clone().on_machine(Machine::named("other"));
    hold(&elsewhere, &backups.keys, "p", &name, "an audit", BY_HAND).await.unwrap();
    let error = release(&elsewhere, &backups.keys, "p", &name, BY_HAND).await.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    backups.say_forgotten(&name, false).await;
    unforget(&elsewhere, &backups.keys, "p", &name, false).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_what_would_be_true() {
    let backups = Backups::new();
    let name = backups.make("20261101T020000Z").await;
    backups.say_forgotten(&name, false).await;
    let before = backups.store.keys();
    let dry = HoldOptions { dry_run: true, ..LEGAL };
    let held = backups.hold(&name, dry).await.unwrap();
    assert_eq!((held.state, held.dry_run, held.legal_holds.len()), (BackupState::OnHold, true, 2));
    assert_eq!(
        unforget(&backups.catalog, &backups.keys, "p", &name, true).await.unwrap().state,
        BackupState::Listed
    );
    assert_eq!(backups.store.keys(), before);
    assert!(!backups.store.kept(&name.manifest_key()).unwrap().legal_hold);
}

#[tokio::test]
async fn a_legal_hold_is_on_all_that_the_backup_needs_and_stays_where_another_needs_it() {
    let backups = Backups::new();
    let full = backups.make("20261101T020000Z").await;
    let increment = backups.make_on(&full, "20261102T020000Z").await;
    let is_held = |key: String| backups.store.kept(&key).unwrap().legal_hold;
    let held = backups.hold(&increment, LEGAL).await.unwrap();
    let needed = [increment.manifest_key(), increment.archive_key(), full.archive_key()];
    assert_eq!(held.legal_holds, needed);
    assert!(needed.iter().cloned().all(is_held) && !is_held(full.manifest_key()));
    backups.hold(&full, LEGAL).await.unwrap();

    let plain = backups.release(&increment, BY_HAND).await.unwrap();
    assert!(plain.notes.join(" ").contains("legal hold"), "{plain:?}");
    let released = backups.release(&increment, LEGAL).await.unwrap();
    assert!(released.notes.join(" ").contains("other held backups need them"), "{released:?}");
    assert!(is_held(full.archive_key()), "the other backup needs it");
    assert!(!is_held(increment.archive_key()) && !is_held(increment.manifest_key()));
    backups.release(&full, LEGAL).await.unwrap();
    assert!(!is_held(full.archive_key()));
}

#[tokio::test]
async fn a_store_without_legal_holds_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = intellistor_storage::objects::LocalStore::open(dir.path()).await.unwrap();
    let backups = Backups { catalog: Catalog::new(std::sync::Arc::new(store)), ..Backups::new() };
    let name =
        BackupName { policy_id: "p".into(), timestamp: "20261101T020000Z".into(), backup_id: "b".into() };
    for refused in [backups.hold(&name, LEGAL).await, backups.release(&name, LEGAL).await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::NoLegalHold { .. }), "{error}");
        assert_eq!(error.category(), Category::Configuration);
    }
}
