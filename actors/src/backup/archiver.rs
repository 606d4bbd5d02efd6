//! Reads what the scanner found and writes it as a tar stream.
//!
//! - **In:** [`FilesOpened`], in order. **Out:** [`FrameArchived`], in order, and with each the entries that
//!   ended in it.
//! - **Bound:** one frame is being filled, with about 1 MiB of records; `window` frames of 1 MiB are with the compressors.
//!   The pipeline gives two for each core, so that none waits for a frame, and two more. For a large file there are some 6 MiB
//!   of blocks, a piece, its list, and what is known of up to a million chunks: 24 bytes for each. Indexes of known content
//!   have their own bounds, and are on the disk beyond them.
//! - **Blocks:** on the disk, on the compressors, and on the store while a chunk list of the base is fetched; it has a thread of
//!   its own, and one beside it.
//! - **Survives a crash:** nothing by itself. It begins where a [`Resume`] says that the committed parts end; of
//!   the file in which that is, only the uploaded part is read again, to prove that it still is the same file. A file that is put
//!   together of chunks is read from its beginning, and the pieces of it that are committed are known.
//!
//! No content is stored twice: a file whose content the base has points there; one whose content this archive has is a
//! [copy](members::COPY) of the first; of a large one only the chunks that are not known are stored, if there is a base.
//!
//! A file that cannot be opened, or that vanished, is skipped and recorded. One that changes while it is read is
//! archived again, up to [`ATTEMPTS`] times while it is small, and then recorded as changed: its entry says what
//! was read, and the tar stream stays valid (cut at the size that its header names, or filled up with zeros).
//! A file that has more bytes than the system gives as its size is read whole before it is archived, up to
//! [`READ_WHOLE_BYTES`], and recorded as changed.
//! A later copy of a path overrides an earlier one, in the manifest and for `tar`. A file that was partly
//! uploaded before a crash and has changed since is archived again from its start, after zeros that complete the old copy.

mod base_content;
mod blocks;
mod candidates;
mod content;
mod file_copy;
pub mod frame;
mod frame_writer;
mod helper;
mod known_chunks;
mod known_content;
mod large_files;
mod list_builder;
mod list_reader;
pub mod members;
mod open_entry;
mod output;
mod pieces;
mod regular_files;
mod run_content;
mod run_lists;
mod small_files;
pub mod stream_member;
pub mod tar_header;

use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::keys::ContentKey;
use intellistor_storage::manifest::{Change, Entry, EntryKind, Listed, StoredChunk};
use intellistor_storage::state::Cursor;
use tar::EntryType;

pub use crate::backup::archiver::candidates::{BaseConfig, BaseRemarks};
pub use crate::backup::archiver::content::{ATTEMPTS, READ_WHOLE_BYTES};
pub use crate::backup::archiver::run_content::RunContent;

use crate::backup::archiver::base_content::BaseContent;
use crate::backup::archiver::candidates::Candidates;
use crate::backup::archiver::frame::FrameArchived;
use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::helper::Helper;
use crate::backup::archiver::known_content::KnownContent;
use crate::backup::archiver::large_files::LargeFiles;
use crate::backup::archiver::output::{Output, entry};
use crate::backup::archiver::regular_files::{ATTRIBUTES, FileStep, RegularFiles, change_of};
use crate::backup::archiver::small_files::SmallFiles;
use crate::backup::archiver::tar_header::TarEntry;
use crate::backup::changes::Step;
use crate::backup::links::LinkTable;
use crate::backup::read_ahead::{FilesOpened, OpenedFile};
use crate::link::{Failures, Link};
use crate::progress::Progress;
use crate::source::{Beneath, Extended, ScannedEntry, SourceKind};
use crate::threaded::{StageError, ThreadStage};

/// What the archiver needs.
#[derive(Debug)]
pub struct ArchiverConfig {
    pub next: Recipient<FrameArchived>,
    /// The most frames that they have not answered.
    pub window: usize,
    /// Counts entries and bytes read.
    pub progress: Arc<Progress>,
    /// Where to begin; the default is the beginning.
    pub resume: Resume,
    /// The backup that entries are taken over from; a full backup has none.
    pub base: Option<BaseConfig>,
    /// Sketches are made under it: the base's, or a new one.
    pub content_key: ContentKey,
}

/// Where an earlier run's committed parts end.
#[derive(Debug, Default)]
pub struct Resume {
    /// Bytes of tar in them.
    pub tar_bytes: u64,
    /// Where that is in the walk.
    pub cursor: Cursor,
    /// Files in them that have names still to come.
    pub links: LinkTable,
    /// Files whose content they have.
    pub content: RunContent,
    /// Chunks that they have of the file of the cursor, which is not complete.
    pub pieces: Vec<StoredChunk>,
}

/// The stage that puts files into a tar stream, cut into frames of at most 1 MiB.
#[derive(Debug)]
pub struct Archiver {
    out: Output,
    files: RegularFiles,
    progress: Arc<Progress>,
    /// Whether the last batch has come.
    done: bool,
}

impl Archiver {
    /// An archiver at the beginning of a tar stream, or where an earlier one was stopped.
    pub fn new(config: ArchiverConfig) -> Self {
        let ArchiverConfig { next, window, progress, resume, base, content_key } = config;
        let Resume { tar_bytes, cursor, links, content, pieces } = resume;
        let (has_base, step) = (base.is_some(), cursor.entry);
        let base_content = base.as_ref().map(|config| BaseContent::new(config.base.clone()));
        let files = RegularFiles {
            known: KnownContent::new(content, base_content),
            small: SmallFiles::default(),
            large: LargeFiles::new(Helper::new(content_key), base.map(Candidates::new), step, pieces),
        };
        let frames = FrameWriter::resume(Link::new(next, window), tar_bytes, cursor);
        let out = Output { beneath: Beneath::default(), frames, links, has_base };
        Self { out, files, progress, done: false }
    }

    fn archive_batch(&mut self, batch: FilesOpened, failures: &Failures) -> Result<(), StopReason> {
        for (index, (opened, step)) in (batch.first..).zip(batch.steps) {
            self.archive(index, opened, step, failures)?;
        }
        if batch.last { self.out.frames.close() } else { Ok(()) }
    }

    fn archive(
        &mut self,
        index: u64,
        opened: Option<OpenedFile>,
        step: Step,
        failures: &Failures,
    ) -> Result<(), StopReason> {
        self.out.frames.begin(index)?;
        self.files.large.begin(index);
        if self.out.frames.is_within_internal() {
            // The file that it belongs to is put together again; it may need other members.
            self.out.frames.abandon_uploaded()?;
        }
        match step {
            Step::Problem(problem) => self.out.frames.problem(problem),
            Step::Unchanged { first, count, bytes } => {
                self.out.frames.record(Listed::Unchanged { first, count });
                self.progress.entries.add(count);
                self.progress.bytes.add(bytes);
            }
            Step::Known { scanned, entry } => {
                self.known(&scanned, *entry)?;
                self.progress.entries.add(1);
            }
            Step::Read { scanned, reason, before } => {
                let step = FileStep {
                    scanned: &scanned,
                    reason,
                    before: before.as_deref(),
                    progress: &self.progress.clone(),
                    failures,
                };
                let mut made = self.entry(&step, opened);
                let frames = &mut self.out.frames;
                if frames.is_within_uploaded() && !matches!(made, Err(StopReason::Stage(_))) {
                    // Nothing is recorded of the entry before the old copy is complete: should this run crash within
                    // the zeros, the next one looks again.
                    let recorded = frames.take_recorded();
                    frames.abandon_uploaded()?;
                    frames.put_back(recorded);
                    // One that is gone has been recorded as skipped.
                    if matches!(made, Err(StopReason::Diverged)) {
                        made = self.entry(&step, None);
                    }
                }
                made?;
                self.progress.entries.add(1);
            }
        }
        // A run that resumes after the next frame continues after this entry.
        self.out.frames.begin(index + 1)
    }

    fn entry(&mut self, step: &FileStep<'_>, opened: Option<OpenedFile>) -> Result<(), StopReason> {
        match step.scanned.metadata.kind {
            SourceKind::File | SourceKind::Stream => self.files.archive(step, opened, &mut self.out),
            _ => self.bodiless(step),
        }
    }

    /// One of several names of a file that is as the base has it. The first of them is an entry of its own, whatever it is
    /// in the base.
    fn known(&mut self, scanned: &ScannedEntry, entry: Entry) -> Result<(), StopReason> {
        if let Some(first) = self.out.links.take(&scanned.metadata)? {
            return self.out.hard_link(scanned, first, Change::Unchanged);
        }
        self.progress.bytes.add(entry.size);
        self.out.links.add(&scanned.metadata, &entry)?;
        self.out.frames.record(Listed::Entry { entry, change: Change::Unchanged });
        Ok(())
    }

    /// A folder or a symbolic link: its header has all of it.
    fn bodiless(&mut self, step: &FileStep<'_>) -> Result<(), StopReason> {
        let FileStep { scanned, reason, before, .. } = *step;
        let out = &mut self.out;
        let is_link = scanned.metadata.kind == SourceKind::Symlink;
        let link = match is_link.then(|| out.beneath.read_link(&scanned.source)).transpose() {
            Ok(link) => link,
            Err(e) => return out.skip(scanned, "read the text of", e),
        };
        let extended = match out.beneath.extended(&scanned.source) {
            Ok(extended) => extended,
            Err(e) => return out.skip(scanned, ATTRIBUTES, e),
        };
        let (kind, tar_kind) = if is_link {
            (EntryKind::Symlink, EntryType::Symlink)
        } else {
            (EntryKind::Directory, EntryType::Directory)
        };
        let header = TarEntry {
            link: link.as_deref(),
            extended: Some(&extended),
            ..TarEntry::new(&scanned.relative_path, tar_kind, &scanned.metadata)
        };
        out.frames.header(header.encode(), 0, 0, scanned.metadata.identity)?;
        let (link_target, link_target_bytes) = match link.map(Entry::text_and_bytes) {
            Some((text, bytes)) => (Some(text), bytes),
            None => (None, None),
        };
        let Extended { xattrs, security } = extended;
        let entry = Entry {
            xattrs,
            security,
            link_target,
            link_target_bytes,
            ..entry(scanned, kind, &scanned.metadata)
        };
        let change = change_of(reason, before, &entry);
        out.frames.record(Listed::Entry { entry, change });
        Ok(())
    }
}

impl ThreadStage for Archiver {
    type In = FilesOpened;
    const NAME: &'static str = "archiver";

    fn handle(&mut self, batch: FilesOpened, failures: &Failures) -> Result<(), StageError> {
        self.done = batch.last;
        match self.archive_batch(batch, failures) {
            Err(StopReason::Stage(error)) => Err(error),
            // A changed entry was archived again, which cannot diverge.
            Ok(()) | Err(StopReason::Diverged) => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
