//! What a sweep deletes, what it leaves, and what a crash at any call leaves to the next.

mod faults;
mod meddling;
mod shelf;

use bytes::Bytes;
use intellistor_storage::catalog::layout::ObjectKind::{Archive, Entries, Forgotten, Hold, Manifest};
use intellistor_storage::catalog::{layout, statements};
use intellistor_storage::keys::Recipients;
use intellistor_storage::objects::{
    Attributes, ObjectStore as _, ObjectStoreExt as _, PutOptions, Retention, RetentionMode,
};

use self::shelf::{Shelf, at, days, forgotten, hold, name};
use super::*;
use crate::error::{Category, Error};

#[tokio::test]
async fn what_is_forgotten_waits_and_goes_with_everything_of_it() {
    let shelf = Shelf::new();
    for day in 0..3 {
        shelf.back_up(day, None, day == 1).await;
    }
    shelf.forget([0, 1], 10).await;
    shelf.say(0, &hold(false, None)).await;
    for day in [10, 17] {
        let report = shelf.sweep_on(day).await.unwrap();
        assert_eq!(days(report.waiting.iter().map(|backup| &backup.backup_id)), [0, 1]);
        assert_eq!((report.waiting[0].prunable_from, report.deleted.len()), (at(18), 0));
    }
    let before = shelf.objects().await;
    let options = || SweepOptions { dry_run: true, ..SweepOptions::default() };
    let plan = shelf.sweep_with(18, options()).await.unwrap();
    assert_eq!(shelf.objects().await, before, "a plan changes nothing");
    let report = shelf.sweep_on(18).await.unwrap();
    assert_eq!(days(report.deleted.iter().map(|backup| &backup.backup_id)), [0, 1]);
    assert_eq!(SweepReport { dry_run: false, ..plan }.deleted.len(), report.deleted.len());
    let after = shelf.objects().await;
    assert_eq!(shelf.kinds(2), [Archive, Manifest]);
    assert_eq!(after.len(), 2, "{:?}", after.keys());
    let bytes = |objects: &std::collections::BTreeMap<String, Bytes>| -> usize {
        objects.values().map(Bytes::len).sum()
    };
    // Of each that is swept `forgotten.json` is put again, with the time when it first was.
    let freed = (bytes(&before) - bytes(&after)) as u64;
    assert_eq!((report.bytes_freed - 2 * 28, plan.bytes_freed), (freed, freed));
    assert_eq!(report.deleted.iter().map(|backup| backup.bytes).sum::<u64>(), report.bytes_freed);
    assert!(
        report.warnings.is_empty() && report.kept.is_empty() && report.archive_kept.is_empty(),
        "{report:?}"
    );
    assert_eq!(shelf.sweep_on(19).await.unwrap().deleted, []);
}

#[tokio::test]
async fn archives_that_are_needed_outlive_their_manifests_with_a_tombstone_beside_them() {
    for sealed in [false, true] {
        let shelf = Shelf::chain(6, sealed).await;
        shelf.forget(1..4, 6).await;
        let plan = shelf.sweep_with(14, SweepOptions { dry_run: true, ..Default::default() }).await.unwrap();
        let report = shelf.sweep_on(14).await.unwrap();
        assert_eq!((&report.deleted, report.bytes_freed), (&vec![], plan.bytes_freed));
        for (planned, kept) in plan.archive_kept.iter().zip(&report.archive_kept) {
            assert_eq!(planned, kept);
            assert!(kept.reason.contains(&name(5).timestamp), "{}", kept.reason);
        }
        assert_eq!(days(report.archive_kept.iter().map(|backup| &backup.backup_id)), [1, 2, 3]);
        for day in 1..4 {
            assert_eq!(shelf.kinds(day), [Archive, Forgotten], "day {day}");
        }
        shelf.assert_whole([0, 4, 5], "middle").await;
        // Those that need them are forgotten, but not yet due; then they are.
        shelf.back_up(20, None, sealed).await;
        shelf.forget([0, 4, 5], 21).await;
        assert_eq!(shelf.sweep_on(28).await.unwrap().deleted, []);
        let report = shelf.sweep_on(29).await.unwrap();
        let mut deleted = days(report.deleted.iter().map(|backup| &backup.backup_id));
        deleted.sort_unstable();
        assert_eq!(deleted, [0, 1, 2, 3, 4, 5]);
        assert_eq!(shelf.memory.keys().len(), shelf.kinds(20).len());
        shelf.assert_whole([20], "new").await;
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_stops_everything_and_is_named() {
    for unreadable in [0, 2, 4] {
        let shelf = Shelf::chain(5, unreadable == 2).await;
        shelf.forget([0, 1], 6).await;
        let key = name(unreadable).manifest_key();
        shelf.memory.alter(&key, |bytes| {
            let middle = bytes.len() - 100;
            bytes[middle] ^= 1;
        });
        let before = shelf.objects().await;
        for dry_run in [true, false] {
            let stopped =
                shelf.sweep_with(20, SweepOptions { dry_run, ..Default::default() }).await.unwrap_err();
            assert_eq!(stopped.category(), Category::Integrity, "{stopped}");
            assert!(stopped.to_string().contains(&key), "{stopped}");
        }
        assert_eq!(shelf.objects().await, before);
    }
    let shelf = Shelf::chain(3, false).await;
    shelf.forget([0], 6).await;
    let before = shelf.objects().await;
    let stranger =
        Shelf { key: intellistor_storage::keys::UserKey::generate(), ..shelf.through(|store| store) };
    let stopped = stranger.sweep_on(20).await.unwrap_err();
    assert_eq!(stopped.category(), Category::Configuration, "{stopped}");
    assert_eq!(shelf.objects().await, before, "a wrong key deletes nothing");
}

#[tokio::test]
async fn what_speaks_for_a_backup_keeps_it() {
    let shelf = Shelf::chain(4, false).await;
    shelf.forget([0, 1, 2], 5).await;
    shelf.say(0, &hold(true, None)).await;
    shelf.say(1, &hold(false, Some("f5"))).await;
    shelf.memory.put(&name(2).key(Hold), Bytes::from_static(b"{}")).await.unwrap();
    let before = shelf.objects().await;
    let report = shelf.sweep_on(30).await.unwrap();
    assert_eq!(days(report.kept.iter().map(|backup| &backup.backup_id)), [0, 2]);
    assert!(report.kept[0].reason.contains("audit"), "{report:?}");
    assert!(report.kept[1].reason.contains("hold.json") && report.warnings.len() == 1, "{report:?}");
    assert_eq!(shelf.objects().await, before);
    // Released, and taken back another forgetting than this one.
    shelf.say(0, &hold(false, Some("f4"))).await;
    shelf.memory.delete(&name(2).key(Hold)).await.unwrap();
    shelf.sweep_on(30).await.unwrap();
    assert_eq!([0, 1, 2].map(|day| shelf.kinds(day).contains(&Manifest)), [false, true, false]);
}

#[tokio::test]
async fn what_is_not_proven_to_be_forgotten_is_not_touched() {
    let shelf = Shelf::chain(3, false).await;
    // A forgery, one of another backup, an orphan, and what somebody else put there.
    let (_, foreign) = shelf.encoded(1, &forgotten(0)).await;
    shelf.set_day(0);
    shelf.memory.put(&name(0).key(Forgotten), foreign.clone()).await.unwrap();
    shelf.memory.put(&name(1).key(Forgotten), Bytes::from_static(b"{\"sweeping\":true}")).await.unwrap();
    shelf.memory.put(&name(7).archive_key(), Bytes::from_static(b"orphan")).await.unwrap();
    shelf.memory.put("backups/p/notes.txt", Bytes::from_static(b"x")).await.unwrap();
    let probe = layout::probe_key("p", "0123456789abcdef0123456789abcdef");
    shelf.memory.put(&probe, Bytes::from_static(b"of an examination that was killed")).await.unwrap();
    shelf.memory.put("backups/other/x", Bytes::from_static(b"x")).await.unwrap();
    shelf.forget([2], 3).await;
    let before = shelf.objects().await;
    let report = shelf.sweep_on(40).await.unwrap();
    assert_eq!(report.unknown_objects, 1);
    assert_eq!(report.warnings.len(), 3, "{report:?}");
    assert!(report.warnings[0].contains("notes.txt"), "{report:?}");
    let mut expected = before;
    expected.retain(|key, _| !key.contains("/b2/"));
    assert_eq!(shelf.objects().await, expected);
}

#[tokio::test]
async fn a_backup_whose_manifest_somebody_deleted_goes_when_its_time_has_come() {
    let shelf = Shelf::chain(3, false).await;
    shelf.forget([1, 2], 3).await;
    shelf.memory.delete(&name(2).manifest_key()).await.unwrap();
    let report = shelf.sweep_on(10).await.unwrap();
    assert_eq!((report.waiting.len(), shelf.kinds(2)), (2, vec![Archive, Forgotten]));
    let report = shelf.sweep_on(11).await.unwrap();
    assert_eq!(days(report.deleted.iter().map(|backup| &backup.backup_id)), [1, 2]);
    shelf.assert_whole([0], "rest").await;
}

#[tokio::test]
async fn the_stores_clock_decides_and_a_copied_store_waits_anew() {
    let shelf = Shelf::chain(2, false).await;
    shelf.forget([0], 5).await;
    let copy = shelf.copied_on(100).await;
    assert_eq!(copy.sweep_on(107).await.unwrap().waiting[0].prunable_from, at(108));
    assert_eq!(copy.sweep_on(108).await.unwrap().archive_kept.len(), 1);
    // Whoever forgot it had a clock that was 30 days ahead, or behind.
    for (clock, due) in [(35, 43), (-25, 13)] {
        let shelf = Shelf::chain(2, false).await;
        shelf.set_day(5);
        shelf.say(0, &forgotten(clock)).await;
        let report = shelf.sweep_on(due - 1).await.unwrap();
        assert_eq!(report.waiting[0].prunable_from, at(due));
        shelf.sweep_on(due).await.unwrap();
        assert_eq!(shelf.kinds(0), [Archive, Forgotten]);
    }
}

#[tokio::test]
async fn what_is_locked_is_passed_over_until_its_lock_ends() {
    for locked in [Archive, Manifest, Entries] {
        let shelf = Shelf::chain(1, true).await;
        shelf.forget([0], 2).await;
        let key = name(0).key(locked);
        let lock = |legal_hold, until: Option<i64>| {
            let until = until.map(|day| Retention { mode: RetentionMode::Governance, until: at(day) });
            Attributes { retention: until, legal_hold, ..Attributes::default() }
        };
        let body = shelf.memory.get_range(&key, 0..u64::MAX).await.unwrap();
        for (attributes, reason) in [(lock(true, None), "legal hold"), (lock(false, Some(50)), "until 2027")]
        {
            shelf.memory.set_legal_hold(&key, false).await.unwrap();
            let options = PutOptions { attributes, ..PutOptions::default() };
            shelf.memory.put_with(&key, body.clone(), &options).await.unwrap();
            let before = shelf.objects().await;
            let report = shelf.sweep_on(20).await.unwrap();
            assert!(report.kept[0].reason.contains(reason), "{report:?}");
            assert_eq!(shelf.objects().await, before, "{locked:?}");
        }
        assert_eq!(shelf.sweep_on(50).await.unwrap().deleted.len(), 1, "{locked:?}");
        assert_eq!(shelf.memory.keys(), [""; 0]);
    }
    // An archive that was prolonged as a dependency, after its manifest had gone.
    let shelf = Shelf::chain(2, false).await;
    shelf.forget([0], 2).await;
    shelf.sweep_on(20).await.unwrap();
    let retention = Retention { mode: RetentionMode::Governance, until: at(60) };
    shelf.memory.retain(&name(0).archive_key(), retention).await.unwrap();
    shelf.forget([1], 21).await;
    let report = shelf.sweep_on(40).await.unwrap();
    assert_eq!(days(report.deleted.iter().map(|backup| &backup.backup_id)), [1]);
    assert_eq!((shelf.kinds(0), report.kept.len()), (vec![Archive, Forgotten], 1));
    shelf.sweep_on(60).await.unwrap();
    assert_eq!(shelf.memory.keys(), [""; 0]);
}

#[tokio::test]
async fn what_this_machine_remembers_saves_reading_and_decides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownReferences::new(dir.path());
    let options = || SweepOptions { known: Some(&known), ..SweepOptions::default() };
    let shelf = Shelf::chain(6, false).await;
    shelf.forget([1], 6).await;
    let read = |shelf: &Shelf| shelf.memory.bytes_read();
    shelf.sweep_with(14, options()).await.unwrap();
    let first = read(&shelf);
    shelf.sweep_with(15, options()).await.unwrap();
    let second = read(&shelf) - first;
    let manifest = shelf.objects().await[&name(5).manifest_key()].len() as u64;
    assert!(second < manifest, "{second} bytes were read again");
    // A manifest that is gone protects nothing, whatever is remembered of it.
    shelf.forget([2, 3, 4, 5], 16).await;
    shelf.memory.delete(&name(5).manifest_key()).await.unwrap();
    let report = shelf.sweep_with(30, options()).await.unwrap();
    assert_eq!(report.deleted.len(), 5, "{report:?}");
    shelf.assert_whole([0], "rest").await;
}

#[tokio::test]
async fn a_machine_that_is_not_the_owner_deletes_nothing() {
    use intellistor_storage::catalog::ownership::{self, Machine};
    let shelf = Shelf::chain(1, false).await;
    shelf.forget([0], 1).await;
    ownership::claim(&shelf.memory, "p", &Machine::named("other"), "test", false).await.unwrap();
    let before = shelf.objects().await;
    let refused = shelf.sweep_on(30).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    assert_eq!(shelf.objects().await, before);
}

#[tokio::test]
async fn a_cancelled_sweep_is_finished_by_the_next() {
    let shelf = Shelf::chain(2, false).await;
    shelf.forget([0, 1], 1).await;
    let options = SweepOptions::default();
    options.cancel.cancel();
    assert!(matches!(shelf.sweep_with(30, options).await.unwrap_err(), Error::Interrupted));
    assert_eq!(shelf.sweep_on(30).await.unwrap().deleted.len(), 2);
    assert_eq!(shelf.memory.keys(), [""; 0]);
    let keys = Recipients::from(shelf.key.clone());
    assert_eq!(
        statements::read::<statements::Forgotten>(&shelf.memory, &name(0), &keys).await.unwrap(),
        statements::Found::Nothing
    );
}
