//! That a store's versions are out of reach.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::objects::error::{StoreError, StoreErrorKind};

/// Whether a store's versions were found not to be accessible, which is reported once.
#[derive(Debug, Default)]
pub(super) struct Unlisted(AtomicBool);

impl Unlisted {
    pub(super) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn report(&self, refused: &StoreError) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        let StoreError { store, reason, .. } = refused;
        if refused.kind == StoreErrorKind::AccessDenied {
            tracing::warn!(
                store,
                reason,
                "versions cannot be listed or deleted: if the bucket keeps them, what is deleted is only hidden, and still billed"
            );
        } else {
            tracing::info!(store, reason, "the store lists no versions: objects are deleted without");
        }
    }
}
