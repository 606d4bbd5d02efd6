//! Somebody acts between the plan of a sweep and its deletions.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use intellistor_storage::Result as StorageResult;
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::objects::{ObjectStore, Page, SharedStore};

use super::shelf::{Shelf, hold};
use super::*;

/// Puts an object right before another is put, or deleted; and lists what was deleted, as a slow store does.
#[derive(Debug)]
struct Meddler {
    store: SharedStore,
    /// Before which key is put or deleted, and what is put then.
    before: Mutex<Option<(String, String, Bytes)>>,
    /// The first listing is given for ever.
    listed: Option<Mutex<Option<Page>>>,
}

impl Meddler {
    async fn meddle(&self, key: &str) {
        let due = self.before.lock().unwrap().take_if(|(before, ..)| before == key);
        if let Some((_, key, bytes)) = due {
            self.store.put(&key, bytes).await.unwrap();
        }
    }
}

#[async_trait]
impl ObjectStore for Meddler {
    intellistor_storage::forward!(store: url folders capabilities now_ms prepare get_range head delete attributes retain set_legal_hold check_object_lock begin_with put_part list_parts last_part_ms complete_with composite list_uploads abort_upload);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> StorageResult<()> {
        self.meddle(key).await;
        self.store.put_with(key, body, options).await
    }

    async fn erase(&self, key: &str) -> StorageResult<()> {
        self.meddle(key).await;
        self.store.erase(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> StorageResult<Page> {
        let page = self.store.list(prefix, after).await?;
        match &self.listed {
            None => Ok(page),
            Some(listed) => Ok(listed.lock().unwrap().get_or_insert(page).clone()),
        }
    }
}

fn meddling(shelf: &Shelf, before: String, (key, bytes): (String, Bytes)) -> Shelf {
    let before = Mutex::new(Some((before, key, bytes)));
    shelf.through(|store| Arc::new(Meddler { store, before, listed: None }))
}

async fn standing(shelf: &Shelf, day: i64) -> Standing {
    let keys = Recipients::from(shelf.key.clone());
    Standing::read(&shelf.memory, &name(day), &keys).await.unwrap()
}

#[tokio::test]
async fn a_hold_or_an_unforgetting_that_comes_before_sweeping_is_said_keeps_the_backup() {
    for (says, is_forgotten_there) in [(hold(true, None), true), (hold(false, Some("f3")), false)] {
        let shelf = Shelf::chain(2, false).await;
        shelf.forget([0], 3).await;
        let before = shelf.objects().await;
        let said = shelf.encoded(0, &says).await;
        let report = meddling(&shelf, name(0).key(Forgotten), said).sweep_on(20).await.unwrap();
        assert_eq!((report.deleted.len(), report.kept.len()), (0, 1), "{report:?}");
        let standing = standing(&shelf, 0).await;
        assert_eq!(standing.forgotten(), None);
        assert_eq!(standing.forgotten.proven().is_some(), is_forgotten_there);
        let mut after = shelf.objects().await;
        // The statement is put again, and says when it first was.
        let mut expected = before;
        for key in [name(0).key(Hold), name(0).key(Forgotten)] {
            after.remove(&key);
            expected.remove(&key);
        }
        assert_eq!(after, expected);
    }
}

#[tokio::test]
async fn a_hold_that_an_interrupted_sweep_did_not_see_keeps_the_backup() {
    let shelf = Shelf::chain(2, false).await;
    shelf.forget([0], 3).await;
    // It said so, and died before it looked.
    shelf.say(0, &statements::Forgotten { sweeping: true, ..forgotten(3) }).await;
    shelf.say(0, &hold(true, None)).await;
    assert!(standing(&shelf, 0).await.forgotten().is_some());
    // That sweep may only have been stopped: for an hour it is left to it.
    shelf.memory.set_now_ms(at(20).timestamp_millis());
    shelf.say(0, &statements::Forgotten { sweeping: true, ..forgotten(3) }).await;
    let mut report = shelf.sweep_on(20).await.unwrap();
    assert!(report.kept.pop().unwrap().reason.contains("held: audit; an interrupted sweep"), "{report:?}");
    assert!(standing(&shelf, 0).await.forgotten().is_some());
    let mut report = shelf.sweep_on(21).await.unwrap();
    assert_eq!(report.kept.pop().unwrap().reason, "held: audit");
    assert_eq!(standing(&shelf, 0).await.forgotten(), None);
}

#[tokio::test]
async fn an_archive_that_a_new_manifest_needs_stays() {
    // A backup on base 1 is published while 0, whose archive it needs, is being swept.
    let shelf = Shelf::chain(2, false).await;
    shelf.forget([0], 3).await;
    let later = Shelf::chain(0, false).await;
    let later = Shelf { key: shelf.key.clone(), ..later };
    for (key, bytes) in shelf.objects().await {
        later.memory.put(&key, bytes).await.unwrap();
    }
    later.back_up(2, Some(1), false).await;
    let manifest = (name(2).manifest_key(), later.objects().await[&name(2).manifest_key()].clone());
    let archive = name(2).archive_key();
    shelf.memory.put(&archive, later.objects().await[&archive].clone()).await.unwrap();
    // Also the base is due.
    shelf.forget([1], 3).await;
    let report = meddling(&shelf, name(0).manifest_key(), manifest).sweep_on(20).await.unwrap();
    assert_eq!((report.deleted.len(), report.archive_kept.len()), (0, 2), "{report:?}");
    shelf.assert_whole([2], "published meanwhile").await;
}

#[tokio::test]
async fn a_listing_that_still_has_what_was_deleted_keeps_nothing() {
    let shelf = Shelf::chain(3, false).await;
    shelf.forget([0, 1, 2], 3).await;
    let slow = shelf.through(|store| {
        Arc::new(Meddler { store, before: Mutex::default(), listed: Some(Mutex::default()) })
    });
    assert_eq!(slow.sweep_on(20).await.unwrap().deleted.len(), 3);
    assert_eq!(shelf.memory.keys(), [""; 0]);
}
