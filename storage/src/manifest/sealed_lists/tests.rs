//! Sealed lists read back as plain ones, and no others take their place.

use std::sync::Arc;

use super::*;
use crate::manifest::draft::BackupFacts;
use crate::manifest::fixtures::{Making, bytes, entries, extent, file};
use crate::manifest::listed::{Change, Listed};
use crate::manifest::reader::VerifiedManifest;
use crate::manifest::{Base, NewManifest, put_manifest};
use crate::objects::faulty::{Fault, Faulty, Operation};
use crate::objects::memory::MemoryStore;
use crate::objects::store::ObjectStore as _;

const SEALED: fn() -> BackupFacts = || BackupFacts { sealed: true, ..BackupFacts::default() };

fn listed(count: u64) -> Vec<Listed> {
    let listed = |i| Listed::Entry { entry: file(i, vec![extent(0, i, 1)]), change: Change::New };
    (0..count).map(listed).collect()
}

fn made(making: &Making, count: u64) -> NewManifest {
    making.manifest(None, &listed(count), SEALED()).unwrap()
}

async fn fetch(making: &Making, store: &MemoryStore) -> Result<VerifiedManifest> {
    VerifiedManifest::fetch(store, &making.name, &making.identity).await
}

#[tokio::test]
async fn they_read_back_and_the_manifest_shows_none_of_them() {
    let making = Making::new(0);
    // More than a frame.
    for count in [0, 1, 9000] {
        let store = MemoryStore::default();
        let mut manifest = made(&making, count);
        manifest.put(&store, &making.header, &making.data_key).await.unwrap();
        let (plain, sealed) = (manifest.documents().document(), manifest.documents().sealed_lists().unwrap());
        assert!(!String::from_utf8(bytes(plain)).unwrap().contains("pasta"));
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes(plain)).is_ok());
        assert!(!bytes(sealed).windows(5).any(|five| five == b"pasta"));

        let found = fetch(&making, &store).await.unwrap();
        let expected: Vec<_> = (0..count).map(|i| file(i, vec![extent(0, i, 1)])).collect();
        assert_eq!(entries(&found), expected);
        assert_eq!(found.head(), manifest.head());
        assert_eq!(found.head().totals.files, count);
        assert_eq!(bytes(found.sealed_lists().unwrap()), bytes(sealed));
        found.for_each_note(|_| panic!("there is none")).unwrap();

        // The text is what a plain manifest has between its head and its HMAC.
        let plain = making.manifest(None, &listed(count), BackupFacts::default()).unwrap();
        let (text, _) = open(sealed, &making.header, &making.data_key).unwrap();
        let (text, plain) = (bytes(&text), bytes(plain.documents().document()));
        let (text, lists) = (text.trim_ascii_end(), &plain[..plain.len() - 84]);
        assert!(lists.ends_with(text) && text.starts_with(b"\"entries\":[\n"));

        let base = Arc::new(Base::new(found, vec![Some(1)]).unwrap());
        let read: Vec<_> = base.entries(0).map(Result::unwrap).collect();
        assert_eq!(read, expected);
        let unchanged = [Listed::Unchanged { first: 0, count }];
        let next = Making::new(1).manifest(Some(base), &unchanged, SEALED()).unwrap();
        assert_eq!(next.head().changes.unchanged, count);
    }
}

#[tokio::test]
async fn others_are_refused() {
    let [making, other] = [0, 1].map(Making::new);
    let put = async || {
        let store = MemoryStore::default();
        made(&making, 5).put(&store, &making.header, &making.data_key).await.unwrap();
        store
    };
    let key = making.name.entries_key();
    let message = async |store: &MemoryStore| match fetch(&making, store).await {
        Err(error @ Error::Integrity { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };

    let store = put().await;
    store.delete(&key).await.unwrap();
    assert!(message(&store).await.contains("entries.enc, which is missing"));
    let elsewhere = bytes(made(&other, 5).documents().sealed_lists().unwrap());
    let again = bytes(made(&making, 5).documents().sealed_lists().unwrap());
    for (what, lists) in [("of another backup", elsewhere), ("of another build", again)] {
        let store = put().await;
        store.alter(&key, |bytes| *bytes = lists);
        assert!(message(&store).await.contains("entries.enc fails"), "{what}");
    }
    let store = put().await;
    store.alter(&key, |bytes| {
        bytes.pop();
    });
    assert!(message(&store).await.contains("should have"), "cut");
    let store = put().await;
    store.alter(&key, |bytes| bytes.push(0));
    assert!(message(&store).await.contains("should have"), "appended");
    let store = put().await;
    let size = store.head(&key).await.unwrap().unwrap() as usize;
    for at in [0, 10, size / 2, size - 1] {
        let store = put().await;
        store.alter(&key, |bytes| bytes[at] ^= 1);
        assert!(message(&store).await.contains("entries.enc fails"), "byte {at}");
    }

    // Who has the key may name lists of another backup; they do not open.
    let sealed = made(&other, 5).into_documents().sealed_lists.unwrap();
    assert!(matches!(open(&sealed, &making.header, &making.data_key), Err(Error::OtherBackup { .. })));
    assert!(open(&sealed, &other.header, &making.data_key).is_err());
    let (document, _) = made(&making, 5).into_documents().into_parts();
    assert!(making.verify(document, None).unwrap_err().to_string().contains("missing"));
}

#[tokio::test]
async fn what_a_crashed_run_put_is_adopted_and_what_differs_is_not() {
    let making = Making::new(0);
    let store = MemoryStore::default();
    made(&making, 5).put(&store, &making.header, &making.data_key).await.unwrap();
    let before = store.get_range(&making.name.entries_key(), 0..1 << 20).await.unwrap();
    store.delete(&making.name.manifest_key()).await.unwrap();

    let refused = made(&making, 6).put(&store, &making.header, &making.data_key).await;
    assert!(
        matches!(&refused, Err(Error::Store(error)) if error.kind == crate::StoreErrorKind::AlreadyExists)
    );
    assert!(store.head(&making.name.manifest_key()).await.unwrap().is_none());
    let mut again = made(&making, 5);
    again.put(&store, &making.header, &making.data_key).await.unwrap();
    assert_eq!(bytes(again.documents().sealed_lists().unwrap()), before);
    assert_eq!(entries(&fetch(&making, &store).await.unwrap()).len(), 5);

    // Who may not read cannot tell whose lists are there, and names none.
    let refused = async |operation| {
        let faulty = Faulty::new(Arc::new(store.clone()));
        faulty.fail(operation, 1, Fault::Fails(crate::StoreErrorKind::AccessDenied));
        faulty.fail(Operation::GetRange, 1, Fault::Fails(crate::StoreErrorKind::AccessDenied));
        put_manifest(&faulty, &making.name, made(&making, 5).documents()).await
    };
    for operation in [Operation::Head, Operation::GetRange] {
        let refused = refused(operation).await;
        assert!(
            matches!(&refused, Err(Error::Store(error)) if error.kind == crate::StoreErrorKind::AlreadyExists && error.key.ends_with("entries.enc")),
            "{refused:?}"
        );
    }

    // A copy is made of the very same bytes.
    let copy = MemoryStore::default();
    put_manifest(&copy, &making.name, again.documents()).await.unwrap();
    assert_eq!(fetch(&making, &copy).await.unwrap().head(), again.head());
}
