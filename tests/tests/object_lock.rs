//! Object Lock, versions and storage classes, against a server that has them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use bytes::Bytes;
use chrono::{DateTime, Utc};
use intellistor_storage::objects::{ObjectStoreExt as _, conformance};
use intellistor_tests::moto::{Keeps, Moto};

#[tokio::test]
async fn the_server_keeps_what_its_buckets_are_made_to_keep() {
    let moto = Moto::start();
    for (name, keeps, left) in [("latest", Keeps::Latest, 0), ("versions", Keeps::Versions, 3)] {
        let bucket = moto.bucket(name, keeps);
        let store = bucket.store();
        for body in ["one", "three"] {
            store.put("k", Bytes::from(body)).await.unwrap();
        }
        store.delete("k").await.unwrap();
        let versions = bucket.versions("k");
        assert_eq!(versions.len(), left, "{versions:?}");
        if let Some(newest) = versions.first() {
            assert!(newest.is_latest && newest.bytes.is_none(), "{versions:?}");
        }
    }
    let (store, new_year) = (moto.bucket("later", Keeps::Latest).store(), "2031-01-01T00:00:00Z");
    moto.set_time(new_year.parse().unwrap());
    store.put("k", Bytes::new()).await.unwrap();
    let put = store.list("k", None).await.unwrap().objects[0].modified_ms;
    for ms in [put, store.now_ms()] {
        assert!(
            DateTime::<Utc>::from_timestamp_millis(ms.unwrap())
                .unwrap()
                .to_rfc3339()
                .starts_with(&new_year[..16])
        );
    }
}

#[tokio::test]
async fn every_kind_of_bucket_conforms() {
    let moto = Moto::start();
    for (name, keeps) in [("latest", Keeps::Latest), ("versions", Keeps::Versions), ("locks", Keeps::Locks)] {
        conformance::check(moto.bucket(name, keeps).store()).await;
    }
}
