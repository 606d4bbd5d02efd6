//! Keeps a backup whatever the rules say, ends that, and takes a forgetting back.
//!
//! **In:** a backup's name. **Out:** `hold.json` beside it, and what is true of the backup from then on. **Guaranteed:** what is
//! answered with success is in force: no sweep takes the backup. **After a crash:** the same command again ends it.
//!
//! Law (must): who holds or unforgets writes first, and looks after that. A sweep does the same, so one of the two sees the
//! other (see `storage::catalog::standing`). If it is this one, `hold.json` gets back what it said, and the command has failed.

use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{Found, Hold};
use intellistor_storage::keys::OpensBackups;
use serde::Serialize;

use super::legal_hold;
use super::scope::Scope;
use super::subject::Subject;
use crate::catalog::Catalog;
use crate::error::Result;

/// Forgettings of one backup that were taken back and are remembered.
const MOST_REMEMBERED: usize = 100;

/// What is true of a backup after `hold`, `release` or `unforget`. Its serde form is their JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoldReport {
    pub backup_id: String,
    pub timestamp: String,
    pub policy: String,
    /// The archive's key.
    pub key: String,
    pub state: BackupState,
    /// Why it is held or forgotten.
    pub reason: Option<String>,
    /// Whether this command changes anything.
    pub changed: bool,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Objects whose legal hold was set or ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legal_holds: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// What is true of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupState {
    /// It is listed, and nothing forgets it.
    #[serde(rename = "held")]
    OnHold,
    Listed,
    Forgotten,
}

/// How a backup is held, released or unforgotten.
#[derive(Debug, Clone, Copy, Default)]
pub struct HoldOptions {
    /// The hold is set, or ended, in the store itself as well, which then lets no one delete what the backup needs.
    pub legal: bool,
    /// Nothing is written.
    pub dry_run: bool,
}

/// Holds a backup.
///
/// # Errors
/// [`OtherPolicy`](crate::Error::OtherPolicy); [`NoSuchBackup`](crate::Error::NoSuchBackup);
/// [`BeingSwept`](crate::Error::BeingSwept); [`NoLegalHold`](crate::Error::NoLegalHold); those of the store and of the key.
pub async fn hold(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy_id: &str,
    name: &BackupName,
    reason: &str,
    HoldOptions { legal, dry_run }: HoldOptions,
) -> Result<HoldReport> {
    let scope = Scope { catalog, keys, policy_id };
    scope.check(name)?;
    if legal {
        legal_hold::check(&scope).await?;
    }
    let subject = Subject::find(scope, name).await?;
    // Before anything is written: what a legal hold needs can be read.
    let objects = if legal { legal_hold::objects(&subject).await? } else { Vec::new() };
    let before = subject.said();
    let is_said = before.as_ref().is_some_and(|hold| hold.held && hold.why == reason);
    let hold = Hold { why: reason.to_owned(), held: true, ..subject.hold() };
    let mut report = subject.report(&hold, !is_said || !objects.is_empty(), dry_run);
    if !dry_run {
        if !is_said {
            let held = |said| Hold { why: reason.to_owned(), held: true, ..said };
            subject.say(held, |found| found.held).await?;
        }
        legal_hold::set(&scope, &objects, true).await?;
        tracing::info!(key = name.archive_key(), reason, legal, "held");
    }
    report.legal_holds = objects;
    Ok(report)
}

/// Ends a hold.
///
/// # Errors
/// As for [`hold`]; `NotOwner` when the policy is another machine's.
pub async fn release(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy_id: &str,
    name: &BackupName,
    HoldOptions { legal, dry_run }: HoldOptions,
) -> Result<HoldReport> {
    let scope = Scope { catalog, keys, policy_id };
    scope.check(name)?;
    catalog.confirm(policy_id).await?;
    if legal {
        legal_hold::check(&scope).await?;
    }
    let subject = Subject::find(scope, name).await?;
    let (objects, mut notes) = match legal {
        true => legal_hold::releasable(&subject).await?,
        false => (Vec::new(), Vec::new()),
    };
    let held = subject.said().filter(|hold| hold.held);
    let hold = Hold { why: "released".to_owned(), held: false, ..subject.hold() };
    let mut report = subject.report(&hold, held.is_some() || !objects.is_empty(), dry_run);
    if held.is_none() {
        notes.push("it was not held".to_owned());
    }
    if !dry_run {
        if let Some(before) = held {
            // A hold that was put a moment ago is another one.
            subject.replace(&before, &hold).await?;
            tracing::info!(key = name.archive_key(), was_held = before.why, legal, "released");
        }
        legal_hold::set(&scope, &objects, false).await?;
    }
    if !legal {
        notes.extend(match legal_hold::is_set(&scope, name).await {
            Ok(false) => None,
            Ok(true) => Some("its legal hold in the store is still there: release that, too".to_owned()),
            Err(error) => Some(format!("it is not known whether the store has a legal hold on it: {error}")),
        });
    }
    report.legal_holds = objects;
    report.notes.extend(notes);
    Ok(report)
}

/// Lists a forgotten backup again.
///
/// # Errors
/// As for [`hold`].
pub async fn unforget(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy_id: &str,
    name: &BackupName,
    dry_run: bool,
) -> Result<HoldReport> {
    let scope = Scope { catalog, keys, policy_id };
    scope.check(name)?;
    let subject = Subject::find(scope, name).await?;
    let Found::Proven(forgotten) = &subject.standing.forgotten else {
        let mut report = subject.report(&subject.hold(), false, dry_run);
        report.notes.push("it was not forgotten".to_owned());
        return Ok(report);
    };
    let before = subject.said();
    let is_said = before.as_ref().is_some_and(|hold| hold.unforgets.contains(&forgotten.id));
    let report = subject.report(&unforgetting(subject.hold(), &forgotten.id), !is_said, dry_run);
    if dry_run {
        return Ok(report);
    }
    if !is_said {
        let unforgets = |found: &Hold| found.unforgets.contains(&forgotten.id);
        subject.say(|said| unforgetting(said, &forgotten.id), unforgets).await?;
        tracing::info!(key = name.archive_key(), was_forgotten = forgotten.why, "unforgotten");
    }
    // It counts no more. Who may not delete leaves it there.
    if let Err(error) = scope.store().delete(&name.key(ObjectKind::Forgotten)).await {
        tracing::debug!(%error, "the statement that does not count any more stays in the store");
    }
    Ok(report)
}

/// Takes a forgetting back. A hold that is in force stays in force.
fn unforgetting(said: Hold, id: &str) -> Hold {
    let Hold { why, held, mut unforgets, .. } = said;
    let why = if held { why } else { "unforgotten".to_owned() };
    unforgets.retain(|other| other != id);
    unforgets.push(id.to_owned());
    unforgets.drain(..unforgets.len().saturating_sub(MOST_REMEMBERED));
    Hold { why, unforgets, ..said }
}

impl Subject<'_> {
    /// What is true of the backup once `hold.json` says this.
    fn report(&self, hold: &Hold, changed: bool, dry_run: bool) -> HoldReport {
        let standing = Standing { hold: Found::Proven(hold.clone()), ..self.standing.clone() };
        let (state, reason) = match (standing.held(), standing.forgotten()) {
            (_, Some(forgotten)) => (BackupState::Forgotten, Some(forgotten.why.clone())),
            (Some(hold), None) => (BackupState::OnHold, Some(hold.why.clone())),
            (None, None) => (BackupState::Listed, None),
        };
        let BackupName { policy_id, timestamp, backup_id } = self.name.clone();
        HoldReport {
            key: self.name.archive_key(),
            notes: self.standing.unproven(self.name),
            policy: policy_id,
            legal_holds: Vec::new(),
            backup_id,
            timestamp,
            state,
            reason,
            changed,
            dry_run,
        }
    }
}

#[cfg(test)]
mod tests;
