use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use intellistor_storage::objects::{
    Attributes, Fault, Faulty, MemoryStore, Operation, PutOptions, SharedStore,
};
use intellistor_storage::{Result as StorageResult, StoreError};

use super::*;
use crate::error::Category;
use crate::policy::LockMode;

const DAY_MS: i64 = 24 * 3600 * 1000;
const BEGAN_MS: i64 = 1_795_000_000_000;
const GOVERNANCE: LockPolicy = LockPolicy { mode: LockMode::Governance, days: 30 };
const COMPLIANCE: LockPolicy = LockPolicy { mode: LockMode::Compliance, days: 30 };

fn day(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(BEGAN_MS + days * DAY_MS).unwrap()
}

async fn put(store: &MemoryStore, key: &str, retention: Option<(RetentionMode, i64)>) {
    let retention = retention.map(|(mode, days)| Retention { mode, until: day(days) });
    let attributes = Attributes { retention, ..Attributes::default() };
    store.put_with(key, Bytes::new(), &PutOptions { attributes, ..PutOptions::default() }).await.unwrap();
}

fn kept(store: &MemoryStore, key: &str) -> (RetentionMode, DateTime<Utc>) {
    let retention = store.kept(key).unwrap().retention.unwrap();
    (retention.mode, retention.until)
}

/// A store on the tenth day, with an archive `own` that was begun on the first.
async fn memory() -> MemoryStore {
    let store = MemoryStore::default();
    store.set_now_ms(BEGAN_MS + 10 * DAY_MS);
    put(&store, "own", Some((RetentionMode::Governance, 30))).await;
    store
}

#[tokio::test]
async fn archives_are_locked_for_as_long_as_the_manifest_and_never_for_less_than_before() {
    let store = memory().await;
    put(&store, "short", Some((RetentionMode::Governance, 12))).await;
    put(&store, "long", Some((RetentionMode::Governance, 90))).await;
    put(&store, "strict", Some((RetentionMode::Compliance, 12))).await;
    put(&store, "none", None).await;
    let (locked, warnings) =
        before_put(&store, GOVERNANCE, "own", &["short", "long", "strict", "none"]).await.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let end = day(40) + PUT_WITHIN;
    for key in ["own", "short", "none"] {
        assert_eq!(kept(&store, key), (RetentionMode::Governance, end), "{key}");
    }
    assert_eq!(kept(&store, "long"), (RetentionMode::Governance, day(90)));
    assert_eq!(kept(&store, "strict"), (RetentionMode::Compliance, end));

    assert!(!locked.is_outdated(&store, GOVERNANCE));
    store.set_now_ms(BEGAN_MS + 19 * DAY_MS);
    assert!(locked.is_outdated(&store, GOVERNANCE), "stopped for nine days");
    store.set_now_ms(BEGAN_MS + 10 * DAY_MS);

    // Sealed lists of a run that crashed five days ago, and a manifest that is put now.
    put(&store, "entries", Some((RetentionMode::Governance, 35))).await;
    put(&store, "manifest", Some((RetentionMode::Governance, 40))).await;
    let keys = ["entries".to_owned(), "manifest".to_owned()];
    let (until, warnings) = after_put(&store, locked, &keys).await;
    assert_eq!((until, warnings), (Some(day(40)), Vec::new()));
    assert_eq!(kept(&store, "entries").1, day(40));
}

#[tokio::test]
async fn a_governed_archive_is_raised_to_compliance() {
    let store = memory().await;
    put(&store, "long", Some((RetentionMode::Governance, 90))).await;
    before_put(&store, COMPLIANCE, "own", &["long"]).await.unwrap();
    assert_eq!(kept(&store, "own").0, RetentionMode::Compliance);
    assert_eq!(kept(&store, "long"), (RetentionMode::Compliance, day(90)));
}

#[tokio::test]
async fn a_refusal_to_prolong_is_a_warning_and_what_could_be_done_is_done() {
    let store = memory().await;
    put(&store, "a", Some((RetentionMode::Governance, 12))).await;
    put(&store, "b", None).await;
    let faulty = Faulty::new(Arc::new(store.clone()));
    for nth in [2, 3] {
        faulty.fail(Operation::Retain, nth, Fault::Fails(StoreErrorKind::AccessDenied));
    }
    let (locked, warnings) = before_put(&faulty, GOVERNANCE, "own", &["a", "b"]).await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["a is locked until", "Governance", "and 1 more", "s3:PutObjectRetention", "--full"] {
        assert!(warnings[0].contains(part), "{part}: {}", warnings[0]);
    }
    assert_eq!(kept(&store, "own").1, day(40) + PUT_WITHIN);
    put(&store, "manifest", Some((RetentionMode::Governance, 40))).await;
    let (until, _) = after_put(&store, locked, &["manifest".to_owned()]).await;
    assert_eq!(until, None, "one of its archives is not locked at all");
}

#[tokio::test]
async fn a_store_that_refuses_the_mode_still_prolongs() {
    let store = memory().await;
    let faulty = Faulty::new(Arc::new(store.clone()));
    faulty.fail(Operation::Retain, 1, Fault::Fails(StoreErrorKind::Locked));
    let (_, warnings) = before_put(&faulty, COMPLIANCE, "own", &[]).await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("Governance"), "{warnings:?}");
    assert_eq!(kept(&store, "own"), (RetentionMode::Governance, day(40) + PUT_WITHIN));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_before_the_manifest_and_a_warning_after() {
    let store = memory().await;
    let faulty = Faulty::new(Arc::new(store.clone()));
    faulty.fail(Operation::Retain, 1, Fault::Fails(StoreErrorKind::Unreachable));
    before_put(&faulty, GOVERNANCE, "own", &[]).await.unwrap_err();
    let (locked, _) = before_put(&faulty, GOVERNANCE, "own", &[]).await.unwrap();
    put(&store, "manifest", Some((RetentionMode::Governance, 40))).await;
    let looks = faulty.calls(Operation::Attributes);
    faulty.fail(Operation::Attributes, looks + 1, Fault::Fails(StoreErrorKind::Unreachable));
    let (until, warnings) = after_put(&faulty, locked, &["manifest".to_owned()]).await;
    assert_eq!((until, warnings.len()), (None, 1));
}

/// A store that takes every lock and keeps none.
#[derive(Debug)]
struct Ignoring {
    store: SharedStore,
}

#[async_trait]
impl ObjectStore for Ignoring {
    intellistor_storage::forward!(store: url folders capabilities now_ms prepare put_with get_range head list delete erase);
    intellistor_storage::forward!(store: set_legal_hold check_object_lock begin_with put_part list_parts last_part_ms);
    intellistor_storage::forward!(store: complete_with composite list_uploads abort_upload);

    async fn attributes(&self, key: &str) -> StorageResult<Option<Attributes>> {
        let kept = self.store.attributes(key).await?;
        Ok(kept.map(|kept| Attributes { retention: None, ..kept }))
    }

    async fn retain(&self, _: &str, _: Retention) -> StorageResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_store_that_ignores_locks_gets_no_manifest() {
    let store = Ignoring { store: Arc::new(memory().await) };
    let error = before_put(&store, GOVERNANCE, "own", &[]).await.unwrap_err();
    assert!(matches!(error, Error::NotLocked { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["own", "memory://", "ignored", "s3:GetObjectRetention", "no manifest"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(error.category(), Category::Failed);
}

#[tokio::test]
async fn the_earliest_end_counts_and_one_that_is_over_is_none() {
    let store = memory().await;
    put(&store, "later", Some((RetentionMode::Governance, 31))).await;
    put(&store, "over", Some((RetentionMode::Governance, 9))).await;
    let until = async |keys: &[&str]| {
        locked_until(&store, keys.iter().map(|key| (*key).to_owned()).collect()).await.unwrap()
    };
    assert_eq!(until(&["own", "later"]).await, Some(day(30)));
    assert_eq!(until(&["own", "over"]).await, None);
    assert_eq!(until(&["own", "missing"]).await, None);
}

/// A store whose bucket was made without lock.
#[derive(Debug)]
struct Unlocked {
    store: SharedStore,
}

#[async_trait]
impl ObjectStore for Unlocked {
    intellistor_storage::forward!(store: url folders capabilities now_ms prepare put_with get_range head list delete erase);
    intellistor_storage::forward!(store: attributes retain set_legal_hold begin_with put_part list_parts last_part_ms);
    intellistor_storage::forward!(store: complete_with composite list_uploads abort_upload);

    async fn check_object_lock(&self) -> StorageResult<()> {
        let reason = "the bucket was made without object lock";
        Err(StoreError::new(StoreErrorKind::Unsupported, self.url(), "look up", "", reason).into())
    }
}

#[tokio::test]
async fn a_store_that_cannot_lock_is_refused_as_a_wrong_setting() {
    let policy = Policy { lock: Some(GOVERNANCE), ..Policy::new("p", ["/x"]).unwrap() };
    check(&MemoryStore::default(), &policy).await.unwrap();
    let refused = check(&Unlocked { store: Arc::new(MemoryStore::default()) }, &policy).await.unwrap_err();
    assert_eq!(refused.category(), Category::Configuration);
    assert!(refused.to_string().contains("`lock`") && refused.to_string().contains("without object lock"));

    let dir = tempfile::tempdir().unwrap();
    let folder = intellistor_storage::objects::LocalStore::open(dir.path()).await.unwrap();
    let classed = Policy { storage_class: Some("GLACIER".to_owned()), lock: None, ..policy.clone() };
    for (policy, field) in [(policy, "`lock`"), (classed, "`storage_class`")] {
        let refused = check(&folder, &policy).await.unwrap_err();
        assert_eq!(refused.category(), Category::Configuration);
        assert!(refused.to_string().contains(field), "{refused}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
