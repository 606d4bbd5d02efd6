//! What is asked of a sweep.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::known::KnownReferences;

/// How a policy is swept.
#[derive(Debug, Default)]
pub(crate) struct SweepOptions<'a> {
    /// Only plan.
    pub(crate) dry_run: bool,
    /// The policy's, now: who has raised it since a backup was forgotten wants the time. What was promised then is kept, too.
    pub(crate) prune_after: Duration,
    /// What was begun stays begun: the next sweep goes on.
    pub(crate) cancel: CancellationToken,
    /// What this machine remembers of manifests.
    pub(crate) known: Option<&'a KnownReferences>,
}
