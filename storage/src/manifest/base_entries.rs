//! Reads the entries of a base one by one, without a borrow of it.

use std::borrow::Borrow;
use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;

use super::entry::Entry;
use super::lines::{MOST_LINE_BYTES, unknown};
use super::reader::VerifiedManifest;
use super::refused::refused;
use super::streams;
use crate::error::{Error, Result};

/// Of each read from the spool.
const BUFFER_BYTES: usize = 64 << 10;
/// Most entries fit in it.
const ENTRY_BYTES: usize = 2 << 10;

/// The entries of a base, from one of them to the last. It holds a buffer and one line.
#[derive(Debug)]
pub struct BaseEntries {
    reader: BufReader<Lists<Arc<VerifiedManifest>>>,
    line: Vec<u8>,
    /// Index of the line that comes next.
    at: u64,
    /// Where it begins.
    offset: u64,
    /// Index of the next entry: the lines before it are passed over.
    index: u64,
    /// The last entry, or an error, has come.
    ended: bool,
}

impl BaseEntries {
    /// All entries of a manifest.
    pub fn of(manifest: Arc<VerifiedManifest>) -> Self {
        Self::new(manifest, 0)
    }

    pub(super) fn new(manifest: Arc<VerifiedManifest>, from: u64) -> Self {
        let offset = manifest.lists().1;
        let reader = BufReader::with_capacity(BUFFER_BYTES, Lists { manifest, position: offset });
        Self { reader, line: Vec::new(), at: 0, offset, index: from, ended: false }
    }

    /// Goes on at the entry with an index, which must not be before the next one. What is passed over costs a search for
    /// the ends of lines.
    pub fn skip_to(&mut self, index: u64) {
        self.index = self.index.max(index);
    }

    /// Index of the next entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Index of the next entry, and where its line begins, for [`Base::entry_at`](super::base::Base::entry_at).
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read.
    pub fn next_at(&mut self) -> Result<(u64, u64)> {
        self.advance()?;
        Ok((self.index, self.offset))
    }

    /// The line of the next entry, without its end.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.advance()?;
        if self.ended {
            return Ok(None);
        }
        let read = read_line(&mut self.reader, &mut self.line);
        self.ended = !matches!(read, Ok(true));
        if !read? {
            return Ok(None);
        }
        self.offset += self.line.len() as u64;
        self.at += 1;
        self.index = self.at;
        Ok(Some(without_end(&self.line)))
    }

    /// Passes over the lines before the entry that is wanted.
    fn advance(&mut self) -> Result<()> {
        while self.at < self.index && !self.ended {
            let starts_entry = self.reader.fill_buf().map(|bytes| bytes.first() == Some(&b'{'));
            let passed =
                starts_entry.and_then(|starts| if starts { self.reader.skip_until(b'\n') } else { Ok(0) });
            match passed.map_err(temporary) {
                Ok(0) => self.ended = true,
                Ok(bytes) => {
                    self.offset += bytes as u64;
                    self.at += 1;
                }
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Iterator for BaseEntries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line().transpose()?;
        let read = line.and_then(|line| serde_json::from_slice(line).map_err(unknown));
        Some(read.and_then(|entry| resolved(&self.reader.get_ref().manifest, entry)))
    }
}

/// The entry whose line begins at `offset`.
pub(super) fn read_at(manifest: &VerifiedManifest, offset: u64) -> Result<Entry> {
    let elsewhere = || refused(format!("no entry begins at byte {offset}"));
    let (spool, first) = manifest.lists();
    if offset < first || offset >= spool.bytes() {
        return Err(elsewhere());
    }
    // The end of the line before comes too: an offset within a line is an error, and not another entry.
    let mut reader = BufReader::with_capacity(ENTRY_BYTES, Lists { manifest, position: offset - 1 });
    let mut before = [0];
    reader.read_exact(&mut before).map_err(temporary)?;
    let mut line = Vec::new();
    if before != *b"\n" || !read_line(&mut reader, &mut line)? {
        return Err(elsewhere());
    }
    resolved(manifest, serde_json::from_slice(without_end(&line)).map_err(unknown)?)
}

fn resolved(manifest: &VerifiedManifest, mut entry: Entry) -> Result<Entry> {
    manifest.security().resolve(&mut entry)?;
    streams::check(&entry)?;
    Ok(entry)
}

/// Reads a line with its end; `false` where the list has ended.
fn read_line(reader: &mut impl io::BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    if reader.fill_buf().map_err(temporary)?.first() != Some(&b'{') {
        return Ok(false);
    }
    reader.take(MOST_LINE_BYTES as u64).read_until(b'\n', line).map_err(temporary)?;
    if line.last() == Some(&b'\n') {
        Ok(true)
    } else {
        Err(refused(format!("it has a line that is cut short, or longer than {MOST_LINE_BYTES} bytes")))
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b",").unwrap_or(line)
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}

/// The lists of a manifest from a place on.
#[derive(Debug)]
struct Lists<M> {
    manifest: M,
    position: u64,
}

impl<M: Borrow<VerifiedManifest>> Read for Lists<M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (spool, _) = self.manifest.borrow().lists();
        let n = spool.read_at(buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}
