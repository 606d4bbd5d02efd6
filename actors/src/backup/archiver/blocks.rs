//! Reads a large file block by block, its holes as what they are.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use intellistor_storage::archive::FRAME_BYTES;
use intellistor_storage::memory::buffers::{Buffer, Buffers};
use intellistor_storage::{ContentDigest, MOST_HASHED_HOLES, read_at};

use crate::source::{self, FileMetadata};

/// An open file with its metadata, and where it has data.
#[derive(Debug)]
pub(crate) struct LargeFile<'a> {
    pub(crate) file: &'a File,
    pub(crate) metadata: &'a FileMetadata,
    data: Vec<Range<u64>>,
}

/// The next bytes of a file.
#[derive(Debug)]
pub(crate) enum Block {
    Data(Arc<Buffer>),
    Hole(u64),
}

impl<'a> LargeFile<'a> {
    /// # Errors
    /// The system's.
    pub(crate) fn new(file: &'a File, metadata: &'a FileMetadata) -> io::Result<Self> {
        Ok(Self { file, metadata, data: source::data_map(file, metadata)? })
    }

    pub(crate) fn size(&self) -> u64 {
        self.metadata.size
    }

    pub(crate) fn has_holes(&self) -> bool {
        !matches!(self.data.as_slice(), [all] if *all == (0..self.size()))
    }

    /// Whether its digest is that of its data alone: then it does not say what the content is.
    pub(crate) fn leaves_out_holes(&self) -> bool {
        self.hole_bytes() > MOST_HASHED_HOLES
    }

    /// The digest of its content, of which nothing was counted yet.
    pub(crate) fn digest(&self) -> ContentDigest {
        ContentDigest::of(self.size(), self.size() - self.hole_bytes())
    }

    /// Reads it from its beginning.
    pub(crate) fn blocks<'b>(&'b self, buffers: &'b Buffers) -> Blocks<'b> {
        Blocks { file: self, buffers, extent: 0, position: 0, ended: false }
    }

    fn hole_bytes(&self) -> u64 {
        let data: u64 = self.data.iter().map(|extent| extent.end - extent.start).sum();
        self.size().saturating_sub(data)
    }
}

/// The blocks of a file. They end early where it became shorter than its size, and after an error.
#[derive(Debug)]
pub(crate) struct Blocks<'b> {
    file: &'b LargeFile<'b>,
    buffers: &'b Buffers,
    /// Index of the extent that is read.
    extent: usize,
    /// What was read, holes included.
    position: u64,
    ended: bool,
}

impl Blocks<'_> {
    /// How much of the file the blocks so far were, in bytes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn read(&mut self, end: u64) -> io::Result<Buffer> {
        let mut block = self.buffers.take();
        block.resize(FRAME_BYTES.min((end - self.position) as usize), 0);
        let mut filled = 0;
        while filled < block.len() {
            match read_at(self.file.file, &mut block[filled..], self.position + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        block.truncate(filled);
        Ok(block)
    }
}

impl Iterator for Blocks<'_> {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.file.size();
        if self.ended || self.position >= size {
            return None;
        }
        let extent = self.file.data.get(self.extent).cloned().unwrap_or(size..size);
        if self.position < extent.start {
            let bytes = extent.start - self.position;
            self.position = extent.start;
            return Some(Ok(Block::Hole(bytes)));
        }
        let block = match self.read(extent.end) {
            Ok(block) => block,
            Err(e) => {
                self.ended = true;
                return Some(Err(e));
            }
        };
        if block.is_empty() {
            self.ended = true;
            // It keeps its size where its holes are not hashed: whether they are follows from their length.
            let rest = if self.file.leaves_out_holes() { size - self.position } else { 0 };
            self.position += rest;
            return (rest > 0).then_some(Ok(Block::Hole(rest)));
        }
        self.position += block.len() as u64;
        if self.position == extent.end {
            self.extent += 1;
        }
        Some(Ok(Block::Data(Arc::new(block))))
    }
}
