//! A sweep fails at every call that it makes, with and without effect, and the next one ends it.

use std::sync::Arc;

use intellistor_storage::StoreErrorKind;
use intellistor_storage::objects::{Fault, Faulty, Operation};

use super::shelf::{Shelf, days, hold};
use super::*;

/// Days 0 to 5 in a chain, 6 and 7 in one of their own; those forgotten are due on day 30, but one is held.
async fn shelf() -> Shelf {
    let shelf = Shelf::chain(6, true).await;
    shelf.back_up(6, None, false).await;
    shelf.back_up(7, Some(6), false).await;
    shelf.back_up(8, None, false).await;
    shelf.forget([0, 2, 3, 6, 7, 8], 10).await;
    shelf.say(8, &hold(true, None)).await;
    shelf.say(6, &hold(false, None)).await;
    shelf
}

const LISTED: [i64; 4] = [1, 4, 5, 8];

#[tokio::test]
async fn whatever_call_fails_no_listed_backup_is_harmed_and_the_next_sweep_ends_it() {
    let reference = shelf().await;
    reference.sweep_on(30).await.unwrap();
    let mut expected: Vec<_> = reference.memory.keys();
    expected.sort();
    let kinds = [0, 2, 3].map(|day| reference.kinds(day));
    assert_eq!(kinds, [(); 3].map(|()| vec![Archive, Forgotten]));
    let operations =
        [Operation::Put, Operation::Erase, Operation::List, Operation::GetRange, Operation::Attributes];
    for operation in operations {
        for fault in [Fault::Fails, Fault::AnswerLost] {
            let mut nth = 1;
            while fails_and_is_finished(operation, nth, fault(StoreErrorKind::ServerFault), &expected).await {
                nth += 1;
            }
            assert!(nth > 1, "{operation:?} was never called");
        }
    }
}

/// A sweep whose `nth` call fails, and another. Answers whether there was such a call.
async fn fails_and_is_finished(operation: Operation, nth: u32, fault: Fault, expected: &[String]) -> bool {
    let what = format!("{operation:?} {nth} {fault:?}");
    let shelf = shelf().await;
    let mut faulty = None;
    let failing = shelf.through(|store| {
        let store = Arc::new(Faulty::new(store));
        store.fail(operation, nth, fault);
        faulty = Some(store.clone());
        store
    });
    let outcome = failing.sweep_on(30).await;
    let is_called = faulty.unwrap().calls(operation) >= nth;
    assert!(is_called || outcome.is_ok(), "{what}: {outcome:?}");
    shelf.assert_whole(LISTED, &what).await;
    shelf.sweep_on(30).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    shelf.assert_whole(LISTED, &what).await;
    let mut left = shelf.memory.keys();
    left.sort();
    assert_eq!(left, expected, "{what}");
    is_called
}

#[tokio::test]
async fn a_refusal_to_delete_is_reported_once_and_no_error() {
    // The first object of the first backup, and some later ones.
    for nth in [1, 2, 3, 9, 14] {
        let shelf = shelf().await;
        let refusing = shelf.through(|store| {
            let store = Arc::new(Faulty::new(store));
            (nth..200).for_each(|nth| {
                store.fail(Operation::Erase, nth, Fault::Fails(StoreErrorKind::AccessDenied))
            });
            store
        });
        let report = refusing.sweep_on(30).await.unwrap();
        let refusals = report.warnings.iter().filter(|warning| warning.contains("backup-client prune"));
        assert_eq!(refusals.count(), 1, "{report:?}");
        let all = report.kept.len() + report.archive_kept.len() + report.deleted.len();
        assert_eq!(all, 6, "every backup that is due has its verdict: {report:?}");
        shelf.assert_whole(LISTED, "refused").await;
        shelf.sweep_on(30).await.unwrap();
        assert_eq!(shelf.kinds(7), []);
    }
}

#[tokio::test]
async fn a_full_store_is_emptied_by_what_is_begun_already() {
    let shelf = shelf().await;
    let full = |puts: &[u32]| {
        let puts = puts.to_vec();
        shelf.through(|store| {
            let store = Arc::new(Faulty::new(store));
            puts.iter().for_each(|nth| store.fail(Operation::Put, *nth, Fault::Fails(StoreErrorKind::Full)));
            store
        })
    };
    // Not even the first statement fits, and nothing is begun.
    let error = full(&[1]).sweep_on(30).await.unwrap_err();
    assert!(error.to_string().contains("forgotten.json"), "{error}");
    // The third does not fit, until the first two are finished.
    let report = full(&[3]).sweep_on(30).await.unwrap();
    assert_eq!(days(report.deleted.iter().map(|backup| &backup.backup_id)), [6, 7]);
    shelf.assert_whole(LISTED, "full").await;
    // With what is begun by an earlier sweep, room is made before anything is written.
    let shelf = Shelf::chain(1, false).await;
    shelf.back_up(1, None, false).await;
    shelf.forget([0, 1], 2).await;
    let crashing = shelf.through(|store| {
        let store = Arc::new(Faulty::new(store));
        store.fail(Operation::Erase, 2, Fault::Fails(StoreErrorKind::ServerFault));
        store
    });
    crashing.sweep_on(30).await.unwrap_err();
    let full = shelf.through(|store| {
        let store = Arc::new(Faulty::new(store));
        store.fail(Operation::Put, 1, Fault::Fails(StoreErrorKind::Full));
        store
    });
    let _ = full.sweep_on(30).await;
    assert_eq!(shelf.kinds(0), [], "the one that was begun is gone although the store is full");
}
