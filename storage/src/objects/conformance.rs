//! What every store must do; run against each of them.

use std::collections::BTreeSet;

use bytes::Bytes;
use uuid::Uuid;

use crate::error::Error;
use crate::objects::error::StoreErrorKind;
use crate::objects::hashed::Hashed;
use crate::objects::object::unix_ms;
use crate::objects::options::{Attributes, PutOptions, Retention, RetentionMode};
use crate::objects::s3::limits::MIN_PART_BYTES;
use crate::objects::store::{ObjectStore, ObjectStoreExt as _, SharedStore};
use crate::objects::upload::{Part, PartReceipt, Upload};

/// Of a part that is not the last.
const PART: usize = MIN_PART_BYTES as usize;

/// Checks every promise of [`ObjectStore`].
///
/// # Panics
/// At the first promise that `store` does not keep.
pub async fn check(store: SharedStore) {
    let prefix = format!("conformance/{}", Uuid::new_v4());
    objects(&*store, &format!("{prefix}/objects")).await;
    listing(&*store, &format!("{prefix}/list")).await;
    uploads(&*store, &format!("{prefix}/uploads")).await;
    refusals(&*store, &format!("{prefix}/refusals")).await;
    unfinished(&*store, &format!("{prefix}/unfinished")).await;
    deletion(&*store, &format!("{prefix}/deletion")).await;
    attributes(&*store, &format!("{prefix}/attributes")).await;
    erasure(&*store, &format!("{prefix}/erasure")).await;
    locks(&*store, &format!("{prefix}/locks")).await;
}

async fn objects(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/Relatório de março (2).txt");
    assert_eq!(store.head(&key).await.expect("head"), None);
    assert_eq!(kind(store.get_range(&key, 0..1).await), StoreErrorKind::NotFound);
    for body in ["first", "second, longer", ""] {
        store.put(&key, Bytes::from(body)).await.expect("put");
        assert_eq!(store.head(&key).await.expect("head"), Some(body.len() as u64));
        assert_eq!(store.get_range(&key, 0..1 << 20).await.expect("get"), body.as_bytes());
    }
    store.put(&key, Bytes::from_static(b"0123456789")).await.expect("put");
    let absent = &PutOptions::if_absent();
    let other = store.put_with(&key, Bytes::from_static(b"other"), absent).await;
    assert_eq!(kind(other), StoreErrorKind::AlreadyExists);
    let once = format!("{prefix}/once");
    store.put_with(&once, Bytes::from_static(b"x"), absent).await.expect("put what is absent");
    assert_eq!(store.head(&once).await.expect("head"), Some(1));
    for (range, expected) in
        [(0..10, "0123456789"), (3..5, "34"), (8..99, "89"), (10..12, ""), (50..60, ""), (4..4, "")]
    {
        assert_eq!(
            store.get_range(&key, range.clone()).await.expect("get"),
            expected.as_bytes(),
            "{range:?}"
        );
    }
}

async fn listing(store: &dyn ObjectStore, prefix: &str) {
    let names = ["a", "a-b", "a/b", "a/c/d", "a0", "b", "é"];
    let mut keys: Vec<_> = names.iter().map(|name| format!("{prefix}/{name}")).collect();
    // A folder store cannot have both a file `a` and a folder `a`; no key of ours is the prefix of another.
    keys.remove(0);
    keys.extend((0..1100).map(|i| format!("{prefix}/many/{i:04}")));
    keys.sort();
    for key in &keys {
        store.put(key, Bytes::from_static(b"x")).await.expect("put");
    }
    let mut listed = Vec::new();
    loop {
        let page = store.list(&format!("{prefix}/"), listed.last().map(String::as_str)).await.expect("list");
        assert!(page.objects.iter().all(|o| o.bytes == 1));
        listed.extend(page.objects.into_iter().map(|o| o.key));
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, keys);
    let some = store.list(&format!("{prefix}/a/"), Some(&format!("{prefix}/a/b"))).await.expect("list");
    assert_eq!(some.objects.iter().map(|o| &o.key).collect::<Vec<_>>(), [&format!("{prefix}/a/c/d")]);
    assert_eq!(store.list(&format!("{prefix}/none/"), None).await.expect("list").objects, []);
    assert_eq!(store.list(&format!("{prefix}/a"), None).await.expect("list").objects.len(), 4);
}

async fn uploads(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/object");
    let upload = store.begin_upload(&key).await.expect("begin");
    let parts = [part(1, 0, PART, 1), part(2, PART, PART + 1, 2), part(3, 2 * PART + 1, 7, 3)];
    let (third, first) =
        futures::join!(store.put_part(&upload, &parts[2]), store.put_part(&upload, &parts[0]));
    first.expect("part 1");
    third.expect("part 3");
    store.put_part(&upload, &part(2, PART, PART + 1, 9)).await.expect("part 2");
    store.put_part(&upload, &parts[1]).await.expect("part 2 again");

    assert_eq!(store.head(&key).await.expect("head"), None, "an unfinished upload shows");
    assert_eq!(store.list(prefix, None).await.expect("list").objects, []);
    let receipts = store.list_parts(&upload).await.expect("list parts");
    let held: Vec<_> = receipts.iter().map(|r| (r.number, r.bytes)).collect();
    assert_eq!(held, parts.each_ref().map(|p| (p.number, p.body.len() as u64)));
    for (receipt, part) in receipts.iter().zip(&parts) {
        assert!(receipt.sha256.is_none_or(|digest| digest == part.body.sha256()));
    }
    store.complete_upload(&upload, &receipts).await.expect("complete");
    let whole: Vec<u8> = parts.iter().flat_map(|p| p.body.to_vec()).collect();
    assert_eq!(store.get_range(&key, 0..whole.len() as u64 + 9).await.expect("get"), whole);
    assert_eq!(kind(store.list_parts(&upload).await), StoreErrorKind::UploadGone);
    let again = store.complete_with(&upload, &receipts, true).await;
    assert_eq!(kind(again), StoreErrorKind::UploadGone, "it was completed");
    if let Some(composite) = store.composite(&key).await.expect("composite") {
        let digests: Vec<u8> = parts.iter().flat_map(|part| part.body.sha256()).collect();
        assert_eq!(composite.sha256, Hashed::new(digests.into()).sha256());
        assert_eq!(composite.parts, 3);
    }
    replaced_or_not(store, &key, &whole).await;
}

/// A second upload of a key that has an object.
async fn replaced_or_not(store: &dyn ObjectStore, key: &str, whole: &[u8]) {
    let upload = store.begin_upload(key).await.expect("begin");
    let receipt = store.put_part(&upload, &part(1, 0, 100, 7)).await.expect("part 1");
    let parts = [receipt];
    let refused = store.complete_with(&upload, &parts, true).await;
    assert_eq!(kind(refused), StoreErrorKind::AlreadyExists);
    assert_eq!(store.get_range(key, 0..whole.len() as u64 + 9).await.expect("get"), whole);
    assert_eq!(store.list_parts(&upload).await.expect("a refused completion ends nothing"), parts);
    store.complete_upload(&upload, &parts).await.expect("replace");
    assert_eq!(store.head(key).await.expect("head"), Some(100));
}

async fn refusals(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/object");
    let upload = store.begin_upload(&key).await.expect("begin");
    let receipt = store.put_part(&upload, &part(1, 0, 100, 1)).await.expect("part 1");
    let missing = PartReceipt { number: 2, ..receipt.clone() };
    assert!(
        store.complete_upload(&upload, &[receipt.clone(), missing]).await.is_err(),
        "completed with a missing part"
    );
    assert_eq!(store.list_parts(&upload).await.expect("a refused completion ends nothing"), [receipt]);
    store.abort_upload(&upload).await.expect("abort");
    store.abort_upload(&upload).await.expect("abort again");
    let late = store.put_part(&upload, &part(1, 0, 100, 1)).await;
    assert_eq!(kind(late), StoreErrorKind::UploadGone);
    let stranger = Upload { key, id: Uuid::new_v4().to_string() };
    store.abort_upload(&stranger).await.expect("abort an unknown upload");
}

async fn unfinished(store: &dyn ObjectStore, prefix: &str) {
    let [one, two, other] = ["a/one", "a/two", "b/other"].map(|name| format!("{prefix}/{name}"));
    let done = store.begin_upload(&one).await.expect("begin");
    let receipt = store.put_part(&done, &part(1, 0, 9, 1)).await.expect("part 1");
    store.complete_upload(&done, &[receipt]).await.expect("complete");
    let mut begun = Vec::new();
    // Two of one key: a begin whose answer was lost is repeated.
    for key in [&two, &one, &two, &other] {
        begun.push(store.begin_upload(key).await.expect("begin"));
    }
    assert_eq!(store.last_part_ms(&begun[1]).await.expect("an upload without parts"), None);
    store.put_part(&begun[1], &part(1, 0, 9, 1)).await.expect("part 1");
    let arrived = store.last_part_ms(&begun[1]).await.expect("an upload with a part");
    let now = chrono::Utc::now().timestamp_millis();
    assert!(arrived.is_none_or(|arrived| (now - arrived).abs() < 60_000), "{arrived:?} is not now, {now}");
    assert!(store.now_ms().is_none_or(|theirs| (now - theirs).abs() < 60_000));

    let all = listed(store, &format!("{prefix}/")).await;
    assert!(all.is_sorted_by_key(|upload| (&upload.key, &upload.id)), "{all:?}");
    assert_eq!(names(&all), names(&begun));
    let below = format!("{prefix}/a/");
    assert_eq!(names(&listed(store, &below).await), names(&begun[..3]));
    assert_eq!(listed(store, &one).await, begun[1..2]);
    assert_eq!(listed(store, &format!("{prefix}/b")).await, begun[3..]);
    assert_eq!(listed(store, &format!("{prefix}/none/")).await, []);

    store.abort_upload(&begun[0]).await.expect("abort");
    assert_eq!(names(&listed(store, &below).await), names(&begun[1..3]));
    for upload in listed(store, prefix).await {
        store.abort_upload(&upload).await.expect("abort what was listed");
    }
    assert_eq!(listed(store, prefix).await, []);
    assert_eq!(store.head(&one).await.expect("head"), Some(9), "the object went with the uploads");
}

async fn deletion(store: &dyn ObjectStore, prefix: &str) {
    let [gone, stays] = ["a/gone", "a/stays"].map(|name| format!("{prefix}/{name}"));
    for key in [&gone, &stays] {
        store.put(key, Bytes::from_static(b"x")).await.expect("put");
    }
    for _ in 0..2 {
        store.delete(&gone).await.expect("delete, and again");
        assert_eq!(store.head(&gone).await.expect("head"), None);
        assert_eq!(kind(store.get_range(&gone, 0..1).await), StoreErrorKind::NotFound);
    }
    store.delete(&format!("{prefix}/none/such")).await.expect("delete what was never there");
    let left = store.list(prefix, None).await.expect("list").objects;
    assert_eq!(left.iter().map(|object| &object.key).collect::<Vec<_>>(), [&stays]);
    store
        .put_with(&gone, Bytes::from_static(b"new"), &PutOptions::if_absent())
        .await
        .expect("put what is absent");
    assert_eq!(store.head(&gone).await.expect("head"), Some(3));
}

/// What cannot be kept is refused before anything is stored. That a bucket has Object Lock, or a storage class, is not
/// known before it is asked.
async fn attributes(store: &dyn ObjectStore, prefix: &str) {
    let can = store.capabilities();
    let until = chrono::Utc::now() + chrono::Duration::seconds(30);
    let retention = Some(Retention { mode: RetentionMode::Governance, until });
    let metadata = [("trace-id".to_owned(), "1f".to_owned())].into();
    let none = Attributes::default;
    let cases = [
        ("metadata", can.metadata, true, Attributes { metadata, ..none() }),
        (
            "class",
            can.storage_classes,
            true,
            Attributes { storage_class: Some("STANDARD".to_owned()), ..none() },
        ),
        ("retention", can.object_lock, false, Attributes { retention, ..none() }),
        ("hold", can.object_lock, false, Attributes { legal_hold: true, ..none() }),
    ];
    for (name, is_known, is_certain, attributes) in cases {
        let (key, other) = (format!("{prefix}/{name}"), format!("{prefix}/{name}-parts"));
        let body = Bytes::from_static(b"x");
        let begun = store.begin_with(&other, &attributes).await;
        let put =
            store.put_with(&key, body.clone(), &PutOptions { attributes, ..PutOptions::default() }).await;
        if let (Ok(upload), true) = (&begun, is_known) {
            let receipt = store.put_part(upload, &part(1, 0, 9, 1)).await.expect("part 1");
            store.complete_upload(upload, &[receipt]).await.expect("complete");
            assert_eq!(store.head(&other).await.expect("head"), Some(9), "{name}");
        }
        if put.is_ok() && is_known {
            assert!(begun.is_ok(), "{name}: {begun:?}");
            assert_eq!(store.get_range(&key, 0..9).await.expect("get"), body, "{name}");
            if !is_certain && !can.versions {
                for key in [&key, &other] {
                    assert_eq!(kind(store.delete(key).await), StoreErrorKind::Locked, "{name}");
                    assert_eq!(kind(store.put(key, body.clone()).await), StoreErrorKind::Locked, "{name}");
                }
            }
            continue;
        }
        assert!(!(is_known && is_certain), "{name}: {put:?}");
        // A store that knows no checksums takes an upload under lock, and no object.
        if begun.is_ok() && !is_certain {
            store.delete(&other).await.expect("delete");
        }
        let refused = [begun.map(drop), put].into_iter().filter(|answer| answer.is_err() || is_certain);
        for refused in refused.map(kind) {
            assert!(
                refused == StoreErrorKind::Unsupported || is_known && refused == StoreErrorKind::Rejected,
                "{name}: {refused}"
            );
        }
        assert_eq!(
            store
                .list(prefix, None)
                .await
                .expect("list")
                .objects
                .iter()
                .filter(|o| o.key.contains(name))
                .count(),
            0
        );
        assert_eq!(listed(store, &other).await, [], "{name}");
    }
}

/// What is erased is gone with all that was under its key, and with nothing else.
async fn erasure(store: &dyn ObjectStore, prefix: &str) {
    let [gone, stays] = ["a/gone", "a/gone-not"].map(|name| format!("{prefix}/{name}"));
    for (key, body) in [(&gone, "first"), (&gone, "second"), (&stays, "x")] {
        store.put(key, Bytes::from(body)).await.expect("put");
    }
    assert!(store.attributes(&gone).await.expect("attributes").is_some());
    for _ in 0..2 {
        store.erase(&gone).await.expect("erase, and again");
        assert_eq!(store.head(&gone).await.expect("head"), None);
        assert_eq!(store.attributes(&gone).await.expect("attributes"), None);
    }
    store.erase(&format!("{prefix}/none/such")).await.expect("erase what was never there");
    let left = store.list(prefix, None).await.expect("list").objects;
    assert_eq!(left.iter().map(|object| &object.key).collect::<Vec<_>>(), [&stays]);
    store.put(&gone, Bytes::from_static(b"new")).await.expect("put what was erased");
    store.delete(&gone).await.expect("delete");
    store.erase(&gone).await.expect("erase what was deleted");
    assert_eq!(store.head(&gone).await.expect("head"), None);
}

/// A lock is kept, and shown, or it is refused.
async fn locks(store: &dyn ObjectStore, prefix: &str) {
    let (key, none) = (format!("{prefix}/object"), format!("{prefix}/none"));
    let at = |seconds| {
        let until = chrono::Utc::now().timestamp() + seconds;
        chrono::DateTime::from_timestamp(until, 0).expect("a time")
    };
    let (soon, later) = (at(300), at(600));
    let retention = |mode, until| Retention { mode, until };
    store.put(&key, Bytes::from_static(b"x")).await.expect("put");
    let is_able = store.check_object_lock().await;
    if is_able.is_err() {
        assert_eq!(kind(is_able), StoreErrorKind::Unsupported);
        let retained = store.retain(&key, retention(RetentionMode::Governance, soon)).await;
        // A store that knows no checksums refuses these requests for theirs.
        let is_refused = |kind| matches!(kind, StoreErrorKind::Unsupported | StoreErrorKind::Rejected);
        assert!(is_refused(kind(retained)));
        assert!(is_refused(kind(store.set_legal_hold(&key, true).await)));
        store.erase(&key).await.expect("erase what no lock keeps");
        return;
    }
    assert!(store.capabilities().object_lock);
    for (mode, until, kept) in [
        (RetentionMode::Governance, later, retention(RetentionMode::Governance, later)),
        (RetentionMode::Governance, soon, retention(RetentionMode::Governance, later)),
        (RetentionMode::Compliance, later, retention(RetentionMode::Compliance, later)),
        (RetentionMode::Governance, at(900), retention(RetentionMode::Compliance, at(900))),
    ] {
        store.retain(&key, retention(mode, until)).await.expect("retain");
        let found = store.attributes(&key).await.expect("attributes").and_then(|found| found.retention);
        let found = found.expect("a retention");
        assert_eq!(found.mode, kept.mode);
        // Those that are reckoned twice may be a second apart.
        assert!((found.until - kept.until).num_seconds().abs() <= 1, "{found:?}, not {kept:?}");
    }
    assert_eq!(kind(store.erase(&key).await), StoreErrorKind::Locked);
    assert_eq!(store.head(&key).await.expect("head"), Some(1), "a locked object went");
    let gone = store.retain(&none, retention(RetentionMode::Governance, soon)).await;
    assert_eq!(kind(gone), StoreErrorKind::NotFound);

    let held = format!("{prefix}/held");
    store.put(&held, Bytes::from_static(b"x")).await.expect("put");
    for is_held in [true, false] {
        for _ in 0..2 {
            store.set_legal_hold(&held, is_held).await.expect("hold or release, and again");
        }
        let found = store.attributes(&held).await.expect("attributes").expect("an object");
        assert_eq!(found.legal_hold, is_held);
        match store.erase(&held).await {
            refused if is_held => assert_eq!(kind(refused), StoreErrorKind::Locked),
            erased => erased.expect("erase what is held no more"),
        }
    }
}

async fn listed(store: &dyn ObjectStore, prefix: &str) -> Vec<Upload> {
    let found = store.list_uploads(prefix).await.expect("list uploads");
    // A day on either side: the store's clock is not ours.
    let now = unix_ms(std::time::SystemTime::now()).expect("now");
    assert!(
        found.iter().all(|u| u.began_ms.is_none_or(|began| (began - now).abs() < 86_400_000)),
        "{found:?}"
    );
    found.into_iter().map(|u| u.upload).collect()
}

/// Keys and ids.
fn names(uploads: &[Upload]) -> BTreeSet<(&str, &str)> {
    uploads.iter().map(|u| (u.key.as_str(), u.id.as_str())).collect()
}

fn part(number: u32, offset: usize, bytes: usize, fill: u8) -> Part {
    let body = Hashed::new(Bytes::from(vec![fill; bytes]));
    Part { number, offset: offset as u64, body }
}

fn kind<T: std::fmt::Debug>(answer: crate::Result<T>) -> StoreErrorKind {
    match answer {
        Err(Error::Store(error)) => error.kind,
        other => panic!("expected a store's error, got {other:?}"),
    }
}
