//! Copies one file's content into the tar stream.

use std::fs::File;
use std::io;
use std::ops::Range;

use intellistor_storage::manifest::Extent;
use intellistor_storage::{MOST_HASHED_HOLES, read_at};
use tar::EntryType;

use crate::backup::archiver::content::{ArchivedContent, Copied, ReadOutcome};
use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::helper::Helper;
use crate::backup::archiver::tar_header::TarEntry;
use crate::progress::Progress;
use crate::source::{self, Extended, FileMetadata};

/// Where the bytes come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// An open file.
    File(&'a File),
    /// What was read of a file whose size the system does not know.
    Read(&'a [u8]),
}

impl Body<'_> {
    fn read_at(self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => read_at(file, buffer, at),
            Self::Read(bytes) => {
                let rest = bytes.get(at as usize..).unwrap_or_default();
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                Ok(n)
            }
        }
    }
}

/// A file's content, and its metadata as of when it was opened.
#[derive(Debug)]
pub(crate) struct FileCopy<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) metadata: &'a FileMetadata,
    pub(crate) extended: &'a Extended,
    pub(crate) path: &'a [u8],
}

/// How reading one extent ended.
enum ExtentOutcome {
    Read,
    EndedAt(u64),
    Unreadable(io::Error),
}

impl FileCopy<'_> {
    /// Writes header, content and padding. The stream stays valid whatever the file does meanwhile: exactly the
    /// bytes that the header announces are written, zeros where there was nothing to read.
    ///
    /// The bytes and holes go to `helper` too, if there is one: it cuts them.
    pub(crate) fn run(
        &self,
        frames: &mut FrameWriter,
        progress: &Progress,
        mut helper: Option<&mut Helper>,
    ) -> Result<Copied, StopReason> {
        let size = self.metadata.size;
        let data = match self.body {
            Body::File(file) => match source::data_map(file, self.metadata) {
                Ok(data) => data,
                Err(e) => return Ok(e.into()),
            },
            Body::Read(_) => Vec::from_iter((size > 0).then_some(0..size)),
        };
        let covers_all = match data.as_slice() {
            [] => size == 0,
            [all] => *all == (0..size),
            _ => false,
        };
        let header = TarEntry {
            size,
            extended: Some(self.extended),
            sparse: (!covers_all).then_some(&data),
            ..TarEntry::new(self.path, EntryType::Regular, self.metadata)
        };
        let stored_bytes: u64 = data.iter().map(|extent| extent.end - extent.start).sum();
        let hole_bytes = size.saturating_sub(stored_bytes);
        frames.header(header.encode(), stored_bytes, hole_bytes, self.metadata.identity)?;

        let mut extents = Vec::with_capacity(data.len());
        let mut position = 0;
        let mut failed = None;
        for extent in data {
            if failed.is_some() {
                frames.write_zeros(extent.end - extent.start)?;
                continue;
            }
            pass_hole(extent.start - position, frames, progress, helper.as_deref_mut());
            let hole_before = extent.start > position;
            let offset = frames.position();
            let outcome = self.copy_extent(&extent, frames, progress, helper.as_deref_mut())?;
            let end = match outcome {
                ExtentOutcome::Read => extent.end,
                ExtentOutcome::EndedAt(end) => {
                    failed = Some(ReadOutcome::shrank(size, end));
                    end
                }
                ExtentOutcome::Unreadable(e) => {
                    failed = Some(ReadOutcome::Unreadable(e));
                    extent.start
                }
            };
            if end > extent.start {
                let at = hole_before.then_some(extent.start);
                extents.push(Extent { archive: 0, offset, length: end - extent.start, at });
            }
            position = end;
        }
        frames.pad()?;
        // One that ended early keeps its size where its holes are not hashed: whether they are follows from their length.
        if failed.is_none()
            || hole_bytes > MOST_HASHED_HOLES && !matches!(failed, Some(ReadOutcome::Unreadable(_)))
        {
            pass_hole(size - position, frames, progress, helper);
            position = size;
        }
        let outcome = failed.unwrap_or_else(|| match self.body {
            Body::File(file) => ReadOutcome::of(file, self.metadata),
            Body::Read(_) => ReadOutcome::Whole,
        });
        let sha256 = frames.content_sha256();
        let archived =
            ArchivedContent { bytes: position, sha256, extents, is_member: true, ..Default::default() };
        Ok(Copied { archived: Some(archived), outcome })
    }

    fn copy_extent(
        &self,
        extent: &Range<u64>,
        frames: &mut FrameWriter,
        progress: &Progress,
        mut helper: Option<&mut Helper>,
    ) -> Result<ExtentOutcome, StopReason> {
        let mut position = extent.start;
        while position < extent.end {
            let room = frames.room()?;
            let most = (room.len() as u64).min(extent.end - position) as usize;
            match self.body.read_at(&mut room[..most], position) {
                Ok(0) => {
                    frames.write_zeros(extent.end - position)?;
                    return Ok(ExtentOutcome::EndedAt(position));
                }
                Ok(n) => {
                    let read = frames.advance_content(n);
                    if let Some(helper) = helper.as_deref_mut() {
                        helper.data(read);
                    }
                    position += n as u64;
                    progress.bytes.add(n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    frames.write_zeros(extent.end - position)?;
                    return Ok(ExtentOutcome::Unreadable(e));
                }
            }
        }
        Ok(ExtentOutcome::Read)
    }
}

/// Counts a hole, a step at a time where it is hashed, so that the progress moves.
fn pass_hole(bytes: u64, frames: &mut FrameWriter, progress: &Progress, helper: Option<&mut Helper>) {
    const HOLE_STEP_BYTES: u64 = 64 << 20;
    let most = if frames.leaves_out_holes() { bytes } else { HOLE_STEP_BYTES };
    if let Some(helper) = helper {
        helper.hole(bytes);
    }
    let mut left = bytes;
    while left > 0 {
        let step = left.min(most);
        frames.hole(step);
        progress.bytes.add(step);
        left -= step;
    }
}
