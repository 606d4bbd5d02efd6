//! Writes files: their content, their attributes and, once they are whole, their names.
//!
//! - **In:** [`FilesPlaced`]; the extractor chooses the writer. **Out:** files, and for each a
//!   [`Completion`].
//! - **Bound:** frames that wait here hold their shares of the restore's memory, and the extractor has at most
//!   [`MAX_IN_FLIGHT`](crate::restore::extractor::files_placed::MAX_IN_FLIGHT) files with all writers.
//! - **Blocks:** on the disk and on the processor, which hashes; each has a thread of its own.
//! - **Survives a crash:** every file that has its name. It has it only when it is whole.
//!
//! **Integrity law (must).** A file takes its name after the digest of its whole content is the one that the manifest
//! states. A damaged frame costs the files in it and no other; each is reported by name.

mod unfinished_file;

use std::path::PathBuf;
use std::sync::Arc;

use intellistor_storage::Error;
use tokio::sync::mpsc;

use crate::link::{Failures, Stopped};
use crate::progress::Progress;
use crate::restore::content::{ContentError, Step};
use crate::restore::extractor::completion::{Completion, FileOutcome};
use crate::restore::extractor::files_placed::{FilesPlaced, PlacedFile};
use crate::restore::frame_view::FrameView;
use crate::restore::writer::unfinished_file::UnfinishedFile;
use crate::target::TargetError;
use crate::threaded::{StageError, ThreadStage};

/// What a writer needs.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The restore's folder, for errors that concern all of it.
    pub out: PathBuf,
    /// Dropped when the writer is gone, and with it the temporary name of what it was writing.
    pub alive: mpsc::Sender<()>,
    /// Counts bytes written.
    pub progress: Arc<Progress>,
}

/// One of the threads that write files.
#[derive(Debug)]
pub struct Writer {
    /// A file of which a later message has more content. Dropped in this order: content, completion, `config.alive`.
    unfinished: Option<(UnfinishedFile, Completion)>,
    config: WriterConfig,
}

impl Writer {
    /// A writer without a file.
    pub fn new(config: WriterConfig) -> Self {
        Self { unfinished: None, config }
    }

    /// Writes what the frames have of a file, and completes it with the last of it.
    fn write(
        &mut self,
        mut file: UnfinishedFile,
        completion: Completion,
        frames: &FrameView,
        continues_in_next: bool,
        failures: &Failures,
    ) -> Result<(), StageError> {
        let reason = match file.write(frames, &self.config.progress, failures) {
            Ok(Step::NeedsMore) if continues_in_next => {
                self.unfinished = Some((file, completion));
                return Ok(());
            }
            Ok(Step::NeedsMore) => "the plan has no frame for the rest of it".to_owned(),
            Ok(Step::Whole) => {
                let bytes = file.bytes();
                match file.finish() {
                    Ok(warnings) => completion.complete(FileOutcome::Restored { bytes, warnings }),
                    Err((path, error)) => self.fail(completion, path, error)?,
                }
                return Ok(());
            }
            Err(ContentError::Damaged(reason)) => reason,
            Err(ContentError::Stopped) => return Err(Stopped.into()),
            Err(ContentError::Sink(e)) => {
                let path = file.discard();
                return self.fail(completion, path, e);
            }
        };
        // Its temporary name is removed before the extractor learns of it.
        let path = file.discard();
        completion.complete(FileOutcome::Damaged { path, reason });
        Ok(())
    }

    fn fail(&self, completion: Completion, path: String, error: TargetError) -> Result<(), StageError> {
        match error {
            TargetError::Fatal(source) => Err(Error::io("write to", self.config.out.clone())(source).into()),
            error => {
                completion.complete(FileOutcome::Failed { path, error });
                Ok(())
            }
        }
    }
}

impl ThreadStage for Writer {
    type In = FilesPlaced;
    const NAME: &'static str = "writer";

    fn handle(&mut self, placed: FilesPlaced, failures: &Failures) -> Result<(), StageError> {
        let FilesPlaced { frames, continues_previous, files, continues_in_next } = placed;
        let mut left = files.len();
        if continues_previous && let Some((file, completion)) = self.unfinished.take() {
            self.write(file, completion, &frames, continues_in_next && left == 0, failures)?;
        }
        for PlacedFile { entry, destination, completion } in files {
            if failures.is_draining() {
                return Err(Stopped.into());
            }
            left -= 1;
            match destination.create(&entry) {
                Ok(writer) => {
                    let file = UnfinishedFile::new(entry, writer);
                    self.write(file, completion, &frames, continues_in_next && left == 0, failures)?;
                }
                Err(e) => self.fail(completion, entry.shown_path().into_owned(), e)?,
            }
        }
        Ok(())
    }

    /// The extractor may wait for the file, of which nothing more will come.
    fn stopped(&mut self) {
        self.unfinished = None;
    }
}
