//! Archives regular files, and streams of files: decides how often each is read, and records what became of it.

use std::fs::File;

use intellistor_storage::manifest::{Change, ChunkList, Entry, EntryKind, Extent, Listed, ProblemKind};

use crate::backup::archiver::blocks::LargeFile;
use crate::backup::archiver::content::{
    ATTEMPTS, ArchivedContent, Copied, READ_AGAIN_BYTES, READ_WHOLE_BYTES, ReadOutcome, SMALL_FILE_BYTES,
};
use crate::backup::archiver::file_copy::{Body, FileCopy};
use crate::backup::archiver::frame_writer::StopReason;
use crate::backup::archiver::known_content::KnownContent;
use crate::backup::archiver::large_files::{LargeFiles, Subject, Way};
use crate::backup::archiver::members::chunks_header;
use crate::backup::archiver::output::{Output, entry};
use crate::backup::archiver::small_files::{SmallFile, SmallFiles};
use crate::backup::changes::Reason;
use crate::backup::read_ahead::OpenedFile;
use crate::link::Failures;
use crate::progress::Progress;
use crate::source::{self, Extended, FileMetadata, ScannedEntry, SourceKind, Stored};

/// What could not be done with a file whose [`Extended`] could not be read.
pub(crate) const ATTRIBUTES: &str =
    if cfg!(windows) { "read the access list of" } else { "read the extended attributes of" };

/// What could not be done with a file that could not be opened. Windows says no more than that access is denied.
const fn opening(stored: Stored) -> &'static str {
    match stored {
        Stored::Encrypted => "open it, which Windows encrypts (EFS) for some accounts alone",
        Stored::Plain | Stored::Compressed => "open",
    }
}

/// Archives regular files.
#[derive(Debug)]
pub(crate) struct RegularFiles {
    pub(crate) known: KnownContent,
    pub(crate) small: SmallFiles,
    pub(crate) large: LargeFiles,
}

/// A file to archive.
#[derive(Debug)]
pub(crate) struct FileStep<'a> {
    pub(crate) scanned: &'a ScannedEntry,
    pub(crate) reason: Reason,
    /// What the base has under its path.
    pub(crate) before: Option<&'a Entry>,
    pub(crate) progress: &'a Progress,
    pub(crate) failures: &'a Failures,
}

impl RegularFiles {
    /// Archives a file, and records it or why it is left out.
    pub(crate) fn archive(
        &mut self,
        step: &FileStep<'_>,
        mut opened: Option<OpenedFile>,
        out: &mut Output,
    ) -> Result<(), StopReason> {
        let scanned = step.scanned;
        if scanned.metadata.links > 1
            && let Ok(metadata) = out.beneath.metadata_at(&scanned.source)
            && let Some(first) = out.links.take(&metadata)?
        {
            let change = change_of(step.reason, step.before, &first);
            return out.hard_link(scanned, first, change);
        }
        for attempt in 1..=ATTEMPTS {
            let opened = match opened.take() {
                Some(OpenedFile { file, metadata, .. }) => Ok((file, metadata)),
                None if scanned.metadata.kind == SourceKind::Stream => out.open_stream(scanned),
                None if scanned.metadata.in_cloud => out.beneath.fetch_file(&scanned.source),
                None => out.beneath.open_file(&scanned.source),
            };
            let (file, metadata) = match opened {
                Ok((_, metadata)) if metadata.kind != scanned.metadata.kind => {
                    let reason = "it was replaced by something that is not a file";
                    out.problem(scanned, ProblemKind::Skipped, reason.to_owned());
                    return Ok(());
                }
                Ok(opened) => opened,
                // Since the walk.
                Err(e) if source::is_in_cloud(&e) => {
                    out.problem(scanned, ProblemKind::Note, source::IN_CLOUD.to_owned());
                    return Ok(());
                }
                Err(e) if attempt < ATTEMPTS && source::is_transient(&e) => continue,
                Err(e) => return out.skip(scanned, opening(scanned.metadata.stored), e),
            };
            let extended = match metadata.kind {
                // It has its file's.
                SourceKind::Stream => Ok(Extended::default()),
                _ => source::extended_of(&file),
            };
            let extended = match extended {
                Ok(extended) => extended,
                Err(e) => return out.skip(scanned, ATTRIBUTES, e),
            };
            // Most files of /proc have a size of 0, and content.
            if metadata.size == 0 {
                match source::has_content_beyond(&file, 0) {
                    Ok(false) => {}
                    Ok(true) => {
                        return self.longer_than_its_size(step, &file, &metadata, extended, None, out);
                    }
                    Err(e) => return out.skip(scanned, "read", e),
                }
            }
            let again = attempt < ATTEMPTS && metadata.size <= READ_AGAIN_BYTES;
            let copied = self.content(step, &file, &metadata, &extended, again, out)?;
            match copied.outcome {
                ReadOutcome::Unreadable(e) => return out.skip(scanned, "read", e),
                ReadOutcome::Changed(_) if again => continue,
                ReadOutcome::Longer => {
                    let cut = copied.archived;
                    return self.longer_than_its_size(step, &file, &metadata, extended, cut, out);
                }
                ReadOutcome::Changed(how) => {
                    self.record(step, &metadata, extended, copied.archived.unwrap_or_default(), out)?;
                    // With the entry, behind the chunk list: a run that resumes within that looks at the file again.
                    out.problem(scanned, ProblemKind::Changed, how);
                    return Ok(());
                }
                ReadOutcome::Whole => {}
            }
            return self.record(step, &metadata, extended, copied.archived.unwrap_or_default(), out);
        }
        Ok(())
    }

    fn content(
        &mut self,
        step: &FileStep<'_>,
        file: &File,
        metadata: &FileMetadata,
        extended: &Extended,
        again: bool,
        out: &mut Output,
    ) -> Result<Copied, StopReason> {
        let FileStep { scanned, before, progress, failures, .. } = *step;
        let path = scanned.relative_path.as_slice();
        let Self { known, small, large } = self;
        let frames = &mut out.frames;
        if metadata.size <= SMALL_FILE_BYTES {
            let subject = SmallFile { file, metadata, path, extended, before, again };
            return small.archive(&subject, frames, known, progress);
        }
        match LargeFile::new(file, metadata) {
            Ok(file) => {
                let mut way = Way { frames, known, progress, failures };
                large.archive(&Subject { file, path, extended, before }, &mut way)
            }
            Err(e) => Ok(e.into()),
        }
    }

    /// A file that has more bytes than the system gives as its size; `cut` is what was archived of it. It is recorded as
    /// changed, since there is no way to know where it ends.
    fn longer_than_its_size(
        &mut self,
        step: &FileStep<'_>,
        file: &File,
        metadata: &FileMetadata,
        extended: Extended,
        cut: Option<ArchivedContent>,
        out: &mut Output,
    ) -> Result<(), StopReason> {
        let stated = metadata.size;
        let whole = match source::read_whole(file, READ_WHOLE_BYTES) {
            Ok(whole) => whole,
            Err(e) => return out.skip(step.scanned, "read", e),
        };
        let mut copy = |body, metadata: &FileMetadata| {
            let copy = FileCopy { body, metadata, extended: &extended, path: &step.scanned.relative_path };
            copy.run(&mut out.frames, step.progress, None)
        };
        let (copied, reason) = match (&whole, cut) {
            (Some(bytes), _) => {
                let metadata = FileMetadata { size: bytes.len() as u64, ..metadata.clone() };
                let copied = copy(Body::Read(bytes), &metadata)?;
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
                    Some(archived) => Copied { archived: Some(archived), outcome: ReadOutcome::Whole },
                    None => copy(Body::File(file), metadata)?,
                };
                (copied, reason)
            }
        };
        if let ReadOutcome::Unreadable(e) = copied.outcome {
            return out.skip(step.scanned, "read", e);
        }
        out.problem(step.scanned, ProblemKind::Changed, reason);
        self.record(step, metadata, extended, copied.archived.unwrap_or_default(), out)
    }

    /// Records a file, and stores its chunk list if it has a new one.
    fn record(
        &mut self,
        step: &FileStep<'_>,
        metadata: &FileMetadata,
        extended: Extended,
        archived: ArchivedContent,
        out: &mut Output,
    ) -> Result<(), StopReason> {
        let Extended { xattrs, security } = extended;
        let ArchivedContent { bytes, sha256, extents, chunks, sketch, list, known, is_member } = archived;
        let kind = match metadata.kind {
            SourceKind::Stream => EntryKind::Stream,
            _ => EntryKind::File,
        };
        let mut entry = Entry {
            size: bytes,
            sha256: Some(sha256),
            extents,
            xattrs,
            security,
            chunks,
            sketch,
            ..entry(step.scanned, kind, metadata)
        };
        if let Some(list) = &list {
            entry.chunks = Some(store_list(list, is_member.then_some(&entry), out)?);
            self.large.insert(&entry, list)?;
        }
        if known.is_none() {
            self.known.insert(&entry, list.as_ref())?;
        }
        out.links.add(metadata, &entry)?;
        let change = self.change(step, &entry, known.as_deref(), out);
        out.frames.record(Listed::Entry { entry, change });
        Ok(())
    }

    /// How a file differs from the base, of which `known` has the same content.
    fn change(&self, step: &FileStep<'_>, entry: &Entry, known: Option<&Entry>, out: &mut Output) -> Change {
        match known {
            Some(known) if step.reason == Reason::New => {
                let gone = out.is_gone(step.scanned, known.raw_path());
                if gone { Change::Moved } else { Change::New }
            }
            _ => change_of(step.reason, step.before, entry),
        }
    }
}

/// How an entry that was read differs from what the base has under its path. Not all that is read has changed.
pub(crate) fn change_of(reason: Reason, before: Option<&Entry>, entry: &Entry) -> Change {
    let says = |entry: &Entry| {
        let Entry { size, sha256, mtime_ns, unix, windows, xattrs, security, link_target, .. } =
            entry.clone();
        (size, sha256, mtime_ns, unix, windows, xattrs, security, link_target)
    };
    let has = |entry: &Entry| {
        let Entry { size, sha256, link_target, link_target_bytes, .. } = entry.clone();
        (size, sha256, link_target, link_target_bytes)
    };
    match before {
        _ if reason == Reason::New => Change::New,
        Some(before) if says(before) == says(entry) => Change::Unchanged,
        Some(before) if has(before) == has(entry) => Change::Touched,
        _ => Change::Changed,
    }
}

/// Stores the list of a file's chunks. `finished`: the file, if all else of it is in the archive.
fn store_list(list: &ChunkList, finished: Option<&Entry>, out: &mut Output) -> Result<Extent, StopReason> {
    let bytes = list.as_bytes();
    let header = chunks_header(out.frames.position(), bytes.len() as u64);
    let offset = out.frames.internal_member(header, bytes, finished)?;
    Ok(Extent { archive: 0, offset, length: bytes.len() as u64, at: None })
}
