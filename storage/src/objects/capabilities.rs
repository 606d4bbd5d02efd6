//! What can be asked of a store.

use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::options::Attributes;

/// What a store can do. S3 speaks for the interface: whether a bucket has it switched on, the first request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether `if_absent` is certain. S3-compatible stores may ignore it (NetApp StorageGRID does): a caller that must
    /// know reads the object back.
    pub conditional_puts: bool,
    /// [`Attributes::retention`] and [`Attributes::legal_hold`].
    pub object_lock: bool,
    /// [`Attributes::storage_class`].
    pub storage_classes: bool,
    /// [`Attributes::metadata`].
    pub metadata: bool,
    /// Whether what is deleted or replaced may stay as an older version.
    pub versions: bool,
    /// What the parts of an upload may be.
    pub parts: PartLimits,
}

/// Bounds of the parts of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// Of every part but the last.
    pub min_bytes: u64,
    pub max_bytes: u64,
    pub max_parts: u32,
    /// Whether all parts but the last must be equally large.
    pub equal: bool,
}

impl PartLimits {
    /// For a store that takes whatever a file may hold.
    pub const NONE: Self = Self { min_bytes: 0, max_bytes: u64::MAX, max_parts: u32::MAX, equal: false };
}

impl Capabilities {
    /// Refuses attributes that would be lost.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    pub fn check(
        self,
        attributes: &Attributes,
        store: impl FnOnce() -> String,
        operation: &'static str,
        key: &str,
    ) -> Result<()> {
        let Attributes { storage_class, metadata, .. } = attributes;
        let reason = if attributes.lock() && !self.object_lock {
            "it has no object lock, which would keep the object from being deleted"
        } else if storage_class.is_some() && !self.storage_classes {
            "it has no storage classes"
        } else if !metadata.is_empty() && !self.metadata {
            "it stores no metadata with an object"
        } else {
            return Ok(());
        };
        Err(StoreError::new(StoreErrorKind::Unsupported, store(), operation, key, reason).into())
    }
}
