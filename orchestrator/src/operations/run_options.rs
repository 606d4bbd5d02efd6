//! What every operation may be given.

use std::sync::Arc;

use intellistor_actors::progress::Progress;
use tokio_util::sync::CancellationToken;

/// What every operation may be given: who watches it, and who may stop it.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Counters to watch.
    pub progress: Arc<Progress>,
    /// Stops the operation; it then fails with [`Error::Interrupted`] and leaves nothing half done.
    pub cancel: CancellationToken,
}
