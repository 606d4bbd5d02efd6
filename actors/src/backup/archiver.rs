//! Reads what the scanner found and writes it as a tar stream.
//!
//! - **In:** [`FilesOpened`], in order. **Out:** [`FrameArchived`], in order, and with each the entries that
//!   ended in it.
//! - **Bound:** one frame is being filled; `window` frames of 1 MiB are with the compressors. The pipeline gives
//!   two for each core, so that none waits for a frame, and two more.
//! - **Blocks:** on the disk, and on the compressors; it has a thread of its own.
//! - **Survives a crash:** nothing by itself. It begins where a [`Resume`] says that the committed parts end; of
//!   the file in which that is, only the uploaded part is read again, to prove that it still is the same file.
//!
//! A file that cannot be opened, or that vanished, is skipped and recorded. One that changes while it is read is
//! archived again, up to [`ATTEMPTS`] times while it is small, and then recorded as changed: its entry says what
//! was read, and the tar stream stays valid (cut at the size that its header names, or filled up with zeros).
//! A file that has more bytes than the system gives as its size is read whole before it is archived, up to
//! [`READ_WHOLE_BYTES`], and recorded as changed.
//! A later copy of a path overrides an earlier one, in the manifest and for `tar`. A file that was partly
//! uploaded before a crash and has changed since is archived again from its start, after zeros that complete the old copy.

mod file_copy;
pub mod frame;
mod frame_writer;
mod open_entry;
pub mod tar_header;

use std::fs::File;
use std::io;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::disk::shortage::is_shortage;
use intellistor_storage::manifest::{Change, Entry, EntryKind, Listed, Problem, ProblemKind, Xattr};
use intellistor_storage::state::Cursor;
use tar::EntryType;

use crate::backup::archiver::file_copy::{ArchivedContent, Body, Copied, FileCopy, ReadOutcome};
use crate::backup::archiver::frame::FrameArchived;
use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::tar_header::TarEntry;
use crate::backup::changes::Step;
use crate::backup::links::LinkTable;
use crate::backup::read_ahead::{FilesOpened, OpenedFile};
use crate::link::{Failures, Link};
use crate::progress::Progress;
use crate::source::{self, Beneath, FileMetadata, ScannedEntry, SourceKind};
use crate::threaded::{StageError, ThreadStage};

/// How often a file is read when it changes meanwhile.
pub const ATTEMPTS: u32 = 3;
/// A larger file is read once: it would change again while it is read.
const READ_AGAIN_BYTES: u64 = 64 << 20;
/// The most that is read into memory of a file whose size the system does not know.
pub const READ_WHOLE_BYTES: usize = 8 << 20;

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
}

/// The stage that puts files into a tar stream, cut into frames of at most 1 MiB.
#[derive(Debug)]
pub struct Archiver {
    beneath: Beneath,
    frames: FrameWriter,
    links: LinkTable,
    progress: Arc<Progress>,
    /// Whether the last batch has come.
    done: bool,
}

impl Archiver {
    /// An archiver at the beginning of a tar stream, or where an earlier one was stopped.
    pub fn new(config: ArchiverConfig) -> Self {
        let Resume { tar_bytes, cursor, links } = config.resume;
        let next = Link::new(config.next, config.window);
        Self {
            beneath: Beneath::default(),
            frames: FrameWriter::resume(next, tar_bytes, cursor),
            links,
            progress: config.progress,
            done: false,
        }
    }

    fn archive_batch(&mut self, batch: FilesOpened) -> Result<(), StopReason> {
        for (index, (opened, step)) in (batch.first..).zip(batch.steps) {
            self.archive(index, opened, step)?;
        }
        if batch.last { self.frames.close() } else { Ok(()) }
    }

    fn archive(&mut self, index: u64, opened: Option<OpenedFile>, step: Step) -> Result<(), StopReason> {
        self.frames.begin(index)?;
        match step {
            Step::Problem(problem) => self.frames.problem(problem),
            Step::Unchanged { first, count, bytes } => {
                self.frames.record(Listed::Unchanged { first, count });
                self.progress.entries.add(count);
                self.progress.bytes.add(bytes);
            }
            Step::Known { scanned, .. } | Step::Read { scanned, .. } => {
                let mut made = self.entry(&scanned, opened);
                if self.frames.is_within_uploaded() && !matches!(made, Err(StopReason::Stage(_))) {
                    // Nothing is recorded of the entry before the old copy is complete: should this run crash within
                    // the zeros, the next one looks again.
                    let recorded = self.frames.take_recorded();
                    self.frames.abandon_uploaded()?;
                    self.frames.put_back(recorded);
                    // One that is gone has been recorded as skipped.
                    if matches!(made, Err(StopReason::Diverged)) {
                        made = self.entry(&scanned, None);
                    }
                }
                made?;
                self.progress.entries.add(1);
            }
        }
        // A run that resumes after the next frame continues after this entry.
        self.frames.begin(index + 1)
    }

    fn entry(&mut self, scanned: &ScannedEntry, opened: Option<OpenedFile>) -> Result<(), StopReason> {
        match scanned.metadata.kind {
            SourceKind::File => self.file(scanned, opened),
            _ => self.bodiless(scanned),
        }
    }

    fn file(&mut self, scanned: &ScannedEntry, mut opened: Option<OpenedFile>) -> Result<(), StopReason> {
        if scanned.metadata.links > 1
            && let Ok(metadata) = self.beneath.metadata_at(&scanned.source)
            && let Some(first) = self.links.take(&metadata)?
        {
            return self.hard_link(scanned, first);
        }
        for attempt in 1..=ATTEMPTS {
            let opened = match opened.take() {
                Some(OpenedFile { file, metadata, .. }) => Ok((file, metadata)),
                None => self.beneath.open_file(&scanned.source),
            };
            let (file, metadata) = match opened {
                Ok((_, metadata)) if metadata.kind != SourceKind::File => {
                    let reason = "it was replaced by something that is not a file";
                    self.problem(scanned, ProblemKind::Skipped, reason.to_owned());
                    return Ok(());
                }
                Ok(opened) => opened,
                Err(e) if attempt < ATTEMPTS && source::is_transient(&e) => continue,
                Err(e) => return self.skip(scanned, "open", e),
            };
            let xattrs = match source::xattrs_of(&file) {
                Ok(xattrs) => xattrs,
                Err(e) => return self.skip(scanned, "read the extended attributes of", e),
            };
            // Most files of /proc have a size of 0, and content.
            if metadata.size == 0 {
                match source::has_content_beyond(&file, 0) {
                    Ok(false) => {}
                    Ok(true) => return self.longer_than_its_size(scanned, &file, &metadata, xattrs, None),
                    Err(e) => return self.skip(scanned, "read", e),
                }
            }
            let copied = self.copy(scanned, Body::File(&file), &metadata, &xattrs)?;
            match copied.outcome {
                ReadOutcome::Unreadable(e) => return self.skip(scanned, "read", e),
                ReadOutcome::Changed(_) if attempt < ATTEMPTS && metadata.size <= READ_AGAIN_BYTES => {
                    continue;
                }
                ReadOutcome::Longer => {
                    let cut = Some(copied.archived);
                    return self.longer_than_its_size(scanned, &file, &metadata, xattrs, cut);
                }
                ReadOutcome::Changed(how) => self.problem(scanned, ProblemKind::Changed, how),
                ReadOutcome::Whole => {}
            }
            return self.record(scanned, &metadata, xattrs, copied.archived);
        }
        Ok(())
    }

    /// A file that has more bytes than the system gives as its size; `cut` is what was archived of it. It is recorded as
    /// changed, since there is no way to know where it ends.
    fn longer_than_its_size(
        &mut self,
        scanned: &ScannedEntry,
        file: &File,
        metadata: &FileMetadata,
        xattrs: Vec<Xattr>,
        cut: Option<ArchivedContent>,
    ) -> Result<(), StopReason> {
        let stated = metadata.size;
        let whole = match source::read_whole(file, READ_WHOLE_BYTES) {
            Ok(whole) => whole,
            Err(e) => return self.skip(scanned, "read", e),
        };
        let (copied, reason) = match (&whole, cut) {
            (Some(bytes), _) => {
                let metadata = FileMetadata { size: bytes.len() as u64, ..metadata.clone() };
                let copied = self.copy(scanned, Body::Read(bytes), &metadata, &xattrs)?;
                let reason = format!(
                    "the system reports its size as {stated} bytes, but {} could be read; they are in the backup",
                    bytes.len()
                );
                (copied, reason)
            }
            (None, cut) => {
                let reason = format!(
                    "the system reports its size as {stated} bytes, which are in the backup; anything after them is not"
                );
                let copied = match cut {
                    Some(archived) => Copied { archived, outcome: ReadOutcome::Whole },
                    None => self.copy(scanned, Body::File(file), metadata, &xattrs)?,
                };
                (copied, reason)
            }
        };
        if let ReadOutcome::Unreadable(e) = copied.outcome {
            return self.skip(scanned, "read", e);
        }
        self.problem(scanned, ProblemKind::Changed, reason);
        self.record(scanned, metadata, xattrs, copied.archived)
    }

    fn copy(
        &mut self,
        scanned: &ScannedEntry,
        body: Body<'_>,
        metadata: &FileMetadata,
        xattrs: &[Xattr],
    ) -> Result<Copied, StopReason> {
        let copy = FileCopy { body, metadata, xattrs, path: &scanned.relative_path };
        copy.run(&mut self.frames, &self.progress)
    }

    fn record(
        &mut self,
        scanned: &ScannedEntry,
        metadata: &FileMetadata,
        xattrs: Vec<Xattr>,
        archived: ArchivedContent,
    ) -> Result<(), StopReason> {
        let ArchivedContent { bytes, sha256, extents } = archived;
        let entry = Entry {
            size: bytes,
            sha256: Some(sha256),
            extents,
            xattrs,
            ..entry(scanned, EntryKind::File, metadata)
        };
        self.links.add(metadata, &entry)?;
        self.frames.record(Listed::Entry { entry, change: Change::New });
        Ok(())
    }

    fn hard_link(&mut self, scanned: &ScannedEntry, first: Entry) -> Result<(), StopReason> {
        let header = TarEntry {
            path: &scanned.relative_path,
            kind: EntryType::Link,
            size: 0,
            mtime_ns: first.mtime_ns,
            unix: first.unix.as_ref(),
            windows: first.windows,
            link: Some(first.raw_path()),
            xattrs: &[],
            sparse: None,
        };
        self.frames.header(header.encode(), 0, 0, scanned.metadata.identity)?;
        let (relative_path, path_bytes) = Entry::text_and_bytes(scanned.relative_path.clone());
        let entry = Entry {
            relative_path,
            path_bytes,
            kind: EntryKind::Hardlink,
            link_target: Some(first.relative_path),
            link_target_bytes: first.path_bytes,
            ..first
        };
        self.frames.record(Listed::Entry { entry, change: Change::New });
        Ok(())
    }

    /// A folder or a symbolic link: its header has all of it.
    fn bodiless(&mut self, scanned: &ScannedEntry) -> Result<(), StopReason> {
        let is_link = scanned.metadata.kind == SourceKind::Symlink;
        let link = match is_link.then(|| self.beneath.read_link(&scanned.source)).transpose() {
            Ok(link) => link,
            Err(e) => return self.skip(scanned, "read the text of", e),
        };
        let xattrs = match self.beneath.xattrs(&scanned.source) {
            Ok(xattrs) => xattrs,
            Err(e) => return self.skip(scanned, "read the extended attributes of", e),
        };
        let (kind, tar_kind) = if is_link {
            (EntryKind::Symlink, EntryType::Symlink)
        } else {
            (EntryKind::Directory, EntryType::Directory)
        };
        let header = TarEntry {
            path: &scanned.relative_path,
            kind: tar_kind,
            size: 0,
            mtime_ns: scanned.metadata.mtime_ns,
            unix: scanned.metadata.unix.as_ref(),
            windows: scanned.metadata.windows,
            link: link.as_deref(),
            xattrs: &xattrs,
            sparse: None,
        };
        self.frames.header(header.encode(), 0, 0, scanned.metadata.identity)?;
        let (link_target, link_target_bytes) = match link.map(Entry::text_and_bytes) {
            Some((text, bytes)) => (Some(text), bytes),
            None => (None, None),
        };
        let entry =
            Entry { xattrs, link_target, link_target_bytes, ..entry(scanned, kind, &scanned.metadata) };
        self.frames.record(Listed::Entry { entry, change: Change::New });
        Ok(())
    }

    /// Leaves an entry out for an error of its own; a shortage of the process or the system fails the run.
    fn skip(&mut self, scanned: &ScannedEntry, action: &'static str, e: io::Error) -> Result<(), StopReason> {
        if is_shortage(&e) {
            return Err(Error::io(action, scanned.source.as_path())(e).into());
        }
        self.problem(scanned, ProblemKind::Skipped, reason(action, &e));
        Ok(())
    }

    fn problem(&mut self, scanned: &ScannedEntry, kind: ProblemKind, reason: String) {
        let relative_path = String::from_utf8_lossy(&scanned.relative_path).into_owned();
        self.frames.problem(Problem { relative_path, kind, reason });
    }
}

fn entry(scanned: &ScannedEntry, kind: EntryKind, metadata: &FileMetadata) -> Entry {
    let (relative_path, path_bytes) = Entry::text_and_bytes(scanned.relative_path.clone());
    Entry {
        relative_path,
        path_bytes,
        kind,
        mtime_ns: metadata.mtime_ns,
        unix: metadata.unix.clone(),
        windows: metadata.windows,
        ctime_ns: metadata.ctime_ns,
        inode: metadata.identity.map(|identity| identity.inode),
        ..Entry::default()
    }
}

fn reason(action: &str, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "it vanished before it was read".to_owned(),
        _ if source::is_replaced(e) => {
            "it, or a folder that it was in, was replaced by a link or a file after the scan".to_owned()
        }
        _ => format!("cannot {action} it: {e}"),
    }
}

impl ThreadStage for Archiver {
    type In = FilesOpened;
    const NAME: &'static str = "archiver";

    fn handle(&mut self, batch: FilesOpened, _: &Failures) -> Result<(), StageError> {
        self.done = batch.last;
        match self.archive_batch(batch) {
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
