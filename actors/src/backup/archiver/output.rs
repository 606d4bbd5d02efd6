//! What the archiver writes to, and how it records what became of an entry.

use std::fs::File;
use std::io;

use intellistor_storage::Error;
use intellistor_storage::disk::shortage::is_shortage;
use intellistor_storage::manifest::streams;
use intellistor_storage::manifest::{Change, Entry, EntryKind, Listed, Problem, ProblemKind};
use tar::EntryType;

use crate::backup::archiver::frame_writer::{FrameWriter, StopReason};
use crate::backup::archiver::run_content::member_offset;
use crate::backup::archiver::tar_header::TarEntry;
use crate::backup::links::LinkTable;
use crate::privileges;
use crate::source::{self, Beneath, FileMetadata, ScannedEntry};

/// The tar stream, and the files of this machine.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) beneath: Beneath,
    pub(crate) frames: FrameWriter,
    pub(crate) links: LinkTable,
    /// Whether there is a base: then not all files of this backup are members of its archive.
    pub(crate) has_base: bool,
}

impl Output {
    /// Leaves an entry out for an error of its own; a shortage of the process or the system fails the run.
    pub(crate) fn skip(
        &mut self,
        scanned: &ScannedEntry,
        action: &'static str,
        e: io::Error,
    ) -> Result<(), StopReason> {
        if is_shortage(&e) {
            return Err(Error::io(action, scanned.source.as_path())(e).into());
        }
        self.problem(scanned, ProblemKind::Skipped, reason(action, &e));
        Ok(())
    }

    pub(crate) fn problem(&mut self, scanned: &ScannedEntry, kind: ProblemKind, reason: String) {
        let relative_path = String::from_utf8_lossy(&scanned.relative_path).into_owned();
        self.frames.problem(Problem { relative_path, kind, reason });
    }

    /// Opens a stream to read it.
    pub(crate) fn open_stream(&mut self, scanned: &ScannedEntry) -> io::Result<(File, FileMetadata)> {
        let (_, name) = streams::split(&scanned.relative_path).ok_or(io::ErrorKind::InvalidInput)?;
        self.beneath.open_stream(&scanned.source, name)
    }

    /// Records another name of a file that was recorded before. It is a member where the first name is one.
    pub(crate) fn hard_link(
        &mut self,
        scanned: &ScannedEntry,
        first: Entry,
        change: Change,
    ) -> Result<(), StopReason> {
        if !self.has_base || member_offset(&first).is_some() {
            let header = TarEntry {
                path: &scanned.relative_path,
                kind: EntryType::Link,
                size: 0,
                mtime_ns: first.mtime_ns,
                unix: first.unix.as_ref(),
                windows: first.windows,
                link: Some(first.raw_path()),
                extended: None,
                sparse: None,
                mark: None,
            };
            self.frames.header(header.encode(), 0, 0, scanned.metadata.identity)?;
        }
        let (relative_path, path_bytes) = Entry::text_and_bytes(scanned.relative_path.clone());
        let entry = Entry {
            relative_path,
            path_bytes,
            kind: EntryKind::Hardlink,
            link_target: Some(first.relative_path),
            link_target_bytes: first.path_bytes,
            ..first
        };
        self.frames.record(Listed::Entry { entry, change });
        Ok(())
    }

    /// Whether nothing is there any more under a path of the base. `false` where that cannot be said: the path may be of
    /// another root than the file at hand.
    pub(crate) fn is_gone(&mut self, scanned: &ScannedEntry, path: &[u8]) -> bool {
        // A stream is where its file is.
        let own =
            streams::split(&scanned.relative_path).map_or(&scanned.relative_path[..], |(owner, _)| owner);
        let Some(source) = scanned.source.of_same_root(own, path) else { return false };
        let found = self.beneath.metadata_at(&source);
        found.is_err_and(|e| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// What is said of an entry, without its content.
pub(crate) fn entry(scanned: &ScannedEntry, kind: EntryKind, metadata: &FileMetadata) -> Entry {
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
        // As administrator it is read whatever its list says, so that this is for those who are not.
        io::ErrorKind::PermissionDenied if cfg!(windows) && !privileges::held().backup => format!(
            "cannot {action} it: {e}; its access list denies it to this account: back up as administrator, as SYSTEM or as a \
             backup operator"
        ),
        _ => format!("cannot {action} it: {e}"),
    }
}
