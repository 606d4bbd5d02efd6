//! What is said of a file that was given to a writer.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use crate::target::TargetError;

/// How a file came out.
#[derive(Debug)]
pub enum Fate {
    /// It has its name.
    Restored {
        /// Its size, holes included.
        bytes: u64,
        /// Attributes that were not applied.
        warnings: Vec<String>,
    },
    /// Its bytes are not those that were backed up; nothing of it is left.
    Damaged {
        /// As in the archive.
        path: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The system refused it; nothing of it is left.
    Failed {
        /// As in the archive.
        path: String,
        /// Why.
        error: TargetError,
    },
    /// The pipeline comes down.
    Dropped,
}

/// A file that no writer has any more, nor the folder that it is in.
#[derive(Debug)]
pub struct Ended {
    /// What the extractor knows it by: some hundred paths of any length are with the writers at once.
    pub key: u64,
    /// Which writer had it.
    pub writer: usize,
    /// What it counted for.
    pub load: u64,
    /// How it came out.
    pub fate: Fate,
}

/// Tells how the files of a batch came out, once, when all have: to be told of each would wake the extractor each time.
#[derive(Debug)]
pub(crate) struct Told {
    ended: Mutex<Vec<Ended>>,
    to: Sender<Vec<Ended>>,
}

impl Told {
    pub(crate) fn new(to: Sender<Vec<Ended>>) -> Arc<Self> {
        Arc::new(Self { ended: Mutex::default(), to })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let ended = std::mem::take(self.ended.get_mut().unwrap_or_else(PoisonError::into_inner));
        // The extractor is gone when the pipeline comes down.
        let _ = self.to.send(ended);
    }
}

/// Stands for one file of a batch: whatever becomes of the writer, it is heard of.
#[derive(Debug)]
pub struct Ticket {
    ended: Option<Ended>,
    told: Arc<Told>,
}

impl Ticket {
    pub(crate) fn new(key: u64, writer: usize, load: u64, told: Arc<Told>) -> Self {
        Self { ended: Some(Ended { key, writer, load, fate: Fate::Dropped }), told }
    }

    /// The file has ended so.
    pub(crate) fn end(mut self, fate: Fate) {
        if let Some(ended) = &mut self.ended {
            ended.fate = fate;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.told.ended.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        }
    }
}
