//! Looks at the archives that a backup depends on: whether the store has them, as they were.

use futures::{StreamExt as _, TryStreamExt as _};
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::Result;

/// Requests at once.
const CONCURRENT: usize = 16;

/// An archive as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveState {
    Whole,
    Missing,
    /// It has this many bytes, and should have others.
    Resized(u64),
}

impl ArchiveState {
    /// What is wrong with an archive that should have `bytes`.
    pub(crate) fn problem(self, bytes: u64) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Missing => Some("is missing from the store".to_owned()),
            Self::Resized(found) => Some(format!("has {found} bytes in the store, but had {bytes}")),
        }
    }
}

/// The states of archives, by key and size, in their order.
///
/// # Errors
/// Those of the store.
pub(crate) async fn look_at(
    store: &dyn ObjectStore,
    archives: Vec<(String, u64)>,
) -> Result<Vec<ArchiveState>> {
    let look = |(key, bytes): (String, u64)| async move {
        match store.head(&key).await {
            Ok(Some(found)) if found == bytes => Ok(ArchiveState::Whole),
            Ok(Some(found)) => Ok(ArchiveState::Resized(found)),
            Ok(None) => Ok(ArchiveState::Missing),
            // Without the right to list, this is the answer for what does not exist.
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
                Ok(ArchiveState::Missing)
            }
            Err(error) => Err(error.into()),
        }
    };
    futures::stream::iter(archives).map(look).buffered(CONCURRENT).try_collect().await
}
