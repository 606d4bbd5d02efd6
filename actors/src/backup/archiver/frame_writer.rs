//! The tar stream, cut into frames as it is written.
//!
//! Each frame carries what a run that resumes after it needs to know: a [`Cursor`]. A stream that is
//! [resumed](FrameWriter::resume) inside an entry has that entry made again from its first byte; the part that was
//! uploaded before is compared instead of sent, and where it differs the entry has [diverged](StopReason::Diverged).

use intellistor_storage::archive::FRAME_BYTES;
use intellistor_storage::manifest::{Entry, Listed, Problem};
use intellistor_storage::memory::buffers::{Buffer, Buffers};
use intellistor_storage::state::{Cursor, PartialEntry};
use intellistor_storage::{ContentDigest, Error};

use crate::backup::archiver::frame::{FrameArchived, Recorded, listed_bytes, problem_bytes};
use crate::backup::archiver::open_entry::OpenEntry;
use crate::backup::archiver::tar_header::{BLOCK_BYTES, END_MARKER};
use crate::link::{Link, Stopped};
use crate::source::FileId;
use crate::threaded::StageError;

/// What is recorded with a frame takes about that much memory at most, and as much as one entry.
const MOST_RECORDED_BYTES: u64 = 1 << 20;

/// Why writing ends early.
#[derive(Debug)]
pub(crate) enum StopReason {
    /// The stage cannot continue.
    Stage(StageError),
    /// The entry is no longer the one of which an earlier run uploaded the beginning.
    Diverged,
}

impl From<Stopped> for StopReason {
    fn from(stopped: Stopped) -> Self {
        Self::Stage(stopped.into())
    }
}

impl From<Error> for StopReason {
    fn from(error: Error) -> Self {
        Self::Stage(error.into())
    }
}

/// Fills frames and hands over each one that is full. What is recorded travels with the frame that holds the
/// last byte written before.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    next: Link<FrameArchived>,
    seq: u64,
    buffers: Buffers,
    frame: Buffer,
    filled: usize,
    position: u64,
    recorded: Recorded,
    /// What that takes in memory, about, in bytes.
    recorded_bytes: u64,
    /// Index of the entry that is being written, or comes next.
    entry: u64,
    open: Option<OpenEntry>,
    uploaded: Option<UploadedPrefix>,
    /// The large file that an earlier run archived whole, without its chunk list.
    finished: Option<Box<Entry>>,
}

/// The beginning of an entry that an earlier run uploaded, and in which this run begins.
#[derive(Debug)]
struct UploadedPrefix {
    partial: PartialEntry,
    /// Where the uploaded bytes end: where this run's first frame begins.
    until: u64,
}

impl FrameWriter {
    /// A stream of which an earlier run uploaded `position` bytes, up to where `cursor` says.
    pub(crate) fn resume(next: Link<FrameArchived>, position: u64, cursor: Cursor) -> Self {
        let mut partial = cursor.partial_entry;
        let finished = partial.as_mut().and_then(|partial| partial.finished.take());
        // Of an entry that was about to begin nothing was uploaded.
        let partial = partial.filter(|partial| partial.tar_offset < position);
        Self {
            next,
            seq: 0,
            buffers: Buffers::default(),
            frame: Buffer::default(),
            filled: 0,
            position: partial.as_ref().map_or(position, |partial| partial.tar_offset),
            recorded: Recorded::default(),
            recorded_bytes: 0,
            entry: cursor.entry,
            open: None,
            uploaded: partial.map(|partial| UploadedPrefix { partial, until: position }),
            finished,
        }
    }

    /// Where the next byte goes in the tar stream.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The entry with this index comes next. Hands over what was recorded once it is [`MOST_RECORDED_BYTES`], with whatever
    /// there is of a frame: entries without content would fill none.
    pub(crate) fn begin(&mut self, entry: u64) -> Result<(), StopReason> {
        self.entry = entry;
        self.open = None;
        // Within what was uploaded there is nothing to send, and the cursor would not be that of the bytes.
        if self.recorded_bytes >= MOST_RECORDED_BYTES && self.uploaded.is_none() {
            self.hand_over(false)?;
        }
        Ok(())
    }

    /// Whether what is written was uploaded before, and is only compared.
    pub(crate) fn is_within_uploaded(&self) -> bool {
        self.uploaded.is_some()
    }

    /// Whether what was uploaded is a part of a member of ours: it is to be [abandoned](Self::abandon_uploaded).
    pub(crate) fn is_within_internal(&self) -> bool {
        self.uploaded.as_ref().is_some_and(|uploaded| uploaded.partial.internal)
    }

    /// The large file that comes next, if an earlier run archived it whole and only its chunk list is missing.
    pub(crate) fn take_finished(&mut self) -> Option<Box<Entry>> {
        self.finished.take()
    }

    /// Writes an entry's header. `stored_bytes` of content follow, not counting what fills up the last block, and
    /// `hole_bytes` of it are not stored.
    pub(crate) fn header(
        &mut self,
        header: Vec<u8>,
        stored_bytes: u64,
        hole_bytes: u64,
        identity: Option<FileId>,
    ) -> Result<(), StopReason> {
        if let Some(UploadedPrefix { partial, .. }) = &self.uploaded {
            let same_file = partial.identity == identity.map(|id| (id.device, id.inode));
            // The header has size, times, mode, owner and attributes.
            if !same_file || partial.header != header {
                return Err(StopReason::Diverged);
            }
            self.position = partial.tar_offset;
        }
        let (tar_offset, bytes) = (self.position, header.clone());
        let digest = ContentDigest::of(stored_bytes.saturating_add(hole_bytes), stored_bytes);
        self.open =
            Some(OpenEntry { tar_offset, header, stored_bytes, identity, digest, ..OpenEntry::default() });
        self.write(&bytes)
    }

    /// Writes a member of ours whole, and tells where its content begins. No run compares it: of one that is cut, the rest
    /// is filled with zeros. `finished` is the file whose chunk list it is, archived otherwise.
    pub(crate) fn internal_member(
        &mut self,
        header: Vec<u8>,
        content: &[u8],
        finished: Option<&Entry>,
    ) -> Result<u64, StopReason> {
        if self.uploaded.is_some() {
            // What was uploaded is the beginning of something else.
            return Err(StopReason::Diverged);
        }
        self.open = Some(OpenEntry::internal(self.position, header.clone(), content.len() as u64, finished));
        self.write(&header)?;
        let offset = self.position;
        self.write(content)?;
        self.pad()?;
        self.open = None;
        Ok(offset)
    }

    /// Room for at least one byte, to read into; [`advance`](Self::advance) counts what was read.
    pub(crate) fn room(&mut self) -> Result<&mut [u8], StopReason> {
        if let Some(UploadedPrefix { until, .. }) = &self.uploaded {
            let left = *until - self.position;
            if left > 0 {
                self.frame.resize(FRAME_BYTES, 0);
                return Ok(&mut self.frame[..FRAME_BYTES.min(left as usize)]);
            }
            self.compare()?;
        }
        if self.filled == FRAME_BYTES {
            self.hand_over(false)?;
        }
        self.frame.resize(FRAME_BYTES, 0);
        Ok(&mut self.frame[self.filled..])
    }

    /// Compares the content up to here with the content that was uploaded.
    fn compare(&mut self) -> Result<(), StopReason> {
        let now = self.open.as_ref().map(|open| (open.read_bytes, open.read_sha256()));
        match &self.uploaded {
            Some(UploadedPrefix { partial, .. })
                if now != Some((partial.read_bytes, partial.read_sha256)) =>
            {
                Err(StopReason::Diverged)
            }
            _ => {
                self.uploaded = None;
                Ok(())
            }
        }
    }

    /// Counts `bytes` of the room as written.
    fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
        if self.uploaded.is_none() {
            self.filled += bytes;
        }
    }

    /// Counts `bytes` of the room as written and as content that was read, and returns them.
    pub(crate) fn advance_content(&mut self, bytes: usize) -> &[u8] {
        let from = self.filled;
        self.advance(bytes);
        let read = &self.frame[from..from + bytes];
        if let Some(open) = &mut self.open {
            open.digest.data(read);
            open.read_bytes += bytes as u64;
        }
        read
    }

    /// Writes content that is in memory, and whose digest is known: it is hashed again only where a frame ends within it.
    pub(crate) fn content(&mut self, mut bytes: &[u8]) -> Result<(), StopReason> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            let is_hashed = n == room.len() || self.uploaded.is_some();
            self.advance(n);
            let (written, rest) = bytes.split_at(n);
            if let Some(open) = &mut self.open {
                open.read_bytes += n as u64;
                // What follows in this frame is padding, which ends with it at the latest: both are multiples of a block.
                if is_hashed {
                    open.digest.data(written);
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Whether holes of the open entry are counted at once.
    pub(crate) fn leaves_out_holes(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.digest.leaves_out_holes())
    }

    /// Counts a hole as content that was read.
    pub(crate) fn hole(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.digest.hole(bytes);
            open.read_bytes = open.read_bytes.saturating_add(bytes);
        }
    }

    /// The digest of the content that was read since the header.
    pub(crate) fn content_sha256(&self) -> [u8; 32] {
        self.open.as_ref().map_or_else(|| ContentDigest::default().finish(), OpenEntry::read_sha256)
    }

    /// Writes all of `bytes`.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), StopReason> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.advance(n);
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Writes zeros.
    pub(crate) fn write_zeros(&mut self, mut bytes: u64) -> Result<(), StopReason> {
        while bytes > 0 {
            let room = self.room()?;
            let n = (room.len() as u64).min(bytes) as usize;
            room[..n].fill(0);
            self.advance(n);
            bytes -= n as u64;
        }
        Ok(())
    }

    /// Fills up the last block of an entry.
    pub(crate) fn pad(&mut self) -> Result<(), StopReason> {
        self.write_zeros(self.position.next_multiple_of(BLOCK_BYTES) - self.position)
    }

    /// Completes the partly uploaded entry with zeros, since it has changed: the stream stays valid tar, and a later
    /// copy overrides this one.
    pub(crate) fn abandon_uploaded(&mut self) -> Result<(), StopReason> {
        let Some(UploadedPrefix { partial, until }) = self.uploaded.take() else { return Ok(()) };
        self.position = until;
        let header_end = partial.tar_offset + partial.header.len() as u64;
        let end = (header_end + partial.stored_bytes).next_multiple_of(BLOCK_BYTES);
        let unsent = header_end.saturating_sub(until).min(partial.header.len() as u64) as usize;
        let header_rest = partial.header[partial.header.len() - unsent..].to_vec();
        // Should this run end within the zeros, the next one still finds the content complete.
        self.open = Some(OpenEntry::abandoned(partial, self.finished.clone()));
        self.write(&header_rest)?;
        self.write_zeros(end.saturating_sub(self.position))
    }

    /// Takes what was recorded since the last frame was handed over.
    pub(crate) fn take_recorded(&mut self) -> Recorded {
        self.recorded_bytes = 0;
        std::mem::take(&mut self.recorded)
    }

    /// Records again what was [taken](Self::take_recorded).
    pub(crate) fn put_back(&mut self, recorded: Recorded) {
        self.recorded_bytes += recorded.memory_bytes();
        self.recorded.append(recorded);
    }

    /// Records what is complete.
    pub(crate) fn record(&mut self, listed: Listed) {
        self.recorded_bytes += listed_bytes(&listed);
        self.recorded.entries.push(listed);
    }

    /// Records an entry that was skipped or changed.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.recorded_bytes += problem_bytes(&problem);
        self.recorded.problems.push(problem);
    }

    /// Closes the stream with a frame that holds the end marker and nothing else; waits until all is taken over.
    pub(crate) fn close(&mut self) -> Result<(), StopReason> {
        self.abandon_uploaded()?;
        if self.filled > 0 {
            self.hand_over(false)?;
        }
        self.write(&END_MARKER)?;
        self.hand_over(true)?;
        Ok(self.next.flush()?)
    }

    fn hand_over(&mut self, last: bool) -> Result<(), StopReason> {
        let mut tar = std::mem::replace(&mut self.frame, self.buffers.take());
        tar.truncate(std::mem::take(&mut self.filled));
        let seq = self.seq;
        self.seq += 1;
        let mut recorded = self.take_recorded();
        recorded.cursor =
            Cursor { entry: self.entry, partial_entry: self.open.as_ref().map(OpenEntry::partial_entry) };
        Ok(self.next.send(FrameArchived { seq, tar, recorded, last })?)
    }
}
