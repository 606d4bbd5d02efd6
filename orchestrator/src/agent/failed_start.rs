//! Runs that failed before they had a job.
//!
//! ```text
//! <home>/queue/<policy_id>/failed_start.json      of a policy that could be read
//! <home>/failed_starts/<digest of the path>.json  of a policy file that could not, or whose settings could not
//! ```
//! **In:** why a run ended before it began a job. **Out:** the last such run, for `status` and monitors. **Guarantees:** one
//! record for each policy and for each file; the newest wins; one that cannot be read is none. **After a crash:** the old
//! record or the new one is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use intellistor_storage::create_private_folder;
use intellistor_storage::disk::whole_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Records of policy files that were not run for so long are removed.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// A run that failed before it had a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStart {
    /// In milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What failed, and why.
    pub error: String,
    /// Its log, where it could write one.
    #[serde(default)]
    pub log: Option<PathBuf>,
}

/// The record of a policy.
pub(super) fn of_policy(queue_folder: &Path) -> PathBuf {
    queue_folder.join("failed_start.json")
}

/// The record of a policy file, by its path alone: nothing in it could be read.
pub(super) fn of_file(home: &Path, policy: &Path) -> PathBuf {
    let path = std::path::absolute(policy).unwrap_or_else(|_| policy.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    folder(home).join(format!("{name}.json"))
}

fn folder(home: &Path) -> PathBuf {
    home.join("failed_starts")
}

pub(super) fn read(record: &Path) -> Option<FailedStart> {
    whole_file::read_json(record)
}

pub(super) fn write(record: &Path, failed: &FailedStart) -> std::io::Result<()> {
    if let Some(folder) = record.parent() {
        create_private_folder(folder)?;
    }
    whole_file::replace_json(record, failed)
}

/// Removes records that no run has written for long: of files that were mistyped once, or moved.
pub(super) fn remove_old(home: &Path) {
    let Ok(records) = fs::read_dir(folder(home)) else { return };
    for record in records.flatten() {
        let age = record.metadata().and_then(|file| file.modified()).map(|changed| changed.elapsed());
        if age.is_ok_and(|age| age.is_ok_and(|age| age > KEEP)) {
            // It is tried again at the next failure.
            let _ = fs::remove_file(record.path());
        }
    }
}
