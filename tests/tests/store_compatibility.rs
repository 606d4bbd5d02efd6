//! The S3 store against servers that differ from AWS.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use bytes::Bytes;
use intellistor_storage::objects::{Listing, ObjectStore, ObjectStoreExt as _, Operation, conformance};
use intellistor_storage::{Error, StoreErrorKind};
use intellistor_tests::s3_server::{BUCKET, Dialect, Failure, S3Server};
use intellistor_tests::store_calls::{LEAST_PART, kind, part};

#[tokio::test]
async fn a_store_that_ignores_ranges_is_an_error_before_its_answer_is_read() {
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
async fn an_upload_begun_with_checksums_continues_without_them() {
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
