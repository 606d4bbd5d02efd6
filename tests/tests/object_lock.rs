//! Object Lock, versions and storage classes, against a server that has them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::objects::RetentionMode::{Compliance, Governance};
use intellistor_storage::objects::{
    Attributes, ObjectStore, ObjectStoreExt as _, PutOptions, Retention, RetentionMode, S3Store, conformance,
};
use intellistor_storage::{Error, StoreError, StoreErrorKind};
use intellistor_tests::moto::{Keeps, Moto, MotoBucket, PAGE};
use intellistor_tests::network::{Listening, answer};
use intellistor_tests::store_calls::{LEAST_PART, kind, part};

/// Days from now, by the clocks of this machine and of the server.
fn in_days(days: i64) -> DateTime<Utc> {
    let now = Utc::now() + TimeDelta::days(days);
    DateTime::from_timestamp(now.timestamp(), 0).unwrap()
}

fn for_days(mode: RetentionMode, days: i64) -> Retention {
    Retention { mode, until: in_days(days) }
}

fn with(retention: Retention) -> PutOptions {
    let attributes = Attributes { retention: Some(retention), ..Attributes::default() };
    PutOptions { attributes, ..PutOptions::default() }
}

async fn retention(store: &dyn ObjectStore, key: &str) -> Option<Retention> {
    store.attributes(key).await.unwrap().unwrap().retention
}

/// Whether each version of a key, the newest first, is a delete marker.
fn markers(bucket: &MotoBucket, key: &str) -> Vec<bool> {
    bucket.versions(key).iter().filter(|version| version.key == key).map(|v| v.bytes.is_none()).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, kind: StoreErrorKind) -> StoreError {
    match answer {
        Err(Error::Store(error)) if error.kind == kind => error,
        other => panic!("expected {kind}, got {other:?}"),
    }
}

#[tokio::test]
async fn every_kind_of_bucket_conforms() {
    let moto = Moto::start();
    for (name, keeps) in [("latest", Keeps::Latest), ("versions", Keeps::Versions), ("locks", Keeps::Locks)] {
        conformance::check(moto.bucket(name, keeps).store()).await;
    }
}

#[tokio::test]
async fn what_is_put_under_lock_stays_until_the_store_says_it_is_time() {
    let moto = Moto::start();
    let bucket = moto.bucket("locks", Keeps::Locks);
    let store = bucket.store_under("some/prefix");
    for mode in [Governance, Compliance] {
        let lock = for_days(mode, 5);
        store.put_with("put", Bytes::from("x"), &with(lock)).await.unwrap();
        let upload = store.begin_with("parts", &with(lock).attributes).await.unwrap();
        let mut receipts = Vec::new();
        for (number, bytes) in [(1, LEAST_PART), (2, 1)] {
            receipts.push(store.put_part(&upload, &part(number, bytes)).await.unwrap());
        }
        store.complete_with(&upload, &receipts, true).await.unwrap();
        for key in ["put", "parts"] {
            assert_eq!(retention(&store, key).await, Some(lock), "{key}");
            let locked = refused(store.erase(key).await, StoreErrorKind::Locked);
            let until = lock.until.format("%Y-%m-%d %H:%M").to_string();
            assert!(locked.reason.contains(&until) && locked.key == key, "{locked}");
            assert!(store.head(key).await.unwrap().is_some(), "{key} is hidden");
        }
        moto.set_time(in_days(6));
        for key in ["put", "parts"] {
            store.erase(key).await.unwrap();
            assert_eq!(markers(&bucket, &format!("some/prefix/{key}")), [] as [bool; 0]);
            assert_eq!(store.attributes(key).await.unwrap(), None);
        }
        moto.set_time(Utc::now());
    }
}

#[tokio::test]
async fn a_retention_is_prolonged_and_never_shortened() {
    let moto = Moto::start();
    let store = moto.bucket("locks", Keeps::Locks).store();
    store.put("k", Bytes::from("x")).await.unwrap();
    for (wanted, kept) in [
        (for_days(Governance, 5), for_days(Governance, 5)),
        (for_days(Governance, 3), for_days(Governance, 5)),
        (for_days(Governance, 7), for_days(Governance, 7)),
        (for_days(Compliance, 6), for_days(Governance, 7)),
        (for_days(Compliance, 9), for_days(Compliance, 9)),
        (for_days(Governance, 8), for_days(Compliance, 9)),
        (for_days(Governance, 11), for_days(Compliance, 11)),
    ] {
        store.retain("k", wanted).await.unwrap();
        let found = retention(&*store, "k").await.unwrap();
        // Each is made from now, which moves.
        let apart = (found.until - kept.until).num_seconds().abs();
        assert!(found.mode == kept.mode && apart < 60, "{wanted:?}: {found:?}");
    }
    refused(store.retain("none", for_days(Governance, 1)).await, StoreErrorKind::NotFound);
}

#[tokio::test]
async fn a_legal_hold_stays_until_it_is_released() {
    let moto = Moto::start();
    let bucket = moto.bucket("locks", Keeps::Locks);
    let store = bucket.store();
    let held = Attributes { legal_hold: true, ..Attributes::default() };
    store
        .put_with("put", Bytes::new(), &PutOptions { attributes: held, ..PutOptions::default() })
        .await
        .unwrap();
    store.put("later", Bytes::new()).await.unwrap();
    store.set_legal_hold("later", true).await.unwrap();
    moto.set_time(in_days(10_000));
    for key in ["put", "later"] {
        assert!(store.attributes(key).await.unwrap().unwrap().legal_hold, "{key}");
        let locked = refused(store.erase(key).await, StoreErrorKind::Locked);
        assert!(locked.reason.contains("legal hold"), "{locked}");
        store.set_legal_hold(key, false).await.unwrap();
        assert!(!store.attributes(key).await.unwrap().unwrap().legal_hold, "{key}");
        store.erase(key).await.unwrap();
        assert_eq!(markers(&bucket, key), [] as [bool; 0]);
    }
}

#[tokio::test]
async fn all_versions_of_exactly_one_key_are_erased() {
    let moto = Moto::start();
    let bucket = moto.bucket("versions", Keeps::Versions);
    let store = bucket.store();
    store.put("k/2", Bytes::from("a longer key")).await.unwrap();
    let many = PAGE + 3;
    for (key, versions, is_hidden) in [("k", 3, true), ("k", 2, false), ("k", many, true)] {
        for version in 0..versions {
            store.put(key, Bytes::from(version.to_string())).await.unwrap();
        }
        if is_hidden {
            store.delete(key).await.unwrap();
        }
        assert_eq!(markers(&bucket, key).len(), versions + usize::from(is_hidden));
        for _ in 0..2 {
            store.erase(key).await.unwrap();
            assert_eq!(bucket.versions("").len(), 1, "{versions}");
        }
    }
    assert_eq!(store.get_range("k/2", 0..99).await.unwrap(), "a longer key");
}

#[tokio::test]
async fn a_locked_version_stays_alone_and_as_hidden_as_it_was() {
    let moto = Moto::start();
    let bucket = moto.bucket("locks", Keeps::Locks);
    let store = bucket.store();
    for is_hidden in [false, true] {
        let key = if is_hidden { "hidden" } else { "visible" };
        store.put(key, Bytes::from("before")).await.unwrap();
        store.put_with(key, Bytes::from("locked"), &with(for_days(Governance, 5))).await.unwrap();
        if is_hidden {
            store.delete(key).await.unwrap();
        }
        refused(store.erase(key).await, StoreErrorKind::Locked);
        let left: &[bool] = if is_hidden { &[true, false] } else { &[false] };
        assert_eq!(markers(&bucket, key), left);
        assert_eq!(store.head(key).await.unwrap().is_none(), is_hidden);
        refused(store.erase(key).await, StoreErrorKind::Locked);
    }
    moto.set_time(in_days(6));
    for key in ["visible", "hidden"] {
        store.erase(key).await.unwrap();
    }
    assert_eq!(bucket.versions(""), []);
}

#[tokio::test]
async fn a_bucket_without_lock_is_known_before_anything_is_put() {
    let moto = Moto::start();
    moto.bucket("locks", Keeps::Locks).store().check_object_lock().await.unwrap();
    for (name, keeps) in [("latest", Keeps::Latest), ("versions", Keeps::Versions)] {
        let store = moto.bucket(name, keeps).store();
        let why = refused(store.check_object_lock().await, StoreErrorKind::Unsupported);
        assert!(why.reason.contains("not enabled for this bucket"), "{why}");
        // If it was not asked first, it refuses, and does not ignore.
        let put = store.put_with("k", Bytes::new(), &with(for_days(Governance, 5))).await;
        assert!(
            put.is_err() && store.begin_with("k", &with(for_days(Governance, 5)).attributes).await.is_err()
        );
        assert_eq!(store.head("k").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_storage_class_is_kept_and_one_that_is_cold_says_so() {
    let moto = Moto::start();
    let bucket = moto.bucket("classes", Keeps::Latest);
    let store = bucket.store();
    for class in ["STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"] {
        let attributes = Attributes { storage_class: Some(class.to_owned()), ..Attributes::default() };
        let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
        store.put_with(class, Bytes::from("x"), &options).await.unwrap();
        let upload = store.begin_with("parts", &attributes).await.unwrap();
        let receipt = store.put_part(&upload, &part(1, 1)).await.unwrap();
        store.complete_upload(&upload, &[receipt]).await.unwrap();
        for key in [class, "parts"] {
            assert_eq!(store.attributes(key).await.unwrap().unwrap().storage_class.as_deref(), Some(class));
            assert_eq!(store.head(key).await.unwrap(), Some(1));
            if class != "STANDARD_IA" {
                let cold = refused(store.get_range(key, 0..1).await, StoreErrorKind::ColdStorage);
                assert!(cold.reason.contains(class), "{cold}");
            }
        }
    }
    assert_eq!(store.get_range("STANDARD_IA", 0..1).await.unwrap(), "x");
}

/// A bucket of a server that gives always the same answers.
fn dialect(server: &Listening) -> S3Store {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{}", server.address()))
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("A", "b", None, None, "test"))
        .force_path_style(true);
    S3Store::new(config.build(), "b", "")
}

fn refusal(status: &str, code: &str) -> Vec<u8> {
    answer(status, &[], &format!("<Error><Code>{code}</Code><Message>why</Message></Error>")).into_bytes()
}

fn only_null() -> Vec<u8> {
    let version =
        "<Version><Key>k</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>";
    answer("200 OK", &[], &format!("<ListVersionsResult>{version}</ListVersionsResult>")).into_bytes()
}

#[tokio::test]
async fn a_store_without_versions_or_rights_to_them_deletes_plainly() {
    let gone = || answer("204 No Content", &[], "").into_bytes();
    let found = || answer("200 OK", &["ETag: \"1\"", "x-amz-request-id: 1"], "").into_bytes();
    // What the listing of versions answers, what the deletion of one does, and how often versions are asked for in two
    // calls.
    let none = || answer("200 OK", &[], "<ListVersionsResult></ListVersionsResult>").into_bytes();
    let cases = [
        (refusal("403 Forbidden", "AccessDenied"), gone(), 1),
        (refusal("501 Not Implemented", "NotImplemented"), gone(), 1),
        (refusal("405 Method Not Allowed", "MethodNotAllowed"), gone(), 1),
        (none(), gone(), 2),
        (only_null(), refusal("403 Forbidden", "AccessDenied"), 1),
        (only_null(), refusal("400 Bad Request", "InvalidArgument"), 1),
    ];
    for (listing, version, lists) in cases {
        let shown = String::from_utf8_lossy(&listing).into_owned();
        let server = Listening::answering(move |line| match line {
            line if line.starts_with("HEAD ") => found(),
            line if line.contains("versionId=") => version.clone(),
            line if line.starts_with("DELETE ") => gone(),
            _ => listing.clone(),
        });
        let store = dialect(&server);
        for _ in 0..2 {
            store.erase("k").await.unwrap_or_else(|e| panic!("{shown}: {e}"));
        }
        let seen = server.seen();
        let count = |what: &dyn Fn(&str) -> bool| seen.iter().filter(|line| what(line)).count();
        assert_eq!(count(&|l| l.starts_with("DELETE ") && !l.contains("versionId=")), 2, "{shown} {seen:?}");
        assert_eq!(count(&|l| l.starts_with("GET ") && l.contains("versions")), lists, "{shown} {seen:?}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let denied = |line: &str| match line {
        line if line.starts_with("GET ") && line.contains("versions") => {
            let versions =
                ["1", "2"].map(|id| format!("<Version><Key>k</Key><VersionId>{id}</VersionId></Version>"));
            answer("200 OK", &[], &format!("<ListVersionsResult>{}</ListVersionsResult>", versions.concat()))
                .into_bytes()
        }
        line if line.starts_with("HEAD ") => answer("200 OK", &["ETag: \"1\""], "").into_bytes(),
        _ => refusal("403 Forbidden", "AccessDenied"),
    };
    let server = Listening::answering(denied);
    let store = dialect(&server);
    let retention = for_days(Governance, 1);
    let put = store.put_with("k", Bytes::new(), &with(retention)).await;
    let begun = store.begin_with("k", &with(retention).attributes).await;
    for (answer, permission) in [
        (store.erase("k").await, "s3:DeleteObjectVersion on arn:aws:s3:::b/k "),
        (store.retain("k", retention).await, "s3:PutObjectRetention on arn:aws:s3:::b/k "),
        (store.set_legal_hold("k", true).await, "s3:PutObjectLegalHold on arn:aws:s3:::b/k "),
        (store.check_object_lock().await, "s3:GetBucketObjectLockConfiguration on arn:aws:s3:::b "),
        (put, "s3:PutObjectRetention"),
        (begun.map(drop), "s3:PutObjectRetention"),
    ] {
        let refused = refused(answer, StoreErrorKind::AccessDenied);
        assert!(refused.reason.contains(permission), "no {permission} in {refused}");
    }
}

#[tokio::test]
async fn a_store_that_knows_no_object_lock_is_none_that_locks() {
    for (status, code) in [
        ("501 Not Implemented", "NotImplemented"),
        ("405 Method Not Allowed", "MethodNotAllowed"),
        ("400 Bad Request", "InvalidRequest"),
        ("404 Not Found", "ObjectLockConfigurationNotFoundError"),
    ] {
        let server = Listening::answering(move |_| refusal(status, code));
        refused(dialect(&server).check_object_lock().await, StoreErrorKind::Unsupported);
    }
    let server = Listening::answering(|_| refusal("404 Not Found", "NoSuchBucket"));
    assert_eq!(kind(dialect(&server).check_object_lock().await), StoreErrorKind::NoSuchStore);
    // A decorator passes the question on.
    let server = Listening::answering(|_| refusal("501 Not Implemented", "NotImplemented"));
    let shared: Arc<dyn ObjectStore> = Arc::new(dialect(&server));
    assert_eq!(kind(shared.check_object_lock().await), StoreErrorKind::Unsupported);
}
