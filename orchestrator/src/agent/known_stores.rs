//! Which stores the folders of this machine are: a disk that is not mounted leaves an empty folder in its place.
//!
//! A store on a disk has an id, which the queue remembers from the first run that wrote there.

use intellistor_storage::Error as StorageError;
use intellistor_storage::objects::{ObjectStore, StoreFolder};
use intellistor_storage::state::Queue;

use crate::error::Result;
use crate::operations::copies::other_store;

/// Fails when one of the store's folders is not the store that earlier runs wrote to.
pub(super) fn check(queue: &Queue, store: &dyn ObjectStore) -> Result<()> {
    for StoreFolder { path, id } in store.folders() {
        if queue.known_store(&path)?.is_some_and(|known| id.as_ref() != Some(&known)) {
            return Err(StorageError::from(other_store(store, &path)).into());
        }
    }
    Ok(())
}

/// Prepares the store, and remembers which one it is before anything is sent.
pub(super) async fn prepare(queue: &Queue, store: &dyn ObjectStore) -> Result<()> {
    store.prepare().await?;
    remember(queue, store.folders())
}

pub(super) fn remember(queue: &Queue, stores: Vec<StoreFolder>) -> Result<()> {
    for StoreFolder { path, id } in stores {
        if let Some(id) = id
            && queue.known_store(&path)?.as_ref() != Some(&id)
        {
            queue.remember_store(&path, &id)?;
        }
    }
    Ok(())
}
