//! Puts a manifest into a store.

use std::io::{self, Write as _};

use sha2::{Digest, Sha256};

use super::documents::ManifestDocuments;
use super::format::TRAILER_BYTES;
use crate::catalog::layout::BackupName;
use crate::disk::spool::Spool;
use crate::error::{Error, Result};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::options::PutOptions;
use crate::objects::store::ObjectStore;
use crate::objects::stream::put_stream;

/// Of each read from the store.
const RANGE_BYTES: u64 = 4 << 20;

/// Puts a manifest: it appears whole or not at all, and never in the place of another one. Sealed lists come first, since
/// the backup exists as soon as its manifest does.
///
/// # Errors
/// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists), and those of the store.
pub async fn put_manifest(
    store: &dyn ObjectStore,
    name: &BackupName,
    documents: &ManifestDocuments,
) -> Result<()> {
    if let Some(lists) = documents.sealed_lists() {
        put_lists(store, name, lists).await?;
    }
    put_document(store, name, documents.document()).await
}

/// Puts `manifest.json`, which makes the backup exist.
pub(super) async fn put_document(store: &dyn ObjectStore, name: &BackupName, document: &Spool) -> Result<()> {
    let key = name.manifest_key();
    put_stream(store, &key, document.reader(), &PutOptions::if_absent(), temporary).await?;
    confirm(store, &key, document, true).await
}

/// Puts sealed lists, unless they are there.
///
/// # Errors
/// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) when others are; those of the store.
pub(super) async fn put_lists(store: &dyn ObjectStore, name: &BackupName, lists: &Spool) -> Result<()> {
    let key = name.entries_key();
    let is_there = match store.head(&key).await {
        // Without the right to list, a store answers so for what does not exist.
        Err(Error::Store(error)) if error.kind == StoreErrorKind::AccessDenied => None,
        found => found?,
    };
    let mut is_new = is_there.is_none();
    if is_new {
        match put_stream(store, &key, lists.reader(), &PutOptions::if_absent(), temporary).await {
            Err(Error::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => is_new = false,
            put => put?,
        }
    }
    confirm(store, &key, lists, is_new).await
}

/// Not every store knows the condition: of two that put at once, the one that finds its own seal there has won. That of a
/// manifest is its HMAC, that of lists the tag of their last frame, whose key no other sealing has.
async fn confirm(store: &dyn ObjectStore, key: &str, put: &Spool, is_new: bool) -> Result<()> {
    let (start, seal) = seal_of(put)?;
    match store.get_range(key, start..put.bytes() + 1).await {
        Ok(found) if found == seal => Ok(()),
        Ok(_) => Err(written_by_another(store, key)),
        // Who may only write relies on the condition.
        Err(Error::Store(error)) if error.kind == StoreErrorKind::AccessDenied && is_new => Ok(()),
        Err(Error::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            Err(written_by_another(store, key))
        }
        Err(error) => Err(error),
    }
}

/// Whether a store has this very manifest under its key, by size and seal; `None` where it has none. The seal is its HMAC over
/// all that is before it: no other manifest ends so. Sealed lists, which it names by their digest, are not looked at.
///
/// # Errors
/// Those of the store.
pub async fn has_manifest(
    store: &dyn ObjectStore,
    name: &BackupName,
    documents: &ManifestDocuments,
) -> Result<Option<bool>> {
    let (key, bytes) = (name.manifest_key(), documents.document().bytes());
    let (start, seal) = seal_of(documents.document())?;
    match store.get_range(&key, start..bytes + 1).await {
        Ok(found) => Ok(Some(found == seal)),
        Err(Error::Store(error)) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last bytes of a document, and where they begin.
fn seal_of(document: &Spool) -> Result<(u64, Vec<u8>)> {
    let start = document.bytes().saturating_sub(TRAILER_BYTES as u64);
    let mut seal = vec![0; (document.bytes() - start) as usize];
    document.read_exact_at(&mut seal, start).map_err(temporary)?;
    Ok((start, seal))
}

/// The sealed lists in a store and their SHA-256; `None` where there are none, or more than `most` bytes.
pub(super) async fn read_lists(
    store: &dyn ObjectStore,
    name: &BackupName,
    most: u64,
) -> Result<Option<(Spool, [u8; 32])>> {
    let key = name.entries_key();
    let Some(bytes) = store.head(&key).await?.filter(|bytes| *bytes <= most) else {
        return Ok(None);
    };
    let (mut spool, mut sha256) = (Spool::default(), Sha256::new());
    while spool.bytes() < bytes {
        let read = store.get_range(&key, spool.bytes()..bytes.min(spool.bytes() + RANGE_BYTES)).await?;
        if read.is_empty() {
            return Ok(None);
        }
        sha256.update(&read);
        spool.write_all(&read).map_err(temporary)?;
    }
    spool.flush().map_err(temporary)?;
    Ok(Some((spool, sha256.finalize().into())))
}

fn written_by_another(store: &dyn ObjectStore, key: &str) -> Error {
    let reason = "another manifest was written at the same time";
    StoreError::new(StoreErrorKind::AlreadyExists, store.url(), "write", key, reason).into()
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}
