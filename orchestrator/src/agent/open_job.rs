//! A job that a run works on.

use intellistor_storage::archive::Header;
use intellistor_storage::keys::{DataKey, Recipients};
use intellistor_storage::state::{Job, Ledger};

use crate::agent::report::Resumed;
use crate::error::Result;

pub(super) struct OpenJob {
    pub(super) ledger: Ledger,
    pub(super) header: Header,
    pub(super) data_key: DataKey,
    /// Where an earlier run had stopped.
    pub(super) resumed: Option<Resumed>,
    /// What needs attention although the backup will be made.
    pub(super) warnings: Vec<String>,
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
