//! How each file that was given to a writer came out.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use crate::target::TargetError;

/// How a file came out.
#[derive(Debug)]
pub enum FileOutcome {
    /// It has its name.
    Restored {
        /// Its size, holes included.
        bytes: u64,
        /// Attributes that were not applied.
        warnings: Vec<String>,
    },
    /// Its bytes are not those that were backed up; nothing of it is left.
    Damaged { path: String, reason: String },
    /// The system refused it; nothing of it is left.
    Failed { path: String, error: TargetError },
    /// The pipeline comes down.
    Dropped,
}

/// A file that no writer has any more, nor a handle of its folder.
#[derive(Debug)]
pub struct CompletedFile {
    /// Identifies its path to the extractor, which so holds no path of the hundreds of files with the writers.
    pub key: u64,
    /// Index of the writer that had it.
    pub writer: usize,
    /// Its share of the writer's load.
    pub load: u64,
    pub outcome: FileOutcome,
}

/// Sends the outcomes of a batch's files once all have one: a message for each file would wake the extractor each time.
#[derive(Debug)]
pub(crate) struct CompletionBatch {
    completed: Mutex<Vec<CompletedFile>>,
    to: Sender<Vec<CompletedFile>>,
}

impl CompletionBatch {
    pub(crate) fn new(to: Sender<Vec<CompletedFile>>) -> Arc<Self> {
        Arc::new(Self { completed: Mutex::default(), to })
    }
}

impl Drop for CompletionBatch {
    fn drop(&mut self) {
        let completed = std::mem::take(self.completed.get_mut().unwrap_or_else(PoisonError::into_inner));
        // The extractor is gone when the pipeline comes down.
        let _ = self.to.send(completed);
    }
}

/// Reports one file of a batch when it is dropped, whatever happens to the writer.
#[derive(Debug)]
pub struct Completion {
    file: Option<CompletedFile>,
    batch: Arc<CompletionBatch>,
}

impl Completion {
    pub(crate) fn new(key: u64, writer: usize, load: u64, batch: Arc<CompletionBatch>) -> Self {
        Self { file: Some(CompletedFile { key, writer, load, outcome: FileOutcome::Dropped }), batch }
    }

    pub(crate) fn complete(mut self, outcome: FileOutcome) {
        if let Some(file) = &mut self.file {
            file.outcome = outcome;
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.batch.completed.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }
}
