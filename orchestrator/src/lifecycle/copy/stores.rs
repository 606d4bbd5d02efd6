//! That the two stores are two, and that the policy in the target is of the same machine.

use std::fs;
use std::path::Path;

use intellistor_storage::catalog::ownership::Owner;

use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// Checks both, before anything is written. Returns the source's owner where the target has none yet.
pub(super) async fn check_stores(
    from: &Catalog,
    to: &Catalog,
    policy_id: &str,
    other_endpoint: bool,
) -> Result<Option<Owner>> {
    if is_same(from, to, other_endpoint) {
        return Err(Error::SameStore { from: from.url(), to: to.url() });
    }
    let (source, target) = (from.owner(policy_id).await?, to.owner(policy_id).await?);
    let machine = source.as_ref().map_or(from.machine.id(), |owner| owner.machine.as_str());
    match target {
        Some(Owner { machine: other, host, since, .. }) if other != machine => Err(Error::CopyOfAnother {
            policy_id: policy_id.to_owned(),
            store: to.url(),
            host: host.into(),
            since: since.into(),
            source_host: source.map_or_else(|| from.machine.host().into(), |owner| owner.host.into()),
        }),
        Some(_) => Ok(None),
        None => Ok(source),
    }
}

/// Whether both are one: the same URL, or the same folder by another name.
fn is_same(from: &Catalog, to: &Catalog, other_endpoint: bool) -> bool {
    let (source, target) = (from.store.folders(), to.store.folders());
    let is_folder = !source.is_empty() || !target.is_empty();
    let same_folder = source.iter().any(|source| {
        target.iter().any(|target| source.path == target.path || is_one(&source.path, &target.path))
    });
    same_folder || !is_folder && !other_endpoint && from.url() == to.url()
}

/// Links and mounts give a folder other names. One that does not exist is no other.
#[cfg(unix)]
fn is_one(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    id(a).is_some_and(|a| id(b) == Some(a))
}

#[cfg(not(unix))]
fn is_one(a: &Path, b: &Path) -> bool {
    fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}
