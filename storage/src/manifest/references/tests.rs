//! The short way to the archives gives what the whole manifest says, and refuses what the whole way refuses.

use super::*;
use crate::Error;
use crate::keys::UserKey;
use crate::keys::identity::Identity;
use crate::manifest::fixtures::{Making, bytes, extent, file};
use crate::manifest::{BackupFacts, Change, Entry, Listed};
use crate::objects::memory::MemoryStore;
use crate::objects::store::ObjectStoreExt as _;

fn listed(entries: u64, archives: u32) -> Vec<Listed> {
    let entry = |i| file(i, (0..archives).map(|archive| extent(archive, i * 1024, 10)).collect());
    (0..entries).map(entry).map(|entry: Entry| Listed::Entry { entry, change: Change::New }).collect()
}

/// A chain of three; the last one's manifest is in the store.
async fn chain(entries: u64, is_sealed: bool) -> (MemoryStore, Vec<Making>, Vec<u8>) {
    let makings: Vec<_> = (0..3).map(Making::new).collect();
    let full = makings[0].base(None, &listed(1, 1));
    let second = makings[1].base(Some(full), &listed(1, 2));
    let facts = BackupFacts { sealed: is_sealed, ..BackupFacts::default() };
    let last = makings[2].manifest(Some(second), &listed(entries, 3), facts).unwrap();
    let document = bytes(last.documents().document());
    let store = MemoryStore::default();
    store.put(&makings[2].name.manifest_key(), document.clone().into()).await.unwrap();
    (store, makings, document)
}

#[tokio::test]
async fn they_are_those_of_the_whole_manifest_in_ranges_of_any_size() {
    for is_sealed in [false, true] {
        let (store, makings, document) = chain(200, is_sealed).await;
        let expected: Vec<_> = [2, 1, 0].map(|at: usize| makings[at].name.clone()).into();
        let last = &makings[2];
        for range_bytes in [4 << 10, (4 << 10) + 1, document.len() as u64, 1 << 20] {
            let found = fetch_in_ranges(range_bytes, &store, &last.name, &last.identity).await.unwrap();
            assert_eq!(found, expected, "in ranges of {range_bytes}");
        }
    }
}

#[tokio::test]
async fn any_altered_byte_is_refused_also_among_the_entries() {
    let (store, makings, document) = chain(20, false).await;
    let last = &makings[2];
    let key = last.name.manifest_key();
    let expected: Vec<_> = [2, 1, 0].map(|at: usize| makings[at].name.clone()).into();
    let after = |text: &str, from: usize| {
        document[from..].windows(text.len()).position(|found| found == text.as_bytes()).unwrap() + from
    };
    let start = after("\"header\":\"", 0) + 10;
    let header = start..after("\"", start);
    for at in (0..document.len()).step_by(7).chain(document.len() - 80..document.len()) {
        store.alter(&key, |bytes| bytes[at] ^= 1);
        let found = fetch_in_ranges(4 << 10, &store, &last.name, &last.identity).await;
        match found {
            // What says which key it is of: then it is read as another key's, and the names are as they were.
            Ok(found) => assert!(header.contains(&at) && found == expected, "byte {at}: {found:?}"),
            Err(error) => assert!(!matches!(error, Error::WrongKey { .. }), "byte {at}"),
        }
        store.alter(&key, |bytes| bytes[at] ^= 1);
    }
    for cut in [0, 1, document.len() / 2, document.len() - 1] {
        store.put(&key, document[..cut].to_vec().into()).await.unwrap();
        assert!(fetch_references(&store, &last.name, &last.identity).await.is_err(), "cut at {cut}");
    }
    store.put(&key, document.into()).await.unwrap();
    fetch_references(&store, &last.name, &last.identity).await.unwrap();
    let another = fetch_references(&store, &makings[0].name, &last.identity).await.unwrap_err();
    assert!(matches!(another, Error::Store(_)), "{another}");
}

#[tokio::test]
async fn of_a_manifest_of_another_key_they_are_read_without_proof_and_what_has_no_form_is_refused() {
    let by_passphrase: Identity =
        UserKey::from_passphrase("test", "correct horse battery".to_owned()).unwrap().into();
    for other in [UserKey::generate().into(), by_passphrase] {
        for is_sealed in [false, true] {
            let (store, makings, document) = chain(200, is_sealed).await;
            let expected: Vec<_> = [2, 1, 0].map(|at: usize| makings[at].name.clone()).into();
            let name = &makings[2].name;
            for range_bytes in [4 << 10, document.len() as u64, 1 << 20] {
                let found = fetch_in_ranges(range_bytes, &store, name, &other).await.unwrap();
                assert_eq!(found, expected, "in ranges of {range_bytes}");
            }
            let own_key = makings[2].name.archive_key();
            let text = String::from_utf8(document.clone()).unwrap();
            let head = text.find("\"entries\"").unwrap_or(text.len());
            for (what, altered) in [
                ("empty", String::new()),
                ("cut in its head", text[..text.find(&own_key).unwrap() + 9].to_owned()),
                ("not its own archive first", text.replacen(&own_key, &makings[1].name.archive_key(), 1)),
                ("another policy's archive", text[..head].replace("backups/p/", "backups/q/")),
                ("another backup's header", text.replacen("\"header\":\"", "\"header\":\"AAAA", 1)),
            ] {
                assert_ne!(altered, text, "{what}");
                store.put(&name.manifest_key(), altered.into()).await.unwrap();
                let refused = fetch_references(&store, name, &other).await.unwrap_err();
                assert!(!matches!(refused, Error::WrongKey { .. } | Error::WrongPassphrase { .. }), "{what}");
            }
        }
    }
}

#[test]
fn what_a_whole_manifest_may_not_say_is_refused() {
    let name = Making::new(2).name;
    let other = Making::new(1).name;
    let foreign = BackupName { policy_id: "q".into(), ..other.clone() };
    for (what, keys) in [
        ("none", vec![]),
        ("not its own first", vec![other.archive_key(), name.archive_key()]),
        ("one twice", vec![name.archive_key(), other.archive_key(), other.archive_key()]),
        ("another policy's", vec![name.archive_key(), foreign.archive_key()]),
        ("no archive", vec![name.archive_key(), other.manifest_key()]),
    ] {
        assert!(archives(keys, &name).is_err(), "{what}");
    }
    assert_eq!(archives(vec![name.archive_key(), other.archive_key()], &name).unwrap(), [name, other]);
}
