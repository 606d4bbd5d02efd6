//! `copy`: chosen backups, and what they depend on, byte for byte in another store.
//!
//! **In:** two stores, a policy, what opens its backups. **Out:** in the target the same objects under the same keys: nothing is
//! sealed again, and a policy whose `store` is the target restores from it. **After a crash:** the state is what the target
//! holds. Repeated, a copy skips what is there and continues what is half sent.
//!
//! | file | holds |
//! | --- | --- |
//! | `selection` | which backups |
//! | `stores` | that the two stores are two, and the target's policy is the source's |
//! | `backup` | one backup: its archives, what was said about it, its manifest |
//! | `target` | what the target has, and what a sweep may take from there |
//! | `outcome`, `report` | what became of each |
//!
//! Laws (must): a manifest is verified whole before anything that it names is copied. Each archive is compared on arrival, then
//! come `entries.enc`, what was said about the backup, and the manifest last. Nothing that is in the target is replaced.

mod backup;
mod outcome;
mod report;
mod selection;
mod stores;
mod target;

use std::time::Instant;

use intellistor_storage::Error as Storage;
use intellistor_storage::StoreErrorKind;
use intellistor_storage::catalog::ownership;
use intellistor_storage::keys::Identity;

pub use report::{CopiedBackup, CopyReport, UncopiedBackup};
pub use selection::CopySelection;

use crate::advice::with_advice;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::copy::backup::BackupCopier;
use crate::lifecycle::copy::outcome::Outcome;
use crate::lifecycle::copy::selection::{Chosen, choose};
use crate::lifecycle::copy::stores::check_stores;
use crate::lifecycle::copy::target::Target;
use crate::lifecycle::scope::is_of_backup;
use crate::operations::root_span::stopped_by;
use crate::operations::run_options::RunOptions;

/// What to copy, and how.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    pub selection: CopySelection,
    /// Say what would be copied, and write nothing.
    pub dry_run: bool,
    /// The two stores are reached through different endpoints, so that they are two although their URLs are equal.
    pub other_endpoint: bool,
    pub run: RunOptions,
}

/// Copies backups of a policy from one store to another.
///
/// What is wrong with one backup, a damaged segment or another key, is in the report, and the others are copied.
///
/// # Errors
/// [`Error::SameStore`] and [`Error::CopyOfAnother`] before anything is written; those of a store that cannot be used;
/// `Interrupted`. Repeating the call continues after any of them.
pub async fn copy(
    from: &Catalog,
    to: &Catalog,
    identity: &Identity,
    policy_id: &str,
    options: CopyOptions,
) -> Result<CopyReport> {
    let cancel = options.run.cancel.clone();
    let copied = stopped_by(&cancel, copy_chosen(from, to, identity, policy_id, options));
    cancel.run_until_cancelled(copied).await.unwrap_or(Err(Error::Interrupted))
}

async fn copy_chosen(
    from: &Catalog,
    to: &Catalog,
    identity: &Identity,
    policy_id: &str,
    options: CopyOptions,
) -> Result<CopyReport> {
    let begun = Instant::now();
    let CopyOptions { selection, dry_run, other_endpoint, run } = options;
    let owner = check_stores(from, to, policy_id, other_endpoint).await?;
    let Chosen { contents, backups, notes } = choose(from, identity, policy_id, &selection).await?;
    let is_named = matches!(selection, CopySelection::Named(_));
    let mut report = CopyReport {
        policy: policy_id.to_owned(),
        from: from.url(),
        to: to.url(),
        dry_run,
        warnings: notes,
        ..CopyReport::default()
    };
    run.progress.total_entries.add(backups.len() as u64);
    run.progress.total_bytes.add(backups.iter().map(|backup| backup.archive_bytes).sum());
    let target = Target::open(to, identity, policy_id).await?;
    if let Some(owner) = owner.filter(|_| !dry_run && !backups.is_empty()) {
        // Law of ownership (must): nothing is written to a policy in a store before it is someone's.
        ownership::adopt(&*to.store, policy_id, &owner).await?;
        report.objects += 1;
    }
    let mut copier = BackupCopier::new(from, contents, identity, target, is_named, dry_run, &run);
    for backup in backups {
        let name = backup.name;
        let outcome = match copier.copy(&name).await {
            Ok(outcome) => outcome,
            Err(error) if is_of_this(&error, from) => {
                Outcome::Failed { reason: with_advice(&error), cause: error.category() }
            }
            Err(error) => return Err(error),
        };
        run.progress.entries.add(1);
        report.add(&name, outcome);
    }
    let (objects, bytes, warnings) = copier.finish();
    report.objects += objects;
    report.bytes = bytes;
    report.warnings.extend(warnings);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Whether an error is of this backup alone, so that others may be copied all the same.
fn is_of_this(error: &Error, from: &Catalog) -> bool {
    match error {
        Error::ManifestLost { .. } | Error::CopyDiffers { .. } | Error::NotAsSent(_) => true,
        Error::Storage(Storage::TooLarge(_)) => true,
        Error::Storage(Storage::Store(of_store)) => {
            of_store.kind == StoreErrorKind::ColdStorage
                || is_of_backup(error) && of_store.store == from.url()
        }
        error => is_of_backup(error),
    }
}
