//! One file's content on its way into the tar stream.

use std::fs::File;
use std::io;
use std::ops::Range;

use intellistor_storage::manifest::{Extent, Xattr};
use intellistor_storage::{MOST_HASHED_HOLES, read_at};
use tar::EntryType;

use crate::backup::archiver::frames::{Frames, Halt};
use crate::backup::archiver::tar_header::TarEntry;
use crate::progress::Progress;
use crate::source::{self, Facts};

/// Where the bytes come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// An open file.
    File(&'a File),
    /// What was read of a file whose size is a lie.
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

/// A file's content, and what was known of the file when it was opened.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) facts: &'a Facts,
    pub(crate) xattrs: &'a [Xattr],
    pub(crate) path: &'a [u8],
}

/// What was archived, and how reading ended.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) what: Archived,
    pub(crate) fate: Fate,
}

/// What was archived.
#[derive(Debug)]
pub(crate) struct Archived {
    /// Size of what was read, holes included.
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) extents: Vec<Extent>,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The file is the same as when it was opened.
    Whole,
    /// It is not; this is how.
    Changed(String),
    /// It is the same, but has more bytes than the system gives as its size; so many were read.
    Longer,
    /// The disk refused.
    Unreadable(io::Error),
}

/// How one stretch ended.
enum Stretch {
    Read,
    EndedAt(u64),
    Unreadable(io::Error),
}

impl Content<'_> {
    /// Writes header, content and padding. The stream stays valid whatever the file does meanwhile: exactly the
    /// bytes that the header announces are written, zeros where there was nothing to read.
    pub(crate) fn copy(&self, frames: &mut Frames, progress: &Progress) -> Result<Copied, Halt> {
        let size = self.facts.size;
        let data = match self.body {
            Body::File(file) => match source::data_map(file, self.facts) {
                Ok(data) => data,
                Err(e) => return Ok(self.unreadable(e)),
            },
            Body::Read(_) => Vec::from_iter((size > 0).then_some(0..size)),
        };
        let covers_all = match data.as_slice() {
            [] => size == 0,
            [all] => *all == (0..size),
            _ => false,
        };
        let header = TarEntry {
            path: self.path,
            kind: EntryType::Regular,
            size,
            mtime_ns: self.facts.mtime_ns,
            unix: self.facts.unix.as_ref(),
            windows: self.facts.windows,
            link: None,
            xattrs: self.xattrs,
            sparse: (!covers_all).then_some(&data),
        };
        let stored_bytes: u64 = data.iter().map(|stretch| stretch.end - stretch.start).sum();
        let hole_bytes = size.saturating_sub(stored_bytes);
        frames.header(header.encode(), stored_bytes, hole_bytes, self.facts.identity)?;

        let mut extents = Vec::with_capacity(data.len());
        let mut position = 0;
        let mut failed = None;
        for stretch in data {
            if failed.is_some() {
                frames.write_zeros(stretch.end - stretch.start)?;
                continue;
            }
            pass_hole(stretch.start - position, frames, progress);
            let hole_before = stretch.start > position;
            let offset = frames.position();
            let outcome = self.copy_stretch(&stretch, frames, progress)?;
            let end = match outcome {
                Stretch::Read => stretch.end,
                Stretch::EndedAt(end) => {
                    failed = Some(Fate::Changed(format!(
                        "it shrank from {size} bytes to {end} while it was read"
                    )));
                    end
                }
                Stretch::Unreadable(e) => {
                    failed = Some(Fate::Unreadable(e));
                    stretch.start
                }
            };
            if end > stretch.start {
                let at = hole_before.then_some(stretch.start);
                extents.push(Extent { archive: 0, offset, length: end - stretch.start, at });
            }
            position = end;
        }
        frames.pad()?;
        // One that ended early keeps its size where its holes are not hashed: whether they are follows from their length.
        if failed.is_none() || hole_bytes > MOST_HASHED_HOLES && !matches!(failed, Some(Fate::Unreadable(_)))
        {
            pass_hole(size - position, frames, progress);
            position = size;
        }
        let fate = match failed {
            Some(fate) => fate,
            None => self.compare(),
        };
        Ok(Copied { what: Archived { bytes: position, sha256: frames.content_sha256(), extents }, fate })
    }

    fn copy_stretch(
        &self,
        stretch: &Range<u64>,
        frames: &mut Frames,
        progress: &Progress,
    ) -> Result<Stretch, Halt> {
        let mut position = stretch.start;
        while position < stretch.end {
            let room = frames.room()?;
            let most = (room.len() as u64).min(stretch.end - position) as usize;
            match self.body.read_at(&mut room[..most], position) {
                Ok(0) => {
                    frames.write_zeros(stretch.end - position)?;
                    return Ok(Stretch::EndedAt(position));
                }
                Ok(n) => {
                    frames.advance_content(n);
                    position += n as u64;
                    progress.bytes.add(n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    frames.write_zeros(stretch.end - position)?;
                    return Ok(Stretch::Unreadable(e));
                }
            }
        }
        Ok(Stretch::Read)
    }

    /// Whether the file still is what it was when it was opened.
    fn compare(&self) -> Fate {
        let Body::File(file) = self.body else { return Fate::Whole };
        // Read before its size is asked for: a file system may look at it only then. That there is an end is all that is to
        // be known; what the system says at it does not matter.
        let is_longer = source::goes_on_behind(file, self.facts.size).unwrap_or(false);
        let now = match source::facts_of(file) {
            Ok(now) => now,
            Err(e) => return Fate::Unreadable(e),
        };
        let before = self.facts;
        if now.size != before.size {
            let verb = if now.size > before.size { "grew" } else { "shrank" };
            return Fate::Changed(format!(
                "it {verb} from {} bytes to {} while it was read",
                before.size, now.size
            ));
        }
        // A new link to the file or a changed mode moves ctime alone and leaves the content as it was read.
        if now.mtime_ns != before.mtime_ns {
            return Fate::Changed("it was written to while it was read".to_owned());
        }
        if is_longer { Fate::Longer } else { Fate::Whole }
    }

    fn unreadable(&self, e: io::Error) -> Copied {
        let what = Archived { bytes: 0, sha256: [0; 32], extents: Vec::new() };
        Copied { what, fate: Fate::Unreadable(e) }
    }
}

/// Counts a hole, a stretch at a time where it is hashed, so that the progress moves.
fn pass_hole(bytes: u64, frames: &mut Frames, progress: &Progress) {
    const STRETCH_BYTES: u64 = 64 << 20;
    let most = if frames.leaves_out_holes() { bytes } else { STRETCH_BYTES };
    let mut left = bytes;
    while left > 0 {
        let stretch = left.min(most);
        frames.hole(stretch);
        progress.bytes.add(stretch);
        left -= stretch;
    }
}
