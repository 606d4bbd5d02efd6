//! Reads the tar in an archive from its first byte to its last, without the manifest.

use std::collections::VecDeque;
use std::io::{self, Read};

use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::manifest::{Entry, EntryKind};

use crate::error::{Error, Result};
use crate::operations::restore::salvage::entry::{DataRange, broken, describe, is_copy, is_entry, read_pax};
use crate::operations::stream::ArchiveBytes;

/// An entry in the tar.
pub(super) struct Member {
    pub(super) entry: Entry,
    /// Where its content goes.
    pub(super) ranges: Vec<DataRange>,
    /// Whether it is a file of its own although it is a link, with the content of the file that it links to.
    pub(super) is_copy: bool,
}

/// Reads an archive to its end: each entry, and the content. What a backup keeps there for itself, pieces of large files and
/// lists of their chunks, is passed over.
pub(super) fn for_each(
    archive: ArchiveReader<ArchiveBytes>,
    mut each: impl FnMut(Member, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut archive = tar::Archive::new(SalvagedTar { archive, frame: VecDeque::new() });
    let mut pax = Vec::new();
    // Raw, since the tar crate would read the pax records itself, and some of them wrong.
    for found in archive.entries().map_err(into_error)?.raw(true) {
        let mut found = found.map_err(into_error)?;
        if found.header().entry_type() == tar::EntryType::XHeader {
            pax = read_pax(&mut found).map_err(into_error)?;
            continue;
        }
        let pax = std::mem::take(&mut pax);
        if is_entry(&pax) {
            let (entry, ranges) = describe(&mut found, &pax).map_err(into_error)?;
            let is_copy = entry.kind == EntryKind::Hardlink && is_copy(&pax);
            each(Member { entry, ranges, is_copy }, &mut found)?;
        }
    }
    // The tar ends before the archive does: its last frames must be whole, too.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(into_error)?;
    Ok(())
}

/// An error of the archive is wrapped in an [`io::Error`].
struct SalvagedTar {
    archive: ArchiveReader<ArchiveBytes>,
    frame: VecDeque<u8>,
}

impl Read for SalvagedTar {
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

pub(super) fn into_error(e: io::Error) -> Error {
    match e.downcast::<StorageError>() {
        Ok(error) => error.into(),
        Err(e) => StorageError::integrity("the tar in the archive", e.to_string()).into(),
    }
}

pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Gives each piece of content to `write`, with its offset in the file.
pub(super) fn copy_ranges(
    found: &mut dyn Read,
    ranges: &[DataRange],
    mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), CopyError> {
    let mut buffer = vec![0; 64 << 10];
    for (start, length) in ranges {
        let mut done = 0;
        while done < *length {
            let most = (length - done).min(buffer.len() as u64) as usize;
            let n = match found.read(&mut buffer[..most]).map_err(CopyError::Read)? {
                0 => return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into())),
                n => n,
            };
            let at = start.checked_add(done).ok_or_else(|| CopyError::Read(broken("a sparse file's map")))?;
            write(at, &buffer[..n]).map_err(CopyError::Write)?;
            done += n as u64;
        }
    }
    Ok(())
}
