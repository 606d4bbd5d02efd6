//! The S3 store against a real S3 wire server.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::sync::Arc;

use bytes::Bytes;
use intellistor_storage::objects::conformance::{self, Capabilities};
use intellistor_storage::objects::{ObjectStore, Part, Retry, RetryPolicy, SharedStore};
use intellistor_storage::{Error, StoreErrorKind};
use intellistor_tests::s3_server::{BUCKET, S3Server};

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> StoreErrorKind {
    match answer {
        Err(Error::Store(error)) => error.kind,
        other => panic!("expected a store's error, got {other:?}"),
    }
}

fn part(body: &'static [u8], sha256: [u8; 32]) -> Part {
    Part { number: 1, offset: 0, body: Bytes::from_static(body), sha256 }
}

/// SHA-256 of "x".
const X: [u8; 32] = *b"\x2d\x71\x16\x42\xb7\x26\xb0\x44\x01\x62\x7c\xa9\xfb\xac\x32\xf5\xc8\x53\x0f\xb1\x90\x3c\xc4\xdb\x02\x25\x87\x17\x92\x1a\x48\x81";

#[tokio::test]
async fn s3_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let capabilities = Capabilities { checks_part_checksums: false, tells_gone_uploads: false };
    conformance::check(server.store(), capabilities).await;
}

#[tokio::test]
async fn wrong_credentials_and_wrong_buckets_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let stranger = server.bare_store(BUCKET, "wrong");
    assert_eq!(kind(stranger.put("k", Bytes::new()).await), StoreErrorKind::Credentials);
    assert_eq!(kind(stranger.list("k", None).await), StoreErrorKind::Credentials);
    let told = kind(server.other_bucket("no-such-bucket").list("k", None).await);
    assert_eq!(told, StoreErrorKind::NoSuchStore);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_told_after_some_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let bare: SharedStore = Arc::new(server.other_bucket(BUCKET));
    drop(server);
    let policy = RetryPolicy { first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    let told = Retry::new(bare, policy).put("k", Bytes::new()).await.unwrap_err();
    let text = told.to_string();
    assert_eq!(kind::<()>(Err(told)), StoreErrorKind::Unreachable);
    assert!(text.contains("after 5 attempts") && text.contains("AWS_ENDPOINT_URL"), "{text}");
}

#[tokio::test]
async fn a_throttled_part_and_a_cut_one_arrive_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    server.traffic().refuse_parts(2);
    store.put_part(&upload, &part(b"x", X)).await.unwrap();
    assert_eq!(server.traffic().parts().get(&1), Some(&1));
    server.traffic().cut_parts(1);
    store.put_part(&upload, &part(b"x", X)).await.unwrap();
    assert_eq!(server.traffic().parts().get(&1), Some(&2));
}

#[tokio::test]
async fn a_body_that_is_altered_on_the_way_is_refused_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.other_bucket(BUCKET);
    let upload = store.begin_upload("k").await.unwrap();
    server.traffic().alter_parts(1);
    // This server answers 500 to a body that does not match its signature; AWS answers 400 and names the mismatch.
    let told = kind(store.put_part(&upload, &part(b"x", X)).await);
    assert!(matches!(told, StoreErrorKind::ServerFault | StoreErrorKind::ChecksumMismatch), "{told}");
    assert_eq!(store.list_parts(&upload).await.unwrap(), []);
    server.traffic().alter_parts(1);
    server.store().put_part(&upload, &part(b"x", X)).await.unwrap();
}
