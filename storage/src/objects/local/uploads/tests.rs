//! Uploads whose files were cut, replaced or written by two processes.

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::error::Error;
use crate::objects::hashed::Hashed;
use crate::objects::store::{ObjectStore as _, ObjectStoreExt as _};

const ABSENT: bool = true;

struct Place {
    dir: TempDir,
    store: LocalStore,
    upload: Upload,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).await.unwrap();
        let upload = store.begin_upload("k").await.unwrap();
        Self { dir, store, upload }
    }

    /// With two parts, one behind the other.
    async fn with_two_parts() -> (Self, Vec<PartReceipt>) {
        let place = Self::new().await;
        let receipts = vec![place.put(1, 0, b'a', 100).await, place.put(2, 100, b'b', 100).await];
        (place, receipts)
    }

    async fn put(&self, number: u32, offset: u64, fill: u8, bytes: usize) -> PartReceipt {
        self.store.put_part(&self.upload, &part(number, offset, fill, bytes)).await.unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join(format!(".k{MARK}{}", self.upload.id))
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join(format!(".k{MARK}{}{JOURNAL}", self.upload.id))
    }

    async fn held(&self) -> Vec<u32> {
        self.store.list_parts(&self.upload).await.unwrap().iter().map(|part| part.number).collect()
    }

    async fn complete(&self, parts: &[PartReceipt]) -> crate::Result<()> {
        self.store.complete_with(&self.upload, parts, ABSENT).await
    }
}

fn part(number: u32, offset: u64, fill: u8, bytes: usize) -> Part {
    Part { number, offset, body: Hashed::new(Bytes::from(vec![fill; bytes])) }
}

fn kind<T: std::fmt::Debug>(answer: crate::Result<T>) -> StoreErrorKind {
    match answer {
        Err(Error::Store(error)) => error.kind,
        other => panic!("expected a store's error, got {other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_shorter_than_its_journal_has_lost_parts_and_is_never_filled_up() {
    for (length, held) in [(200, &[1, 2][..]), (199, &[1]), (100, &[1]), (99, &[]), (0, &[])] {
        let (place, receipts) = Place::with_two_parts().await;
        File::options().write(true).open(place.data()).unwrap().set_len(length).unwrap();
        assert_eq!(place.held().await, held, "{length}");
        let completed = place.complete(&receipts).await;
        assert_eq!(completed.is_ok(), length == 200, "{length}: {completed:?}");
        // What was cut off comes again as zeros.
        if length < 200 {
            File::options().write(true).open(place.data()).unwrap().set_len(200).unwrap();
            assert_eq!(place.held().await, held, "{length}, filled up");
            assert_eq!(kind(place.complete(&receipts).await), StoreErrorKind::Rejected, "{length}");
            assert_eq!(place.store.head("k").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn another_file_in_the_place_of_the_bytes_holds_no_part() {
    let (place, receipts) = Place::with_two_parts().await;
    fs::write(place.data(), vec![b'z'; 300]).unwrap();
    assert_eq!(place.held().await, [0; 0]);
    assert_eq!(kind(place.complete(&receipts).await), StoreErrorKind::Rejected);
    fs::remove_file(place.data()).unwrap();
    assert_eq!(kind(place.store.list_parts(&place.upload).await), StoreErrorKind::UploadGone);
}

#[tokio::test]
async fn lines_of_a_journal_that_are_none_are_parts_that_were_never_acknowledged() {
    let odd: [&[u8]; 7] = [
        b"\xff\xfe\x00\x80",
        b"{\"number\":2,\"offset\":100,\"byt",
        b"{\"number\":2,\"offset\":100,\"bytes\":18446744073709551615,\"sha256\":\"00\"}",
        b"{\"number\":2,\"offset\":18446744073709551615,\"bytes\":2,\"sha256\":\"1111111111111111111111111111111111111111111111111111111111111111\"}",
        b"{\"number\":2,\"offset\":1000,\"bytes\":4611686018427387904,\"sha256\":\"1111111111111111111111111111111111111111111111111111111111111111\"}",
        b"{\"number\":0,\"offset\":0,\"bytes\":1}",
        b"[]",
    ];
    for line in odd {
        let place = Place::new().await;
        let first = place.put(1, 0, b'a', 100).await;
        let mut journal = File::options().append(true).open(place.journal()).unwrap();
        journal.write_all(line).unwrap();
        drop(journal);
        assert_eq!(place.held().await, [1], "{}", line.escape_ascii());
        let second = place.put(2, 100, b'b', 50).await;
        place.complete(&[first, second]).await.unwrap();
        assert_eq!(place.store.head("k").await.unwrap(), Some(150));
    }
}

#[tokio::test]
async fn a_part_that_was_written_over_is_held_no_more() {
    let (place, receipts) = Place::with_two_parts().await;
    // Larger than the part in whose place it is: it reaches into the next one.
    let other = place.put(1, 0, b'c', 110).await;
    assert_eq!(place.held().await, [1]);
    assert_eq!(kind(place.complete(&receipts).await), StoreErrorKind::Rejected);
    let second = place.put(2, 110, b'd', 10).await;
    place.complete(&[other, second]).await.unwrap();
    let bytes = place.store.get_range("k", 0..999).await.unwrap();
    assert_eq!(bytes, [vec![b'c'; 110], vec![b'd'; 10]].concat());
}

#[tokio::test]
async fn a_process_that_dies_amid_writing_over_a_part_leaves_none_there() {
    let (place, receipts) = Place::with_two_parts().await;
    let mut locked = place.store.lock(&place.upload).ok().unwrap();
    let over = Record::new(&part(2, 90, b'x', 20)).unwrap();
    locked.note(&over.about_to_be()).ok().unwrap();
    drop(locked);
    assert_eq!(place.held().await, [0; 0], "it would have been written over the ends of both");
    assert_eq!(kind(place.complete(&receipts).await), StoreErrorKind::Rejected);
}

#[tokio::test]
async fn an_object_that_was_completed_is_neither_written_nor_replaced() {
    let (place, receipts) = Place::with_two_parts().await;
    let other = place.store.begin_upload("k").await.unwrap();
    let theirs = place.store.put_part(&other, &part(1, 0, b'z', 200)).await.unwrap();
    place.complete(&receipts).await.unwrap();
    let whole = place.store.get_range("k", 0..999).await.unwrap();
    assert_eq!(
        kind(place.store.put_part(&place.upload, &part(2, 100, b'y', 100)).await),
        StoreErrorKind::UploadGone
    );
    let replaced = place.store.complete_with(&other, &[theirs], ABSENT).await;
    assert_eq!(kind(replaced), StoreErrorKind::AlreadyExists);
    assert_eq!(place.store.get_range("k", 0..999).await.unwrap(), whole);
}

#[cfg(unix)]
#[tokio::test]
async fn an_object_whose_first_name_a_crash_has_left_is_not_written_through_it() {
    let (place, receipts) = Place::with_two_parts().await;
    fs::hard_link(place.data(), place.dir.path().join("k")).unwrap();
    let whole = place.store.get_range("k", 0..999).await.unwrap();
    let late = part(1, 0, b'y', 100);
    assert_eq!(kind(place.store.put_part(&place.upload, &late).await), StoreErrorKind::UploadGone);
    assert_eq!(kind(place.complete(&receipts).await), StoreErrorKind::UploadGone);
    place.store.abort_upload(&place.upload).await.unwrap();
    assert_eq!(place.store.get_range("k", 0..999).await.unwrap(), whole);
    assert!(!place.data().exists() && !place.journal().exists());
}

/// Two processes that share an upload write the same parts at the same time, each in its own size.
#[tokio::test]
async fn of_two_that_share_an_upload_at_most_one_completes_it_and_with_its_own_bytes() {
    for round in 0..20_usize {
        let place = Place::new().await;
        let writer = |fill: u8, bytes: usize| {
            let (store, upload) = (place.store.clone(), place.upload.clone());
            async move {
                let mut receipts = Vec::new();
                for number in 1..=6 {
                    let part = part(number, (number as usize - 1) as u64 * bytes as u64, fill, bytes);
                    receipts.push(store.put_part(&upload, &part).await?);
                }
                store.complete_with(&upload, &receipts, ABSENT).await
            }
        };
        let (small, large) = (40_000 + round, 50_000 + round);
        let (one, two) = futures::join!(writer(b'1', small), writer(b'2', large));
        assert!(one.is_err() || two.is_err(), "round {round}: both have completed it");
        let expected = match (&one, &two) {
            (Ok(()), _) => vec![b'1'; 6 * small],
            (_, Ok(())) => vec![b'2'; 6 * large],
            _ => continue,
        };
        assert_eq!(place.store.get_range("k", 0..u64::MAX).await.unwrap(), expected, "round {round}");
    }
}
