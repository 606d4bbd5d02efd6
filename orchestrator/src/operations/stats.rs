//! What a policy's backups take in the store, and where the bytes are.
//!
//! **In:** a policy's backups. **Out:** a [`StatsReport`]. **Guarantee:** the newest manifest is verified, and its entries are read
//! one by one for the largest folders; of the others the heads alone are read, eight at once, and not verified: sums that people
//! read, by which nothing is decided. Sizes are those that the store's listing has. An archive is deleted as a whole, so bytes are
//! `unique` to a backup where no other listed backup names the archive that they are in: exactly what a sweep would free, once it
//! was forgotten alone. Forgotten backups are not listed, and what only they need is a sum of its own. Nothing is written.

mod folders;
pub(crate) mod report;
mod tally;

use futures::{StreamExt as _, stream};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Head, VerifiedManifest, fetch_head};

use self::folders::largest_folders;
use self::report::{FolderStats, StatsReport};
use self::tally::Tally;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::show::show;
use crate::operations::unread::UnreadBackup;

/// Heads that are fetched concurrently.
const CONCURRENT: usize = 8;

/// What is wanted of the newest backup.
#[derive(Debug, Clone, Copy)]
pub struct StatsOptions {
    /// How deep the folders are that are listed: 1 for those directly below the root.
    pub depth: usize,
    /// How many of them.
    pub folders: usize,
}

/// Sums up a policy's backups.
///
/// # Errors
/// [`Error::NoBackup`]; [`Error::ManifestLost`] and others of the newest manifest; those of the store.
pub async fn stats(
    catalog: &Catalog,
    identity: &Identity,
    policy_id: &str,
    options: StatsOptions,
) -> Result<StatsReport> {
    let contents = catalog.contents(policy_id).await?;
    let (mut listed, mut forgotten) = (Vec::new(), Vec::new());
    for backup in contents.backups() {
        match catalog.is_forgotten(&contents, &backup.name, identity).await? {
            false => listed.push(backup.name),
            true => forgotten.push(backup.name),
        }
    }
    let Some(newest) = catalog.newest_first(listed.clone()).into_iter().next() else {
        let (policy_id, store) = (policy_id.to_owned(), catalog.url());
        return Err(Error::NoBackup { policy_id, store, orphans: contents.orphans().count() });
    };
    let manifest = show(catalog, identity, &newest).await?;
    let fetch = |name: BackupName| async move {
        let head = fetch_head(&*catalog.store, &name).await.map_err(Error::from);
        (name, head)
    };
    let others: Vec<_> = listed.iter().filter(|name| **name != newest).cloned().collect();
    let mut heads = stream::iter(others).map(fetch).buffered(CONCURRENT);
    let mut tally = Tally::new(&contents, &forgotten);
    while let Some((name, head)) = heads.next().await {
        match head {
            Ok(head) => tally.add(&name, &head),
            Err(error) if UnreadBackup::is_of_backup(&error) => {
                tally.unread(&name, UnreadBackup::new(&name, &error));
            }
            Err(error) => return Err(error),
        }
    }
    tally.add(&newest, manifest.head());
    let folders = tokio::task::spawn_blocking(move || folders_of(&manifest, options));
    let folders = folders.await.map_err(|panic| Error::Defect(panic.to_string()))??;
    Ok(tally.finish(policy_id, catalog.url(), &newest, options.depth, folders))
}

fn folders_of(manifest: &VerifiedManifest, options: StatsOptions) -> Result<Vec<FolderStats>> {
    let Head { roots, .. } = manifest.head();
    // The names of several roots are no folders of the machine.
    let depth = options.depth + usize::from(roots.len() > 1);
    largest_folders(manifest, depth, options.folders)
}
