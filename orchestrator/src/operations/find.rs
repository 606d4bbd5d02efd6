//! Which backups of a policy have a file, and where its content changed.
//!
//! **In:** globs, and a policy's backups. **Out:** a [`FindReport`]: for each path that matches, its contents, newest first, each
//! with the backups that have it in a row. **Guarantee:** every manifest is verified before any entry of it is used; one that is
//! not readable is named, counted and passed over. Three manifests are fetched at once and searched in order; one over 4 MiB is in
//! a temporary file without a name, and its entries are read one by one. What is kept is bounded by the limit of paths and by
//! [`MOST_VERSIONS`](report::MOST_VERSIONS), some 100 bytes each; what does not fit is counted. Forgotten backups are not searched.

pub(crate) mod report;
mod search;

use futures::{StreamExt as _, stream};
use intellistor_actors::globs::{PathGlobs, suspicion};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;

use self::report::FindReport;
use self::search::Search;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::show::show;
use crate::operations::unread::UnreadBackup;

/// Manifests that are fetched concurrently.
const CONCURRENT: usize = 3;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct FindOptions {
    /// Globs on `relative_path`, as those of a restore.
    pub patterns: Vec<String>,
    /// Only so many of the newest backups.
    pub newest: Option<usize>,
    /// The most paths that are listed.
    pub limit: usize,
}

/// Searches a policy's backups.
///
/// # Errors
/// [`Error::Pattern`]; [`Error::NoBackup`]; those of a store that cannot be reached; where no manifest could be read, why the first
/// was not.
pub async fn find(
    catalog: &Catalog,
    identity: &Identity,
    policy_id: &str,
    options: FindOptions,
) -> Result<FindReport> {
    let FindOptions { patterns, newest, limit } = options;
    let exact = PathGlobs::new(&patterns)?;
    let ignoring_case = PathGlobs::ignoring_case(&patterns)?;
    let contents = catalog.contents(policy_id).await?;
    let mut names: Vec<BackupName> = Vec::new();
    for backup in contents.backups().rev() {
        if newest.is_some_and(|most| names.len() >= most) {
            break;
        }
        if !catalog.is_forgotten(&contents, &backup.name, identity).await? {
            names.push(backup.name);
        }
    }
    if names.is_empty() {
        let (policy_id, store) = (policy_id.to_owned(), catalog.url());
        return Err(Error::NoBackup { policy_id, store, orphans: contents.orphans().count() });
    }
    let fetch = |name: &BackupName| {
        let name = name.clone();
        async move { (show(catalog, identity, &name).await, name) }
    };
    let mut manifests = stream::iter(&names).map(fetch).buffered(CONCURRENT);
    let mut search = Search::new(limit);
    let (mut unread, mut first_error) = (Vec::new(), None);
    while let Some((fetched, name)) = manifests.next().await {
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err(error) if UnreadBackup::is_of_backup(&error) => {
                unread.push(UnreadBackup::new(&name, &error));
                first_error.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_windows = manifest.head().origin.os == "windows";
        let globs = if is_windows { ignoring_case.clone() } else { exact.clone() };
        let searched = tokio::task::spawn_blocking(move || {
            let outcome = search.read(&name, &manifest, &globs);
            (search, name, outcome)
        });
        let (back, name, outcome) = searched.await.map_err(|panic| Error::Defect(panic.to_string()))?;
        search = back;
        if let Err(error) = outcome {
            unread.push(UnreadBackup::new(&name, &error));
            first_error.get_or_insert(error);
        }
    }
    match first_error {
        Some(error) if search.searched() == 0 => return Err(error),
        _ => {}
    }
    let matched_case: Vec<_> = ignoring_case.unmatched().collect();
    let unmatched = exact.unmatched().filter(|pattern| matched_case.contains(pattern));
    let warnings = unmatched.map(|pattern| format!("nothing matches {pattern:?}{}", suspicion(pattern)));
    let warnings = warnings.collect();
    Ok(search.finish(policy_id, catalog.url(), unread, warnings))
}
