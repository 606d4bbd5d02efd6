//! Archives files of more than 1 MiB: what is known of them is not stored again.
//!
//! | the file | is |
//! | --- | --- |
//! | has a chunk list in the base, under its path | put together of known chunks and new pieces |
//! | has the size of one that is known, and its content | an entry that points there, or a copy |
//! | is similar to one in the base or in this archive, with a base | put together of known chunks and new pieces |
//! | is none of these | a member under its path |
//!
//! Without a base all files are members or copies, so that the archive is a complete tar by itself. Each file gets a chunk list
//! and a sketch. One core hashes while another one cuts: see [`Helper`].

use intellistor_storage::manifest::{ChunkList, Entry, Extent, Sketch, StoredChunk};

use crate::backup::archiver::blocks::{Block, LargeFile};
use crate::backup::archiver::candidates::Candidates;
use crate::backup::archiver::content::{ArchivedContent, Copied, ReadOutcome, has_content};
use crate::backup::archiver::file_copy::{Body, FileCopy};
use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::helper::Helper;
use crate::backup::archiver::known_chunks::KnownChunks;
use crate::backup::archiver::known_content::{Found, KnownContent, Likely};
use crate::backup::archiver::list_builder::{Cut, ListBuilder};
use crate::backup::archiver::members::copy_header;
use crate::backup::archiver::pieces::{Pieces, Stored};
use crate::backup::archiver::run_content::{First, HEAD_BYTES, head_of};
use crate::backup::chunker::average_for;
use crate::link::{Failures, Stopped};
use crate::progress::Progress;
use crate::source::{Extended, FileMetadata, SourceKind};

/// Archives large files.
#[derive(Debug)]
pub(crate) struct LargeFiles {
    helper: Helper,
    /// With a base.
    candidates: Option<Candidates>,
    /// The chunks of the file at hand that this run, or the one before, has stored.
    stored: Stored,
    /// The step that they belong to.
    step: u64,
}

/// Where things go.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    pub(crate) frames: &'a mut FrameWriter,
    pub(crate) known: &'a mut KnownContent,
    pub(crate) progress: &'a Progress,
    pub(crate) failures: &'a Failures,
}

/// The file at hand.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) file: LargeFile<'a>,
    pub(crate) path: &'a [u8],
    pub(crate) extended: &'a Extended,
    /// What the base has under its path.
    pub(crate) before: Option<&'a Entry>,
}

impl LargeFiles {
    /// `stored`: the chunks that the committed parts have of the file of `step`.
    pub(crate) fn new(
        helper: Helper,
        candidates: Option<Candidates>,
        step: u64,
        stored: Vec<StoredChunk>,
    ) -> Self {
        let stored = stored.into_iter().map(|chunk| (chunk.id, chunk.offset)).collect();
        Self { helper, candidates, stored, step }
    }

    /// The step with this number comes next, or again.
    pub(crate) fn begin(&mut self, step: u64) {
        if self.step != step {
            self.step = step;
            self.stored = Stored::default();
        }
    }

    /// Remembers a file that was archived now, with its list.
    pub(crate) fn insert(&mut self, entry: &Entry, list: &ChunkList) -> Result<(), StopReason> {
        if let Some(candidates) = &mut self.candidates {
            candidates.insert(entry, list)?;
        }
        Ok(())
    }

    /// Archives a file's content.
    pub(crate) fn archive(&mut self, subject: &Subject<'_>, way: &mut Way<'_>) -> Result<Copied, StopReason> {
        if let Some(finished) = way.frames.take_finished()
            && let Some(copied) = self.finish(subject, &finished, way)?
        {
            return Ok(copied);
        }
        let list = match (&mut self.candidates, subject.before) {
            (Some(candidates), Some(before)) => candidates.list_before(before),
            _ => None,
        };
        let before = subject.before.zip(list.as_ref());
        // What has its former self's size is a little changed, most likely; of another size it may be another file.
        let has_same_size = before.is_some_and(|(before, _)| before.size == subject.file.size());
        if !has_same_size && let Some(copied) = self.find_whole(subject, way)? {
            return Ok(copied);
        }
        if self.candidates.is_some() {
            let average = average_for(subject.file.size(), before.map(|(_, list)| list.average()));
            let sketch = match self.sketch(subject, average, way)? {
                Ok(sketch) => sketch,
                Err(e) => return Ok(e.into()),
            };
            let chunks = match &mut self.candidates {
                Some(candidates) => candidates.chunks(sketch.as_ref(), before, way.known)?,
                None => None,
            };
            if let Some(chunks) = chunks {
                return self.put_together(subject, average, &chunks, way);
            }
        }
        self.store_whole(subject, way)
    }

    /// A file that an earlier run archived whole, without its list: only the list is made.
    fn finish(
        &mut self,
        subject: &Subject<'_>,
        finished: &Entry,
        way: &mut Way<'_>,
    ) -> Result<Option<Copied>, StopReason> {
        let Subject { file, path, .. } = subject;
        let FileMetadata { size, mtime_ns, unix, windows, identity, .. } = file.metadata;
        let is_same = finished.raw_path() == *path
            && (finished.size, finished.mtime_ns) == (*size, *mtime_ns)
            && (&finished.unix, finished.windows) == (unix, *windows)
            && finished.inode == identity.map(|identity| identity.inode);
        if !is_same || file.leaves_out_holes() {
            return Ok(None);
        }
        self.helper.begin_hash(file.digest());
        let mut builder = ListBuilder::new(average_for(*size, None), self.helper.key());
        let buffers = self.helper.buffers();
        for block in file.blocks(&buffers) {
            way.check()?;
            match block {
                Ok(Block::Data(block)) => {
                    self.helper.block(block.clone());
                    builder.data(&block, |_| Ok::<_, StopReason>(()))?;
                }
                Ok(Block::Hole(bytes)) => {
                    self.helper.hole(bytes);
                    builder.hole(bytes, |_| Ok::<_, StopReason>(()))?;
                }
                Err(_) => return Ok(None),
            }
        }
        let sha256 = self.helper.end_hash();
        let outcome = ReadOutcome::of(file.file, file.metadata);
        if finished.sha256 != Some(sha256) || !matches!(outcome, ReadOutcome::Whole) {
            return Ok(None);
        }
        let Cut { list, sketch } = builder.finish(|_| Ok::<_, StopReason>(()))?;
        way.progress.bytes.add(*size);
        let content = ArchivedContent::of(finished, sha256);
        let archived = Some(ArchivedContent { list, sketch, is_member: true, ..content });
        Ok(Some(Copied { archived, outcome }))
    }

    /// Hashes a file whose content may be known; gives it if it is.
    fn find_whole(&mut self, subject: &Subject<'_>, way: &mut Way<'_>) -> Result<Option<Copied>, StopReason> {
        let file = &subject.file;
        if file.leaves_out_holes() {
            return Ok(None);
        }
        let is_likely = match way.known.has_size(file.size())? {
            Likely::No => false,
            Likely::Yes => true,
            Likely::IfHead => !file.has_holes() && self.has_known_head(subject, way)?,
        };
        if !is_likely {
            return Ok(None);
        }
        self.helper.begin_hash(file.digest());
        let buffers = self.helper.buffers();
        for block in file.blocks(&buffers) {
            way.check()?;
            match block {
                Ok(Block::Data(block)) => self.helper.block(block),
                Ok(Block::Hole(bytes)) => self.helper.hole(bytes),
                // It is read again, and what is wrong is recorded then.
                Err(_) => return Ok(None),
            }
        }
        let sha256 = self.helper.end_hash();
        let outcome = ReadOutcome::of(file.file, file.metadata);
        if !matches!(outcome, ReadOutcome::Whole) {
            return Ok(None);
        }
        let archived = match way.known.find(&sha256, file.size())? {
            Some(Found::Base(entry)) => ArchivedContent::of_base(*entry, sha256),
            Some(Found::Run(_)) if file.metadata.kind == SourceKind::Stream => return Ok(None),
            Some(Found::Run(first)) => {
                write_copy(&first, subject.path, file.metadata, subject.extended, way.frames)?
            }
            None => return Ok(None),
        };
        way.progress.bytes.add(file.size());
        Ok(Some(Copied { archived: Some(archived), outcome }))
    }

    /// Whether the first chunks are those of a file of the same size in this archive.
    fn has_known_head(&mut self, subject: &Subject<'_>, way: &mut Way<'_>) -> Result<bool, StopReason> {
        let file = &subject.file;
        let mut builder = ListBuilder::new(average_for(file.size(), None), self.helper.key());
        let is_complete =
            |builder: &ListBuilder| builder.list().is_none_or(|list| list.file_bytes() >= HEAD_BYTES);
        let buffers = self.helper.buffers();
        for block in file.blocks(&buffers) {
            way.check()?;
            let Ok(Block::Data(block)) = block else { return Ok(false) };
            builder.data(&block, |_| Ok::<_, StopReason>(()))?;
            if is_complete(&builder) {
                break;
            }
        }
        if !is_complete(&builder) {
            builder.hole(0, |_| Ok::<_, StopReason>(()))?;
        }
        Ok(match builder.list() {
            Some(list) => way.known.has_head(file.size(), &head_of(list))?,
            None => false,
        })
    }

    /// The sketch of a file, of which as much is read as that takes.
    fn sketch(
        &mut self,
        subject: &Subject<'_>,
        average: u32,
        way: &mut Way<'_>,
    ) -> Result<std::io::Result<Option<Sketch>>, StopReason> {
        let mut builder = ListBuilder::new(average, self.helper.key());
        let buffers = self.helper.buffers();
        for block in subject.file.blocks(&buffers) {
            way.check()?;
            match block {
                Ok(Block::Data(block)) => builder.data(&block, |_| Ok::<_, StopReason>(()))?,
                Ok(Block::Hole(bytes)) => builder.hole(bytes, |_| Ok::<_, StopReason>(()))?,
                Err(e) => return Ok(Err(e)),
            }
            if builder.is_sketched() {
                return Ok(Ok(builder.sketch()));
            }
        }
        let cut = builder.finish(|_| Ok::<_, StopReason>(()))?;
        Ok(Ok(cut.sketch))
    }

    /// Stores a file as a member under its path.
    fn store_whole(&mut self, subject: &Subject<'_>, way: &mut Way<'_>) -> Result<Copied, StopReason> {
        let Subject { file, path, extended, .. } = subject;
        self.helper.begin_cut(average_for(file.size(), None));
        let copy = FileCopy { body: Body::File(file.file), metadata: file.metadata, extended, path };
        let mut copied = copy.run(way.frames, way.progress, Some(&mut self.helper))?;
        if let Some(archived) = &mut copied.archived {
            let Cut { list, sketch } = self.helper.end_cut();
            archived.list = list.filter(|list| list.file_bytes() == archived.bytes);
            archived.sketch = sketch.filter(|_| archived.list.is_some());
        }
        Ok(copied)
    }

    /// Puts a file together of known chunks and of pieces with the others.
    fn put_together(
        &mut self,
        subject: &Subject<'_>,
        average: u32,
        known: &KnownChunks,
        way: &mut Way<'_>,
    ) -> Result<Copied, StopReason> {
        let Subject { file, before, .. } = subject;
        if way.frames.is_within_uploaded() {
            // The beginning of the file as a member.
            return Err(StopReason::Diverged);
        }
        let mut builder = ListBuilder::new(average, self.helper.key());
        self.helper.begin_hash(file.digest());
        let buffers = self.helper.buffers();
        let mut pieces = Pieces::new(way.frames, known, &mut self.stored, file.size());
        let mut blocks = file.blocks(&buffers);
        for block in &mut blocks {
            if way.failures.is_draining() {
                return Err(Stopped.into());
            }
            match block {
                Ok(Block::Data(block)) => {
                    self.helper.block(block.clone());
                    builder.data(&block, |chunk| pieces.chunk(chunk))?;
                    way.progress.bytes.add(block.len() as u64);
                }
                Ok(Block::Hole(bytes)) => {
                    self.helper.hole(bytes);
                    builder.hole(bytes, |chunk| pieces.chunk(chunk))?;
                    pieces.hole(bytes);
                    way.progress.bytes.add(bytes);
                }
                Err(e) => return Ok(e.into()),
            }
        }
        let bytes = blocks.position();
        let Cut { list, sketch } = builder.finish(|chunk| pieces.chunk(chunk))?;
        let extents = pieces.finish()?;
        let sha256 = self.helper.end_hash();
        let outcome = match file.size() {
            size if bytes < size => ReadOutcome::shrank(size, bytes),
            _ => ReadOutcome::of(file.file, file.metadata),
        };
        let is_before = |before: &&Entry| !file.leaves_out_holes() && has_content(before, &sha256, bytes);
        let archived = match before.filter(is_before) {
            Some(before) => ArchivedContent::of_base(before.clone(), sha256),
            None => ArchivedContent { bytes, sha256, extents, sketch, list, ..ArchivedContent::default() },
        };
        Ok(Copied { archived: Some(archived), outcome })
    }
}

impl Way<'_> {
    /// Ends what takes long when the pipeline comes down.
    fn check(&self) -> Result<(), StopReason> {
        if self.failures.is_draining() { Err(Stopped.into()) } else { Ok(()) }
    }
}

/// Writes a hard link in the place of a file with the content of another one in this archive.
pub(crate) fn write_copy(
    first: &First,
    path: &[u8],
    metadata: &FileMetadata,
    extended: &Extended,
    frames: &mut FrameWriter,
) -> Result<ArchivedContent, StopReason> {
    let header = copy_header(path, &first.path, metadata, extended);
    frames.header(header, 0, 0, metadata.identity)?;
    let First { sha256, size, offset, chunks, sketch, .. } = *first;
    let extents = vec![Extent { archive: 0, offset, length: size, at: None }];
    Ok(ArchivedContent { bytes: size, sha256, extents, chunks, sketch, ..ArchivedContent::default() })
}
