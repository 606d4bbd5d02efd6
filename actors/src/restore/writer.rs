//! Writes files: their content, their attributes and, once they are whole, their names.
//!
//! - **In:** [`FilesPlaced`]; the extractor chooses the writer. **Out:** files, and for each an [`Ended`].
//! - **Bound:** frames that wait here hold their run's share of the fetcher's memory, and the extractor has at most
//!   [`MOST_UNDER_WAY`](crate::restore::extractor::MOST_UNDER_WAY) files with all writers.
//! - **Blocks:** on the disk and on the processor, which hashes; each has a thread of its own.
//! - **Survives a crash:** every file that has its name. It has it only when it is whole.
//!
//! **Integrity law (must).** A file takes its name after the digest of its whole content is the one that the manifest
//! states. A damaged frame costs the files in it and no other; each is told by name.

mod content;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use intellistor_storage::Error;
use tokio::sync::mpsc;

use crate::link::{Failures, Reply, Stopped};
use crate::progress::Progress;
use crate::restore::extractor::frames::Frames;
use crate::restore::extractor::placed::{FilesPlaced, PlacedFile};
use crate::restore::extractor::ticket::{Fate, Ticket};
use crate::target::TargetError;

use content::{Content, Step, Trouble};

/// What a writer needs.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The restore's folder, for errors that concern all of it.
    pub out: PathBuf,
    /// Dropped when the writer is gone, and with it the temporary name of what it was writing.
    pub alive: mpsc::Sender<()>,
    /// Where to report.
    pub failures: Failures,
    /// Counts bytes written.
    pub progress: Arc<Progress>,
}

/// See the module.
#[derive(Debug)]
pub struct Writer {
    /// A file whose content goes on in a later message. The ticket after the content, to go after it, and both before what
    /// says that the writer is gone.
    unfinished: Option<(Content, Ticket)>,
    config: WriterConfig,
}

impl Writer {
    /// Starts so many writers.
    pub fn start(count: usize, config: &WriterConfig) -> Vec<Addr<Self>> {
        let one = || {
            // The factory must not keep what the writer drops.
            let config = Mutex::new(Some(config.clone()));
            SyncArbiter::start(1, move || {
                let config = config.lock().unwrap_or_else(PoisonError::into_inner).take();
                Self { config: config.expect("one thread makes one actor"), unfinished: None }
            })
        };
        (0..count).map(|_| one()).collect()
    }

    fn write(&mut self, placed: FilesPlaced) -> Result<Reply, Error> {
        let FilesPlaced { frames, continues, files, goes_on } = placed;
        let mut left = files.len();
        if continues && let Some((content, ticket)) = self.unfinished.take() {
            self.go_on(content, ticket, &frames, goes_on && left == 0)?;
        }
        for PlacedFile { entry, place, ticket } in files {
            if self.config.failures.is_stopped() {
                return Ok(Err(Stopped));
            }
            left -= 1;
            match place.create() {
                Ok(writer) => {
                    self.go_on(Content::new(entry, writer), ticket, &frames, goes_on && left == 0)?;
                }
                Err(e) => self.refused(ticket, entry.relative_path, e)?,
            }
        }
        Ok(Ok(()))
    }

    /// Writes what the frames hold of a file, and ends it with the last of it.
    fn go_on(
        &mut self,
        mut content: Content,
        ticket: Ticket,
        frames: &Frames,
        goes_on: bool,
    ) -> Result<(), Error> {
        let reason = match content.write(frames, &self.config.progress, &self.config.failures) {
            Ok(Step::Waits) if goes_on => {
                self.unfinished = Some((content, ticket));
                return Ok(());
            }
            Ok(Step::Waits) => "the plan has no frame for the rest of it".to_owned(),
            Ok(Step::Whole) => {
                let bytes = content.bytes();
                match content.finish() {
                    Ok(warnings) => ticket.end(Fate::Restored { bytes, warnings }),
                    Err((path, error)) => self.refused(ticket, path, error)?,
                }
                return Ok(());
            }
            Err(Trouble::Damaged(reason)) => reason,
            Err(Trouble::Stopped) => return Ok(()),
            Err(Trouble::Disk(e)) => {
                let path = content.discard();
                return self.refused(ticket, path, e);
            }
        };
        // What was written of it goes with its temporary name before the extractor learns of it.
        let path = content.discard();
        ticket.end(Fate::Damaged { path, reason });
        Ok(())
    }

    fn refused(&self, ticket: Ticket, path: String, error: TargetError) -> Result<(), Error> {
        match error {
            TargetError::Fatal(source) => Err(Error::io("write to", self.config.out.clone())(source)),
            error => {
                ticket.end(Fate::Failed { path, error });
                Ok(())
            }
        }
    }
}

impl Actor for Writer {
    type Context = SyncContext<Self>;
}

impl Handler<FilesPlaced> for Writer {
    type Result = Reply;

    fn handle(&mut self, placed: FilesPlaced, _: &mut Self::Context) -> Reply {
        let failures = self.config.failures.clone();
        let reply = failures.guard("writer", || self.write(placed));
        if reply.is_err() {
            // The extractor may wait to hear of it, and nothing more of it will come.
            self.unfinished = None;
        }
        reply
    }
}
