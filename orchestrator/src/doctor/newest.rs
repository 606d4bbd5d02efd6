//! Whether the key opens the newest backup: one that does not seals backups that the old key will not open.

use intellistor_storage::keys::Recipients;
use intellistor_storage::manifest::Preamble;
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

const OTHER_KEY: &str = "Configure the key that sealed it. If the key was changed on purpose, keep both, and back up once with \
                         the new one (`backup-client backup`)";

pub(super) async fn check(examination: &mut Examination) -> Finding {
    if examination.probe.no_store {
        return Finding::skipped("there is no backup yet");
    }
    let (Some(catalog), Ok(configured)) = (examination.catalog(), &examination.subject.key) else {
        return Finding::skipped("there is no key, or no store");
    };
    let recipients = Recipients::from(configured.key.clone());
    let newest = match catalog.newest_before(examination.policy_id(), &recipients).await {
        Ok(newest) => newest,
        Err(crate::Error::Storage(StorageError::Store(error)))
            if error.kind == StoreErrorKind::AccessDenied =>
        {
            return Finding::skipped("backups cannot be listed");
        }
        Err(error) => return Finding::of(&error),
    };
    let Some(name) = newest else { return Finding::ok("there is no backup yet") };
    let header = match Preamble::fetch(&*catalog.store, &name).await {
        Ok(preamble) => preamble.header,
        Err(error) => return Finding::of_storage(error).into_warning(),
    };
    match recipients.reopen(header.keys(), header.backup_id()) {
        Ok(_) => Finding::ok(format!("the key opens that of {}", name.timestamp)),
        Err(error @ (StorageError::WrongKey { .. } | StorageError::WrongPassphrase { .. })) => {
            Finding::failed(format!("the backup of {}: {error}", name.timestamp)).advise(OTHER_KEY)
        }
        Err(error) => Finding::of_storage(error).into_warning(),
    }
}
