//! Options of every operation.

use std::sync::Arc;

use crate::snapshots::SnapshotSystem;
use intellistor_actors::progress::Progress;
use tokio_util::sync::CancellationToken;

/// Progress and cancellation of an operation.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Counters, updated while it runs.
    pub progress: Arc<Progress>,
    /// Stops the operation; it then fails with [`Error::Interrupted`](crate::Error::Interrupted).
    pub cancel: CancellationToken,
    /// What a backup reads files in, where its policy's `vss` wants it.
    pub snapshots: SnapshotSystem,
}
