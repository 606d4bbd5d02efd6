//! Reads one file's content out of frames, wherever its extents are, and checks its digest.

use intellistor_storage::manifest::Entry;
use intellistor_storage::{ContentDigest, Error};

use crate::link::Failures;
use crate::progress::Progress;
use crate::restore::frame_view::FrameView;

/// A file whose content is being read.
#[derive(Debug)]
pub(crate) struct ContentReader {
    entry: Entry,
    digest: ContentDigest,
    /// The extent that is being read, and how much of it is.
    extent: usize,
    within: u64,
    /// Where in the file the next byte goes.
    position: u64,
}

/// How far the frames reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is read, and it is what was backed up.
    Whole,
    /// The rest is in frames to come.
    NeedsMore,
}

/// Why a file cannot be completed.
#[derive(Debug)]
pub(crate) enum ContentError<E> {
    /// Its bytes are not the ones that were backed up.
    Damaged(String),
    /// They cannot be written.
    Sink(E),
    /// The pipeline has come down.
    Stopped,
}

impl ContentReader {
    pub(crate) fn new(entry: Entry) -> Self {
        Self { digest: entry.content_digest(), entry, extent: 0, within: 0, position: 0 }
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn into_entry(self) -> Entry {
        self.entry
    }

    /// Gives all of it that the frames have to `sink`, each piece with its place in the file and without the holes; with the
    /// last of it, compares the digest.
    pub(crate) fn read<E>(
        &mut self,
        frames: &FrameView,
        progress: &Progress,
        failures: &Failures,
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Step, ContentError<E>> {
        while let Some(extent) = self.entry.extents.get(self.extent).copied() {
            if self.within == 0 {
                let at = extent.at.unwrap_or(self.position);
                // Compared before a hole is hashed, which takes as long as the hole is large.
                if at.checked_add(extent.length).is_none_or(|end| end > self.entry.size) {
                    let reason = "the manifest's extents for it exceed its size";
                    return Err(ContentError::Damaged(reason.to_owned()));
                }
                self.skip_to(at, progress, failures)?;
            }
            while self.within < extent.length {
                let offset = extent.offset.saturating_add(self.within);
                let Some(opened) = frames.at(extent.archive, offset) else { return Ok(Step::NeedsMore) };
                let tar = opened.tar.as_ref().map_err(|e| ContentError::Damaged(reason(e)))?;
                let from = (offset - opened.frame.tar_offset) as usize;
                let left = usize::try_from(extent.length - self.within).unwrap_or(usize::MAX);
                // An opened frame has as many bytes as its record says; the opener compares them.
                let bytes = &tar[from..tar.len().min(from.saturating_add(left))];
                self.digest.data(bytes);
                sink(self.position, bytes).map_err(ContentError::Sink)?;
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
            Some(_) => Err(ContentError::Damaged(
                "its content does not have the SHA-256 that the manifest states".to_owned(),
            )),
            None => Err(ContentError::Damaged("the manifest states no SHA-256 for it".to_owned())),
        }
    }

    /// Counts a hole, a step at a time where it is hashed: no hole may delay a Ctrl-C.
    fn skip_to<E>(
        &mut self,
        at: u64,
        progress: &Progress,
        failures: &Failures,
    ) -> Result<(), ContentError<E>> {
        const STEP_BYTES: u64 = 64 << 20;
        if at < self.position {
            return Err(ContentError::Damaged("the manifest's extents for it overlap".to_owned()));
        }
        while self.position < at {
            if failures.is_draining() {
                return Err(ContentError::Stopped);
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
