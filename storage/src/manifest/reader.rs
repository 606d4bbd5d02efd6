//! Reads manifests: fetched whole, verified whole, then streamed.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::archive_records;
use super::documents::ManifestDocuments;
use super::entry::Entry;
use super::head::{Head, SealedListsRecord};
use super::lines::Lines;
use super::mac_check::MacCheck;
use super::preamble::{PREAMBLE_BYTES, read_header};
use super::problem::{Note, Problem};
use super::refused::refused;
use super::sealed_lists;
use super::security::SecurityTable;
use super::streams;
use crate::archive::header::Header;
use crate::catalog::layout::BackupName;
use crate::disk::spool::Spool;
use crate::error::{Error, Result};
use crate::keys::data_key::DataKey;
use crate::keys::identity::Identity;
use crate::objects::store::ObjectStore;

/// How a manifest is fetched.
#[derive(Debug, Clone, Copy)]
struct Fetching {
    /// What is asked for at a time.
    range_bytes: u64,
    /// A manifest up to this size is spooled while it comes, and authenticated then. A larger one is read twice: no one
    /// without the key can fill the disk.
    unseen_bytes: u64,
    /// A hundred million entries.
    most_bytes: u64,
}

const FETCHING: Fetching = Fetching { range_bytes: 4 << 20, unseen_bytes: 256 << 20, most_bytes: 32 << 30 };

/// A manifest whose HMAC was checked over its whole length, and whose backup is the one that was asked for.
#[derive(Debug)]
pub struct VerifiedManifest {
    documents: ManifestDocuments,
    /// The text of its lists, if they are sealed.
    lists: Option<Spool>,
    /// Where the line of the first entry begins in what has the lists.
    entries_at: u64,
    header: Header,
    data_key: DataKey,
    head: Head,
    security: SecurityTable,
    /// SHA-256 of `manifest.json`.
    sha256: [u8; 32],
}

impl VerifiedManifest {
    /// Fetches the manifest of a backup and verifies it.
    ///
    /// # Errors
    /// Those of the store; [`Error::WrongKey`]; [`Error::UnsupportedVersion`]; [`Error::OtherBackup`];
    /// [`Error::Integrity`] when the document was altered.
    pub async fn fetch(store: &dyn ObjectStore, name: &BackupName, identity: &Identity) -> Result<Self> {
        Self::fetch_as(FETCHING, store, name, |header| identity.unwrap(header.keys(), header.backup_id()))
            .await
    }

    /// Fetches the manifest that has a backup's name, and verifies that the holder of the backup's data key made it.
    ///
    /// # Errors
    /// Those of the store; [`Error::UnsupportedVersion`]; [`Error::OtherBackup`]; [`Error::Integrity`] also when its
    /// header is another one.
    pub async fn fetch_own(store: &dyn ObjectStore, header: &Header, data_key: &DataKey) -> Result<Self> {
        let name = header.name();
        Self::fetch_as(FETCHING, store, &name, own_key(header, data_key)).await
    }

    async fn fetch_as(
        how: Fetching,
        store: &dyn ObjectStore,
        name: &BackupName,
        unwrap: impl FnOnce(&Header) -> Result<DataKey>,
    ) -> Result<Self> {
        let object = name.manifest_key();
        let first = store.get_range(&object, 0..how.range_bytes).await?;
        // Another backup's manifest, or what is none at all, is not read any further.
        let header = read_header(&first, name)?;
        let data_key = unwrap(&header)?;
        let bytes = if (first.len() as u64) < how.range_bytes {
            first.len() as u64
        } else {
            store.head(&object).await?.unwrap_or_default()
        };
        if bytes > how.most_bytes {
            return Err(refused(format!("it has {bytes} bytes, but at most {} are read", how.most_bytes)));
        }
        let document = Document { store, object: &object, first, bytes, range_bytes: how.range_bytes };
        if bytes > how.unseen_bytes {
            let mut check = MacCheck::new(&data_key, header.backup_id());
            document
                .read(|bytes| {
                    check.update(bytes);
                    Ok(())
                })
                .await?;
            check.finish()?;
        }
        let mut spool = Spool::default();
        document.read(|bytes| spool.write_all(bytes).map_err(temporary)).await?;
        let authentic = Authentic::check(spool, header, data_key)?;
        let sealed_lists = match &authentic.head.entries_enc {
            Some(record) => Some(fetch_lists(how, store, record).await?),
            None => None,
        };
        authentic.with_lists(sealed_lists)
    }

    /// Verifies a document that is at hand, with its lists in it.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn verify(document: Spool, name: &BackupName, identity: &Identity) -> Result<Self> {
        let unwrap = |header: &Header| identity.unwrap(header.keys(), header.backup_id());
        Self::verify_with(document, None, name, unwrap)
    }

    /// As [`verify_with`](Self::verify_with), and that the holder of the backup's data key made it.
    ///
    /// # Errors
    /// As for [`fetch_own`](Self::fetch_own).
    pub fn verify_own(
        document: Spool,
        sealed_lists: Option<Spool>,
        header: &Header,
        data_key: &DataKey,
    ) -> Result<Self> {
        Self::verify_with(document, sealed_lists, &header.name(), own_key(header, data_key))
    }

    /// Verifies a document that is at hand, and the sealed lists that it may have, with the data key that `unwrap` finds for
    /// its header.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch), and those of `unwrap`.
    pub fn verify_with(
        mut document: Spool,
        sealed_lists: Option<Spool>,
        name: &BackupName,
        unwrap: impl FnOnce(&Header) -> Result<DataKey>,
    ) -> Result<Self> {
        document.flush().map_err(temporary)?;
        let mut start = Vec::new();
        document.reader().take(PREAMBLE_BYTES).read_to_end(&mut start).map_err(temporary)?;
        let header = read_header(&start, name)?;
        let data_key = unwrap(&header)?;
        Authentic::check(document, header, data_key)?.with_lists(sealed_lists)
    }

    /// What it says besides its entries.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The header of this backup's own archive.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The key of this backup.
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// SHA-256 of [`document`](Self::document).
    pub fn document_sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// What has the lists, and where the line of the first entry begins in it.
    pub(super) fn lists(&self) -> (&Spool, u64) {
        (self.lists.as_ref().unwrap_or(&self.documents.document), self.entries_at)
    }

    /// The descriptors that its entries name, those of Windows' owners and access lists.
    pub fn security(&self) -> &SecurityTable {
        &self.security
    }

    /// It as a store has it.
    pub fn documents(&self) -> &ManifestDocuments {
        &self.documents
    }

    /// `manifest.json`.
    pub fn document(&self) -> &Spool {
        &self.documents.document
    }

    /// `entries.enc`, if its lists are sealed.
    pub fn sealed_lists(&self) -> Option<&Spool> {
        self.documents.sealed_lists()
    }

    /// Size of what a store has of it.
    pub fn bytes(&self) -> u64 {
        self.documents.bytes()
    }

    /// Reads the entries in order, until `each` breaks. Blocks on the disk when the manifest is large.
    ///
    /// # Errors
    /// [`Error::Integrity`] when an entry has no known form.
    pub fn for_each_entry(&self, each: impl FnMut(Entry) -> ControlFlow<()>) -> Result<()> {
        self.for_each_wanted(|_| Ok(true), each)
    }

    /// Reads the entries with a `relative_path` that is wanted; the others cost little.
    ///
    /// # Errors
    /// As for [`for_each_entry`](Self::for_each_entry).
    pub fn for_each_entry_at(
        &self,
        mut wanted: impl FnMut(&str) -> bool,
        each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Path<'l> {
            #[serde(borrow)]
            relative_path: Cow<'l, str>,
        }
        let wanted = |line: &[u8]| {
            let Path { relative_path } = serde_json::from_slice(line)?;
            Ok(wanted(&relative_path))
        };
        self.for_each_wanted(wanted, each)
    }

    fn for_each_wanted(
        &self,
        wanted: impl FnMut(&[u8]) -> serde_json::Result<bool>,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut resolved = Ok(());
        Lines::of(self.lists().0).for_each("entries", wanted, |mut entry: Entry| {
            resolved = self.security.resolve(&mut entry).and_then(|()| streams::check(&entry));
            if resolved.is_ok() { each(entry) } else { ControlFlow::Break(()) }
        })?;
        resolved
    }

    /// Reads the problems in order, until `each` breaks.
    ///
    /// # Errors
    /// As for [`for_each_entry`](Self::for_each_entry).
    pub fn for_each_problem(&self, each: impl FnMut(Problem) -> ControlFlow<()>) -> Result<()> {
        Lines::of(self.lists().0).for_each("problems", |_| Ok(true), each)
    }

    /// Reads the notes in order, until `each` breaks.
    ///
    /// # Errors
    /// As for [`for_each_entry`](Self::for_each_entry).
    pub fn for_each_note(&self, each: impl FnMut(Note) -> ControlFlow<()>) -> Result<()> {
        Lines::of(self.lists().0).for_each("notes", |_| Ok(true), each)
    }
}

/// Finds the data key for the header that it belongs to, and for no other.
fn own_key(header: &Header, data_key: &DataKey) -> impl FnOnce(&Header) -> Result<DataKey> {
    move |found| {
        let other = || refused("it belongs to another archive of that name");
        if found == header { Ok(data_key.clone()) } else { Err(other()) }
    }
}

/// A document whose HMAC was checked over its whole length.
struct Authentic {
    document: Spool,
    header: Header,
    data_key: DataKey,
    head: Head,
    security: SecurityTable,
    sha256: [u8; 32],
    /// Where the line of the first entry begins, if it has the lists.
    entries_at: Option<u64>,
}

impl Authentic {
    /// Nothing that is spooled is used before its HMAC was checked, whatever was checked while it came.
    fn check(mut spool: Spool, header: Header, data_key: DataKey) -> Result<Self> {
        spool.flush().map_err(temporary)?;
        let mut check = MacCheck::new(&data_key, header.backup_id());
        let mut sha256 = Sha256::new();
        let mut reader = BufReader::with_capacity(64 << 10, spool.reader());
        loop {
            let bytes = reader.fill_buf().map_err(temporary)?;
            if bytes.is_empty() {
                break;
            }
            check.update(bytes);
            sha256.update(bytes);
            let read = bytes.len();
            reader.consume(read);
        }
        check.finish()?;
        let (head, security, entries_at) = Lines::of(&spool).head()?;
        archive_records::check(&head, &header.name())?;
        let sha256 = sha256.finalize().into();
        Ok(Self { document: spool, header, data_key, head, security, sha256, entries_at })
    }

    fn with_lists(self, sealed: Option<Spool>) -> Result<VerifiedManifest> {
        let Self { document, header, data_key, head, security, sha256, entries_at } = self;
        let (lists, sealed_lists, security, entries_at) = match (&head.entries_enc, entries_at, sealed) {
            (None, Some(entries_at), _) => (None, None, security, entries_at),
            (Some(record), None, Some(mut sealed)) => {
                sealed.flush().map_err(temporary)?;
                if record.key != header.name().entries_key() {
                    return Err(refused(format!("its entries are in {}, which is not its own", record.key)));
                }
                sealed_lists::check(&sealed, record)?;
                let (text, _) = sealed_lists::open(&sealed, &header, &data_key)?;
                let (security, entries_at) = Lines::of(&text).start()?;
                (Some(text), Some(sealed), security, entries_at)
            }
            (Some(record), None, None) => return Err(missing_lists(record)),
            _ => return Err(refused("it has an unknown form (no lists, or two of each)")),
        };
        let documents = ManifestDocuments { document, sealed_lists };
        Ok(VerifiedManifest { documents, lists, entries_at, header, data_key, head, security, sha256 })
    }
}

async fn fetch_lists(how: Fetching, store: &dyn ObjectStore, record: &SealedListsRecord) -> Result<Spool> {
    let SealedListsRecord { key, bytes, .. } = record;
    if *bytes > how.most_bytes {
        return Err(refused(format!("{key} has {bytes} bytes, but at most {} are read", how.most_bytes)));
    }
    match store.head(key).await? {
        None => return Err(missing_lists(record)),
        Some(found) if found != *bytes => {
            return Err(Error::integrity(key, format!("it has {found} bytes, and should have {bytes}")));
        }
        Some(_) => {}
    }
    let lists =
        Document { store, object: key, first: Bytes::new(), bytes: *bytes, range_bytes: how.range_bytes };
    let mut spool = Spool::default();
    lists.read(|bytes| spool.write_all(bytes).map_err(temporary)).await?;
    Ok(spool)
}

fn missing_lists(record: &SealedListsRecord) -> Error {
    refused(format!("its entries are sealed in {}, which is missing", record.key))
}

/// An object in a store, whose first bytes are here.
struct Document<'a> {
    store: &'a dyn ObjectStore,
    object: &'a str,
    first: Bytes,
    /// Its size, as the store says.
    bytes: u64,
    range_bytes: u64,
}

impl Document<'_> {
    /// Reads all of it, and nothing beyond.
    async fn read(&self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        each(&self.first)?;
        let mut position = self.first.len() as u64;
        while position < self.bytes {
            let end = self.bytes.min(position + self.range_bytes);
            let bytes = self.store.get_range(self.object, position..end).await?;
            if bytes.len() as u64 != end - position {
                return Err(refused(format!(
                    "the store says that it has {} bytes, but sent {} of those from {position} to {end}",
                    self.bytes,
                    bytes.len()
                )));
            }
            each(&bytes)?;
            position = end;
        }
        Ok(())
    }
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}

#[cfg(test)]
mod tests;
