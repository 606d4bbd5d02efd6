//! Data keys that were unwrapped already: with a passphrase each costs a tenth of a second and 64 MiB, and a sweep needs that of
//! one backup for its statements, its manifest, and what it says itself.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use intellistor_storage::Result;
use intellistor_storage::keys::{DataKey, OpensBackups, WrappedKey};

/// More than are needed between two uses of one of them.
const MOST_REMEMBERED: usize = 64;

/// The id of a backup, its wraps, and its data key.
type Remembered = (String, Vec<WrappedKey>, DataKey);

/// Opens what `keys` opens. It unwraps one at a time.
#[derive(Debug)]
pub(super) struct RememberedKeys<'a> {
    keys: &'a dyn OpensBackups,
    remembered: Mutex<VecDeque<Remembered>>,
}

impl<'a> RememberedKeys<'a> {
    pub(super) fn new(keys: &'a dyn OpensBackups) -> Self {
        Self { keys, remembered: Mutex::default() }
    }
}

impl OpensBackups for RememberedKeys<'_> {
    fn data_key(&self, wraps: &[WrappedKey], backup_id: &str) -> Result<DataKey> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(id, found, _): &&Remembered| id == backup_id && found == wraps;
        if let Some((.., key)) = remembered.iter().find(is_it) {
            return Ok(key.clone());
        }
        let key = self.keys.data_key(wraps, backup_id)?;
        if remembered.len() == MOST_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((backup_id.to_owned(), wraps.to_vec(), key.clone()));
        Ok(key)
    }
}
