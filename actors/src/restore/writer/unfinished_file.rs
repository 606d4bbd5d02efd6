//! Writes one file's content from frames to the disk.

use intellistor_storage::manifest::Entry;

use crate::link::Failures;
use crate::progress::Progress;
use crate::restore::content::{ContentError, ContentReader, Step};
use crate::restore::frame_view::FrameView;
use crate::target::{ContentWriter, TargetError};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct UnfinishedFile {
    content: ContentReader,
    writer: ContentWriter,
}

impl UnfinishedFile {
    pub(super) fn new(entry: Entry, writer: ContentWriter) -> Self {
        Self { content: ContentReader::new(entry), writer }
    }

    /// Holes included.
    pub(super) fn bytes(&self) -> u64 {
        self.content.entry().size
    }

    /// Gives the file its name. An error comes with its path.
    pub(super) fn finish(self) -> Result<Vec<String>, (String, TargetError)> {
        let entry = self.content.into_entry();
        self.writer.finish(&entry, entry.size).map_err(|error| (entry.shown_path().into_owned(), error))
    }

    /// Removes what was written of it, and gives its path.
    pub(super) fn discard(self) -> String {
        drop(self.writer);
        self.content.into_entry().shown_path().into_owned()
    }

    /// Writes all of it that the frames have; with the last of it, compares the digest.
    pub(super) fn write(
        &mut self,
        frames: &FrameView,
        progress: &Progress,
        failures: &Failures,
    ) -> Result<Step, ContentError<TargetError>> {
        self.content.read(frames, progress, failures, |at, bytes| {
            self.writer.write_at(at, bytes).map_err(|e| TargetError::from_io("write it", e))
        })
    }
}
