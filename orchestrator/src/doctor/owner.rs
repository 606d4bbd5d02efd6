//! Whose the policy is in the store. Nothing is claimed.

use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(catalog) = examination.catalog() else { return Finding::skipped("the store is not open") };
    let (policy_id, machine) = (examination.policy_id().to_owned(), &catalog.machine);
    match catalog.owner(&policy_id).await {
        Ok(None) => Finding::ok(format!("no one yet: the first run claims it for {}", machine.host())),
        Ok(Some(owner)) if owner.machine == machine.id() && owner.host == machine.host() => {
            Finding::ok(format!("this machine, {}, since {}", owner.host, owner.since))
        }
        Ok(Some(owner)) if owner.machine == machine.id() => Finding::warning(format!(
            "a machine of this one's id that is named {}; this one is {}",
            owner.host,
            machine.host()
        ))
        .advise(
            "If it was renamed, all is well. If both exist, one is a clone of the other: give one of them a machine id of \
             its own (systemd-machine-id-setup, sysprep)",
        ),
        Ok(Some(owner)) => Finding::of_storage(StorageError::NotOwner {
            policy_id,
            store: catalog.url(),
            host: owner.host,
            since: owner.since,
            this_host: machine.host().to_owned(),
        }),
        Err(crate::Error::Storage(StorageError::Store(error))) if error.kind == StoreErrorKind::AccessDenied => {
            // Without s3:ListBucket, the answer for an object that does not exist is the same.
            Finding::skipped(format!("it cannot be read: {}", error.reason))
        }
        Err(error) => Finding::of(&error),
    }
}
