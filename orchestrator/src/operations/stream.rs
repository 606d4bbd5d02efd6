//! An archive as one stream of bytes, fetched ahead of a reader that runs on a thread of its own.
//!
//! At most [`AHEAD`] ranges of [`RANGE_BYTES`] are in memory, however slow the reader is.

use std::io::{self, Read};

use bytes::Bytes;
use futures::{StreamExt, stream};
use intellistor_storage::objects::SharedStore;
use intellistor_storage::{Error as StorageError, StoreError, StoreErrorKind};
use intellistor_telemetry::metrics;
use intellistor_telemetry::names::span;
use tokio::sync::mpsc;
use tracing::{Instrument as _, info_span};

use crate::error::{Error, Result};
use crate::operations::run_options::RunOptions;

const RANGE_BYTES: u64 = 4 << 20;
const AHEAD: usize = 3;

type Piece = Result<Bytes, StorageError>;

/// The reading end. A store's error comes out inside an [`io::Error`].
#[derive(Debug)]
pub(crate) struct ArchiveBytes {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
}

impl Read for ArchiveBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

/// Runs `read` over the whole archive.
pub(crate) async fn read_archive<T: Send + 'static>(
    store: SharedStore,
    key: String,
    run: RunOptions,
    read: impl FnOnce(ArchiveBytes) -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(bytes) = store.head(&key).await? else {
        return Err(StorageError::from(StoreError::new(
            StoreErrorKind::NotFound,
            store.url(),
            "read",
            key,
            "there is no such archive",
        ))
        .into());
    };
    let (sender, pieces) = mpsc::channel(1);
    let fetch = async {
        let starts = stream::iter((0..bytes).step_by(RANGE_BYTES as usize));
        let mut ranges = starts
            .map(|start| {
                let end = bytes.min(start + RANGE_BYTES);
                let (store, key) = (&store, &key);
                async move { store.get_range(key, start..end).await }
            })
            .buffered(AHEAD);
        while let Some(piece) = ranges.next().await {
            if let Ok(piece) = &piece {
                run.progress.stored_bytes.add(piece.len() as u64);
                metrics::received(piece.len() as u64);
            }
            let failed = piece.is_err();
            // The reader is done, or reports its own failure.
            if sender.send(piece).await.is_err() || failed {
                break;
            }
        }
        drop(sender);
    };
    let reader = tokio::task::spawn_blocking(move || read(ArchiveBytes { pieces, piece: Bytes::new() }));
    let both = async {
        tokio::select! {
            ((), outcome) = async { tokio::join!(fetch, reader) } => {
                outcome.unwrap_or_else(|e| Err(Error::Defect(format!("the reading thread panicked: {e}"))))
            }
            () = run.cancel.cancelled() => Err(Error::Interrupted),
        }
    };
    both.instrument(info_span!(span::READ_ARCHIVE)).await
}
