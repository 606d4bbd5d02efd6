//! The files that this restore has made.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::temporary::FileId;

/// The regular files that have got their name in this restore, by a hash of their path and their identity: another file may
/// have that name by now.
#[derive(Debug, Clone, Default)]
pub(super) struct RestoredFiles {
    files: Arc<Mutex<HashSet<u64>>>,
    hasher: RandomState,
}

impl RestoredFiles {
    pub(super) fn insert(&self, raw_path: &[u8], identity: FileId) {
        let file = self.hasher.hash_one((raw_path, identity));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
    }

    pub(super) fn contains(&self, raw_path: &[u8], identity: FileId) -> bool {
        let file = self.hasher.hash_one((raw_path, identity));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).contains(&file)
    }
}
