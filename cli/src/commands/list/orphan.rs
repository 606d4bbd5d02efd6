//! An archive without a manifest, with the command that restores it.

use indicatif::BinaryBytes;
use intellistor::OrphanArchive;
use serde::Serialize;

use crate::output::table::Table;
use crate::output::times;
use crate::restore_command::{PolicyWords, RestoreCommand};
use crate::session::Session;

#[derive(Debug, Serialize)]
pub(super) struct Orphan {
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    backup_id: String,
    timestamp: String,
    key: String,
    archive_bytes: u64,
    cli_restore: String,
}

impl Orphan {
    pub(super) fn new(orphan: OrphanArchive, session: &Session, policy: PolicyWords<'_>) -> Self {
        let OrphanArchive { name, archive_bytes } = orphan;
        let key = name.archive_key();
        let restore = session.restore_command(policy, &key);
        let cli_restore = RestoreCommand { without_manifest: true, ..restore }.line();
        let (backup_id, timestamp) = (name.backup_id, name.timestamp);
        Self { policy: None, backup_id, timestamp, key, archive_bytes, cli_restore }
    }

    /// Among those of several policies.
    pub(super) fn of_policy(self, policy: &str) -> Self {
        Self { policy: Some(policy.to_owned()), ..self }
    }

    /// Two lines below a table.
    pub(super) fn note(&self, table: &mut Table) {
        let of_policy = self.policy.as_ref().map_or(String::new(), |policy| format!(" of policy {policy}"));
        table.note(format_args!(
            "archive without a manifest{of_policy}, {}, {}:",
            times::of_timestamp(&self.timestamp),
            BinaryBytes(self.archive_bytes)
        ));
        table.note(format_args!("  {}", self.cli_restore));
    }
}
