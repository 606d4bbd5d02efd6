//! Writes alternate data streams of files and folders that this restore has made.
//!
//! **In:** entries of kind stream, each behind its file or folder. **Out:** the stream, whole, or not at all.
//!
//! **Only of what was restored (must).** A stream is written to a file that has its name, and that this restore has made or found to be
//! right; to a folder, when it was the last one that was made. The file is opened once, no link followed, and kept from being renamed or
//! removed while its stream is written. Names were checked when the path was taken apart: what is opened is that stream and nothing else of the file.
//!
//! A stream whose content turns out to be damaged, or that cannot be written to its end, is removed. Writing to a stream changes
//! the times of its file, which are put back, as are the access list and the attribute "read-only" where they were in the way.
//!
//! **Survives a crash:** streams that are complete. One that was being written is cut short, its file has the time of the restore, and the next restore
//! writes both again: it compares streams by their SHA-256.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use intellistor_storage::manifest::{Entry, streams};

#[cfg(unix)]
use self::unix as system;
#[cfg(windows)]
use self::windows as system;
use super::error::TargetError;
use super::file_writer::{FileDestination, FileWriter};
use super::folder::Folder;
use super::occupied::{Occupancy, Overwrite};
use super::restored_files::RestoredFiles;
use super::temporary::FileId;
use super::verdict::Verdict;
pub(super) use system::{is_same, keeps_streams};

/// A file or folder with streams.
#[derive(Debug)]
pub(super) struct Owner {
    /// The folder that a file is in, or the one that has the streams.
    pub(super) dir: Arc<Folder>,
    /// The name of a file; none for the folder itself.
    pub(super) name: Option<OsString>,
}

/// Where a stream will be. May be used on another thread than the target.
#[derive(Debug)]
pub struct StreamDestination {
    pub(super) owner: Owner,
    /// As in the manifest.
    pub(super) owner_path: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) restored: RestoredFiles,
    pub(super) occupancy: Occupancy,
}

impl StreamDestination {
    /// Begins the stream. `None` where it is left alone, since its file is.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn create(self, entry: &Entry) -> Result<Option<StreamWriter>, TargetError> {
        let Self { owner, owner_path, name, restored, occupancy } = self;
        let keeps_all = occupancy.overwrite == Overwrite::Never;
        if let Some(file) = &owner.name
            && FileId::of_name(&owner.dir, file).is_none_or(|found| !restored.contains(&owner_path, found))
        {
            if keeps_all {
                occupancy.left(&entry.shown_path());
                return Ok(None);
            }
            return Err(TargetError::Failed("its file was not restored".to_owned()));
        }
        match system::Stream::create(&owner, &name, keeps_all) {
            Ok(stream) => Ok(Some(StreamWriter { stream: Some(stream) })),
            Err(e) if keeps_all && e.kind() == io::ErrorKind::AlreadyExists => {
                occupancy.left(&entry.shown_path());
                Ok(None)
            }
            Err(e) => Err(TargetError::from_io("create the stream", e)),
        }
    }
}

/// A stream that is being written. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct StreamWriter {
    stream: Option<system::Stream>,
}

impl StreamWriter {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_at(at, bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sets its size, and puts back what its file had before. The answer lists what could not be.
    fn finish(mut self, entry: &Entry, size: u64) -> Result<Vec<String>, TargetError> {
        let Some(stream) = &mut self.stream else { return Ok(Vec::new()) };
        stream.complete(size).map_err(|e| TargetError::from_io("write the stream", e))?;
        let problems = self.stream.take().map(system::Stream::put_back).unwrap_or_default();
        Ok(problems.into_iter().map(|problem| format!("{}: {problem}", entry.shown_path())).collect())
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.discard();
        }
    }
}

/// Where content goes: a file, or a stream of one.
#[derive(Debug)]
pub enum ContentDestination {
    File(FileDestination),
    Stream(StreamDestination),
}

/// Content that is being written.
#[derive(Debug)]
pub enum ContentWriter {
    File(FileWriter),
    Stream(StreamWriter),
    /// Nothing is written: the stream is left alone.
    Left,
}

impl ContentDestination {
    /// Whether both are in one folder.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.folder(), other.folder())
    }

    fn folder(&self) -> &Arc<Folder> {
        match self {
            Self::File(file) => &file.dir,
            Self::Stream(stream) => &stream.owner.dir,
        }
    }

    /// Begins to write.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn create(self, entry: &Entry) -> Result<ContentWriter, TargetError> {
        Ok(match self {
            Self::File(file) => ContentWriter::File(file.create()?),
            Self::Stream(stream) => stream.create(entry)?.map_or(ContentWriter::Left, ContentWriter::Stream),
        })
    }
}

impl ContentWriter {
    /// Writes all of `bytes` at `at`. What is never written is a hole.
    ///
    /// # Errors
    /// The system's own.
    pub fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_at(at, bytes),
            Self::Stream(stream) => stream.write_at(at, bytes),
            Self::Left => Ok(()),
        }
    }

    /// Completes it. The answer lists what could not be applied.
    ///
    /// # Errors
    /// [`TargetError`]; then nothing is left of it.
    pub fn finish(self, entry: &Entry, size: u64) -> Result<Vec<String>, TargetError> {
        match self {
            Self::File(file) => file.finish(entry, size),
            Self::Stream(stream) => stream.finish(entry, size),
            Self::Left => Ok(Vec::new()),
        }
    }
}

/// What becomes of a stream whose turn it is.
#[derive(Debug)]
pub enum StreamPlace {
    Write(StreamDestination),
    /// It is there as it should be, or no existing file is to be changed.
    Stays,
    /// This file system keeps no streams; it was counted.
    Unsupported,
}

/// What a target knows of streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// Whether files here can have any.
    are_kept: bool,
    /// The path of the folder that was made last: its streams follow it.
    folder: Option<Vec<u8>>,
}

impl Streams {
    pub(super) fn below(root: &Folder) -> Self {
        Self { are_kept: keeps_streams(root), folder: None }
    }

    pub(super) fn folder_made(&mut self, path: Option<&[u8]>) {
        self.folder = path.map(<[u8]>::to_vec);
    }

    pub(super) fn are_of_folder(&self, path: &[u8]) -> bool {
        self.folder.as_deref() == Some(path)
    }

    /// What becomes of a stream that is not to be written; it is counted.
    pub(super) fn stays(
        &self,
        entry: &Entry,
        verdict: Option<Verdict>,
        occupancy: &Occupancy,
    ) -> Option<StreamPlace> {
        match verdict {
            _ if !self.are_kept => {
                occupancy.stream_without_place();
                return Some(StreamPlace::Unsupported);
            }
            Some(Verdict::Leave) => occupancy.left(&entry.shown_path()),
            Some(Verdict::KeepStream) => occupancy.unchanged(),
            Some(Verdict::Keep(_)) | None => return None,
        }
        Some(StreamPlace::Stays)
    }
}

/// The path of the owner, and the name of the stream.
pub(super) fn split(entry: &Entry) -> Result<(&[u8], &[u8]), TargetError> {
    streams::split(entry.raw_path())
        .ok_or_else(|| TargetError::Refused("its path is not that of an alternate data stream".to_owned()))
}
