//! Walks the policy's folders and records what is found.
//!
//! **Out:** the walk in the ledger, and what it found of note in the job. **After a crash:** the scan is made again.

use std::sync::Arc;

use intellistor_actors::backup::changes::ChangesConfig;
use intellistor_actors::progress::Progress;
use intellistor_actors::source::Excludes;
use intellistor_storage::manifest::{Base, RootRecord};
use intellistor_storage::state::{Findings, Ledger};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::operations::snapshotting::RunSnapshots;
use crate::operations::sources;
use crate::pipeline::backup;
use crate::pipeline::system::on_system;
use crate::policy::Policy;

/// What is found is compared with `base`. `earlier_roots` are the folders of earlier backups, the newest first.
pub(in crate::agent) async fn scan(
    ledger: &Ledger,
    policy: &Policy,
    snapshots: &RunSnapshots,
    excludes: Excludes,
    base: Option<Arc<Base>>,
    earlier_roots: &[Vec<RootRecord>],
    cancel: &CancellationToken,
) -> Result<()> {
    ledger.clear_scan()?;
    let (detect, roots) = (policy.detect_changes, snapshots.roots());
    let excludes = snapshots.excludes(excludes);
    let changes = ChangesConfig { base, detect, roots, ..ChangesConfig::default() };
    let (met, compared) = (excludes.clone(), changes.compared.clone());
    let (records, progress, cancel) = (ledger.clone(), Arc::new(Progress::default()), cancel.clone());
    let walk = move || async move { backup::scan(changes, excludes, records, progress, &cancel).await };
    let scanned = on_system("scan", walk).await.map_err(|error| snapshots.named(error))?;
    tracing::info!(entries = scanned.entries, bytes = scanned.bytes, "scanned");
    let findings = sources::findings(policy, &met, earlier_roots);
    let mut findings = Findings { compared: compared.get().copied(), ..findings };
    snapshots.add_to(&mut findings);
    let views = snapshots.views();
    Ok(ledger.update(|job| (job.scanned, job.findings, job.views) = (Some(scanned), findings, views))?)
}
