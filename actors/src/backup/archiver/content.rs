//! What became of a file's content.

use std::fs::File;
use std::io;

use intellistor_storage::manifest::{ChunkList, Entry, Extent, Sketch, UNUSABLE_ARCHIVE};

use crate::source::{self, FileMetadata};

/// How often a file is read when it changes meanwhile.
pub const ATTEMPTS: u32 = 3;
/// A larger file is read once: it would change again while it is read.
pub(crate) const READ_AGAIN_BYTES: u64 = 64 << 20;
/// The most that is read into memory of a file whose size the system does not know.
pub const READ_WHOLE_BYTES: usize = 8 << 20;
/// A file of at most so many bytes is read into memory; of a larger one the chunks are known.
pub(crate) const SMALL_FILE_BYTES: u64 = 1 << 20;

/// A file's content, as its entry will say where it is.
#[derive(Debug, Default)]
pub(crate) struct ArchivedContent {
    /// Size of what was read, holes included.
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    pub(crate) extents: Vec<Extent>,
    /// Where its chunk list is, if there is one already.
    pub(crate) chunks: Option<Extent>,
    pub(crate) sketch: Option<Sketch>,
    /// Its chunk list, if it is to be stored.
    pub(crate) list: Option<ChunkList>,
    /// The base's entry that has the same content, with this backup's numbers of archives.
    pub(crate) known: Option<Box<Entry>>,
    /// Whether the content is complete in the archive before the list is: a run that resumes in the list needs no more.
    pub(crate) is_member: bool,
}

impl ArchivedContent {
    /// The content of an entry, which the file at hand has too.
    pub(crate) fn of(entry: &Entry, sha256: [u8; 32]) -> Self {
        Self {
            bytes: entry.size,
            sha256,
            extents: entry.extents.clone(),
            chunks: entry.chunks,
            sketch: entry.sketch,
            ..Self::default()
        }
    }

    /// The content of an entry of the base.
    pub(crate) fn of_base(entry: Entry, sha256: [u8; 32]) -> Self {
        Self { known: Some(Box::new(entry.clone())), ..Self::of(&entry, sha256) }
    }
}

/// Whether an entry of the base has this content, in archives that may be used.
pub(crate) fn has_content(entry: &Entry, sha256: &[u8; 32], size: u64) -> bool {
    (entry.sha256, entry.size) == (Some(*sha256), size)
        && entry.extents.iter().chain(&entry.chunks).all(|extent| extent.archive != UNUSABLE_ARCHIVE)
}

/// What was done with a file.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Absent where it is to be read again, or cannot be.
    pub(crate) archived: Option<ArchivedContent>,
    pub(crate) outcome: ReadOutcome,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    /// The file is the same as when it was opened.
    Whole,
    /// It is not, for this reason.
    Changed(String),
    /// It is the same, but has more bytes than the system gives as its size; as many as that size were read.
    Longer,
    /// The disk refused.
    Unreadable(io::Error),
}

impl ReadOutcome {
    /// That of a file that ended before its size.
    pub(crate) fn shrank(size: u64, end: u64) -> Self {
        Self::Changed(format!("it shrank from {size} bytes to {end} while it was read"))
    }

    /// Whether a file that was read to its size still is what it was when it was opened.
    pub(crate) fn of(file: &File, before: &FileMetadata) -> Self {
        // Read before its size is asked for: a file system may look at it only then. Only whether there is more
        // matters; an error there does not.
        let is_longer = source::has_content_beyond(file, before.size).unwrap_or(false);
        let now = match source::metadata_of(file) {
            Ok(now) => now,
            Err(e) => return Self::Unreadable(e),
        };
        if now.size != before.size {
            let verb = if now.size > before.size { "grew" } else { "shrank" };
            return Self::Changed(format!(
                "it {verb} from {} bytes to {} while it was read",
                before.size, now.size
            ));
        }
        // A new link to the file or a changed mode moves ctime alone and leaves the content as it was read.
        if now.mtime_ns != before.mtime_ns {
            return Self::Changed("it was written to while it was read".to_owned());
        }
        if is_longer { Self::Longer } else { Self::Whole }
    }
}

impl From<io::Error> for Copied {
    fn from(e: io::Error) -> Self {
        Self { archived: None, outcome: ReadOutcome::Unreadable(e) }
    }
}
