//! Cuts a file as it is read, and makes its chunk list and its sketch.

use intellistor_storage::keys::ContentKey;
use intellistor_storage::manifest::{Chunk, ChunkList, HOLE, Sketch, SketchBuilder};

use crate::backup::chunker::{Chunker, CutChunk};

/// What a large file was cut into.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Absent where the file has more chunks than a list may have.
    pub(crate) list: Option<ChunkList>,
    /// Absent where the file is nothing but holes.
    pub(crate) sketch: Option<Sketch>,
}

/// Takes a file's bytes and holes in their order.
#[derive(Debug)]
pub(crate) struct ListBuilder {
    chunker: Chunker,
    built: Built,
}

#[derive(Debug)]
struct Built {
    list: Option<ChunkList>,
    sketch: SketchBuilder,
    /// The hole that the last bytes were.
    hole: u64,
}

impl ListBuilder {
    /// For chunks of about `average` bytes, which [`average_for`](crate::backup::chunker::average_for) chose.
    pub(crate) fn new(average: u32, key: &ContentKey) -> Self {
        let built = Built { list: Some(ChunkList::new(average)), sketch: SketchBuilder::new(key), hole: 0 };
        Self { chunker: Chunker::new(average), built }
    }

    /// Takes bytes, and hands out the chunks that they complete.
    ///
    /// # Errors
    /// The first of `found`'s.
    pub(crate) fn data<E>(
        &mut self,
        block: &[u8],
        mut found: impl FnMut(CutChunk<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { chunker, built } = self;
        built.end_hole();
        chunker.data(block, |chunk| {
            built.add(&chunk);
            found(chunk)
        })
    }

    /// Takes a hole, which ends the chunk before it.
    ///
    /// # Errors
    /// The first of `found`'s.
    pub(crate) fn hole<E>(
        &mut self,
        bytes: u64,
        found: impl FnMut(CutChunk<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.end_chunk(found)?;
        self.built.hole = self.built.hole.saturating_add(bytes);
        Ok(())
    }

    /// Ends the last chunk.
    ///
    /// # Errors
    /// The first of `found`'s.
    pub(crate) fn finish<E>(mut self, found: impl FnMut(CutChunk<'_>) -> Result<(), E>) -> Result<Cut, E> {
        self.end_chunk(found)?;
        self.built.end_hole();
        let Built { list, sketch, .. } = self.built;
        Ok(Cut { list, sketch: sketch.sketch() })
    }

    /// The sketch of the chunks so far.
    pub(crate) fn sketch(&self) -> Option<Sketch> {
        self.built.sketch.sketch()
    }

    /// Whether more bytes make no difference to the [sketch](Self::sketch).
    pub(crate) fn is_sketched(&self) -> bool {
        self.built.sketch.is_complete()
    }

    /// The list of the chunks so far.
    pub(crate) fn list(&self) -> Option<&ChunkList> {
        self.built.list.as_ref()
    }

    fn end_chunk<E>(&mut self, mut found: impl FnMut(CutChunk<'_>) -> Result<(), E>) -> Result<(), E> {
        let Self { chunker, built } = self;
        chunker.end(|chunk| {
            built.add(&chunk);
            found(chunk)
        })
    }
}

impl Built {
    fn add(&mut self, chunk: &CutChunk<'_>) {
        let chunk = Chunk { length: chunk.bytes.len() as u64, id: chunk.id };
        self.sketch.add(&chunk);
        self.push(chunk);
    }

    fn end_hole(&mut self) {
        let length = std::mem::take(&mut self.hole);
        self.push(Chunk { length, id: HOLE });
    }

    fn push(&mut self, chunk: Chunk) {
        if self.list.as_mut().is_some_and(|list| !list.push(chunk)) {
            self.list = None;
        }
    }
}
