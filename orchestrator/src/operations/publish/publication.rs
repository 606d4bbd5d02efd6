//! What a manifest is made with, besides what was archived.

use std::time::Duration;

use intellistor_storage::archive::Header;
use intellistor_storage::keys::{ContentKey, DataKey, Recipients};
use intellistor_storage::manifest::Base;
use intellistor_storage::objects::ObjectStore;

use crate::catalog::Catalog;
use crate::policy::{LockPolicy, ManifestForm};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) header: &'a Header,
    pub(crate) data_key: &'a DataKey,
    pub(crate) catalog: &'a Catalog,
    pub(crate) recipients: &'a Recipients,
    pub(crate) base: Option<&'a Base>,
    /// When the walk began, or earlier.
    pub(crate) began_ms: i64,
    /// The key of its sketches.
    pub(crate) content_key: &'a ContentKey,
    pub(crate) form: ManifestForm,
    pub(crate) lock: Option<LockPolicy>,
    /// Of the policy.
    pub(crate) prune_after: Duration,
}
