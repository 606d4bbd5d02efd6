//! Puts a large file together of chunks: extents where they are known, and pieces in this archive for the others.
//!
//! Each piece is a member of its own, so that plain `tar` cannot make a wrong file of it. What it holds is recorded as soon as
//! it is complete: a run that resumes knows these chunks, though the file's entry is not there yet.

use std::collections::HashMap;

use intellistor_storage::manifest::{ChunkId, Extent, Listed, StoredChunk};

use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::known_chunks::KnownChunks;
use crate::backup::archiver::members::piece_header;
use crate::backup::chunker::CutChunk;

/// Extents of a file, about: beyond it what is known is stored anew, where it is not adjacent to what came before.
const MOST_EXTENTS: usize = 32_768;
/// The content of a piece, unless the file is so large that it would have more than [`MOST_EXTENTS`] of them.
const PIECE_BYTES: u64 = 1 << 20;
/// The content of a piece of the largest files: that much is in memory.
const MOST_PIECE_BYTES: u64 = 8 << 20;

/// Where the chunks are that this run has stored of a file, in this archive's tar stream.
pub(crate) type Stored = HashMap<ChunkId, u64>;

/// The file that is put together.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    frames: &'a mut FrameWriter,
    known: &'a KnownChunks,
    stored: &'a mut Stored,
    piece_bytes: usize,
    /// The content of the piece that is gathered.
    piece: Vec<u8>,
    /// The chunks in it.
    gathered: Vec<StoredChunk>,
    extents: Vec<Extent>,
    /// Of the file, holes included.
    position: u64,
    /// Whether the last bytes were a hole.
    hole: bool,
}

impl<'a> Pieces<'a> {
    /// For a file of `size` bytes.
    pub(crate) fn new(
        frames: &'a mut FrameWriter,
        known: &'a KnownChunks,
        stored: &'a mut Stored,
        size: u64,
    ) -> Self {
        let piece_bytes = (size / MOST_EXTENTS as u64).clamp(PIECE_BYTES, MOST_PIECE_BYTES) as usize;
        Self {
            frames,
            known,
            stored,
            piece_bytes,
            piece: Vec::new(),
            gathered: Vec::new(),
            extents: Vec::new(),
            position: 0,
            hole: false,
        }
    }

    /// Takes the next chunk.
    pub(crate) fn chunk(&mut self, chunk: CutChunk<'_>) -> Result<(), StopReason> {
        let length = chunk.bytes.len() as u64;
        let has_room = self.extents.len() < MOST_EXTENTS;
        if let Some(offset) = self.stored_at(&chunk.id)
            && (has_room || self.is_adjacent(0, offset))
        {
            self.push(Extent { archive: 0, offset, length, at: None });
            return Ok(());
        }
        if let Some(found) = self.known.find(&chunk.id, length)
            && has_room
        {
            found.for_each(|extent| self.push(extent));
            return Ok(());
        }
        if !self.piece.is_empty() && self.piece.len() + chunk.bytes.len() > self.piece_bytes {
            self.end_piece()?;
        }
        let offset = self.piece_offset() + self.piece.len() as u64;
        self.piece.extend_from_slice(chunk.bytes);
        self.gathered.push(StoredChunk { id: chunk.id, length, offset });
        self.push(Extent { archive: 0, offset, length, at: None });
        Ok(())
    }

    /// Takes a hole.
    pub(crate) fn hole(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
        self.hole |= bytes > 0;
    }

    /// Ends the file; gives its extents.
    pub(crate) fn finish(mut self) -> Result<Vec<Extent>, StopReason> {
        self.end_piece()?;
        Ok(self.extents)
    }

    /// Where a chunk is that was stored before, or is in the piece that is gathered.
    fn stored_at(&self, id: &ChunkId) -> Option<u64> {
        let gathered = || self.gathered.iter().find(|chunk| chunk.id == *id).map(|chunk| chunk.offset);
        self.stored.get(id).copied().or_else(gathered)
    }

    /// Where the content of the next piece begins in the tar stream: all its headers have one length.
    fn piece_offset(&self) -> u64 {
        self.frames.position() + piece_header(0, 0).len() as u64
    }

    fn push(&mut self, extent: Extent) {
        let at = std::mem::take(&mut self.hole).then_some(self.position);
        self.position += extent.length;
        match self.extents.last_mut() {
            Some(last) if at.is_none() && adjoins(last, extent.archive, extent.offset) => {
                last.length += extent.length;
            }
            _ => self.extents.push(Extent { at, ..extent }),
        }
    }

    fn is_adjacent(&self, archive: u32, offset: u64) -> bool {
        !self.hole && self.extents.last().is_some_and(|last| adjoins(last, archive, offset))
    }

    fn end_piece(&mut self) -> Result<(), StopReason> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let header = piece_header(self.frames.position(), self.piece.len() as u64);
        self.frames.internal_member(header, &self.piece, None)?;
        self.piece.clear();
        let gathered = std::mem::take(&mut self.gathered);
        self.stored.extend(gathered.iter().map(|chunk| (chunk.id, chunk.offset)));
        self.frames.record(Listed::Pieces(gathered));
        Ok(())
    }
}

fn adjoins(last: &Extent, archive: u32, offset: u64) -> bool {
    last.archive == archive && last.offset + last.length == offset
}
