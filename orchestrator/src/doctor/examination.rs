//! What the checks have found out so far, and what they have written.

use bytes::Bytes;
use intellistor_storage::Error as StorageError;
use intellistor_storage::catalog::layout;
use intellistor_storage::objects::{OpenedOnce, Page, SharedStore, Upload};
use uuid::Uuid;

use super::subject::{StoreSettings, Subject};
use crate::catalog::Catalog;
use crate::machine;
use crate::policy::Policy;

/// What the checks share.
#[derive(Debug)]
pub(super) struct Examination {
    pub(super) subject: Subject,
    pub(super) policy: Option<Policy>,
    /// The bytes that the policy's paths hold, as far as they were counted.
    pub(super) source_bytes: u64,
    pub(super) settings: Option<StoreSettings>,
    /// The store, or why it cannot be opened.
    pub(super) opened: Option<Result<OpenedOnce, StorageError>>,
    /// The answer to the first request, a listing.
    pub(super) first: Option<Result<Page, StorageError>>,
    pub(super) probe: Probe,
}

/// What is written to try permissions.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Where, once something may be there.
    pub(super) key: Option<String>,
    pub(super) body: Bytes,
    pub(super) uploads: Vec<Upload>,
    /// Whether the object may be there.
    pub(super) is_put: bool,
    /// Whether the folder of the store holds none yet: nothing is written, which would create it.
    pub(super) no_store: bool,
}

impl Examination {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            policy: None,
            source_bytes: 0,
            settings: None,
            opened: None,
            first: None,
            probe: Probe::default(),
        }
    }

    pub(super) fn is_s3(&self) -> bool {
        matches!(&self.opened, Some(Ok(opened)) if opened.s3.is_some())
            || matches!(&self.settings, Some(settings) if settings.url.to_string().starts_with("s3:"))
    }

    /// The store; checks that use it need the one that opens it.
    pub(super) fn store(&self) -> Option<SharedStore> {
        let Some(Ok(opened)) = &self.opened else { return None };
        Some(opened.store.clone())
    }

    /// The store of the policy, as operations take it.
    pub(super) fn catalog(&self) -> Option<Catalog> {
        let catalog = Catalog::new(self.store()?);
        let machine = self.subject.machine.clone().unwrap_or_else(machine::this_machine);
        Some(catalog.on_machine(machine))
    }

    pub(super) fn policy_id(&self) -> &str {
        self.policy.as_ref().map_or("", |policy| &policy.policy_id)
    }

    /// The key of what is written.
    pub(super) fn probe_key(&mut self) -> String {
        let policy_id = self.policy_id().to_owned();
        let make = || layout::probe_key(&policy_id, &Uuid::new_v4().simple().to_string());
        self.probe.key.get_or_insert_with(make).clone()
    }

    /// Removes what the checks have written and not removed themselves.
    pub(super) async fn clean_up(&mut self) {
        let Some(store) = self.store() else { return };
        for upload in std::mem::take(&mut self.probe.uploads) {
            if let Err(error) = store.abort_upload(&upload).await {
                tracing::debug!(%error, "the upload of the examination stays");
            }
        }
        if let Some(key) = self.probe.key.clone().filter(|_| self.probe.is_put)
            && let Err(error) = store.erase(&key).await
        {
            tracing::debug!(%error, "the object of the examination stays");
        }
    }
}
