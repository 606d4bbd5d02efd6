//! What other processes can see and ask of a run: its progress, and that its job be cancelled.
//!
//! The queue is locked while a run is active, so both go through small files beside it. A crash need not keep either:
//! progress older than the run's lock is that of a crashed run, and is not shown.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use intellistor_actors::progress::{Progress, ProgressSnapshot};
use intellistor_storage::disk::whole_file;
use intellistor_storage::state::Ledger;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_millis(500);
const PROGRESS: &str = "progress.json";
const CANCEL: &str = "cancel";

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The job's state, by name.
    pub state: String,
    /// Names the run.
    pub timestamp: String,
    #[serde(flatten)]
    pub counters: ProgressSnapshot,
    /// When this was written, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The progress that the policy's run wrote last.
pub(super) fn read_progress(folder: &Path) -> Option<RunProgress> {
    serde_json::from_slice(&fs::read(folder.join(PROGRESS)).ok()?).ok()
}

/// Asks the run that has a policy's queue locked to cancel its job.
pub(super) fn request_cancel(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(CANCEL), b"")
}

/// Removes requests to a run that has ended.
pub(super) fn clear_requests(folder: &Path) {
    remove(&folder.join(CANCEL));
}

/// Publishes progress and listens for requests while it lives.
#[derive(Debug)]
pub(super) struct RunMonitor {
    folder: PathBuf,
    task: JoinHandle<()>,
    cancel_requested: Arc<AtomicBool>,
}

impl RunMonitor {
    /// Monitors one run of a job. A request to cancel triggers `cancel`.
    pub(super) fn start(
        folder: &Path,
        ledger: Ledger,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Self {
        let cancel_requested = Arc::new(AtomicBool::new(false));
        let (here, requested) = (folder.to_owned(), cancel_requested.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                write_progress(&here, &ledger, &progress);
                if here.join(CANCEL).exists() && !requested.swap(true, Ordering::SeqCst) {
                    cancel.cancel();
                }
            }
        });
        Self { folder: folder.to_owned(), task, cancel_requested }
    }

    /// Releases the ledger. Returns whether the job was to be cancelled.
    pub(super) async fn stop(self) -> bool {
        self.task.abort();
        // It ends by being aborted, which is no error.
        let _ = self.task.await;
        let cancel_requested = self.cancel_requested.load(Ordering::SeqCst);
        remove(&self.folder.join(CANCEL));
        remove(&self.folder.join(PROGRESS));
        cancel_requested
    }
}

pub(super) fn write_progress(folder: &Path, ledger: &Ledger, progress: &Progress) {
    let job = ledger.job();
    let now = RunProgress {
        state: job.state.name().to_owned(),
        timestamp: job.name.timestamp,
        counters: progress.snapshot(),
        at_ms: Utc::now().timestamp_millis(),
    };
    // A reader sees the old one or the new one; where it cannot be written, since the disk is full, none.
    if let Err(error) = whole_file::replace_json(&folder.join(PROGRESS), &now) {
        tracing::debug!(%error, "the progress was not written");
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot remove this file");
        }
        _ => {}
    }
}
