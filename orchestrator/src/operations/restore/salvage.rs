//! Restores from the archive alone, when the manifest is lost.
//!
//! Every byte is still checked against the archive's own seals. What the manifest would add is missing: the
//! SHA-256 of each file, and the knowledge that a file changed while it was read. Where a path occurs twice in
//! the archive the later one stays.
//!
//! A hard link that was asked for without the file that it names has no content of its own. It is behind that file in the
//! archive, which is then read once more.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::backup::archiver::tar_header::{read_records, windows_attributes};
use intellistor_actors::globs::PathGlobs;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::target::{FileDestination, Target, TargetError};
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind, UnixAttributes, Xattr};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::{RestoreOptions, open_target};
use crate::operations::stream;
use crate::operations::stream::ArchiveBytes;

/// What the hard links that wait for the second reading may take in memory.
const MOST_WAITING_BYTES: u64 = 16 << 20;

pub(crate) async fn restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    // The archive does not say which system it is from.
    let only = options.globs(cfg!(windows))?;
    let wanted = only.clone();
    let (out, progress) = (options.out.clone(), options.run.progress.clone());
    let read = async |pass: Box<dyn FnOnce(Archive) -> Result<Salvage> + Send>| {
        let (key, backup) = (identity.clone(), name.clone());
        stream::read_archive(catalog.store.clone(), name.archive_key(), options.run.clone(), move |source| {
            pass(ArchiveReader::open(source, &backup, &key)?)
        })
        .await
    };
    // Nothing is written before the archive was found to be this backup's.
    let first = move |archive| Salvage::new(out, wanted, progress)?.restore_selected(archive);
    let mut salvage = read(Box::new(first)).await?;
    if !salvage.waiting.is_empty() {
        salvage = read(Box::new(move |archive| salvage.restore_waiting(archive))).await?;
    }
    let finished = tokio::task::spawn_blocking(move || salvage.finish()).await;
    let extracted =
        finished.unwrap_or_else(|e| Err(Error::Defect(format!("the writing thread panicked: {e}"))))?;
    options.report(name, only.as_ref(), extracted, started)
}

type Archive = ArchiveReader<ArchiveBytes>;

struct Salvage {
    target: Target,
    out: PathBuf,
    only: Option<PathGlobs>,
    extracted: Extracted,
    progress: Arc<Progress>,
    /// Hard links that were asked for without their file, by the file's path.
    waiting: HashMap<Vec<u8>, Waiting>,
    waiting_bytes: u64,
    /// Where in the archive it reads, for a person: all before it was restored.
    place: String,
}

#[derive(Default)]
struct Waiting {
    links: Vec<Entry>,
    /// An archive may have a file twice; its links are counted once.
    restored: bool,
}

impl Salvage {
    fn new(out: PathBuf, only: Option<PathGlobs>, progress: Arc<Progress>) -> Result<Self> {
        let target = open_target(&out)?;
        let (extracted, waiting) = (Extracted::default(), HashMap::new());
        Ok(Self { target, out, only, extracted, progress, waiting, waiting_bytes: 0, place: String::new() })
    }

    fn restore_selected(mut self, archive: Archive) -> Result<Self> {
        let read = for_each(archive, |entry, stretches, content| {
            self.place = format!("{} and what follows it in the archive", entry.relative_path);
            if self.only.as_ref().is_some_and(|only| !only.is_match(&entry.relative_path)) {
                return Ok(());
            }
            self.extracted.found += 1;
            self.progress.entries.add(1);
            let made = match entry.kind {
                EntryKind::Directory => self.target.directory(&entry),
                EntryKind::Symlink => self.target.symlink(&entry),
                EntryKind::Hardlink if self.is_without_its_file(&entry) => return self.wait(entry),
                EntryKind::Hardlink => self.target.hardlink(&entry),
                EntryKind::File => self.file(&entry, &stretches, content)?,
            };
            self.place = format!("what follows {} in the archive", entry.relative_path);
            self.record(&entry, made)
        });
        self.keep_what_was_restored(read)?;
        Ok(self)
    }

    /// Damage ends the reading. What was restored before it is whole, and is all that is left: the report counts it, and
    /// names the place.
    fn keep_what_was_restored(&mut self, read: Result<()>) -> Result<()> {
        match read {
            Err(Error::Storage(StorageError::Integrity { what, reason })) if self.extracted.restored > 0 => {
                // The second reading ends where the first one did.
                if self.extracted.damaged_count == 0 {
                    self.extracted.damage(&self.place, &format!("{what}: {reason}"));
                }
                Ok(())
            }
            read => read,
        }
    }

    fn is_without_its_file(&self, link: &Entry) -> bool {
        let file = link.link_target.as_deref().unwrap_or_default();
        self.only.as_ref().is_some_and(|only| !only.is_match(file))
    }

    fn wait(&mut self, link: Entry) -> Result<()> {
        let file = link.raw_link_target().unwrap_or_default().to_vec();
        let bytes = link.memory_bytes() + file.len() as u64;
        if self.waiting_bytes + bytes > MOST_WAITING_BYTES {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: it is another name of {file}, and there are too many such links to restore them alone: select that, too",
                link.relative_path
            ));
            return Ok(());
        }
        self.waiting_bytes += bytes;
        self.waiting.entry(file).or_default().links.push(link);
        Ok(())
    }

    fn restore_waiting(mut self, archive: Archive) -> Result<Self> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let read = for_each(archive, |file, stretches, content| {
            if file.kind != EntryKind::File {
                return Ok(());
            }
            let Some(Waiting { links, restored }) = waiting.get_mut(file.raw_path()) else { return Ok(()) };
            let (Some((first, others)), counts) = (links.split_first(), !*restored) else { return Ok(()) };
            let first = Entry {
                relative_path: first.relative_path.clone(),
                path_bytes: first.path_bytes.clone(),
                ..file
            };
            let made = self.file(&first, &stretches, content)?;
            *restored = made.is_ok();
            self.record_once(&first, made, counts)?;
            for other in others {
                let other = Entry {
                    link_target: Some(first.relative_path.clone()),
                    link_target_bytes: first.path_bytes.clone(),
                    ..other.clone()
                };
                let made = self.target.hardlink(&other);
                self.record_once(&other, made, counts)?;
            }
            Ok(())
        });
        self.keep_what_was_restored(read)?;
        for link in
            waiting.into_values().filter(|waiting| !waiting.restored).flat_map(|waiting| waiting.links)
        {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: it is another name of {file}, whose content is not in the archive",
                link.relative_path
            ));
        }
        Ok(self)
    }

    fn finish(mut self) -> Result<Extracted> {
        let warnings =
            self.target.finish().map_err(|e| Error::Target { out: self.out, reason: e.to_string() })?;
        self.extracted.warn_all(warnings);
        Ok(self.extracted)
    }

    /// Writes a regular file. The outer error is the archive's.
    fn file(
        &mut self,
        entry: &Entry,
        stretches: &[Stretch],
        content: &mut dyn Read,
    ) -> Result<Result<Vec<String>, TargetError>> {
        let mut writer = match self.target.file(entry).and_then(FileDestination::create) {
            Ok(writer) => writer,
            Err(e) => return Ok(Err(e)),
        };
        let written = copy(content, stretches, |at, bytes| {
            self.progress.bytes.add(bytes.len() as u64);
            writer.write_at(at, bytes)
        });
        match written {
            Ok(()) => Ok(writer.finish(entry, entry.size)),
            Err(Copying::Archive(e)) => Err(into_error(e)),
            Err(Copying::Disk(e)) => Ok(Err(TargetError::from_io("write it", e))),
        }
    }

    fn record(&mut self, entry: &Entry, made: Result<Vec<String>, TargetError>) -> Result<()> {
        self.record_once(entry, made, true)
    }

    fn record_once(
        &mut self,
        entry: &Entry,
        made: Result<Vec<String>, TargetError>,
        counts: bool,
    ) -> Result<()> {
        match made {
            Ok(warnings) => {
                if counts {
                    self.extracted.restored += 1;
                    self.extracted.bytes = self.extracted.bytes.saturating_add(entry.size);
                }
                self.extracted.warn_all(warnings);
            }
            Err(TargetError::Fatal(e)) => {
                return Err(Error::Target { out: self.out.clone(), reason: e.to_string() });
            }
            Err(e) => self.extracted.warn(format!("{}: {e}", entry.relative_path)),
        }
        Ok(())
    }
}

/// Reads an archive to its end: each entry of its tar, the stretches of its content, and the content.
fn for_each(
    archive: Archive,
    mut each: impl FnMut(Entry, Vec<Stretch>, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut archive = tar::Archive::new(TarBytes { archive, frame: VecDeque::new() });
    let mut pax = Vec::new();
    // Raw, since the tar crate would read the pax records itself, and not all of them right.
    for found in archive.entries().map_err(into_error)?.raw(true) {
        let mut found = found.map_err(into_error)?;
        if found.header().entry_type() == tar::EntryType::XHeader {
            pax = read_pax(&mut found).map_err(into_error)?;
            continue;
        }
        let (entry, stretches) = describe(&mut found, &std::mem::take(&mut pax)).map_err(into_error)?;
        each(entry, stretches, &mut found)?;
    }
    // The tar ends before the archive does: its last frames must be whole, too.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(into_error)?;
    Ok(())
}

/// The tar stream of an archive. An error of the archive travels inside an [`io::Error`].
struct TarBytes {
    archive: ArchiveReader<ArchiveBytes>,
    frame: VecDeque<u8>,
}

impl Read for TarBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.frame.is_empty() {
            match self.archive.next_frame().map_err(io::Error::other)? {
                Some(frame) => self.frame = frame.tar.into(),
                None => return Ok(0),
            }
        }
        self.frame.read(buffer)
    }
}

fn into_error(e: io::Error) -> Error {
    match e.downcast::<StorageError>() {
        Ok(error) => error.into(),
        Err(e) => StorageError::integrity("the tar in the archive", e.to_string()).into(),
    }
}

/// A stretch of a file: where it begins, and how many bytes it has.
type Stretch = (u64, u64);

type Pax = Vec<(String, Vec<u8>)>;

fn read_pax(found: &mut impl Read) -> io::Result<Pax> {
    /// Attributes have at most 64 KiB each; what is much larger is nothing of ours.
    const MOST_BYTES: u64 = 16 << 20;
    let mut records = Vec::new();
    found.take(MOST_BYTES).read_to_end(&mut records)?;
    read_records(&records).ok_or_else(|| broken("a pax record"))
}

/// What the manifest would say of an entry, and the stretches of its content.
fn describe<R: Read>(found: &mut tar::Entry<'_, R>, pax: &Pax) -> io::Result<(Entry, Vec<Stretch>)> {
    let value = |key: &str| pax.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_slice());
    let text = |key: &str| value(key).and_then(|v| std::str::from_utf8(v).ok());

    let header = found.header().clone();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => EntryKind::Directory,
        tar::EntryType::Symlink => EntryKind::Symlink,
        tar::EntryType::Link => EntryKind::Hardlink,
        tar::EntryType::Regular => EntryKind::File,
        other => return Err(broken(&format!("an entry of kind {other:?}"))),
    };
    let mut path = match value("GNU.sparse.name").or_else(|| value("path")) {
        Some(name) => name.to_vec(),
        None => header.path_bytes().into_owned(),
    };
    if kind == EntryKind::Directory && path.last() == Some(&b'/') {
        path.pop();
    }
    let link = match value("linkpath") {
        Some(link) => Some(link.to_vec()),
        None => header.link_name_bytes().map(|link| link.into_owned()),
    };
    let link = link.filter(|_| matches!(kind, EntryKind::Symlink | EntryKind::Hardlink));
    let (size, stretches) = match text("GNU.sparse.realsize") {
        Some(size) => (size.parse().map_err(|_| broken("a sparse file's size"))?, read_sparse_map(found)?),
        None => (found.size(), vec![(0, found.size())]),
    };
    let number = |key: &str, field: io::Result<u64>| match text(key).and_then(|n| n.parse().ok()) {
        Some(n) => Ok(n),
        None => field.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
    };
    let unix = UnixAttributes {
        mode: header.mode()? & 0o7777,
        uid: number("uid", header.uid())?,
        gid: number("gid", header.gid())?,
    };
    let mtime_ns = match text("mtime") {
        Some(mtime) => nanoseconds(mtime).ok_or_else(|| broken("a time of modification"))?,
        None => i128::from(header.mtime()?) * 1_000_000_000,
    };
    let windows = windows_attributes(text, nanoseconds);
    let xattrs = pax.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("SCHILY.xattr.")?.as_bytes().to_vec();
        Some(Xattr { name, value: value.clone() })
    });
    let (relative_path, path_bytes) = Entry::text_and_bytes(path);
    let (link_target, link_target_bytes) = match link.map(Entry::text_and_bytes) {
        Some((text, bytes)) => (Some(text), bytes),
        None => (None, None),
    };
    let entry = Entry {
        relative_path,
        path_bytes,
        kind,
        size: if kind == EntryKind::File { size } else { 0 },
        mtime_ns,
        // Where there was no mode, the header has one that nobody chose.
        unix: windows.is_none().then_some(unix),
        windows,
        xattrs: xattrs.collect(),
        link_target,
        link_target_bytes,
        sha256: None,
        extents: Vec::new(),
    };
    Ok((entry, stretches))
}

/// GNU's map, form 1.0: decimal numbers, one a line, in blocks of 512 bytes ahead of the data.
fn read_sparse_map(found: &mut impl Read) -> io::Result<Vec<Stretch>> {
    /// A map of a million stretches; what is larger is no map of ours.
    const MOST_BYTES: usize = 32 << 20;
    let (mut numbers, mut digits, mut read) = (Vec::new(), String::new(), 0);
    let mut block = [0; 512];
    while numbers.first().is_none_or(|count| numbers.len() as u64 - 1 < count * 2) {
        found.read_exact(&mut block)?;
        read += block.len();
        if read > MOST_BYTES {
            return Err(broken("a sparse file's map is too long"));
        }
        for byte in block {
            match byte {
                b'\n' => {
                    numbers.push(
                        std::mem::take(&mut digits)
                            .parse::<u64>()
                            .map_err(|_| broken("a sparse file's map"))?,
                    );
                }
                0 => break,
                digit => digits.push(char::from(digit)),
            }
        }
        if numbers.first().is_some_and(|count| *count > MOST_BYTES as u64) {
            return Err(broken("a sparse file's map is too long"));
        }
    }
    Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// `-1.5` as pax writes times.
fn nanoseconds(text: &str) -> Option<i128> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let seconds: i128 = seconds.parse::<u64>().ok()?.into();
    let fraction: i128 = format!("{:0<9.9}", fraction).parse::<u32>().ok()?.into();
    let ns = seconds * 1_000_000_000 + fraction;
    Some(if negative { -ns } else { ns })
}

enum Copying {
    Archive(io::Error),
    Disk(io::Error),
}

fn copy(
    found: &mut dyn Read,
    stretches: &[Stretch],
    mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), Copying> {
    let mut buffer = vec![0; 64 << 10];
    for (start, length) in stretches {
        let mut done = 0;
        while done < *length {
            let most = (length - done).min(buffer.len() as u64) as usize;
            let n = match found.read(&mut buffer[..most]).map_err(Copying::Archive)? {
                0 => return Err(Copying::Archive(io::ErrorKind::UnexpectedEof.into())),
                n => n,
            };
            let at =
                start.checked_add(done).ok_or_else(|| Copying::Archive(broken("a sparse file's map")))?;
            write(at, &buffer[..n]).map_err(Copying::Disk)?;
            done += n as u64;
        }
    }
    Ok(())
}

fn broken(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let cases = [
            ("0", 0),
            ("1.5", 1_500_000_000),
            ("-0.000000001", -1),
            ("-2.25", -2_250_000_000),
            ("7.1234567891", 7_123_456_789),
        ];
        for (text, ns) in cases {
            assert_eq!(nanoseconds(text), Some(ns), "{text}");
        }
        assert_eq!(nanoseconds("x"), None);
        assert_eq!(nanoseconds("1.é"), None);
    }

    #[test]
    fn a_sparse_map_is_read_and_a_hostile_one_refused() {
        let map = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            read_sparse_map(&mut &bytes[..])
        };
        assert_eq!(map("2\n0\n4096\n8192\n1\n").unwrap(), [(0, 4096), (8192, 1)]);
        assert_eq!(map("0\n").unwrap(), []);
        for hostile in ["x\n", "18446744073709551615\n", "2\n0\n", "-1\n"] {
            assert!(map(hostile).is_err(), "{hostile:?}");
        }
    }
}
