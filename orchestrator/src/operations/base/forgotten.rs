//! Whether a backup was forgotten too long ago for a manifest to name what it names.
//!
//! Part of the publish law (see `publish::looks`), which asks more of a base than that it is listed: a hold may be released, and an
//! `unforget` may fail, right after it was looked at, and then a sweep may begin at once. So whatever `hold.json` says, a
//! proven `forgotten.json` counts.

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::statements::{self, Forgotten, Found};
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::Result;

/// A sweep comes two days after the forgetting at the earliest. What is left is for a manifest to be put in, and for listings of
/// a store that shows new objects late.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// Why a backup can be the base of no manifest that is put within the hour, by its statements; `None` where it can.
///
/// # Errors
/// Those of the store, unless it only refuses to show them: it does so for what does not exist to who may not list.
pub(crate) async fn obstacle(
    store: &dyn ObjectStore,
    name: &BackupName,
    keys: &dyn OpensBackups,
) -> Result<Option<String>> {
    let found = match statements::read::<Forgotten>(store, name, keys).await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => Found::Nothing,
        found => found?,
    };
    let Found::Proven(forgotten) = found else { return Ok(None) };
    if forgotten.sweeping {
        return Ok(Some("a sweep is deleting it".to_owned()));
    }
    let modified = modified(store, &name.key(ObjectKind::Forgotten)).await?;
    let since = modified.map_or(forgotten.time, |modified| modified.min(forgotten.time));
    // By the answers to the requests above: the time before them may be that of before a pause.
    let now = store.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
    // Forgotten in the future: one of two clocks is wrong, and nothing is known of its age.
    let is_recent = (now - since).abs() <= LONGEST;
    Ok((!is_recent)
        .then(|| format!("it was forgotten on {} ({})", since.format("%Y-%m-%d %H:%M UTC"), forgotten.why)))
}

/// When an object was put, by the store's clock, where it says so.
async fn modified(store: &dyn ObjectStore, key: &str) -> Result<Option<DateTime<Utc>>> {
    let page = match store.list(key, None).await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => return Ok(None),
        page => page?,
    };
    let object = page.objects.into_iter().find(|object| object.key == key);
    Ok(object.and_then(|object| object.modified_ms).and_then(DateTime::from_timestamp_millis))
}

#[cfg(test)]
mod tests {
    use intellistor_storage::archive::Header;
    use intellistor_storage::keys::{DataKey, Recipients, UserKey};
    use intellistor_storage::objects::MemoryStore;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;
    const NOON_MS: i64 = 1_795_780_800_000;

    /// Forgets a backup at noon by the store's clock, dated `ahead_ms` by whoever did; then `later_ms` pass.
    async fn obstacle_after(ahead_ms: i64, later_ms: i64, sweeping: bool) -> Option<String> {
        let name = BackupName {
            policy_id: "p".to_owned(),
            timestamp: "20261123T020000Z".to_owned(),
            backup_id: "7d1f".to_owned(),
        };
        let (recipients, data_key) = (Recipients::from(UserKey::generate()), DataKey::generate());
        let header = Header::new(&name, recipients.wrap(&data_key, &name.backup_id));
        let store = MemoryStore::default();
        store.set_now_ms(NOON_MS);
        assert_eq!(obstacle(&store, &name, &recipients).await.unwrap(), None);
        let time = DateTime::from_timestamp_millis(NOON_MS + ahead_ms).unwrap();
        let forgotten = Forgotten {
            id: "1".to_owned(),
            time,
            by: "test".to_owned(),
            why: "no rule keeps it".to_owned(),
            prunable_from: time + TimeDelta::days(8),
            sweeping,
            put: None,
        };
        statements::put(&store, &header, &data_key, &forgotten).await.unwrap();
        store.set_now_ms(NOON_MS + later_ms);
        // With another key nothing is proven.
        let others = Recipients::from(UserKey::generate());
        assert_eq!(obstacle(&store, &name, &others).await.unwrap(), None);
        obstacle(&store, &name, &recipients).await.unwrap()
    }

    #[tokio::test]
    async fn a_backup_is_a_base_for_a_day_after_it_was_forgotten_by_the_earlier_of_two_clocks() {
        for (ahead_ms, later_ms, is_base) in [
            (0, 0, true),
            (0, DAY_MS - 1, true),
            (0, DAY_MS + 1, false),
            (8 * DAY_MS, DAY_MS + 1, false),
            (8 * DAY_MS, DAY_MS - 1, true),
            (-8 * DAY_MS, HOUR_MS, false),
            // The store's clock was set back.
            (0, -2 * DAY_MS, false),
        ] {
            let found = obstacle_after(ahead_ms, later_ms, false).await;
            assert_eq!(found.is_none(), is_base, "{ahead_ms} {later_ms}: {found:?}");
        }
        assert!(obstacle_after(0, 0, true).await.is_some_and(|why| why.contains("sweep")));
    }
}
