//! The S3 store against a real S3 wire server.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::sync::Arc;

use bytes::Bytes;
use intellistor_storage::objects::{
    Attributes, ObjectStore, ObjectStoreExt as _, Operation, PartReceipt, PutOptions, Retention,
    RetentionMode, Retry, RetryPolicy, SharedStore, Upload, conformance,
};
use intellistor_storage::{Error, RetryAdvice, StoreErrorKind};
use intellistor_tests::s3_server::{BUCKET, Failure, S3Server, UploadState};
use intellistor_tests::store_calls::{CALLS, LEAST_PART, call, kind, part};

#[tokio::test]
async fn s3_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    conformance::check(server.store()).await;
    conformance::check(Arc::new(server.store_under("some/prefix"))).await;
}

#[tokio::test]
async fn what_an_object_is_to_get_goes_with_the_request_that_creates_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let until = "2027-01-02T03:04:05Z".parse().unwrap();
    let lock = |mode, name| {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let lock = [
            header("x-amz-object-lock-mode", name),
            header("x-amz-object-lock-retain-until-date", "2027-01-02T03:04:05Z"),
        ];
        (Attributes { retention: Some(Retention { mode, until }), ..Attributes::default() }, lock.to_vec())
    };
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let none = Attributes::default;
    let metadata = [("trace-id".to_owned(), "1f".to_owned())].into();
    for (attributes, headers) in [
        (none(), vec![]),
        lock(RetentionMode::Governance, "GOVERNANCE"),
        lock(RetentionMode::Compliance, "COMPLIANCE"),
        (Attributes { legal_hold: true, ..none() }, one("x-amz-object-lock-legal-hold", "ON")),
        (
            Attributes { storage_class: Some("STANDARD".to_owned()), ..none() },
            one("x-amz-storage-class", "STANDARD"),
        ),
        (Attributes { metadata, ..none() }, one("x-amz-meta-trace-id", "1f")),
    ] {
        let asked = || server.traffic().attributes().into_iter().collect::<Vec<_>>();
        let options = PutOptions { attributes, ..PutOptions::default() };
        store.put_with("k", Bytes::from_static(b"x"), &options).await.unwrap();
        assert_eq!(asked(), headers, "put");
        server.store().put("k", Bytes::new()).await.unwrap();
        assert_eq!(asked(), [], "put without");
        let upload = store.begin_with("k", &options.attributes).await.unwrap();
        assert_eq!(asked(), headers, "upload");
        store.abort_upload(&upload).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_credentials_and_wrong_buckets_are_distinguished() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let stranger = server.bare_store(BUCKET, "wrong");
    assert_eq!(kind(stranger.put("k", Bytes::new()).await), StoreErrorKind::Credentials);
    assert_eq!(kind(stranger.list("k", None).await), StoreErrorKind::Credentials);
    let refused = kind(server.other_bucket("no-such-bucket").list("k", None).await);
    assert_eq!(refused, StoreErrorKind::NoSuchStore);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_an_error_after_five_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let bare: SharedStore = Arc::new(server.other_bucket(BUCKET));
    drop(server);
    let policy = RetryPolicy { first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    let refused = Retry::new(bare, policy).put("k", Bytes::new()).await.unwrap_err();
    let text = refused.to_string();
    assert_eq!(kind::<()>(Err(refused)), StoreErrorKind::Unreachable);
    assert!(text.contains("after 5 attempts"), "{text}");
}

#[tokio::test]
async fn a_throttled_part_and_a_cut_one_arrive_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    server.traffic().fail_next(2, Operation::PutPart, Failure::SlowDown);
    store.put_part(&upload, &part(1, 1)).await.unwrap();
    assert_eq!(server.traffic().parts().get(&1), Some(&1));
    server.traffic().fail_next(1, Operation::PutPart, Failure::Cut);
    store.put_part(&upload, &part(1, 1)).await.unwrap();
    assert_eq!(server.traffic().parts().get(&1), Some(&2));
}

#[tokio::test]
async fn a_body_that_is_altered_on_the_way_is_refused_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.other_bucket(BUCKET);
    let upload = store.begin_upload("k").await.unwrap();
    for operation in [Operation::PutPart, Operation::Put] {
        server.traffic().fail_next(2, operation, Failure::Altered);
    }
    let refused = kind(store.put_part(&upload, &part(1, 1)).await);
    assert_eq!(refused, StoreErrorKind::ChecksumMismatch);
    assert_eq!(store.list_parts(&upload).await.unwrap(), []);
    assert_eq!(kind(store.put("o", Bytes::from("x")).await), StoreErrorKind::ChecksumMismatch);
    assert_eq!(store.head("o").await.unwrap(), None);
    server.store().put_part(&upload, &part(1, 1)).await.unwrap();
    server.store().put("o", Bytes::from("x")).await.unwrap();
}

#[tokio::test]
async fn a_refused_completion_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    let small = store.put_part(&upload, &part(1, LEAST_PART - 1)).await.unwrap();
    let last = store.put_part(&upload, &part(2, 1)).await.unwrap();
    let other = PartReceipt { etag: last.etag.clone(), ..small.clone() };
    let undigested = PartReceipt { sha256: None, ..small.clone() };
    for (parts, words) in [
        (vec![small.clone(), last.clone()], "EntityTooSmall"),
        (vec![other], "InvalidPart"),
        (vec![last.clone()], "InvalidPart"),
        (vec![last.clone(), small], "InvalidPartOrder"),
        (vec![undigested], "InvalidPart"),
    ] {
        let refused = store.complete_upload(&upload, &parts).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(kind::<()>(Err(refused)), StoreErrorKind::Rejected);
    }
    let large = store.put_part(&upload, &part(1, LEAST_PART)).await.unwrap();
    store.complete_upload(&upload, &[large, last]).await.unwrap();
    assert_eq!(store.head("k").await.unwrap(), Some(LEAST_PART as u64 + 1));
    assert_eq!(server.traffic().parts_of(&upload.id).into_iter().collect::<Vec<_>>(), [(1, 2), (2, 1)]);
}

#[tokio::test]
async fn uploads_are_listed_in_order_with_the_prefix_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (inner, outer) = (server.store_under("in/ner"), server.store());
    let mut begun = Vec::new();
    for name in ["b", "a/2", "a/1", "a/1", "c"] {
        begun.push(inner.begin_upload(name).await.unwrap());
    }
    outer.begin_upload("in/nermost").await.unwrap();
    begun.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    let listed = |store: SharedStore, prefix: &'static str| async move {
        let found = store.list_uploads(prefix).await.unwrap();
        assert!(found.iter().all(|u| u.began_ms.is_some()), "{found:?}");
        found.into_iter().map(|u| u.upload).collect::<Vec<_>>()
    };
    let inner: SharedStore = Arc::new(inner);
    assert_eq!(listed(inner.clone(), "").await, begun);
    assert_eq!(listed(inner.clone(), "a/").await, begun[..3]);
    let keys: Vec<_> = listed(outer, "in/ner").await.into_iter().map(|u| u.key).collect();
    assert_eq!(keys, ["in/ner/a/1", "in/ner/a/1", "in/ner/a/2", "in/ner/b", "in/ner/c", "in/nermost"]);
    server.traffic().fail_next(1, Operation::ListUploads, Failure::AccessDenied);
    assert_eq!(kind(inner.list_uploads("").await), StoreErrorKind::AccessDenied);
}

#[tokio::test]
async fn a_lost_part_and_a_lost_upload_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    let first = store.put_part(&upload, &part(1, LEAST_PART)).await.unwrap();
    let second = store.put_part(&upload, &part(2, 1)).await.unwrap();
    server.traffic().drop_part(&upload.id, 1);
    assert_eq!(store.list_parts(&upload).await.unwrap(), std::slice::from_ref(&second));
    let both = [first, second];
    assert_eq!(kind(store.complete_upload(&upload, &both).await), StoreErrorKind::Rejected);

    server.traffic().forget_upload(&upload.id);
    assert_eq!(kind(store.list_parts(&upload).await), StoreErrorKind::UploadGone);
    assert_eq!(kind(store.put_part(&upload, &part(3, 1)).await), StoreErrorKind::UploadGone);
    assert_eq!(kind(store.complete_upload(&upload, &both).await), StoreErrorKind::UploadGone);
    assert_eq!(store.list_uploads("").await.unwrap(), []);
    assert_eq!(server.traffic().uploads()[0].state, UploadState::Forgotten);
}

#[tokio::test]
async fn every_call_can_be_refused_and_its_answer_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.other_bucket(BUCKET);
    let call_or_complete = async |operation, upload: &Upload| match operation {
        Operation::CompleteUpload => {
            let parts = store.list_parts(upload).await?;
            store.complete_upload(upload, &parts).await
        }
        _ => call(&store, operation, upload).await,
    };
    for (failure, expected) in [
        (Failure::SlowDown, StoreErrorKind::Throttled),
        (Failure::ServerFault, StoreErrorKind::ServerFault),
        (Failure::AccessDenied, StoreErrorKind::AccessDenied),
        (Failure::Cut, StoreErrorKind::Unreachable),
        (Failure::AnswerLost, StoreErrorKind::Unreachable),
    ] {
        let upload = store.begin_upload("k").await.unwrap();
        for operation in [
            Operation::Put,
            Operation::GetRange,
            Operation::Head,
            Operation::List,
            Operation::Delete,
            Operation::BeginUpload,
            Operation::PutPart,
            Operation::ListParts,
            Operation::ListUploads,
            Operation::CompleteUpload,
        ] {
            server.traffic().fail_next(1, operation, failure);
            assert_eq!(
                kind(call_or_complete(operation, &upload).await),
                expected,
                "{operation:?} {failure:?}"
            );
            assert_eq!(server.traffic().failures_left(operation), 0);
            let again = call_or_complete(operation, &upload).await;
            if (operation, failure) == (Operation::CompleteUpload, Failure::AnswerLost) {
                assert_eq!(kind(again), StoreErrorKind::UploadGone, "it was carried out");
            } else {
                again.unwrap_or_else(|e| panic!("{operation:?} {failure:?}: {e}"));
            }
        }
        let upload = store.begin_upload("k").await.unwrap();
        server.traffic().fail_next(1, Operation::AbortUpload, failure);
        assert_eq!(kind(call_or_complete(Operation::AbortUpload, &upload).await), expected, "{failure:?}");
        call_or_complete(Operation::AbortUpload, &upload).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_reconnects_after_the_network_was_down() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (store, traffic) = (server.other_bucket(BUCKET), server.traffic());
    let upload = store.begin_upload("k").await.unwrap();
    for _ in 0..3 {
        traffic.hold_parts();
        let part = part(1, 1);
        let sent = store.put_part(&upload, &part);
        let pull = async {
            traffic.until(|traffic| traffic.held() == 1).await;
            server.stop_listening();
        };
        let (refused, ()) = tokio::join!(sent, pull);
        assert_eq!(kind(refused), StoreErrorKind::Unreachable);
        assert_eq!(kind(store.put("o", Bytes::new()).await), StoreErrorKind::Unreachable);
        traffic.release();
        server.listen_again();
        store.put("o", Bytes::new()).await.unwrap();
    }
    assert_eq!(store.list_parts(&upload).await.unwrap(), []);
}

#[tokio::test]
async fn an_answer_that_is_not_s3s_says_nothing_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.other_bucket(BUCKET);
    store.put("o", Bytes::from_static(b"x")).await.unwrap();
    let upload = store.begin_upload("k").await.unwrap();
    for status in [200, 201, 301, 302, 307, 400, 401, 403, 404, 405, 410, 412, 413, 416, 511] {
        server.traffic().fail_always(Failure::Page(status));
        for operation in CALLS {
            let error = call(&store, operation, &upload).await.unwrap_err();
            let text = error.to_string();
            let Error::Store(error) = error else { panic!("{operation:?} {status}: {text}") };
            assert_eq!(error.kind, StoreErrorKind::Unreachable, "{operation:?} {status}: {text}");
            assert_eq!(error.retry, RetryAdvice::Brief, "{operation:?} {status}: {text}");
            assert!(text.contains("not an S3 store") && text.contains("login page"), "{operation:?}: {text}");
            assert!(!text.contains("hidden"), "the portal's token is in {text}");
        }
        server.traffic().fail_no_more();
    }
    let fates: Vec<_> = server.traffic().uploads().into_iter().map(|upload| upload.state).collect();
    assert_eq!(fates, [UploadState::Open]);
    for status in [502, 503, 504] {
        server.traffic().fail_next(1, Operation::GetRange, Failure::Page(status));
        let kind = kind(store.get_range("o", 0..1).await);
        assert!(matches!(kind, StoreErrorKind::ServerFault | StoreErrorKind::Throttled), "{status}: {kind}");
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_repeated_and_what_the_store_lacks_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (store, traffic) = (server.store(), server.traffic());
    let upload = store.begin_upload("k").await.unwrap();
    for failure in [
        Failure::Refused(400, "IncompleteBody"),
        Failure::Refused(403, "RequestTimeTooSkewed"),
        Failure::Refused(200, "InternalError"),
        Failure::Refused(200, "SlowDown"),
        Failure::Refused(409, "OperationAborted"),
        Failure::Page(502),
    ] {
        for operation in
            CALLS.into_iter().filter(|o| !matches!(o, Operation::CompleteUpload | Operation::AbortUpload))
        {
            // An answer to GET or HEAD is known by its status, and a HEAD says no more than that.
            let by_status = match failure {
                Failure::Refused(200, _) => &[Operation::GetRange, Operation::Head][..],
                Failure::Refused(403, _) => &[Operation::Head],
                _ => &[],
            };
            if by_status.contains(&operation) {
                continue;
            }
            traffic.fail_next(2, operation, failure);
            call(&*store, operation, &upload)
                .await
                .unwrap_or_else(|e| panic!("{operation:?} {failure:?}: {e}"));
            assert_eq!(traffic.failures_left(operation), 0, "{operation:?} {failure:?}");
        }
    }
    let lacks = Failure::Refused(501, "NotImplemented");
    traffic.fail_next(10, Operation::ListUploads, lacks);
    assert_eq!(kind(store.list_uploads("").await), StoreErrorKind::Unsupported);
    assert_eq!(traffic.failures_left(Operation::ListUploads), 9, "it was asked once");
}

#[tokio::test]
async fn an_error_in_a_completion_that_began_well_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    let receipt = store.put_part(&upload, &part(1, 1)).await.unwrap();
    server.traffic().fail_next(2, Operation::CompleteUpload, Failure::Refused(200, "InternalError"));
    store.complete_upload(&upload, std::slice::from_ref(&receipt)).await.unwrap();
    assert_eq!(store.head("k").await.unwrap(), Some(1));

    let upload = store.begin_upload("l").await.unwrap();
    let receipt = store.put_part(&upload, &part(1, 1)).await.unwrap();
    server.traffic().fail_next(1, Operation::CompleteUpload, Failure::AnswerLost);
    server.traffic().fail_next(1, Operation::CompleteUpload, Failure::Refused(200, "InternalError"));
    assert_eq!(kind(store.complete_upload(&upload, &[receipt]).await), StoreErrorKind::UploadGone);
    assert_eq!(store.head("l").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_store_that_asks_for_a_pause_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    server.traffic().fail_next(1, Operation::Put, Failure::SlowDownFor(2));
    let begun = std::time::Instant::now();
    server.store().put("k", Bytes::new()).await.unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_range_is_continued_where_its_connection_broke() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.other_bucket(BUCKET);
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 3) as u8).collect();
    store.put("k", body.clone().into()).await.unwrap();
    let served = server.traffic().bytes_served();
    server.traffic().fail_next(4, Operation::GetRange, Failure::HalfBody);
    assert_eq!(store.get_range("k", 7..3_000_000).await.unwrap(), body[7..]);
    assert_eq!(server.traffic().failures_left(Operation::GetRange), 0);
    assert!(server.traffic().bytes_served() - served < 1_000_000, "it asked for what it had again");
    server.traffic().fail_next(1, Operation::GetRange, Failure::HalfBody);
    assert_eq!(kind(store.get_range("k", 0..1).await), StoreErrorKind::Unreachable, "nothing arrived");
}
