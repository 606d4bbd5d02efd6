//! Reads manifests: fetched whole, verified whole, then streamed.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::Mac;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    Entry, FORMAT, Head, MANIFEST_VERSION, Note, Problem, TRAILER_BYTES, TRAILER_END, TRAILER_START,
};
use crate::archive::Header;
use crate::catalog::layout::BackupName;
use crate::disk::spool::{Spool, SpoolReader};
use crate::error::{Error, Result};
use crate::keys::{DataKey, Identity};
use crate::objects::ObjectStore;

/// What is read before anything is verified must fit here: the header has at most 64 KiB, in base64.
pub(super) const PREAMBLE_BYTES: u64 = 128 << 10;
/// The line after which the entries come.
const ENTRIES: &[u8] = b"\"entries\":[";
/// Segments and frames of the largest archive there can be, 5 TiB, take some 100 MiB.
const MOST_HEAD_BYTES: usize = 128 << 20;
/// An entry with as many extents as one may have takes 5 MiB.
const MOST_LINE_BYTES: usize = 64 << 20;

/// How a manifest is fetched.
#[derive(Debug, Clone, Copy)]
struct Fetching {
    /// What is asked for at a time.
    range_bytes: u64,
    /// A manifest up to this size is spooled while it comes, and authenticated then. A larger one is read twice: nobody
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
                Err(refused("it is of another archive of that name"))
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
        let header = read_preamble(&first, name)?;
        let data_key = unwrap(&header)?;
        let bytes = if (first.len() as u64) < how.range_bytes {
            first.len() as u64
        } else {
            store.head(&object).await?.unwrap_or_default()
        };
        if bytes > how.most_bytes {
            return Err(refused(format!("it has {bytes} bytes, and at most {} are read", how.most_bytes)));
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
        let header = read_preamble(&start, name)?;
        let data_key = identity.unwrap(header.keys(), header.backup_id())?;
        Self::authenticate(spool, header, data_key)
    }

    /// Nothing that is spooled is used before its HMAC was checked, whatever was checked while it came.
    fn authenticate(mut spool: Spool, header: Header, data_key: DataKey) -> Result<Self> {
        spool.flush().map_err(temporary)?;
        let mut check = MacCheck::new(&data_key, header.backup_id());
        io::copy(&mut BufReader::with_capacity(64 << 10, spool.reader()), &mut check).map_err(temporary)?;
        check.finish()?;
        let head = Lines::of(&spool).head()?;
        if head.name != header.name() || head.archives.is_empty() {
            return Err(refused("its head contradicts its header".to_owned()));
        }
        Ok(Self { spool, header, data_key, head })
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

    /// The document.
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

/// Finds the header without trusting anything: it must stand within the first bytes.
fn read_preamble(start: &[u8], name: &BackupName) -> Result<Header> {
    let start = &start[..start.len().min(PREAMBLE_BYTES as usize)];
    parse_preamble(start, name).map(|(header, _)| header)
}

/// The header in the first bytes of a manifest, and what follows it.
pub(super) fn parse_preamble<'s>(start: &'s [u8], name: &BackupName) -> Result<(Header, &'s [u8])> {
    #[derive(Deserialize)]
    struct Preamble {
        format: String,
        version: u32,
        header: String,
    }
    // The writer ends each of the three members with a newline; close the object after them.
    let end = start.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).map(|(i, _)| i);
    let end = end.ok_or_else(|| refused("it does not begin as a manifest does".to_owned()))?;
    let closed = [start[..end].trim_ascii_end().strip_suffix(b",").unwrap_or(&start[..end]), b"}"].concat();
    let preamble: Preamble = serde_json::from_slice(&closed)
        .map_err(|e| refused(format!("it does not begin as a manifest does ({e})")))?;
    if preamble.format != FORMAT {
        return Err(refused(format!("it has the format {:?}", preamble.format)));
    }
    if preamble.version != MANIFEST_VERSION {
        return Err(Error::UnsupportedVersion {
            what: "the manifest".to_owned(),
            found: preamble.version,
            known: MANIFEST_VERSION,
        });
    }
    let header =
        STANDARD.decode(preamble.header).map_err(|e| refused(format!("its header is no base64 ({e})")))?;
    Ok((Header::of(name, "the manifest", &header)?, &start[end + 1..]))
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
                    "the store says that it has {} bytes, and gave {} of those from {position} to {end}",
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

/// Checks the HMAC over a document that passes once; what it covers is known only at the end.
struct MacCheck {
    mac: hmac::Hmac<sha2::Sha256>,
    /// The last bytes so far, which may be the trailer.
    tail: Vec<u8>,
}

impl MacCheck {
    fn new(data_key: &DataKey, backup_id: &str) -> Self {
        Self { mac: data_key.manifest_mac(backup_id), tail: Vec::new() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if let Some(covered) = self.tail.len().checked_sub(TRAILER_BYTES) {
            self.mac.update(&self.tail[..covered]);
            self.tail.drain(..covered);
        }
    }

    fn finish(self) -> Result<()> {
        let altered = || refused("it was altered, cut short, or made under another key".to_owned());
        let trailer = std::str::from_utf8(&self.tail).map_err(|_| altered())?;
        let tag = trailer.strip_prefix(TRAILER_START).and_then(|t| t.strip_suffix(TRAILER_END));
        let tag = hex::decode(tag.ok_or_else(altered)?).map_err(|_| altered())?;
        self.mac.verify_slice(&tag).map_err(|_| altered())
    }
}

impl Write for MacCheck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One pass over the lines of a verified document. Each member of a list stands on a line of its own, and a line of
/// JSON is read several times as fast as JSON from a reader.
struct Lines<'s> {
    reader: BufReader<SpoolReader<'s>>,
    line: Vec<u8>,
}

impl<'s> Lines<'s> {
    fn of(spool: &'s Spool) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, spool.reader()), line: Vec::new() }
    }

    /// Reads the next line, without its end; fails where there is none.
    fn next(&mut self, most_bytes: usize) -> Result<&[u8]> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(most_bytes as u64 + 1);
        bounded.read_until(b'\n', &mut self.line).map_err(temporary)?;
        if self.line.len() > most_bytes {
            return Err(refused(format!("it has a line of more than {most_bytes} bytes")));
        }
        let line = self.line.strip_suffix(b"\n");
        line.ok_or_else(|| refused("it has an unknown form (a list is missing)"))
    }

    /// All before the entries.
    fn head(mut self) -> Result<Head> {
        let mut head = Vec::new();
        loop {
            match self.next(MOST_HEAD_BYTES - head.len())? {
                ENTRIES => break,
                line => head.extend_from_slice(line),
            }
        }
        let members = head.strip_suffix(b",").unwrap_or(&head);
        serde_json::from_slice(&[members, b"}"].concat()).map_err(unknown)
    }

    fn for_each<T: DeserializeOwned>(
        mut self,
        member: &str,
        mut wanted: impl FnMut(&[u8]) -> serde_json::Result<bool>,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<()> {
        let start = format!("\"{member}\":[");
        while self.next(MOST_HEAD_BYTES)? != start.as_bytes() {}
        loop {
            let line = self.next(MOST_LINE_BYTES)?;
            if line.starts_with(b"]") {
                return Ok(());
            }
            let line = line.strip_suffix(b",").unwrap_or(line);
            if wanted(line).map_err(unknown)?
                && each(serde_json::from_slice(line).map_err(unknown)?).is_break()
            {
                return Ok(());
            }
        }
    }
}

fn unknown(e: serde_json::Error) -> Error {
    refused(format!("it has an unknown form ({e})"))
}

pub(super) fn refused(reason: impl Into<String>) -> Error {
    Error::integrity("the manifest", reason)
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::archive::{FrameRecord, SegmentRecord};
    use crate::keys::{Recipients, UserKey};
    use crate::objects::MemoryStore;
    use proptest::prelude::*;

    fn entry(i: u32) -> Entry {
        Entry {
            relative_path: format!("pasta/Relatório {i}.txt"),
            path_bytes: None,
            kind: EntryKind::File,
            size: 5,
            mtime_ns: -1_700_000_000_123_456_789,
            unix: Some(UnixAttributes { mode: 0o640, uid: 1, gid: 2 }),
            windows: None,
            xattrs: vec![Xattr { name: b"user.a".to_vec(), value: vec![0, 255] }],
            link_target: None,
            link_target_bytes: None,
            sha256: Some([i as u8; 32]),
            extents: vec![Extent { archive: 0, offset: 512, length: 5, at: None }],
        }
    }

    fn document(entries: u32) -> (Vec<u8>, Head, Identity) {
        let name = BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() };
        let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
        let header = Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, "b"));
        let mut draft = ManifestDraft::default();
        let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9 }];
        let segment =
            SegmentRecord { number: 1, offset: 0, bytes: 1000, salt: [1; 32], sha256: [2; 32], frames };
        let problem =
            Problem { relative_path: "x".into(), kind: ProblemKind::Skipped, reason: "socket".into() };
        let entries: Vec<_> = (0..entries).map(entry).collect();
        let note = Problem { relative_path: "y".into(), kind: ProblemKind::Note, reason: "fifo".into() };
        draft.commit(segment, Listed::of(&entries, &[note, problem]).unwrap()).unwrap();
        let origin = Origin {
            host: "h".into(),
            machine: None,
            os: "linux".into(),
            tool: "t 1".into(),
            trace_id: None,
        };
        let (spool, head) = draft.finish(&header, &data_key, origin, Vec::new()).unwrap();
        let mut bytes = Vec::new();
        spool.reader().read_to_end(&mut bytes).unwrap();
        (bytes, head, user_key.into())
    }

    fn verify(bytes: &[u8], name: &BackupName, key: &Identity) -> Result<VerifiedManifest> {
        let mut spool = Spool::default();
        spool.write_all(bytes).unwrap();
        VerifiedManifest::verify(spool, name, key)
    }

    #[test]
    fn it_reads_back_as_plain_json_and_as_a_stream() {
        for entries in [0, 1, 3] {
            let (bytes, head, key) = document(entries);
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["entries"].as_array().unwrap().len(), entries as usize);
            let manifest = verify(&bytes, &head.name, &key).unwrap();
            assert_eq!(*manifest.head(), head);
            let mut read = Vec::new();
            manifest
                .for_each_entry(|e| {
                    read.push(e);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(read, (0..entries).map(entry).collect::<Vec<_>>());
            let mut found = Vec::new();
            let wanted = |path: &str| path.ends_with("o 1.txt");
            let found_one = |e: Entry| {
                found.push(e);
                ControlFlow::Continue(())
            };
            manifest.for_each_entry_at(wanted, found_one).unwrap();
            assert_eq!(found, (1..entries.min(2)).map(entry).collect::<Vec<_>>());
            let mut problems = 0;
            manifest
                .for_each_problem(|_| {
                    problems += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(problems, 1);
            let mut notes = Vec::new();
            manifest
                .for_each_note(|note| {
                    notes.push(note);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(notes, [Note { relative_path: "y".into(), reason: "fifo".into() }]);
            assert_eq!((head.totals.skipped, head.totals.changed, head.totals.notes), (1, 0, 1));
            let mut first = 0;
            manifest
                .for_each_entry(|_| {
                    first += 1;
                    ControlFlow::Break(())
                })
                .unwrap();
            assert_eq!(first, entries.min(1));
        }
    }

    #[test]
    fn any_altered_byte_is_refused() {
        let (bytes, head, key) = document(2);
        for i in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[i] ^= 1;
            assert!(verify(&altered, &head.name, &key).is_err(), "byte {i}: {:?}", bytes[i] as char);
        }
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(verify(&bytes[..cut], &head.name, &key).is_err(), "cut at {cut}");
        }
        assert!(verify(&[&bytes[..], b"\n"].concat(), &head.name, &key).is_err());
    }

    #[tokio::test]
    async fn a_large_manifest_is_authenticated_before_it_is_kept() {
        let (bytes, head, key) = document(20);
        let how = Fetching { range_bytes: 512, unseen_bytes: 1024, most_bytes: 1 << 20 };
        let size = bytes.len() as u64;
        assert!(size > 4 * how.unseen_bytes && !size.is_multiple_of(how.range_bytes));
        let object = head.name.manifest_key();
        let fetched = async |store: &MemoryStore, how| {
            let before = store.bytes_read();
            let fetched = VerifiedManifest::fetch_as(how, store, &head.name, |header| {
                key.unwrap(header.keys(), header.backup_id())
            })
            .await;
            (fetched, store.bytes_read() - before)
        };
        let store = MemoryStore::default();
        store.put(&object, bytes.into()).await.unwrap();
        let (manifest, read) = fetched(&store, how).await;
        assert_eq!(
            (*manifest.unwrap().head() == head, read),
            (true, 2 * size - 512),
            "twice, but for the first range"
        );
        let (manifest, read) = fetched(&store, Fetching { unseen_bytes: size, ..how }).await;
        assert_eq!((manifest.is_ok(), read), (true, size), "a small one is read once");

        store.alter(&object, |bytes| bytes[4000] ^= 1);
        let (refused, read) = fetched(&store, how).await;
        assert!(matches!(refused, Err(Error::Integrity { .. })), "{refused:?}");
        assert_eq!(read, size, "it was refused before a byte of it was kept");
        let (refused, read) = fetched(&store, Fetching { most_bytes: size - 1, ..how }).await;
        assert!(refused.unwrap_err().to_string().contains("at most"));
        assert_eq!(read, 512, "its size is known beforehand");

        store.alter(&object, |bytes| bytes[20] ^= 1);
        let (refused, read) = fetched(&store, how).await;
        assert!(matches!(refused, Err(Error::Integrity { .. })), "{refused:?}");
        assert_eq!(read, 512, "what does not begin as a manifest is not read on");
    }

    #[test]
    fn no_line_is_longer_than_memory_allows() {
        let mut spool = Spool::default();
        spool.write_all(&[b'x'; 5000]).unwrap();
        spool.write_all(b"\n").unwrap();
        assert_eq!(Lines::of(&spool).next(5001).unwrap().len(), 5000);
        assert!(Lines::of(&spool).next(5000).is_err());
        let mut lines = Lines::of(&spool);
        assert!(lines.next(100).is_err());
        assert!(lines.line.capacity() < 1000);
    }

    #[test]
    fn another_backups_manifest_is_refused() {
        let (bytes, head, key) = document(1);
        let other = BackupName { backup_id: "c".into(), ..head.name };
        let told = verify(&bytes, &other, &key).unwrap_err().to_string();
        assert!(told.contains("backup b") && told.contains('c'), "{told}");
        assert!(matches!(
            verify(&bytes, &head_name(), &UserKey::generate().into()),
            Err(Error::WrongKey { .. })
        ));
    }

    fn head_name() -> BackupName {
        BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise: Vec<u8>, start in 0usize..400) {
            let _ = verify(&noise, &head_name(), &UserKey::generate().into());
            let (mut bytes, ..) = document(0);
            bytes.truncate(start.min(bytes.len()));
            bytes.extend(noise);
            let _ = verify(&bytes, &head_name(), &UserKey::generate().into());
        }
    }
}
