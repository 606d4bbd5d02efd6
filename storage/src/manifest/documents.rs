//! A manifest as a store holds it: one object, or two where its lists are sealed.

use crate::disk::spool::Spool;

/// `manifest.json`, and `entries.enc` if the lists are sealed.
#[derive(Debug)]
pub struct ManifestDocuments {
    pub(super) document: Spool,
    pub(super) sealed_lists: Option<Spool>,
}

impl ManifestDocuments {
    /// `manifest.json`.
    pub fn document(&self) -> &Spool {
        &self.document
    }

    /// `entries.enc`.
    pub fn sealed_lists(&self) -> Option<&Spool> {
        self.sealed_lists.as_ref()
    }

    /// Both.
    pub fn into_parts(self) -> (Spool, Option<Spool>) {
        (self.document, self.sealed_lists)
    }

    /// Size of both.
    pub fn bytes(&self) -> u64 {
        self.document.bytes() + self.sealed_lists.as_ref().map_or(0, Spool::bytes)
    }
}
