//! The archives that a manifest names, read without its entries.
//!
//! **In:** the name of a backup, and whoever opens it. **Out:** the archives that its manifest needs, its own first. **Guarantee:**
//! the HMAC was checked over the whole document before any of it is used, where the key opens the backup. Nothing is written to
//! this machine's disk, and a manifest of a hundred million entries takes no more memory than one of ten.

use std::collections::BTreeSet;

use super::archive_keys::ArchiveKeys;
use super::mac_check::MacCheck;
use super::preamble::read_header;
use super::refused::refused;
use crate::catalog::layout::BackupName;
use crate::error::{Error, Result};
use crate::keys::OpensBackups;
use crate::objects::store::ObjectStore;

/// What is asked for at a time: most manifests are read with one request, and eight at once take 8 MiB.
const RANGE_BYTES: u64 = 1 << 20;

/// Reads which archives a backup's manifest names.
///
/// Law (must): a manifest that was sealed with another key, as those from before a change of keys, is read without proof, since
/// no key may be left that proves it. Its names are plain text in both forms, and can only keep archives from being deleted.
/// Whoever alters it, so that it names fewer, could as well delete it: that backup alone is lost, as no backup that our key opens
/// is made on one that it does not open. What has no such form is an error here as well, and so is damage of a manifest that our
/// key opens; damage of its header alone, which makes it look like another key's, leaves the names as they are.
///
/// # Errors
/// As for [`VerifiedManifest::fetch`](super::VerifiedManifest::fetch), but for [`Error::WrongKey`] and
/// [`Error::WrongPassphrase`].
pub async fn fetch_references(
    store: &dyn ObjectStore,
    name: &BackupName,
    keys: &dyn OpensBackups,
) -> Result<Vec<BackupName>> {
    fetch_in_ranges(RANGE_BYTES, store, name, keys).await
}

async fn fetch_in_ranges(
    range_bytes: u64,
    store: &dyn ObjectStore,
    name: &BackupName,
    keys: &dyn OpensBackups,
) -> Result<Vec<BackupName>> {
    let object = name.manifest_key();
    let first = store.get_range(&object, 0..range_bytes).await?;
    let header = read_header(&first, name)?;
    let mut mac = match keys.data_key(header.keys(), header.backup_id()) {
        Ok(data_key) => Some(MacCheck::new(&data_key, header.backup_id())),
        Err(Error::WrongKey { .. } | Error::WrongPassphrase { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut found = ArchiveKeys::default();
    let mut take = |bytes: &[u8]| {
        if let Some(mac) = &mut mac {
            mac.update(bytes);
        }
        found.read(bytes)
    };
    take(&first)?;
    let mut position = first.len() as u64;
    let size = match position {
        all if all < range_bytes => all,
        _ => store.head(&object).await?.unwrap_or_default(),
    };
    while position < size {
        let end = size.min(position + range_bytes);
        let bytes = store.get_range(&object, position..end).await?;
        if bytes.len() as u64 != end - position {
            let sent = bytes.len();
            return Err(refused(format!(
                "the store says that it has {size} bytes, but sent {sent} of those from {position} to {end}"
            )));
        }
        take(&bytes)?;
        position = end;
    }
    // Law (must): nothing that it says is used before it is authentic, where the key shows that.
    if let Some(mac) = mac {
        mac.finish()?;
    }
    archives(found.finish()?, name)
}

/// The archives with these keys, checked as those of a manifest that is read whole.
fn archives(keys: Vec<String>, name: &BackupName) -> Result<Vec<BackupName>> {
    if keys.first() != Some(&name.archive_key()) {
        return Err(refused("its first archive is not its own"));
    }
    let mut seen = BTreeSet::new();
    let archive = |key: String| {
        let archive = BackupName::from_archive_key(&key).filter(|found| found.policy_id == name.policy_id);
        let archive = archive.ok_or_else(|| refused(format!("{key} is not an archive of its policy")))?;
        if !seen.insert(archive.clone()) {
            return Err(refused(format!("it names {key} twice")));
        }
        Ok(archive)
    };
    keys.into_iter().map(archive).collect()
}

#[cfg(test)]
mod tests;
