//! Reads manifests: fetched whole, verified whole, then streamed.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::entry::Entry;
use super::head::{ArchiveRecord, Head};
use super::lines::Lines;
use super::mac_check::MacCheck;
use super::preamble::{PREAMBLE_BYTES, read_header};
use super::problem::{Note, Problem};
use super::refused::refused;
use crate::archive::header::Header;
use crate::archive::set::ArchiveSet;
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
    spool: Spool,
    header: Header,
    data_key: DataKey,
    head: Head,
    /// SHA-256 of the document.
    sha256: [u8; 32],
    /// Where the line of the first entry begins.
    entries_at: u64,
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
        let unwrap = |found: &Header| {
            if found == header {
                Ok(data_key.clone())
            } else {
                Err(refused("it belongs to another archive of that name"))
            }
        };
        Self::fetch_as(FETCHING, store, &name, unwrap).await
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
        Self::authenticate(spool, header, data_key)
    }

    /// Verifies a document that is at hand.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn verify(mut spool: Spool, name: &BackupName, identity: &Identity) -> Result<Self> {
        spool.flush().map_err(temporary)?;
        let mut start = Vec::new();
        spool.reader().take(PREAMBLE_BYTES).read_to_end(&mut start).map_err(temporary)?;
        let header = read_header(&start, name)?;
        let data_key = identity.unwrap(header.keys(), header.backup_id())?;
        Self::authenticate(spool, header, data_key)
    }

    /// Verifies a document that is at hand, and that the holder of the backup's data key made it.
    ///
    /// # Errors
    /// As for [`fetch_own`](Self::fetch_own).
    pub fn verify_own(mut spool: Spool, header: &Header, data_key: &DataKey) -> Result<Self> {
        spool.flush().map_err(temporary)?;
        let mut start = Vec::new();
        spool.reader().take(PREAMBLE_BYTES).read_to_end(&mut start).map_err(temporary)?;
        if read_header(&start, &header.name())? != *header {
            return Err(refused("it belongs to another archive of that name"));
        }
        Self::authenticate(spool, header.clone(), data_key.clone())
    }

    /// Nothing that is spooled is used before its HMAC was checked, whatever was checked while it came.
    fn authenticate(mut spool: Spool, header: Header, data_key: DataKey) -> Result<Self> {
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
        let (head, entries_at) = Lines::of(&spool).head()?;
        if head.name != header.name() || head.archives.is_empty() {
            return Err(refused("its first lines contradict its header".to_owned()));
        }
        Ok(Self { spool, header, data_key, head, sha256: sha256.finalize().into(), entries_at })
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

    /// The archives that its entries point into, and what opens them. In this version of the format that is the backup's
    /// own, with number 0.
    ///
    /// # Errors
    /// [`Error::Integrity`] when its segments contradict themselves.
    pub fn archives(&self) -> Result<ArchiveSet> {
        let mut archives = ArchiveSet::default();
        self.add_archive(0, &mut archives)?;
        Ok(archives)
    }

    /// Adds the archive with a number in this manifest to a set, under the next number there.
    pub(super) fn add_archive(&self, number: usize, archives: &mut ArchiveSet) -> Result<()> {
        let ArchiveRecord { key, segments, .. } = &self.head.archives[number];
        archives.add(key.clone(), self.header.clone(), self.data_key.clone(), segments)
    }

    /// SHA-256 of the document.
    pub fn document_sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// What has the lists, and where the line of the first entry begins in it.
    pub(super) fn lists(&self) -> (&Spool, u64) {
        (&self.spool, self.entries_at)
    }

    pub fn document(&self) -> &Spool {
        &self.spool
    }

    /// Size of the document.
    pub fn bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// Reads the entries in order, until `each` breaks. Blocks on the disk when the manifest is large.
    ///
    /// # Errors
    /// [`Error::Integrity`] when an entry has no known form.
    pub fn for_each_entry(&self, each: impl FnMut(Entry) -> ControlFlow<()>) -> Result<()> {
        Lines::of(&self.spool).for_each("entries", |_| Ok(true), each)
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
        Lines::of(&self.spool).for_each("entries", wanted, each)
    }

    /// Reads the problems in order, until `each` breaks.
    ///
    /// # Errors
    /// As for [`for_each_entry`](Self::for_each_entry).
    pub fn for_each_problem(&self, each: impl FnMut(Problem) -> ControlFlow<()>) -> Result<()> {
        Lines::of(&self.spool).for_each("problems", |_| Ok(true), each)
    }

    /// Reads the notes in order, until `each` breaks.
    ///
    /// # Errors
    /// As for [`for_each_entry`](Self::for_each_entry).
    pub fn for_each_note(&self, each: impl FnMut(Note) -> ControlFlow<()>) -> Result<()> {
        Lines::of(&self.spool).for_each("notes", |_| Ok(true), each)
    }
}

/// A manifest in a store, whose first bytes are here.
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
