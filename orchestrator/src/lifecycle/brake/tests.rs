use super::*;
use crate::lifecycle::fixtures::Backups;

const FIRST: &str = "20261101T020000Z";
const SECOND: &str = "20261102T020000Z";

/// A backup's manifest: its folders with their files, and what changed.
struct Made {
    head: Head,
}

fn made(timestamp: &str, roots: &[(&str, Option<u64>)], changed: u64, deleted: u64) -> Made {
    let record = |&(path, files): &(&str, Option<u64>)| RootRecord {
        path: path.to_owned(),
        prefix: String::new(),
        files,
    };
    let files = roots.iter().filter_map(|(_, files)| *files).sum();
    let name = BackupName { policy_id: "p".into(), timestamp: timestamp.into(), backup_id: "b".into() };
    let head = Head {
        name,
        roots: roots.iter().map(record).collect(),
        totals: Totals { files, ..Totals::default() },
        changes: Changes { changed, deleted, ..Changes::default() },
        ..Head::default()
    };
    Made { head }
}

impl Made {
    fn on(&self, before: &Head, is_confirmed: bool) -> Option<BrakeRecord> {
        let Head { name, roots, totals, changes, .. } = &self.head;
        let made = NewBackup { name, roots, totals: *totals, changes: *changes, alarms: &[] };
        brake(Some(before), true, is_confirmed, made, at(&name.timestamp))
    }

    /// The manifest, with the brake that it gets.
    fn after(self, before: &Head) -> Head {
        Head { brake: self.on(before, false), ..self.head }
    }
}

fn at(timestamp: &str) -> DateTime<Utc> {
    clock::parse(timestamp).unwrap()
}

#[test]
fn a_missing_disk_rests_retention_until_its_files_are_back() {
    let whole = made(FIRST, &[("/a", Some(100))], 0, 0).head;
    assert_eq!(made(SECOND, &[("/a", Some(60))], 10, 40).on(&whole, false), None, "an ordinary day");
    let few = made(SECOND, &[("/a", Some(20))], 0, 80).after(&whole);
    let brake = few.brake.clone().unwrap();
    assert_eq!((brake.since.as_str(), brake.files_before, brake.replaced), (SECOND, Some(100), false));
    assert!(brake.why.contains("fewer than half"), "{}", brake.why);
    // It is inherited as it was, for years.
    let later = made("20281101T020000Z", &[("/a", Some(21))], 0, 0).after(&few);
    assert_eq!(later.brake, few.brake);
    assert_eq!(made("20281102T020000Z", &[("/a", Some(50))], 0, 0).on(&later, false), None);
    assert_eq!(made("20281102T020000Z", &[("/a", Some(21))], 0, 0).on(&later, true), None, "confirmed");
}

#[test]
fn a_small_folder_that_is_empty_or_missing_among_large_ones_is_not_forgotten_the_next_day() {
    let whole = made(FIRST, &[("/a", Some(1000)), ("/b", Some(10))], 0, 0).head;
    for gone in [Some(0), None] {
        let lost = made(SECOND, &[("/a", Some(1000)), ("/b", gone)], 0, 10).after(&whole);
        let brake = lost.brake.clone().unwrap();
        assert_eq!((&brake.empty_roots[..], brake.files_before), (&["/b".to_owned()][..], None));
        assert!(brake.why.contains("\"/b\""), "{}", brake.why);
        let next = made("20261203T020000Z", &[("/a", Some(1001)), ("/b", gone)], 0, 0).after(&lost);
        assert_eq!(next.brake, lost.brake, "30 days are not enough");
        assert!(in_force(next.brake.as_ref(), false, at("20270203T020000Z")).is_some());
        assert_eq!(
            made("20261204T020000Z", &[("/a", Some(1001)), ("/b", Some(1))], 0, 0).on(&next, false),
            None
        );
        assert_eq!(
            made("20261204T020000Z", &[("/a", Some(1001))], 0, 0).on(&next, false),
            None,
            "not named any more"
        );
        // Once it is confirmed, a folder that stays empty begins no other.
        assert_eq!(made("20261204T020000Z", &[("/a", Some(1001)), ("/b", gone)], 0, 0).on(&next, true), None);
    }
}

#[test]
fn what_was_encrypted_or_renamed_at_once_rests_for_30_days() {
    let whole = made(FIRST, &[("/a", Some(100))], 0, 0).head;
    // Changed in place; renamed, so that as many are there.
    for (changed, deleted) in [(80, 0), (0, 100)] {
        let locked = made(SECOND, &[("/a", Some(100))], changed, deleted).after(&whole);
        let brake = locked.brake.clone().unwrap();
        assert!(brake.replaced && brake.files_before.is_none(), "{brake:?}");
        let next = made("20261120T020000Z", &[("/a", Some(100))], 0, 0).after(&locked);
        assert_eq!(next.brake, locked.brake);
        assert!(in_force(next.brake.as_ref(), false, at("20261201T020000Z")).is_some());
        assert!(in_force(next.brake.as_ref(), true, at("20261201T020000Z")).is_none());
        assert!(in_force(next.brake.as_ref(), false, at("20261202T020000Z")).is_none());
        assert_eq!(made("20261202T020000Z", &[("/a", Some(100))], 0, 0).on(&next, false), None);
        // A second wave counts anew.
        let again = made("20261121T020000Z", &[("/a", Some(100))], 80, 0).after(&next);
        assert_eq!(again.brake.unwrap().since, "20261121T020000Z");
    }
}

#[tokio::test]
async fn a_full_backup_inherits_the_brake_of_the_newest_that_is_listed_and_opens() {
    let backups = Backups::new();
    let braked = backups.make_braked(FIRST).await;
    let damaged = backups.make(SECOND).await;
    backups.store.alter(&damaged.manifest_key(), |bytes| bytes[300] ^= 1);
    let forgotten = backups.make("20261103T020000Z").await;
    backups.say_forgotten(&forgotten, false).await;
    let own = made("20261104T020000Z", &[("/a", Some(1))], 0, 0).head;
    let new = NewBackup {
        name: &own.name,
        roots: &own.roots,
        totals: own.totals,
        changes: own.changes,
        alarms: &[],
    };
    let found = of_backup(&backups.catalog, &backups.keys, None, new).await.unwrap().unwrap();
    assert_eq!((found.since.as_str(), found.files_before), (FIRST, Some(10)));
    assert!(note(Some(&found), &own.name).unwrap().contains(FIRST) && note(Some(&found), &braked).is_none());

    let (header, data_key) = backups.scope().open(&braked).await.unwrap();
    let confirmed = Confirmed { time: Utc::now(), by: "h".into() };
    statements::put(&backups.store, &header, &data_key, &confirmed).await.unwrap();
    assert_eq!(of_backup(&backups.catalog, &backups.keys, None, new).await.unwrap(), None);
}

#[tokio::test]
async fn without_any_backup_before_only_the_walk_begins_one() {
    let backups = Backups::new();
    let own = made(FIRST, &[("/a", Some(0))], 0, 0).head;
    let (name, roots) = (&own.name, &own.roots[..]);
    let alarms = ["empty".to_owned()];
    let new = NewBackup { name, roots, totals: own.totals, changes: own.changes, alarms: &alarms };
    let found = of_backup(&backups.catalog, &backups.keys, None, new).await.unwrap().unwrap();
    assert!(found.replaced && found.why == "empty", "{found:?}");
    let calm = NewBackup { alarms: &[], ..new };
    assert_eq!(of_backup(&backups.catalog, &backups.keys, None, calm).await.unwrap(), None);
}
