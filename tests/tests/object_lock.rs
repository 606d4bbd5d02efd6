//! Object Lock, versions and storage classes, against a server that has them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use bytes::Bytes;
use intellistor_storage::objects::ObjectStoreExt as _;
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
}
