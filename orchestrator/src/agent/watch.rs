//! What other processes may see and ask of a run: its progress, and that it be cancelled.
//!
//! The queue itself is locked while a run lives, so both go through small files beside it. Neither is part of what a
//! crash must keep: progress that is older than the run's lock is that of a dead run, and is not shown.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use intellistor_actors::progress::Progress;
use intellistor_storage::state::Ledger;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(500);
const PROGRESS: &str = "progress.json";
const CANCEL: &str = "cancel";

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The job's state, by name.
    pub state: String,
    /// Which run.
    pub timestamp: String,
    /// Entries archived.
    pub entries: u64,
    /// Entries in all, 0 while the scan goes on.
    pub total_entries: u64,
    /// Bytes of content read.
    pub bytes: u64,
    /// Bytes of content in all, 0 while the scan goes on.
    pub total_bytes: u64,
    /// Bytes that the store acknowledged in this run.
    pub stored_bytes: u64,
    /// When this was written, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

impl RunProgress {
    /// The progress that the policy's run has told last.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(PROGRESS)).ok()?).ok()
    }
}

/// Asks the run that holds a policy's queue to cancel its job.
pub(super) fn ask_to_cancel(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(CANCEL), b"")
}

/// Forgets requests to a run that has ended.
pub(super) fn forget_requests(folder: &Path) {
    forget(&folder.join(CANCEL));
}

/// Tells progress and hears requests for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    task: JoinHandle<()>,
    cancelled: Arc<AtomicBool>,
}

impl Watch {
    /// Watches one run of a job. A request to cancel sets `cancel` off.
    pub(super) fn start(
        folder: &Path,
        ledger: Ledger,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Self {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (here, asked) = (folder.to_owned(), cancelled.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                tell(&here, &ledger, &progress);
                if here.join(CANCEL).exists() && !asked.swap(true, Ordering::SeqCst) {
                    cancel.cancel();
                }
            }
        });
        Self { folder: folder.to_owned(), task, cancelled }
    }

    /// Ends, and tells whether the job was to be cancelled. Its hold on the ledger ends too.
    pub(super) async fn stop(self) -> bool {
        self.task.abort();
        // It ends by being aborted, which is no error.
        let _ = self.task.await;
        let asked = self.cancelled.load(Ordering::SeqCst);
        forget(&self.folder.join(CANCEL));
        forget(&self.folder.join(PROGRESS));
        asked
    }
}

/// Tells how far a run is.
pub(super) fn tell(folder: &Path, ledger: &Ledger, progress: &Progress) {
    let job = ledger.job();
    let now = RunProgress {
        state: job.state.name().to_owned(),
        timestamp: job.name.timestamp,
        entries: progress.entries.get(),
        total_entries: progress.total_entries.get(),
        bytes: progress.bytes.get(),
        total_bytes: progress.total_bytes.get(),
        stored_bytes: progress.stored_bytes.get(),
        at_ms: Utc::now().timestamp_millis(),
    };
    // A reader sees the old one or the new one. Where it cannot be written, for the disk is full, none is shown.
    let beside = folder.join(".progress.json.new");
    let written = serde_json::to_vec(&now).map_err(std::io::Error::from).and_then(|json| {
        fs::write(&beside, json)?;
        fs::rename(&beside, folder.join(PROGRESS))
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the progress cannot be told");
    }
}

fn forget(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot be removed");
        }
        _ => {}
    }
}
