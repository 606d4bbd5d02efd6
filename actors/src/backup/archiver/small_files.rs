//! Archives files of at most 1 MiB: each is read into memory, hashed and looked up before anything of it is written.

use std::fs::File;
use std::io;

use intellistor_storage::manifest::{Entry, Extent};
use intellistor_storage::{ContentDigest, read_at};
use tar::EntryType;

use crate::backup::archiver::content::{ArchivedContent, Copied, ReadOutcome, has_content};
use crate::backup::archiver::file_copy::{Body, FileCopy};
use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::known_content::{Found, KnownContent};
use crate::backup::archiver::large_files::write_copy;
use crate::backup::archiver::tar_header::TarEntry;
use crate::progress::Progress;
use crate::source::{self, Extended, FileMetadata, SourceKind};

/// Archives small files.
#[derive(Debug, Default)]
pub(crate) struct SmallFiles {
    /// The content of the file at hand; what stood in it is written over.
    buffer: Vec<u8>,
}

/// The file at hand.
#[derive(Debug)]
pub(crate) struct SmallFile<'a> {
    pub(crate) file: &'a File,
    pub(crate) metadata: &'a FileMetadata,
    pub(crate) path: &'a [u8],
    pub(crate) extended: &'a Extended,
    /// What the base has under its path.
    pub(crate) before: Option<&'a Entry>,
    /// Whether one that changed while it was read is read again: then nothing is written.
    pub(crate) again: bool,
}

impl SmallFiles {
    /// Archives a file's content.
    pub(crate) fn archive(
        &mut self,
        subject: &SmallFile<'_>,
        frames: &mut FrameWriter,
        known: &mut KnownContent,
        progress: &Progress,
    ) -> Result<Copied, StopReason> {
        let SmallFile { file, metadata, path, extended, before, again } = *subject;
        let data = match source::data_map(file, metadata) {
            Ok(data) => data,
            Err(e) => return Ok(e.into()),
        };
        let read = match self.read(file, metadata.size) {
            Ok(read) => read,
            Err(e) => return Ok(e.into()),
        };
        let has_holes = !matches!(data.as_slice(), [all] if *all == (0..metadata.size));
        let bytes = &self.buffer[..read];
        let outcome = match read as u64 {
            read if read < metadata.size => ReadOutcome::shrank(metadata.size, read),
            _ => ReadOutcome::of(file, metadata),
        };
        match outcome {
            // It is read whole, whatever its size.
            ReadOutcome::Longer | ReadOutcome::Unreadable(_) => {
                return Ok(Copied { archived: None, outcome });
            }
            ReadOutcome::Changed(_) if again => return Ok(Copied { archived: None, outcome }),
            ReadOutcome::Changed(_) | ReadOutcome::Whole => {}
        }
        let mut digest = ContentDigest::default();
        digest.data(bytes);
        let sha256 = digest.finish();
        let before = before.filter(|before| has_content(before, &sha256, read as u64));
        let found = match before {
            Some(before) => Some(Found::Base(Box::new(before.clone()))),
            None if read > 0 => known.find(&sha256, read as u64)?,
            None => None,
        };
        // A stream is no copy.
        let found =
            found.filter(|found| metadata.kind == SourceKind::File || matches!(found, Found::Base(_)));
        let archived = match found {
            Some(Found::Base(entry)) => ArchivedContent::of_base(*entry, sha256),
            Some(Found::Run(first)) => write_copy(&first, path, metadata, extended, frames)?,
            None if read > 0 && has_holes && matches!(outcome, ReadOutcome::Whole) => {
                let copy = FileCopy { body: Body::File(file), metadata, extended, path };
                return copy.run(frames, progress, None);
            }
            None => {
                let size = read as u64;
                let entry = TarEntry {
                    size,
                    extended: Some(extended),
                    ..TarEntry::new(path, EntryType::Regular, metadata)
                };
                frames.header(entry.encode(), size, 0, metadata.identity)?;
                let offset = frames.position();
                frames.content(bytes)?;
                frames.pad()?;
                let extent = Extent { archive: 0, offset, length: size, at: None };
                let extents = Vec::from_iter((size > 0).then_some(extent));
                ArchivedContent { bytes: size, sha256, extents, ..ArchivedContent::default() }
            }
        };
        progress.bytes.add(read as u64);
        Ok(Copied { archived: Some(archived), outcome })
    }

    /// Reads up to `size` bytes; fewer where the file ends before.
    fn read(&mut self, file: &File, size: u64) -> io::Result<usize> {
        let size = size as usize;
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let mut filled = 0;
        while filled < size {
            match read_at(file, &mut self.buffer[filled..size], filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}
