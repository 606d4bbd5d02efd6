//! Writes entries and their content as one plain `tar.gz`: what a full backup's archive holds, also for a backup whose content is
//! in several.
//!
//! Every tar reader restores it: pax headers as the archiver writes them, GNU's form 1.0 for sparse files, hard links as such. A
//! gzip member for each MiB of tar, as in an archive.

use std::io::Write;
use std::ops::Range;

use intellistor_storage::Error;
use intellistor_storage::archive::{Compression, FRAME_BYTES, FrameCompressor};
use intellistor_storage::manifest::{Entry, EntryKind};
use tar::EntryType;

use crate::backup::archiver::stream_member::STREAM;
use crate::backup::archiver::tar_header::{BLOCK_BYTES, END_MARKER, TarEntry};
use crate::restore::content_stage::ContentSink;
use crate::source::Extended;

/// What takes entries and writes them as `tar.gz`.
pub struct TarSink<W> {
    out: W,
    compressor: FrameCompressor,
    /// Tar that is not compressed yet, less than a member of it.
    tar: Vec<u8>,
    /// Where the file has content in the tar, and how much of that was written: the range, and the place in the file.
    ranges: Vec<Range<u64>>,
    range: usize,
    position: u64,
    written: u64,
    members: u64,
}

impl<W> std::fmt::Debug for TarSink<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarSink").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<W: Write> TarSink<W> {
    /// A tar without entries.
    pub fn new(out: W) -> Self {
        let (compressor, tar) = (FrameCompressor::new(Compression::Fast), Vec::with_capacity(FRAME_BYTES));
        Self { out, compressor, tar, ranges: Vec::new(), range: 0, position: 0, written: 0, members: 0 }
    }

    /// Ends the tar. Gives the bytes of `tar.gz` that were written, and their gzip members.
    ///
    /// # Errors
    /// [`Error::Io`] from the output.
    pub fn finish(mut self) -> Result<(u64, u64), Error> {
        self.put(&END_MARKER)?;
        self.end_member()?;
        self.out.flush().map_err(output)?;
        Ok((self.written, self.members))
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let n = bytes.len().min(FRAME_BYTES - self.tar.len());
            self.tar.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.tar.len() == FRAME_BYTES {
                self.end_member()?;
            }
        }
        Ok(())
    }

    /// Writes zeros up to a place in the file, where the tar has any: a range of it has whole blocks, and data need not.
    fn fill_to(&mut self, at: u64) -> Result<(), Error> {
        while self.position < at
            && let Some(range) = self.ranges.get(self.range).cloned()
        {
            self.position = self.position.max(range.start);
            let zeros = at.min(range.end).saturating_sub(self.position);
            debug_assert!(zeros < 2 * BLOCK_BYTES, "whole blocks of zeros are holes");
            self.put(&vec![0; zeros as usize])?;
            self.position += zeros;
            if self.position < range.end {
                break;
            }
            self.range += 1;
        }
        self.position = self.position.max(at);
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), Error> {
        if self.tar.is_empty() {
            return Ok(());
        }
        let member = self.compressor.compress(&self.tar);
        self.tar.clear();
        self.out.write_all(&member).map_err(output)?;
        self.written += member.len() as u64;
        self.members += 1;
        Ok(())
    }
}

impl<W: Write + Send + Unpin + 'static> ContentSink for TarSink<W> {
    fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        let data = if entry.kind.has_content() { data_ranges(entry)? } else { Vec::new() };
        let is_whole = data.iter().map(|range| range.end - range.start).sum::<u64>() == entry.size;
        let extended = Extended { xattrs: entry.xattrs.clone(), security: entry.security.clone() };
        let header = TarEntry {
            path: entry.raw_path(),
            kind: match entry.kind {
                EntryKind::File | EntryKind::Stream => EntryType::Regular,
                EntryKind::Directory => EntryType::Directory,
                EntryKind::Symlink => EntryType::Symlink,
                EntryKind::Hardlink => EntryType::Link,
            },
            size: if entry.kind.has_content() { entry.size } else { 0 },
            mtime_ns: entry.mtime_ns,
            unix: entry.unix.as_ref(),
            windows: entry.windows,
            link: entry.raw_link_target(),
            // Those of a hard link are its file's.
            extended: (entry.kind != EntryKind::Hardlink).then_some(&extended),
            sparse: (entry.kind.has_content() && !is_whole).then_some(&data[..]),
            mark: (entry.kind == EntryKind::Stream).then_some(STREAM),
        };
        let encoded = header.encode();
        (self.ranges, self.range, self.position) = (data, 0, 0);
        self.put(&encoded)
    }

    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.fill_to(at)?;
        self.position += bytes.len() as u64;
        self.put(bytes)
    }

    fn end(&mut self, entry: &Entry, damage: Option<String>) -> Result<(), Error> {
        // Its header states bytes that are not there: nothing that follows would be read right.
        if let Some(reason) = damage {
            return Err(Error::integrity(format!("{:?}", entry.relative_path), reason));
        }
        self.fill_to(entry.size)?;
        let content: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        let padding = content.next_multiple_of(BLOCK_BYTES) - content;
        self.put(&[0; BLOCK_BYTES as usize][..padding as usize])
    }
}

/// Where an entry has data, in the file, in whole blocks: GNU tar reads each range of a sparse file from a block of its own,
/// so that only the last may end within one. Ranges that then touch are one.
fn data_ranges(entry: &Entry) -> Result<Vec<Range<u64>>, Error> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut position = 0;
    for extent in entry.extents.iter().filter(|extent| extent.length > 0) {
        let start = extent.at.unwrap_or(position);
        let end = start.checked_add(extent.length).filter(|end| start >= position && *end <= entry.size);
        let Some(end) = end else {
            let reason = "the manifest's extents for it overlap, or exceed its size";
            return Err(Error::integrity(format!("{:?}", entry.relative_path), reason));
        };
        let blocks = start / BLOCK_BYTES * BLOCK_BYTES..end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        let blocks = blocks.start..blocks.end.min(entry.size);
        match ranges.last_mut().filter(|last| last.end >= blocks.start) {
            Some(last) => last.end = blocks.end,
            None => ranges.push(blocks),
        }
        position = end;
    }
    Ok(ranges)
}

fn output(e: std::io::Error) -> Error {
    Error::io("write", "the output")(e)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use intellistor_storage::manifest::Extent;

    use super::*;

    fn extents(places: &[(u64, u64)]) -> Vec<Extent> {
        let extent = |&(at, length): &(u64, u64)| Extent { archive: 0, offset: 0, length, at: Some(at) };
        places.iter().map(extent).collect()
    }

    #[test]
    fn adjacent_data_is_one_range_and_contradictions_are_refused() {
        let entry =
            |size, places: &[(u64, u64)]| Entry { size, extents: extents(places), ..Entry::default() };
        let ranges =
            data_ranges(&entry(9_000, &[(0, 10), (10, 5), (600, 80), (2_000, 1), (8_999, 1)])).unwrap();
        assert_eq!(ranges, [0..1024, 1536..2048, 8704..9000]);
        assert_eq!(data_ranges(&entry(100, &[])).unwrap(), []);
        for hostile in [&[(0, 101)][..], &[(0, 10), (9, 1)], &[(u64::MAX, 2)]] {
            assert!(data_ranges(&entry(100, hostile)).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn tar_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = TarSink::new(created_in(folder.path()));
        let content: Vec<u8> =
            (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let name = |path: &str, kind| Entry { relative_path: path.into(), kind, ..Entry::default() };
        let long = format!("d/{}", "long name ".repeat(20));
        let whole =
            Entry { size: 3_000_000, extents: extents(&[(0, 3_000_000)]), ..name(&long, EntryKind::File) };
        let sparse = Entry {
            size: 5_000_000,
            extents: extents(&[(1_000_000, 1000), (2_000_000, 500)]),
            ..name("d/sparse", EntryKind::File)
        };
        let link = Entry { link_target: Some(long.clone()), ..name("hard", EntryKind::Hardlink) };
        let soft = Entry { link_target: Some("nowhere".into()), ..name("soft", EntryKind::Symlink) };
        for (entry, data) in [
            (&name("d", EntryKind::Directory), &[][..]),
            (&whole, &content),
            (&sparse, &content[..1500]),
            (&link, &[]),
            (&soft, &[]),
        ] {
            sink.begin(entry).unwrap();
            if entry.kind == EntryKind::File {
                let mut data = data;
                for (mut at, extent) in entry.placed_extents() {
                    let (of_extent, rest) = data.split_at(extent.length as usize);
                    data = rest;
                    for bytes in of_extent.chunks(70_000) {
                        sink.data(at, bytes).unwrap();
                        at += bytes.len() as u64;
                    }
                }
                sink.end(entry, None).unwrap();
            }
        }
        let (bytes, members) = sink.finish().unwrap();
        let file = folder.path().join("tar.gz");
        assert_eq!((file.metadata().unwrap().len(), members), (bytes, 3));
        let read = Command::new("tar").arg("xzf").arg(&file).arg("-C").arg(folder.path()).status();
        // A machine without tar has other tests of the headers.
        let Ok(read) = read else { return };
        assert!(read.success());
        let found = |path: &str| std::fs::read(folder.path().join(path)).unwrap();
        assert!(found(&long) == content && found("hard") == content);
        let mut expected = vec![0; 5_000_000];
        expected[1_000_000..1_001_000].copy_from_slice(&content[..1000]);
        expected[2_000_000..2_000_500].copy_from_slice(&content[1000..1500]);
        assert!(found("d/sparse") == expected);
        assert_eq!(std::fs::read_link(folder.path().join("soft")).unwrap().to_str(), Some("nowhere"));
    }

    fn created_in(folder: &std::path::Path) -> std::fs::File {
        std::fs::File::create(folder.join("tar.gz")).unwrap()
    }

    #[test]
    fn damage_ends_the_tar() {
        let mut sink = TarSink::new(Vec::new());
        let entry = Entry { relative_path: "a".into(), ..Entry::default() };
        sink.begin(&entry).unwrap();
        assert!(matches!(sink.end(&entry, Some("gone".into())), Err(Error::Integrity { .. })));
    }
}
