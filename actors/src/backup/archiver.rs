//! Reads what the scanner found and writes it as a tar stream.
//!
//! - **In:** [`FilesOpened`], in order. **Out:** [`FrameArchived`], in order, and with each the entries that
//!   ended in it.
//! - **Bound:** one frame is being filled; `window` frames of 1 MiB are with the compressors. The pipeline gives
//!   two for each core, so that none waits for a frame, and two more.
//! - **Blocks:** on the disk, and on the compressors; it has a thread of its own.
//! - **Survives a crash:** nothing by itself. It begins where a [`Resume`] says that the committed parts end; of
//!   the file in which that is, only what was sent is read again, to prove that it still is the same file.
//!
//! A file that cannot be opened, or that vanished, is skipped and recorded. One that changes while it is read is
//! archived again, up to [`ATTEMPTS`] times while it is small, and then recorded as changed: its entry says what
//! was read, and the tar stream stays valid (cut at the size that its header names, or filled up with zeros).
//! A file that has more bytes than the system gives as its size is read whole before it is archived, up to
//! [`READ_WHOLE_BYTES`], and recorded as changed.
//! A later copy of a path overrides an earlier one, in the manifest and for `tar`. A file that is not what was
//! sent of it before a crash is archived again from its start, behind zeros that complete the old copy.

mod content;
pub mod frame;
mod frames;
pub mod tar_header;

use std::fs::File;
use std::io;
use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::Error;
use intellistor_storage::disk::shortage::is_shortage;
use intellistor_storage::manifest::{Entry, EntryKind, Problem, ProblemKind, Xattr};
use intellistor_storage::state::Cursor;
use tar::EntryType;

use crate::backup::archiver::content::{Archived, Body, Content, Copied, Fate};
use crate::backup::archiver::frame::FrameArchived;
use crate::backup::archiver::frames::{Frames, Halt};
use crate::backup::archiver::tar_header::TarEntry;
use crate::backup::links::LinkTable;
use crate::backup::read_ahead::{FilesOpened, Opened};
use crate::link::{Failures, Link, Reply, Stopped};
use crate::progress::Progress;
use crate::source::{self, Beneath, Facts, ScannedEntry, SourceKind, Walked};

/// How often a file is read when it changes meanwhile.
pub const ATTEMPTS: u32 = 3;
/// A larger file is read once: what keeps changing for so long would change again.
const READ_AGAIN_BYTES: u64 = 64 << 20;
/// What is read into memory of a file whose size is a lie.
pub const READ_WHOLE_BYTES: usize = 8 << 20;

/// What the archiver needs.
#[derive(Debug)]
pub struct ArchiverConfig {
    /// The compressors.
    pub next: Recipient<FrameArchived>,
    /// How many frames may be with them.
    pub window: usize,
    /// Where to report.
    pub failures: Failures,
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
    /// Files in them with names still to come.
    pub links: LinkTable,
}

/// The stage that puts files into a tar stream, cut into frames of at most 1 MiB.
#[derive(Debug)]
pub struct Archiver {
    beneath: Beneath,
    frames: Frames,
    links: LinkTable,
    failures: Failures,
    progress: Arc<Progress>,
}

impl Archiver {
    /// An archiver at the beginning of a tar stream, or where an earlier one was stopped.
    pub fn new(config: ArchiverConfig) -> Self {
        let Resume { tar_bytes, cursor, links } = config.resume;
        let next = Link::new(config.next, config.window);
        Self {
            beneath: Beneath::default(),
            frames: Frames::resume(next, tar_bytes, cursor),
            links,
            failures: config.failures,
            progress: config.progress,
        }
    }

    fn archive(&mut self, index: u64, opened: Option<Opened>, walked: Walked) -> Result<(), Halt> {
        self.frames.begin(index);
        match walked {
            Walked::Problem(problem) => self.frames.problem(problem),
            Walked::Entry(scanned) => {
                let mut made = self.entry(&scanned, opened);
                if self.frames.is_sent_before() && made != Err(Halt::Stopped) {
                    // Nothing is said of the entry before the old copy is complete: a run that dies amid the zeros
                    // leaves the next one to look again.
                    let said = self.frames.take_recorded();
                    self.frames.give_up_on_sent_before()?;
                    self.frames.put_back(said);
                    // One that is gone has been recorded as skipped.
                    if made == Err(Halt::Diverged) {
                        made = self.entry(&scanned, None);
                    }
                }
                made?;
                self.progress.entries.add(1);
            }
        }
        // Should the archive be cut off behind the next frame, that run is to go on behind this entry.
        self.frames.begin(index + 1);
        Ok(())
    }

    fn entry(&mut self, scanned: &ScannedEntry, opened: Option<Opened>) -> Result<(), Halt> {
        match scanned.facts.kind {
            SourceKind::File => self.file(scanned, opened),
            _ => self.bodiless(scanned),
        }
    }

    fn file(&mut self, scanned: &ScannedEntry, mut opened: Option<Opened>) -> Result<(), Halt> {
        if scanned.facts.links > 1
            && let Ok(facts) = self.beneath.facts_at(&scanned.source)
            && let Some(first) = self.links.take(&facts).map_err(|error| self.failures.report(error))?
        {
            return self.hard_link(scanned, first);
        }
        for attempt in 1..=ATTEMPTS {
            let opened = match opened.take() {
                Some(Opened { file, facts, .. }) => Ok((file, facts)),
                None => self.beneath.open_file(&scanned.source),
            };
            let (file, facts) = match opened {
                Ok((_, facts)) if facts.kind != SourceKind::File => {
                    let reason = "it was replaced by something that is no file";
                    self.problem(scanned, ProblemKind::Skipped, reason.to_owned());
                    return Ok(());
                }
                Ok(opened) => opened,
                Err(e) if attempt < ATTEMPTS && source::is_worth_another_try(&e) => continue,
                Err(e) => return self.skip(scanned, "open", e),
            };
            let xattrs = match source::xattrs_of(&file) {
                Ok(xattrs) => xattrs,
                Err(e) => return self.skip(scanned, "read the extended attributes of", e),
            };
            // Most files of /proc have a size of 0, and content.
            if facts.size == 0 {
                match source::goes_on_behind(&file, 0) {
                    Ok(false) => {}
                    Ok(true) => return self.longer_than_its_size(scanned, &file, &facts, xattrs, None),
                    Err(e) => return self.skip(scanned, "read", e),
                }
            }
            let copied = self.copy(scanned, Body::File(&file), &facts, &xattrs)?;
            match copied.fate {
                Fate::Unreadable(e) => return self.skip(scanned, "read", e),
                Fate::Changed(_) if attempt < ATTEMPTS && facts.size <= READ_AGAIN_BYTES => continue,
                Fate::Longer => {
                    let cut = Some(copied.what);
                    return self.longer_than_its_size(scanned, &file, &facts, xattrs, cut);
                }
                Fate::Changed(how) => self.problem(scanned, ProblemKind::Changed, how),
                Fate::Whole => {}
            }
            return self.record(scanned, &facts, xattrs, copied.what);
        }
        Ok(())
    }

    /// A file that has more bytes than the system gives as its size; `cut` is what was archived of it. What is said of it is
    /// that it changed, since nothing tells whether it ends where it was found to end.
    fn longer_than_its_size(
        &mut self,
        scanned: &ScannedEntry,
        file: &File,
        facts: &Facts,
        xattrs: Vec<Xattr>,
        cut: Option<Archived>,
    ) -> Result<(), Halt> {
        let said = facts.size;
        let whole = match source::read_whole(file, READ_WHOLE_BYTES) {
            Ok(whole) => whole,
            Err(e) => return self.skip(scanned, "read", e),
        };
        let (copied, reason) = match (&whole, cut) {
            (Some(bytes), _) => {
                let facts = Facts { size: bytes.len() as u64, ..facts.clone() };
                let copied = self.copy(scanned, Body::Read(bytes), &facts, &xattrs)?;
                let reason = format!(
                    "the system gives its size as {said} bytes, and {} could be read, which are in the backup",
                    bytes.len()
                );
                (copied, reason)
            }
            (None, cut) => {
                let reason = format!(
                    "the system gives its size as {said} bytes, which are in the backup; what it has behind them is not"
                );
                let copied = match cut {
                    Some(what) => Copied { what, fate: Fate::Whole },
                    None => self.copy(scanned, Body::File(file), facts, &xattrs)?,
                };
                (copied, reason)
            }
        };
        if let Fate::Unreadable(e) = copied.fate {
            return self.skip(scanned, "read", e);
        }
        self.problem(scanned, ProblemKind::Changed, reason);
        self.record(scanned, facts, xattrs, copied.what)
    }

    fn copy(
        &mut self,
        scanned: &ScannedEntry,
        body: Body<'_>,
        facts: &Facts,
        xattrs: &[Xattr],
    ) -> Result<Copied, Halt> {
        let content = Content { body, facts, xattrs, path: &scanned.relative_path };
        content.copy(&mut self.frames, &self.progress)
    }

    fn record(
        &mut self,
        scanned: &ScannedEntry,
        facts: &Facts,
        xattrs: Vec<Xattr>,
        what: Archived,
    ) -> Result<(), Halt> {
        let Archived { bytes, sha256, extents } = what;
        let entry = Entry {
            size: bytes,
            sha256: Some(sha256),
            extents,
            xattrs,
            ..entry(scanned, EntryKind::File, facts)
        };
        self.links.add(facts, &entry).map_err(|error| self.failures.report(error))?;
        self.frames.record(entry);
        Ok(())
    }

    fn hard_link(&mut self, scanned: &ScannedEntry, first: Entry) -> Result<(), Halt> {
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
        self.frames.header(header.encode(), 0, 0, scanned.facts.identity)?;
        let (relative_path, path_bytes) = Entry::text_and_bytes(scanned.relative_path.clone());
        self.frames.record(Entry {
            relative_path,
            path_bytes,
            kind: EntryKind::Hardlink,
            link_target: Some(first.relative_path),
            link_target_bytes: first.path_bytes,
            ..first
        });
        Ok(())
    }

    /// A folder or a symbolic link: all there is to it stands in its header.
    fn bodiless(&mut self, scanned: &ScannedEntry) -> Result<(), Halt> {
        let is_link = scanned.facts.kind == SourceKind::Symlink;
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
            mtime_ns: scanned.facts.mtime_ns,
            unix: scanned.facts.unix.as_ref(),
            windows: scanned.facts.windows,
            link: link.as_deref(),
            xattrs: &xattrs,
            sparse: None,
        };
        self.frames.header(header.encode(), 0, 0, scanned.facts.identity)?;
        let (link_target, link_target_bytes) = match link.map(Entry::text_and_bytes) {
            Some((text, bytes)) => (Some(text), bytes),
            None => (None, None),
        };
        let entry = Entry { xattrs, link_target, link_target_bytes, ..entry(scanned, kind, &scanned.facts) };
        self.frames.record(entry);
        Ok(())
    }

    /// Leaves an entry out for what the system says; but never for what this process or the system is short of.
    fn skip(&mut self, scanned: &ScannedEntry, action: &'static str, e: io::Error) -> Result<(), Halt> {
        if is_shortage(&e) {
            return Err(self.failures.report(Error::io(action, scanned.source.as_path())(e)).into());
        }
        self.problem(scanned, ProblemKind::Skipped, reason(action, &e));
        Ok(())
    }

    fn problem(&mut self, scanned: &ScannedEntry, kind: ProblemKind, reason: String) {
        let relative_path = String::from_utf8_lossy(&scanned.relative_path).into_owned();
        self.frames.problem(Problem { relative_path, kind, reason });
    }
}

fn entry(scanned: &ScannedEntry, kind: EntryKind, facts: &Facts) -> Entry {
    let (relative_path, path_bytes) = Entry::text_and_bytes(scanned.relative_path.clone());
    Entry {
        relative_path,
        path_bytes,
        kind,
        size: 0,
        mtime_ns: facts.mtime_ns,
        unix: facts.unix.clone(),
        windows: facts.windows,
        xattrs: Vec::new(),
        link_target: None,
        link_target_bytes: None,
        sha256: None,
        extents: Vec::new(),
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

impl Actor for Archiver {
    type Context = SyncContext<Self>;
}

impl Handler<FilesOpened> for Archiver {
    type Result = Reply;

    fn handle(&mut self, batch: FilesOpened, _: &mut Self::Context) -> Reply {
        let (failures, last) = (self.failures.clone(), batch.last);
        let archived = failures.guard("archiver", || {
            for (index, (opened, walked)) in (batch.first..).zip(batch.steps) {
                // What diverged was archived again, which cannot diverge.
                if self.archive(index, opened, walked).is_err() {
                    return Ok(Err(Stopped));
                }
            }
            Ok(if batch.last { self.frames.close() } else { Ok(()) })
        });
        if last {
            failures.end_stage();
        }
        archived
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
