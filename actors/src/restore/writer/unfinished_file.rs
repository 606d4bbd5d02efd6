//! Writes one file's content from frames to the disk.

use intellistor_storage::manifest::Entry;
use intellistor_storage::{ContentDigest, Error};

use crate::link::Failures;
use crate::progress::Progress;
use crate::target::{FileWriter, TargetError};

use crate::restore::extractor::frame_view::FrameView;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct UnfinishedFile {
    entry: Entry,
    writer: FileWriter,
    digest: ContentDigest,
    /// The extent that is being written, and how much of it is.
    extent: usize,
    within: u64,
    /// Where in the file the next byte goes.
    position: u64,
}

/// How far the frames reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All is written, and it is what was backed up.
    Whole,
    /// The rest is in frames to come.
    NeedsMore,
}

/// Why a file cannot be completed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Its bytes are not the ones that were backed up.
    Damaged(String),
    /// They cannot be written.
    Disk(TargetError),
    /// The pipeline has come down.
    Stopped,
}

impl UnfinishedFile {
    pub(super) fn new(entry: Entry, writer: FileWriter) -> Self {
        Self { digest: entry.content_digest(), entry, writer, extent: 0, within: 0, position: 0 }
    }

    /// Holes included.
    pub(super) fn bytes(&self) -> u64 {
        self.entry.size
    }

    /// Gives the file its name. An error comes with its path.
    pub(super) fn finish(self) -> Result<Vec<String>, (String, TargetError)> {
        let Self { entry, writer, .. } = self;
        writer.finish(&entry, entry.size).map_err(|error| (entry.relative_path, error))
    }

    /// Removes what was written of it, and gives its path.
    pub(super) fn discard(self) -> String {
        let Self { entry, writer, .. } = self;
        drop(writer);
        entry.relative_path
    }

    /// Writes all of it that the frames have; with the last of it, compares the digest.
    pub(super) fn write(
        &mut self,
        frames: &FrameView,
        progress: &Progress,
        failures: &Failures,
    ) -> Result<Step, WriteError> {
        while let Some(extent) = self.entry.extents.get(self.extent).copied() {
            if self.within == 0 {
                let at = extent.at.unwrap_or(self.position);
                // Compared before a hole is hashed, which takes as long as the hole is large.
                if at.checked_add(extent.length).is_none_or(|end| end > self.entry.size) {
                    return Err(WriteError::Damaged(
                        "the manifest's extents for it exceed its size".to_owned(),
                    ));
                }
                self.skip_to(at, progress, failures)?;
            }
            while self.within < extent.length {
                let offset = extent.offset.saturating_add(self.within);
                let Some(opened) = frames.at(extent.archive, offset) else { return Ok(Step::NeedsMore) };
                let tar = opened.tar.as_ref().map_err(|e| WriteError::Damaged(reason(e)))?;
                let from = (offset - opened.frame.tar_offset) as usize;
                let left = usize::try_from(extent.length - self.within).unwrap_or(usize::MAX);
                // An opened frame has as many bytes as its record says; the opener compares them.
                let bytes = &tar[from..tar.len().min(from.saturating_add(left))];
                self.digest.data(bytes);
                self.writer
                    .write_at(self.position, bytes)
                    .map_err(|e| WriteError::Disk(TargetError::from_io("write it", e)))?;
                self.position = self.position.saturating_add(bytes.len() as u64);
                self.within += bytes.len() as u64;
                progress.bytes.add(bytes.len() as u64);
            }
            self.extent += 1;
            self.within = 0;
        }
        self.skip_to(self.entry.size, progress, failures)?;
        match self.entry.sha256 {
            Some(expected) if expected == self.digest.finish() => Ok(Step::Whole),
            Some(_) => Err(WriteError::Damaged(
                "its content does not have the SHA-256 that the manifest states".to_owned(),
            )),
            None => Err(WriteError::Damaged("the manifest states no SHA-256 for it".to_owned())),
        }
    }

    /// Counts a hole, a step at a time where it is hashed: no hole may delay a Ctrl-C.
    fn skip_to(&mut self, at: u64, progress: &Progress, failures: &Failures) -> Result<(), WriteError> {
        const STEP_BYTES: u64 = 64 << 20;
        if at < self.position {
            return Err(WriteError::Damaged("the manifest's extents for it overlap".to_owned()));
        }
        while self.position < at {
            if failures.is_draining() {
                return Err(WriteError::Stopped);
            }
            let most = if self.digest.leaves_out_holes() { u64::MAX } else { STEP_BYTES };
            let step = (at - self.position).min(most);
            self.digest.hole(step);
            progress.bytes.add(step);
            self.position += step;
        }
        Ok(())
    }
}

/// What is wrong with a frame, for a text that names the entry already.
fn reason(error: &Error) -> String {
    match error {
        Error::Integrity { what, reason } => format!("{what}: {reason}"),
        other => other.to_string(),
    }
}
