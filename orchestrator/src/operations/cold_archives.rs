//! Archives in a storage class that is not read at once, such as Glacier's: names all that a backup needs, so that readable
//! copies of all of them can be requested together. One at a time, each costs hours.

use futures::{StreamExt as _, stream};
use intellistor_storage::archive::ArchiveSet;
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::{Error, Result};

/// Requests at once.
const CONCURRENT: usize = 16;

/// What came of reading these archives; where one could not be read at once, the error names all of that kind.
pub(crate) async fn name_all<T>(
    store: &dyn ObjectStore,
    archives: &ArchiveSet,
    read: Result<T>,
) -> Result<T> {
    let Err(Error::Storage(Storage::Store(error))) = &read else { return read };
    if error.kind != StoreErrorKind::ColdStorage {
        return read;
    }
    let keys: Vec<_> = archives.numbers().filter_map(|number| archives.key(number).ok()).collect();
    let keys: Vec<_> = keys.into_iter().map(str::to_owned).collect();
    let mut keys = cold_among(store, keys).await;
    if keys.is_empty() {
        // Readable by now, or it was another object.
        keys.push(error.key.clone());
    }
    Err(Error::ColdArchives { store: error.store.clone(), reason: error.reason.clone(), keys })
}

/// Those of the archives that are not read at once.
pub(crate) async fn cold_among(store: &dyn ObjectStore, keys: Vec<String>) -> Vec<String> {
    let look = |key: String| async move {
        let read = store.get_range(&key, 0..1).await;
        matches!(read, Err(Storage::Store(error)) if error.kind == StoreErrorKind::ColdStorage).then_some(key)
    };
    let cold: Vec<_> = stream::iter(keys).map(look).buffered(CONCURRENT).collect().await;
    cold.into_iter().flatten().collect()
}
