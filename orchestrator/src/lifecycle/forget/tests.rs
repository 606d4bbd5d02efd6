use bytes::Bytes;
use intellistor_storage::catalog::layout::ObjectKind;
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::objects::ObjectStoreExt as _;

use super::*;
use crate::error::Category;
use crate::lifecycle::fixtures::Backups;
use crate::lifecycle::{HoldOptions, hold};

impl Backups {
    async fn forget(&self, name: &BackupName, confirm: bool) -> Result<ForgetReport> {
        let options = ForgetOptions { why: Some("a test".into()), confirm, dry_run: false };
        forget(&self.catalog, &self.keys, &self.policy, name, options).await
    }
}

#[tokio::test]
async fn one_backup_is_forgotten_by_the_stores_clock_and_once() {
    let backups = Backups::new();
    let old = backups.make("20261101T020000Z").await;
    let new = backups.make("20261102T020000Z").await;
    let dry = ForgetOptions { dry_run: true, ..ForgetOptions::default() };
    let report = forget(&backups.catalog, &backups.keys, &backups.policy, &old, dry).await.unwrap();
    assert_eq!(report.forgotten[0].reason, "by hand");
    assert!(!backups.has(&old, ObjectKind::Forgotten), "a dry run");

    let report = backups.forget(&old, false).await.unwrap();
    assert_eq!((&*report.forgotten[0].key, &*report.forgotten[0].reason), (&*old.archive_key(), "a test"));
    let standing = backups.standing(&old).await;
    let forgotten = standing.forgotten().unwrap();
    assert_eq!(
        (forgotten.time, forgotten.why.as_str(), forgotten.sweeping),
        (backups.now(), "a test", false)
    );
    assert_eq!(forgotten.prunable_from, backups.now() + TimeDelta::days(8));
    assert_eq!(report.prunable_from, Some(forgotten.prunable_from));
    let id = forgotten.id.clone();

    backups.set_now("20261112T030000Z");
    let again = backups.forget(&old, false).await.unwrap();
    assert!(again.forgotten.is_empty() && again.notes[0].contains("2026-11-10: a test"), "{again:?}");
    assert_eq!(backups.standing(&old).await.forgotten().unwrap().id, id, "nothing was written");
    assert_eq!(backups.listed().await, [new.timestamp]);
}

#[tokio::test]
async fn the_newest_and_the_newest_without_problems_take_a_confirmation() {
    let backups = Backups::new();
    let whole = backups.make("20261101T020000Z").await;
    let braked = backups.make_braked("20261102T020000Z").await;
    let newest = backups.make_braked("20261103T020000Z").await;
    // One of the future does not count.
    let future = backups.make("20311103T020000Z").await;
    for (name, says) in [(&newest, "the newest backup"), (&whole, "the newest backup without problems")] {
        let error = backups.forget(name, false).await.unwrap_err();
        assert!(matches!(&error, Error::Precious { what, .. } if *what == says), "{error}");
        assert!(backups.is_listed(name).await);
    }
    backups.forget(&future, false).await.unwrap();
    backups.forget(&braked, false).await.unwrap();
    backups.forget(&whole, true).await.unwrap();
    backups.forget(&newest, true).await.unwrap();
    assert!(backups.listed().await.is_empty());
}

#[tokio::test]
async fn a_backup_without_problems_that_is_not_the_newest_of_them_goes() {
    let backups = Backups::new();
    let old = backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    backups.make_braked("20261103T020000Z").await;
    backups.forget(&old, false).await.unwrap();
}

#[tokio::test]
async fn what_is_held_or_anothers_or_not_there_is_not_forgotten() {
    let backups = Backups::new();
    let old = backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    hold(&backups.catalog, &backups.keys, "p", &old, "case 7", HoldOptions::default()).await.unwrap();
    for confirm in [false, true] {
        let error = backups.forget(&old, confirm).await.unwrap_err();
        assert!(matches!(&error, Error::OnHold { why, .. } if why == "case 7"), "{error}");
    }
    let missing = BackupName { backup_id: "none".into(), ..old.clone() };
    assert!(matches!(backups.forget(&missing, true).await.unwrap_err(), Error::NoSuchBackup { .. }));
    let foreign = BackupName { policy_id: "q".into(), ..old.clone() };
    assert_eq!(backups.forget(&foreign, true).await.unwrap_err().category(), Category::Configuration);
    backups.catalog.claim("p", false).await.unwrap();
    let catalog = backups.catalog.clone().on_machine(Machine::named("other"));
    let elsewhere = Backups { catalog, ..backups };
    assert!(elsewhere.forget(&old, true).await.unwrap_err().is_refusal());
}

#[tokio::test]
async fn a_forged_statement_is_shown_and_hides_nothing() {
    let backups = Backups::new();
    let old = backups.make("20261101T020000Z").await;
    let new = backups.make("20261102T020000Z").await;
    let key = old.key(ObjectKind::Forgotten);
    // A statement of another backup.
    backups.say_forgotten(&new, false).await;
    let foreign = backups.scope().store().get_range(&new.key(ObjectKind::Forgotten), 0..4096).await.unwrap();
    backups.scope().store().delete(&new.key(ObjectKind::Forgotten)).await.unwrap();
    for bytes in [foreign, Bytes::from_static(b"{}"), Bytes::from_static(b"junk")] {
        backups.store.put(&key, bytes).await.unwrap();
        assert!(backups.is_listed(&old).await);
        let options = ForgetOptions { dry_run: true, ..ForgetOptions::default() };
        let report = forget(&backups.catalog, &backups.keys, &backups.policy, &old, options).await.unwrap();
        assert!(report.warnings.len() == 1 && report.warnings[0].starts_with(&key), "{report:?}");
    }
    backups.forget(&old, false).await.unwrap();
    assert!(!backups.is_listed(&old).await, "a proven one takes its place");
}

#[tokio::test]
async fn what_a_sweep_has_deleted_was_forgotten_already() {
    let backups = Backups::new();
    let old = backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    backups.say_forgotten(&old, true).await;
    let begun = backups.forget(&old, false).await.unwrap();
    assert!(begun.notes[0].contains("a sweep has begun to delete it"), "{begun:?}");
    backups.scope().store().delete(&old.manifest_key()).await.unwrap();
    let swept = backups.forget(&old, false).await.unwrap();
    let says = "a sweep has deleted it; its archive stays while other backups need it";
    assert!(swept.notes[0].contains(says) && swept.forgotten.is_empty(), "{swept:?}");
    // No `unforget` is promised.
    assert_eq!((begun.prunable_from, swept.prunable_from), (None, None));
}
