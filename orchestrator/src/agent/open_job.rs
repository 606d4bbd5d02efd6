//! A job that a run works on.

use intellistor_storage::archive::Header;
use intellistor_storage::keys::{ContentKey, DataKey, Recipients};
use intellistor_storage::manifest::Base;
use intellistor_storage::state::{Job, Ledger};

use crate::agent::report::Resumed;
use crate::error::Result;
use crate::operations::base::content_key;

pub(super) struct OpenJob {
    pub(super) ledger: Ledger,
    pub(super) header: Header,
    pub(super) data_key: DataKey,
    /// Where an earlier run had stopped.
    pub(super) resumed: Option<Resumed>,
    /// What needs attention although the backup will be made.
    pub(super) warnings: Vec<String>,
}

impl OpenJob {
    /// The key of the backup's sketches: its base's, or a new one. Recorded before the first sketch is made, since they
    /// are compared with each other.
    pub(super) fn content_key(&self, base: Option<&Base>) -> Result<ContentKey> {
        let job = self.ledger.job();
        let backup_id = &job.name.backup_id;
        if let Some(sealed) = &job.content_key {
            return Ok(self.data_key.open_content_key(backup_id, sealed)?);
        }
        let key = content_key(base)?;
        let sealed = self.data_key.seal_content_key(backup_id, &key);
        self.ledger.update(|job| job.content_key = Some(sealed))?;
        Ok(key)
    }
}

/// A recorded job's header, and its data key.
///
/// # Errors
/// `WrongKey` and `WrongPassphrase` when the job was begun for other recipients.
pub(super) fn open_header(job: &Job, recipients: &Recipients) -> Result<(Header, DataKey)> {
    let header = Header::of(&job.name, "the job's header", &job.header)?;
    let data_key = recipients.reopen(header.keys(), header.backup_id())?;
    Ok((header, data_key))
}
