//! A manifest that is made, and not yet in the store.

use std::io;

use super::documents::ManifestDocuments;
use super::head::{Head, SealedListsRecord};
use super::put::{put_document, put_lists, read_lists};
use super::sealed_lists::{self, ListSealer, SealedLists};
use super::writer::{Lists, write_document};
use crate::archive::header::Header;
use crate::error::{Error, Result};
use crate::keys::data_key::DataKey;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::store::ObjectStore;

#[derive(Debug)]
pub struct NewManifest {
    head: Head,
    documents: ManifestDocuments,
    /// SHA-256 of the text of the sealed lists.
    text_sha256: Option<[u8; 32]>,
}

impl NewManifest {
    pub(super) fn of(
        mut head: Head,
        mut lists: Lists,
        sealed: bool,
        header: &Header,
        data_key: &DataKey,
    ) -> Result<Self> {
        if !sealed {
            let document = write_document(&head, Some(&mut lists), header, data_key).map_err(temporary)?;
            let documents = ManifestDocuments { document, sealed_lists: None };
            return Ok(Self { head, documents, text_sha256: None });
        }
        let mut sealer = ListSealer::new(header, data_key);
        let sealed = lists.write(&mut sealer).and_then(|()| sealer.close(header)).map_err(temporary)?;
        let SealedLists { spool, record, text_sha256 } = sealed;
        head.entries_enc = Some(record);
        let document = write_document(&head, None, header, data_key).map_err(temporary)?;
        let documents = ManifestDocuments { document, sealed_lists: Some(spool) };
        Ok(Self { head, documents, text_sha256: Some(text_sha256) })
    }

    /// What it says besides its entries.
    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn documents(&self) -> &ManifestDocuments {
        &self.documents
    }

    /// It as a store will have it.
    pub fn into_documents(self) -> ManifestDocuments {
        self.documents
    }

    /// Puts the sealed lists, where it has some: they come before the document. Those that an earlier run put, which crashed
    /// before the document, are as good: the document is made again, and names them.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) when others are there; those of the store.
    pub async fn put_lists(
        &mut self,
        store: &dyn ObjectStore,
        header: &Header,
        data_key: &DataKey,
    ) -> Result<()> {
        let Some(lists) = self.documents.sealed_lists() else { return Ok(()) };
        match put_lists(store, &header.name(), lists).await {
            Err(Error::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {
                self.adopt_lists(store, header, data_key, error).await
            }
            put => put,
        }
    }

    /// Puts the document, once its lists are there: the last step of a backup, which makes it exist. It appears whole or not
    /// at all, and never in the place of another one.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists), and those of the store.
    pub async fn put_document(&self, store: &dyn ObjectStore) -> Result<()> {
        put_document(store, &self.head.name, self.documents.document()).await
    }

    /// Both, one after the other.
    ///
    /// # Errors
    /// Those of both.
    #[cfg(any(test, feature = "testing"))]
    pub async fn put(&mut self, store: &dyn ObjectStore, header: &Header, data_key: &DataKey) -> Result<()> {
        self.put_lists(store, header, data_key).await?;
        self.put_document(store).await
    }

    /// Names the lists that are in the store, if they say the same.
    async fn adopt_lists(
        &mut self,
        store: &dyn ObjectStore,
        header: &Header,
        data_key: &DataKey,
        exists: StoreError,
    ) -> Result<()> {
        let most = self.documents.sealed_lists().map_or(0, |lists| 2 * lists.bytes());
        let found = read_lists(store, &header.name(), most).await?;
        let opened = found.as_ref().map(|(spool, _)| sealed_lists::open(spool, header, data_key));
        match (found, opened) {
            (Some((spool, sha256)), Some(Ok((_, text)))) if Some(text) == self.text_sha256 => {
                let key = header.name().entries_key();
                self.head.entries_enc = Some(SealedListsRecord { key, bytes: spool.bytes(), sha256 });
                let document = write_document(&self.head, None, header, data_key).map_err(temporary)?;
                self.documents = ManifestDocuments { document, sealed_lists: Some(spool) };
                Ok(())
            }
            (_, Some(Err(error @ Error::Io { .. }))) => Err(error),
            _ => Err(exists.into()),
        }
    }
}

fn temporary(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(error) => error,
        Err(e) => Error::io("write the manifest's temporary file in", std::env::temp_dir())(e),
    }
}
