//! The sweep: deletes what was forgotten long enough ago.
//!
//! ```text
//! owner confirmed ─ listed ─ statements read ─ every manifest's archives read
//!   ─ finish what earlier sweeps began
//!   ─ for each that is due:  forgotten.json says `sweeping` ─ hold.json read ─ manifest ─ entries.enc
//!   ─ listed again, new manifests read
//!   ─ for each of these that no manifest needs:  archive ─ entries.enc ─ confirmed, hold ─ forgotten.json
//! ```
//! **In:** a policy in a store, and the key that opens its backups. **Out:** what was deleted, what waits, what is kept and why.
//! **Guarantees:** the laws below. **After a crash** anywhere the next sweep continues at `sweeping`. Memory is bounded by the
//! number of backups (some hundred bytes each), whatever they hold; nothing is written to this machine's disk.
//!
//! Laws (must):
//! - Nothing is deleted while a manifest in the store cannot be read: what it needs is not known.
//! - A backup is due once its proven `forgotten.json` says so and the time has passed by the store's clock, counted from what is
//!   written in it and from when it was put, whichever is later; never sooner than two days.
//! - `sweeping` is put before `hold.json` is read, and that before the manifest is deleted: see
//!   [`standing`](intellistor_storage::catalog::standing).
//! - An archive is deleted only if no manifest needs it, by a listing made after the manifests of this sweep were deleted; its
//!   `forgotten.json` goes last. A new manifest can need it only through a base that needs it, too: that is the law of publishing.
//! - What has neither manifest nor `forgotten.json` is not touched: a run may be about to publish it.
//!
//! A full store: deleting writes one object of about a kilobyte, in the place of one as large. Where even that does not fit,
//! what is begun already is finished first, which makes room.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan` | what is due, what waits, what is held or locked |
//! | `references` | which archives each manifest needs |
//! | `known` | the same, as the agent remembers it |
//! | `execute` | the deletions |
//! | `locks` | what keeps an object in the store |
//! | `data_keys` | data keys that were unwrapped already |
//! | `options`, `report` | what is asked for; what is printed |

mod data_keys;
mod execute;
mod known;
mod locks;
mod options;
mod plan;
mod references;
mod report;

use intellistor_storage::keys::OpensBackups;
use tokio_util::sync::CancellationToken;

pub(crate) use known::KnownReferences;
pub(crate) use options::SweepOptions;
pub use report::{ArchiveKept, SweepReport, SweptBackup, UnsweptBackup, WaitingBackup};

use self::data_keys::RememberedKeys;
use self::execute::Execution;
use self::plan::Plan;
use self::references::References;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::lifecycle::scope::Scope;
use crate::operations::root_span::stopped_by;
use crate::policy::Policy;

/// Deletes the backups of a policy that were forgotten long enough ago; with `dry_run` it only says which.
///
/// # Errors
/// `NotOwner` when the policy is another machine's; [`SweepStopped`](crate::Error::SweepStopped) when a manifest cannot be read;
/// those of the store, but a refusal to delete is in the report; `Interrupted`.
pub async fn prune(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy: &Policy,
    dry_run: bool,
    cancel: CancellationToken,
) -> Result<SweepReport> {
    let prune_after = policy.prune_after;
    let options = SweepOptions { dry_run, prune_after, cancel: cancel.clone(), known: None };
    stopped_by(&cancel, sweep(Scope { catalog, keys, policy_id: &policy.policy_id }, options)).await
}

/// Deletes the backups of a policy that were forgotten long enough ago.
///
/// # Errors
/// `NotOwner`; [`SweepStopped`](crate::Error::SweepStopped) when a manifest cannot be read; those of the store, but a refusal to
/// delete is in the report.
pub(crate) async fn sweep(scope: Scope<'_>, options: SweepOptions<'_>) -> Result<SweepReport> {
    let keys = RememberedKeys::new(scope.keys);
    let scope = Scope { keys: &keys, ..scope };
    scope.catalog.confirm(scope.policy_id).await?;
    let contents = scope.catalog.contents(scope.policy_id).await?;
    // The store has answered, so its clock is known. An early time is on the safe side.
    let now = scope.now();
    let mut report = SweepReport::new(scope.policy_id, scope.catalog.url(), options.dry_run);
    report.tell_unknown(&contents);
    let plan = Plan::make(&scope, &contents, now, &options, &mut report).await?;
    if plan.is_empty() {
        return Ok(report);
    }
    let mut references = options.known.map(|known| known.load(scope.policy_id)).unwrap_or_default();
    let was_read = references.complete(&scope, &contents, &options.cancel).await?;
    if options.dry_run {
        plan.preview(&references, &mut report);
        return Ok(report);
    }
    let save = |references: &References| {
        if let Some(known) = options.known {
            known.save(scope.policy_id, references);
        }
    };
    if was_read {
        save(&references);
    }
    let (report, references) = Execution {
        scope,
        now,
        contents,
        references,
        report,
        cancel: options.cancel.clone(),
        is_refused: false,
    }
    .run(plan)
    .await?;
    save(&references);
    Ok(report)
}

#[cfg(test)]
mod tests;
