//! Forgets one backup: it is not listed any more, and a sweep may delete it later.
//!
//! **In:** its name, and why. **Out:** `forgotten.json` beside it. **Guaranteed:** what [`unforget`](super::hold::unforget) and a
//! hold are for is possible until the time that the report names, and longer. **After a crash:** the same command again.
//!
//! The newest backup, and the newest without problems, are forgotten only where a person has confirmed it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::statements::{self, Forgotten};
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::manifest::{Head, fetch_totals};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::brake;
use super::retention::Reason;
use super::scope::Scope;
use super::subject::exists;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::policy::Policy;

/// Longer than anyone waits, and within the years that times are written with.
const NEVER: TimeDelta = TimeDelta::days(365 * 1000);

/// How one backup is forgotten.
#[derive(Debug, Clone, Default)]
pub struct ForgetOptions {
    /// The reason, for people.
    pub why: Option<String>,
    /// Also the newest, and the newest without problems.
    pub confirm: bool,
    /// Nothing is written.
    pub dry_run: bool,
}

/// What was forgotten, and what was not. Its serde form is the JSON of `forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    pub policy: String,
    /// The store's URL.
    pub store: String,
    pub dry_run: bool,
    /// Newest first.
    pub forgotten: Vec<ForgottenBackup>,
    /// Newest first; empty where one backup was named.
    pub kept: Vec<KeptBackup>,
    /// Why the rules forget nothing at present.
    pub resting: Option<String>,
    /// From when on a sweep may delete what was forgotten; `None` where nothing was.
    #[serde(serialize_with = "rfc3339")]
    pub prunable_from: Option<DateTime<Utc>>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What needs a person: statements that prove nothing, backups that cannot be opened.
    pub warnings: Vec<String>,
}

/// A backup that is not listed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgottenBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// The archive's key.
    pub key: String,
    pub reason: String,
}

/// A backup that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptBackup {
    pub backup_id: String,
    pub timestamp: String,
    /// The archive's key.
    pub key: String,
    pub reasons: Vec<KeepReason>,
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeepReason {
    Rule(Reason),
    /// No rule keeps it, but retention rests, or it cannot be opened.
    Other(String),
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(reason) => reason.fmt(f),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Forgets one backup of a policy.
///
/// # Errors
/// [`Error::OtherPolicy`]; [`Error::NoSuchBackup`]; [`Error::OnHold`]; [`Error::Precious`] without
/// [`confirm`](ForgetOptions::confirm); `NotOwner`; those of the store and of the key.
pub async fn forget(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy: &Policy,
    name: &BackupName,
    options: ForgetOptions,
) -> Result<ForgetReport> {
    let scope = Scope { catalog, keys, policy_id: &policy.policy_id };
    scope.check(name)?;
    catalog.confirm(&policy.policy_id).await?;
    let mut report = ForgetReport::new(&scope, options.dry_run);
    // Before the look at the manifest, which a sweep deletes first.
    let standing = scope.standing(name).await?;
    report.warnings.extend(standing.unproven(name));
    report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(Forgotten { time, why, prunable_from, sweeping, .. }) = standing.forgotten() {
        let when = time.format("%Y-%m-%d");
        report.notes.push(match (sweeping, scope.store().head(&name.manifest_key()).await?) {
            (_, None) => format!(
                "it was forgotten already, on {when} ({why}), and a sweep has deleted it; its archive stays while other \
                 backups need it"
            ),
            (true, Some(_)) => format!(
                "it was forgotten already, on {when} ({why}), and a sweep has begun to delete it, which cannot be taken back"
            ),
            (false, Some(_)) => {
                report.prunable_from = Some(*prunable_from);
                format!("it was forgotten already, on {when}: {why}")
            }
        });
        return Ok(report);
    }
    exists(scope, name).await?;
    let key = name.archive_key();
    if let Some(hold) = standing.held() {
        return Err(Error::OnHold { key, why: hold.why.clone() });
    }
    if !options.confirm
        && let Some(what) = is_precious(&scope, name).await?
    {
        return Err(Error::Precious { key, what });
    }
    let why = options.why.unwrap_or_else(|| "by hand".to_owned());
    let forgotten = forgetting(&scope, &why, policy.prune_after);
    if !options.dry_run {
        put(&scope, name, &forgotten).await?;
    }
    report.prunable_from = Some(forgotten.prunable_from);
    report.forgotten.push(ForgottenBackup::new(name, why));
    Ok(report)
}

/// A forgetting that begins now. `prune_after`: how long the backup stays in the store.
pub(crate) fn forgetting(scope: &Scope<'_>, why: &str, prune_after: Duration) -> Forgotten {
    let time = scope.now();
    let (id, by, why) = (Uuid::now_v7().to_string(), scope.by(), why.to_owned());
    let after = TimeDelta::from_std(prune_after).ok().filter(|after| *after < NEVER);
    let prunable_from = time + after.unwrap_or(NEVER);
    Forgotten { id, time, by, why, prunable_from, sweeping: false, put: None }
}

/// Says that a backup is forgotten.
pub(crate) async fn put(scope: &Scope<'_>, name: &BackupName, forgotten: &Forgotten) -> Result<()> {
    let (header, data_key) = scope.open(name).await?;
    statements::put(scope.store(), &header, &data_key, forgotten).await?;
    let (key, why) = (name.archive_key(), &forgotten.why);
    let prunable_from = forgotten.prunable_from.to_rfc3339_opts(SecondsFormat::Secs, true);
    tracing::info!(key, why, prunable_from, "forgotten");
    Ok(())
}

/// Why a backup should not be forgotten, if it should not.
async fn is_precious(scope: &Scope<'_>, name: &BackupName) -> Result<Option<&'static str>> {
    let contents = scope.catalog.contents(scope.policy_id).await?;
    let listed = listed(scope, &contents).await?;
    if listed.first() == Some(name) {
        return Ok(Some("the newest backup"));
    }
    let Some(at) = listed.iter().position(|listed| listed == name) else { return Ok(None) };
    for newer in &listed[..at] {
        if is_whole(scope, newer).await? {
            return Ok(None);
        }
    }
    Ok(is_whole(scope, name).await?.then_some("the newest backup without problems"))
}

/// The listed backups whose time counts, newest first.
async fn listed(scope: &Scope<'_>, contents: &Contents) -> Result<Vec<BackupName>> {
    let mut listed = Vec::new();
    for name in scope.catalog.in_order(contents) {
        if !scope.catalog.is_forgotten(contents, &name, scope.keys).await? {
            listed.push(name);
        }
    }
    Ok(listed)
}

/// Whether a backup has no problems. One that cannot be opened has.
pub(super) async fn is_whole(scope: &Scope<'_>, name: &BackupName) -> Result<bool> {
    // A locked file each night gives every backup a problem, and a manifest may be large. A person who could write a false beginning
    // could destroy the backup as well.
    if let Ok(Some(totals)) = fetch_totals(scope.store(), name).await
        && totals.skipped + totals.changed > 0
    {
        return Ok(false);
    }
    match scope.head(name).await? {
        Ok(Head { totals, brake, .. }) => {
            let is_complete = totals.skipped + totals.changed == 0;
            Ok(is_complete && (brake.is_none() || brake::is_confirmed(scope, name).await?))
        }
        Err(_) => Ok(false),
    }
}

impl ForgetReport {
    pub(super) fn new(scope: &Scope<'_>, dry_run: bool) -> Self {
        Self {
            policy: scope.policy_id.to_owned(),
            store: scope.catalog.url(),
            dry_run,
            forgotten: Vec::new(),
            kept: Vec::new(),
            resting: None,
            prunable_from: None,
            notes: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl ForgottenBackup {
    pub(super) fn new(name: &BackupName, reason: String) -> Self {
        let key = name.archive_key();
        let BackupName { timestamp, backup_id, .. } = name.clone();
        Self { backup_id, timestamp, key, reason }
    }
}

impl KeptBackup {
    pub(super) fn new(name: &BackupName, reasons: Vec<KeepReason>) -> Self {
        let key = name.archive_key();
        let BackupName { timestamp, backup_id, .. } = name.clone();
        Self { backup_id, timestamp, key, reasons }
    }
}

fn rfc3339<S: Serializer>(time: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).serialize(to)
}

#[cfg(test)]
mod tests;
