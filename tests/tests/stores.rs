//! The S3 store against a real S3 wire server.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::sync::Arc;

use bytes::Bytes;
use intellistor_storage::objects::{
    Attributes, Listing, ObjectStore, ObjectStoreExt as _, Operation, Part, PartReceipt, PutOptions,
    Retention, RetentionMode, Retry, RetryPolicy, SharedStore, Upload, conformance,
};
use intellistor_storage::{Error, Hashed, RetryAdvice, StoreErrorKind};
use intellistor_tests::s3_server::{BUCKET, Dialect, Done, Failure, S3Server, UploadState};

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> StoreErrorKind {
    match answer {
        Err(Error::Store(error)) => error.kind,
        other => panic!("expected a store's error, got {other:?}"),
    }
}

fn part(number: u32, bytes: usize) -> Part {
    let body = Hashed::new(Bytes::from(vec![number as u8; bytes]));
    Part { number, offset: 0, body }
}

const LEAST_PART: usize = 5 << 20;

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
            Attributes { storage_class: Some("GLACIER_IR".to_owned()), ..none() },
            one("x-amz-storage-class", "GLACIER_IR"),
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
async fn wrong_credentials_and_wrong_buckets_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let stranger = server.bare_store(BUCKET, "wrong");
    assert_eq!(kind(stranger.put("k", Bytes::new()).await), StoreErrorKind::Credentials);
    assert_eq!(kind(stranger.list("k", None).await), StoreErrorKind::Credentials);
    let refused = kind(server.other_bucket("no-such-bucket").list("k", None).await);
    assert_eq!(refused, StoreErrorKind::NoSuchStore);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_told_after_some_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let bare: SharedStore = Arc::new(server.other_bucket(BUCKET));
    drop(server);
    let policy = RetryPolicy { first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    let refused = Retry::new(bare, policy).put("k", Bytes::new()).await.unwrap_err();
    let text = refused.to_string();
    assert_eq!(kind::<()>(Err(refused)), StoreErrorKind::Unreachable);
    assert!(text.contains("after 5 attempts") && text.contains("AWS_ENDPOINT_URL"), "{text}");
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
async fn the_server_remembers_in_order_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (store, traffic) = (server.store(), server.traffic());
    let uploads = [store.begin_upload("a").await.unwrap(), store.begin_upload("b").await.unwrap()];
    let receipt = store.put_part(&uploads[0], &part(1, 1)).await.unwrap();
    store.put_part(&uploads[1], &part(1, 1)).await.unwrap();
    store.complete_upload(&uploads[0], &[receipt]).await.unwrap();
    traffic.fail_next(1, Operation::Put, Failure::AccessDenied);
    store.put("refused", Bytes::new()).await.unwrap_err();
    store.put("c", Bytes::new()).await.unwrap();
    store.abort_upload(&uploads[1]).await.unwrap();
    let [(a, x), (b, y)] = uploads.each_ref().map(|u| (u.key.clone(), u.id.clone()));
    let done = [
        Done::Begun { key: a.clone(), id: x.clone() },
        Done::Begun { key: b.clone(), id: y.clone() },
        Done::PartStored { id: x.clone(), number: 1 },
        Done::PartStored { id: y.clone(), number: 1 },
        Done::Completed { key: a, id: x },
        Done::Put { key: "c".to_owned() },
        Done::Aborted { key: b, id: y },
    ];
    assert_eq!(traffic.log(), done);
    let fates: Vec<_> = traffic.uploads().into_iter().map(|u| (u.key, u.state)).collect();
    assert_eq!(fates, [("a".to_owned(), UploadState::Completed), ("b".to_owned(), UploadState::Aborted)]);
}

#[tokio::test]
async fn a_lost_part_and_a_lost_upload_are_told() {
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
    let call = async |operation, upload: &Upload| match operation {
        Operation::Put => store.put("o", Bytes::new()).await,
        Operation::GetRange => store.get_range("o", 0..1).await.map(drop),
        Operation::Head => store.head("o").await.map(drop),
        Operation::List => store.list("", None).await.map(drop),
        Operation::Delete => store.delete("d").await,
        Operation::BeginUpload => store.begin_upload("k").await.map(drop),
        Operation::PutPart => store.put_part(upload, &part(1, 1)).await.map(drop),
        Operation::ListParts => store.list_parts(upload).await.map(drop),
        Operation::CompleteUpload => {
            let parts = store.list_parts(upload).await?;
            store.complete_upload(upload, &parts).await
        }
        Operation::ListUploads => store.list_uploads("").await.map(drop),
        Operation::AbortUpload => store.abort_upload(upload).await,
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
            assert_eq!(kind(call(operation, &upload).await), expected, "{operation:?} {failure:?}");
            assert_eq!(server.traffic().failures_left(operation), 0);
            let again = call(operation, &upload).await;
            if (operation, failure) == (Operation::CompleteUpload, Failure::AnswerLost) {
                assert_eq!(kind(again), StoreErrorKind::UploadGone, "it was carried out");
            } else {
                again.unwrap_or_else(|e| panic!("{operation:?} {failure:?}: {e}"));
            }
        }
        let upload = store.begin_upload("k").await.unwrap();
        server.traffic().fail_next(1, Operation::AbortUpload, failure);
        assert_eq!(kind(call(Operation::AbortUpload, &upload).await), expected, "{failure:?}");
        call(Operation::AbortUpload, &upload).await.unwrap();
    }
}

#[tokio::test]
async fn parts_that_are_held_are_stored_when_released_and_never_if_the_client_left() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (store, traffic) = (server.other_bucket(BUCKET), server.traffic());
    let upload = store.begin_upload("k").await.unwrap();
    let parts = [part(1, LEAST_PART), part(2, LEAST_PART), part(3, 1)];
    traffic.hold_parts();
    let sent = futures::future::join(store.put_part(&upload, &parts[0]), store.put_part(&upload, &parts[1]));
    let look = async {
        traffic.until(|traffic| traffic.held() == 2).await;
        let leaves = store.put_part(&upload, &parts[2]);
        tokio::select! {
            answer = leaves => panic!("{answer:?}"),
            () = traffic.until(|traffic| traffic.held() == 3) => {}
        }
        traffic.until(|traffic| traffic.held() == 2).await;
        assert_eq!(store.list_parts(&upload).await.unwrap(), [], "other calls are answered");
        traffic.release();
    };
    let ((first, second), ()) = tokio::join!(sent, look);
    assert_eq!(store.list_parts(&upload).await.unwrap(), [first.unwrap(), second.unwrap()]);
    assert_eq!(traffic.parts().into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}

#[tokio::test]
async fn a_server_that_hangs_answers_nothing_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let (store, traffic) = (server.other_bucket(BUCKET), server.traffic());
    traffic.hang();
    let asked = futures::future::join(store.put("k", Bytes::new()), store.list("", None));
    let look = async {
        traffic.until(|traffic| traffic.held() == 2).await;
        assert_eq!(traffic.log(), []);
        traffic.release();
    };
    let ((put, listed), ()) = tokio::join!(asked, look);
    put.unwrap();
    listed.unwrap();
    assert_eq!(traffic.held(), 0);
}

#[tokio::test]
async fn a_network_that_was_pulled_comes_back_on_the_same_port() {
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

// What is no S3 store, and stores that are not AWS

/// Every call, with an upload that is open; the object `o` exists.
const CALLS: [Operation; 11] = [
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
    Operation::AbortUpload,
];

async fn call(store: &dyn ObjectStore, operation: Operation, upload: &Upload) -> Result<(), Error> {
    match operation {
        Operation::Put => store.put("o", Bytes::from_static(b"x")).await,
        Operation::GetRange => store.get_range("o", 0..1).await.map(drop),
        Operation::Head => store.head("o").await.map(drop),
        Operation::List => store.list("", None).await.map(drop),
        Operation::Delete => store.delete("d").await,
        Operation::BeginUpload => store.begin_upload("k").await.map(drop),
        Operation::PutPart => store.put_part(upload, &part(1, 1)).await.map(drop),
        Operation::ListParts => store.list_parts(upload).await.map(drop),
        Operation::CompleteUpload => {
            let receipt = PartReceipt { number: 1, bytes: 1, sha256: None, etag: "\"0\"".to_owned() };
            store.complete_upload(upload, &[receipt]).await
        }
        Operation::ListUploads => store.list_uploads("").await.map(drop),
        Operation::AbortUpload => store.abort_upload(upload).await,
    }
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
            assert!(text.contains("no S3 store") && text.contains("login page"), "{operation:?}: {text}");
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

#[tokio::test]
async fn a_store_that_ignores_ranges_is_told_before_its_answer_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    store.put("k", vec![7; 100_000].into()).await.unwrap();
    server.traffic().speak(Dialect::NoRanges);
    for range in [0..10, 50_000..60_000, 99_999..200_000] {
        let error = store.get_range("k", range.clone()).await.unwrap_err();
        assert!(error.to_string().contains("ignores byte ranges"), "{range:?}: {error}");
        assert_eq!(kind::<()>(Err(error)), StoreErrorKind::Unsupported, "{range:?}");
    }
    assert_eq!(store.get_range("k", 0..100_000).await.unwrap().len(), 100_000);
}

async fn all_keys(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<String>, Error> {
    let (mut pages, mut keys) = (Listing::new(store, prefix), Vec::new());
    while let Some(page) = pages.next_page().await? {
        keys.extend(page.into_iter().map(|object| object.key));
    }
    Ok(keys)
}

#[tokio::test]
async fn a_listing_ends_whatever_the_store_makes_of_its_pages() {
    for dialect in [Dialect::NoStartAfter, Dialect::EmptyFirstPage] {
        let dir = tempfile::tempdir().unwrap();
        let server = S3Server::start(dir.path());
        server.traffic().speak(dialect);
        let store = server.store_under("in/ner");
        let keys: Vec<_> = (0..7).map(|i| format!("a/{i}")).collect();
        for key in &keys {
            store.put(key, Bytes::new()).await.unwrap();
        }
        assert_eq!(all_keys(&store, "a/").await.unwrap(), keys, "{dialect:?}");
        assert_eq!(all_keys(&store, "none/").await.unwrap(), [] as [&str; 0], "{dialect:?}");
        // Without the token of the page before.
        let page = store.list("a/", Some("a/4")).await.unwrap();
        assert_eq!(page.objects.iter().map(|o| o.key.as_str()).collect::<Vec<_>>()[0], "a/5", "{dialect:?}");
    }
    for dialect in [Dialect::EndlessPages, Dialect::SamePage] {
        let dir = tempfile::tempdir().unwrap();
        let server = S3Server::start(dir.path());
        let store = server.other_bucket(BUCKET);
        let upload = store.begin_upload("k").await.unwrap();
        for i in 1..=5 {
            store.put(&format!("a/{i}"), Bytes::new()).await.unwrap();
            store.put_part(&upload, &part(i, 1)).await.unwrap();
            store.begin_upload(&format!("u/{i}")).await.unwrap();
        }
        server.traffic().speak(dialect);
        let error = all_keys(&store, "a/").await.unwrap_err();
        assert!(error.to_string().contains("does not advance"), "{dialect:?}: {error}");
        if dialect == Dialect::SamePage {
            assert_eq!(kind(store.list_parts(&upload).await), StoreErrorKind::Unsupported);
            assert_eq!(kind(store.list_uploads("u/").await), StoreErrorKind::Unsupported);
        }
    }
}

#[tokio::test]
async fn a_store_that_refuses_conditions_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    server.traffic().speak(Dialect::NoConditions);
    conformance::check(server.store()).await;
}

#[tokio::test]
async fn a_store_without_checksum_headers_conforms() {
    for dialects in [&[Dialect::NoChecksums][..], &[Dialect::NoChecksums, Dialect::NoContentMd5]] {
        let dir = tempfile::tempdir().unwrap();
        let server = S3Server::start(dir.path());
        dialects.iter().for_each(|dialect| server.traffic().speak(*dialect));
        conformance::check(server.store()).await;
        let store = server.other_bucket(BUCKET);
        let upload = store.begin_upload("k").await.unwrap();
        let receipt = store.put_part(&upload, &part(1, 1)).await.unwrap();
        assert_eq!(receipt.sha256, None, "the store keeps none");
        // What was signed is still checked.
        server.traffic().fail_next(1, Operation::PutPart, Failure::Altered);
        assert_eq!(kind(store.put_part(&upload, &part(1, 1)).await), StoreErrorKind::ChecksumMismatch);
        assert_eq!(store.list_parts(&upload).await.unwrap(), std::slice::from_ref(&receipt));
        store.complete_upload(&upload, &[receipt]).await.unwrap();
    }
}

#[tokio::test]
async fn an_upload_begun_with_checksums_goes_on_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    let first = store.put_part(&upload, &part(1, LEAST_PART)).await.unwrap();
    server.traffic().speak(Dialect::NoChecksums);
    let second = store.put_part(&upload, &part(2, 1)).await.unwrap();
    assert_eq!((first.sha256.is_some(), second.sha256), (true, None));
    assert_eq!(store.list_parts(&upload).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_etag_with_and_without_quotes_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    server.traffic().speak(Dialect::BareETags);
    conformance::check(server.store()).await;
    let store = server.store();
    let upload = store.begin_upload("k").await.unwrap();
    let receipt = store.put_part(&upload, &part(1, 1)).await.unwrap();
    assert_eq!(store.list_parts(&upload).await.unwrap(), [receipt]);
}
