//! Every policy that a store holds backups of.
//!
//! **In:** a store. **Out:** a [`PoliciesReport`]. **Guarantee:** no key is needed, and nothing is verified: what is held or
//! forgotten is what is said. The store is listed once; of one policy at a time all objects are in memory, and of the others a
//! row. For each policy its owner, its newest lock, and each statement about a backup are read. Objects below `backups/` that are
//! none of ours are passed over. Nothing is written.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use intellistor_storage::catalog::contents::{Contents, OrphanArchive, PoliciesContents};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::statements::{self, Forgotten, Hold};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::lifecycle::locking;
use crate::operations::list::OwnerRow;

/// Statements that are read concurrently.
const CONCURRENT: usize = 16;
/// Archives without a manifest that are listed of each policy.
const MOST_ORPHANS: usize = 1000;

/// Its serde form is the JSON that `list` prints without a policy, but for the commands that restore archives without a manifest.
#[derive(Debug, Serialize)]
pub struct PoliciesReport {
    /// The store's URL.
    pub store: String,
    /// By id.
    pub policies: Vec<PolicyRow>,
    /// Why owners or locks are unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// The policy's id.
    pub policy: String,
    /// The machine that it belongs to; `None` where that is unknown.
    pub machine: Option<OwnerRow>,
    /// Those with a manifest that are not said to be forgotten.
    pub backups: u64,
    /// Timestamps.
    pub newest: Option<String>,
    pub oldest: Option<String>,
    /// All of its objects, forgotten backups and archives without a manifest included.
    pub stored_bytes: u64,
    pub held: u64,
    pub forgotten: u64,
    /// Until when the newest backup can neither be deleted nor replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
    /// Archives without a manifest.
    pub orphans: u64,
    /// The first of them.
    #[serde(skip)]
    pub orphan_archives: Vec<OrphanArchive>,
}

/// Lists all policies.
///
/// # Errors
/// Those of the store.
pub async fn policies(catalog: &Catalog) -> Result<PoliciesReport> {
    let mut all = PoliciesContents::new(&*catalog.store);
    let (mut policies, mut warnings) = (Vec::new(), Vec::new());
    while let Some((policy_id, contents)) = all.next().await? {
        policies.push(row(catalog, policy_id, &contents, &mut warnings).await?);
    }
    policies.sort_by(|a, b| a.policy.cmp(&b.policy));
    Ok(PoliciesReport { store: catalog.url(), policies, warnings })
}

async fn row(
    catalog: &Catalog,
    policy_id: String,
    contents: &Contents,
    warnings: &mut Vec<String>,
) -> Result<PolicyRow> {
    let said = stream::iter(contents.backups()).map(|backup| said(catalog, contents, backup.name));
    let said: Vec<_> = said.buffered(CONCURRENT).try_collect().await?;
    let count = |of: fn(&Said) -> bool| said.iter().filter(|backup| of(backup)).count() as u64;
    let mut listed = said.iter().filter(|backup| !backup.forgotten).map(|backup| &backup.name);
    let oldest = listed.next();
    let newest = listed.next_back().or(oldest);
    let mut machine = None;
    if contents.has_owner() {
        match catalog.owner(&policy_id).await {
            Ok(owner) => machine = owner.map(|owner| OwnerRow { host: owner.host, since: owner.since }),
            Err(error) => {
                warnings.push(format!("cannot tell which machine the policy {policy_id} belongs to: {error}"))
            }
        }
    }
    let mut locked_until = None;
    if let Some(newest) = newest {
        match locking::locked_until(&*catalog.store, vec![newest.manifest_key()]).await {
            Ok(until) => locked_until = until.map(locking::shown),
            Err(error) => warnings
                .push(format!("cannot tell whether backups of policy {policy_id} are locked: {error}")),
        }
    }
    Ok(PolicyRow {
        machine,
        backups: count(|backup| !backup.forgotten),
        newest: newest.map(|name| name.timestamp.clone()),
        oldest: oldest.map(|name| name.timestamp.clone()),
        stored_bytes: contents.bytes(),
        held: count(|backup| backup.held),
        forgotten: count(|backup| backup.forgotten),
        locked_until,
        orphans: contents.orphans().count() as u64,
        orphan_archives: contents.orphans().take(MOST_ORPHANS).collect(),
        policy: policy_id,
    })
}

/// What is said about a backup. Not proven.
struct Said {
    name: BackupName,
    held: bool,
    forgotten: bool,
}

async fn said(catalog: &Catalog, contents: &Contents, name: BackupName) -> Result<Said> {
    let has = |kind| contents.of_backup(&name).is_some_and(|objects| objects.has(kind));
    let (may_be_held, may_be_forgotten) = (has(ObjectKind::Hold), has(ObjectKind::Forgotten));
    let store = &*catalog.store;
    let hold = if may_be_held { statements::read_unproven::<Hold>(store, &name).await? } else { None };
    let held = hold.as_ref().is_some_and(|hold| hold.held);
    let mut forgotten = may_be_forgotten && !held;
    if forgotten
        && let Some(hold) = hold
        && let Some(says) = statements::read_unproven::<Forgotten>(store, &name).await?
    {
        forgotten = says.sweeping || !hold.unforgets.contains(&says.id);
    }
    Ok(Said { name, held, forgotten })
}

#[cfg(test)]
mod tests {
    use intellistor_storage::objects::ObjectStoreExt as _;

    use super::*;
    use crate::lifecycle::fixtures::Backups;

    #[tokio::test]
    async fn a_policy_is_summed_up_without_a_key() {
        let backups = Backups::new();
        let first = backups.make("20261101T020000Z").await;
        let second = backups.make("20261102T020000Z").await;
        let third = backups.make("20261103T020000Z").await;
        backups.say_forgotten(&third, false).await;
        let lost = BackupName { timestamp: "20261104T020000Z".into(), ..first.clone() };
        backups.store.put(&lost.archive_key(), bytes::Bytes::from_static(b"x")).await.unwrap();
        for junk in ["backups/readme.txt", "backups/other/x", "photos/a.jpg"] {
            backups.store.put(junk, bytes::Bytes::from_static(b"junk")).await.unwrap();
        }
        let report = policies(&backups.catalog).await.unwrap();
        let [row] = report.policies.as_slice() else { panic!("{report:?}") };
        assert_eq!((row.policy.as_str(), row.backups, row.forgotten, row.orphans), ("p", 2, 1, 1));
        assert_eq!(row.newest.as_ref(), Some(&second.timestamp));
        assert_eq!(row.oldest.as_ref(), Some(&first.timestamp));
        assert_eq!(row.orphan_archives[0].name, lost);
        assert_eq!((row.held, row.machine.clone(), report.warnings.len()), (0, None, 0));
    }
}
