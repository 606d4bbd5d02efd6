//! Applies a policy's retention: forgets the backups that no rule keeps.
//!
//! **In:** the policy's rules, what the store lists. **Out:** every verdict with its reasons. **Guaranteed:** while a
//! [brake](super::brake) is in force, nothing is forgotten. **After a crash:** the next run forgets the rest.
//!
//! Only as many manifests are read as it takes to find the newest backup without problems.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Confirmed};
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::manifest::BrakeRecord;

use super::brake;
use super::forget::{ForgetReport, ForgottenBackup, KeepReason, KeptBackup, forgetting, is_whole, put};
use super::retention::{Candidate, verdicts};
use super::scope::{Scope, is_of_backup};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::report::BackupReport;
use crate::policy::Policy;

/// Statements that are read, or written, concurrently.
const CONCURRENT: usize = 16;
/// What a forgotten backup says of itself.
const WHY: &str = "retention: no rule keeps it";

/// How a policy's retention is applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetentionOptions<'a> {
    /// Also while a brake is in force: a person has said that nothing was lost. Ends it.
    pub confirm: bool,
    /// Nothing is written.
    pub dry_run: bool,
    /// The backup that was just made: its manifest need not be read.
    pub made: Option<&'a BackupReport>,
}

/// Forgets what no rule of the policy keeps.
///
/// # Errors
/// [`Error::NoRetention`]; `NotOwner`; those of the store.
pub async fn apply_retention(
    catalog: &Catalog,
    keys: &dyn OpensBackups,
    policy: &Policy,
    options: RetentionOptions<'_>,
) -> Result<ForgetReport> {
    let policy_id = &policy.policy_id;
    let Some(rules) = &policy.retention else {
        return Err(Error::NoRetention { policy_id: policy_id.clone() });
    };
    let calendar = rules.calendar()?;
    let scope = Scope { catalog, keys, policy_id };
    catalog.confirm(policy_id).await?;
    let mut report = ForgetReport::new(&scope, options.dry_run);
    let listed = listed(&scope, &mut report.warnings).await?;
    let newest_first = listed.newest_first;
    // After an answer of the store, whose clock counts.
    let now = scope.now();
    let mut newest_whole = None;
    let mut brake = None;
    if let Some(newest) = newest_first.first() {
        let looked = look_at_newest(&scope, newest, options).await?;
        (newest_whole, brake) = (looked.is_whole.then_some(newest), looked.brake);
        if let (Some(Brake::Record(BrakeRecord { since, why, .. })), true) = (&brake, options.confirm) {
            let rested = format!("retention had rested since the backup of {since}: {why}");
            report.notes.push(format!("confirmed that nothing is lost; {rested}"));
            if !options.dry_run {
                confirm(&scope, newest).await?;
            }
        }
    }
    report.resting = brake.filter(|_| !options.confirm).map(|brake| brake.to_string());
    for name in newest_first.iter().skip(1) {
        if newest_whole.is_none() && is_whole(&scope, name).await? {
            newest_whole = Some(name);
        }
    }
    let forgotten = forgetting(&scope, WHY, policy.prune_after);
    let mut going = Vec::new();
    for verdict in verdicts(&listed.candidates, newest_whole, rules, &calendar, now) {
        match (verdict.is_kept(), &report.resting) {
            (true, _) => {
                let reasons: Vec<_> = verdict.reasons.into_iter().map(KeepReason::Rule).collect();
                report.kept.push(KeptBackup::new(&verdict.name, reasons));
            }
            (false, Some(_)) => {
                let reason = KeepReason::Other("no rule keeps it, but retention rests".to_owned());
                report.kept.push(KeptBackup::new(&verdict.name, vec![reason]));
            }
            (false, None) => going.push(verdict.name),
        }
    }
    let gone = stream::iter(going).map(|name| {
        let (scope, forgotten) = (&scope, &forgotten);
        async move {
            if options.dry_run {
                return Ok((name, None));
            }
            match put(scope, &name, forgotten).await {
                Ok(()) => Ok((name, None)),
                Err(error) if is_of_backup(&error) => Ok((name, Some(error))),
                Err(error) => Err(error),
            }
        }
    });
    let gone: Vec<(BackupName, Option<Error>)> = gone.buffered(CONCURRENT).try_collect().await?;
    for (name, error) in gone {
        match error {
            None => report.forgotten.push(ForgottenBackup::new(&name, WHY.to_owned())),
            Some(error) => {
                report.warnings.push(format!("{} cannot be forgotten: {error}", name.archive_key()));
                let reason = KeepReason::Other("no rule keeps it, but it cannot be opened".to_owned());
                report.kept.push(KeptBackup::new(&name, vec![reason]));
            }
        }
    }
    report
        .kept
        .sort_by(|one, other| (&other.timestamp, &other.backup_id).cmp(&(&one.timestamp, &one.backup_id)));
    report.prunable_from = (!report.forgotten.is_empty()).then_some(forgotten.prunable_from);
    report.tell();
    Ok(report)
}

struct Listed {
    /// Oldest first, those of the future last.
    candidates: Vec<Candidate>,
    /// Those whose time counts.
    newest_first: Vec<BackupName>,
}

/// The listed backups. What proves nothing is a warning, and counts for nothing.
async fn listed(scope: &Scope<'_>, warnings: &mut Vec<String>) -> Result<Listed> {
    let contents = scope.catalog.contents(scope.policy_id).await?;
    let backups: Vec<_> = contents
        .all()
        .filter(|(_, objects)| objects.has(ObjectKind::Manifest))
        .map(|(name, objects)| {
            (name.clone(), objects.has(ObjectKind::Forgotten) || objects.has(ObjectKind::Hold))
        })
        .collect();
    let standings = stream::iter(backups).map(|(name, is_said)| async move {
        let standing = if is_said { scope.standing(&name).await? } else { Standing::UNTOUCHED };
        Ok::<_, Error>((name, standing))
    });
    let standings: Vec<_> = standings.buffered(CONCURRENT).try_collect().await?;
    warnings.extend(standings.iter().flat_map(|(name, standing)| standing.unproven(name)));
    let listed = standings.into_iter().filter(|(_, standing)| standing.forgotten().is_none());
    let held = |standing: &Standing| standing.held().map(|hold| hold.why.clone());
    let candidates: Vec<_> =
        listed.map(|(name, standing)| Candidate { held: held(&standing), name }).collect();
    let is_listed = |name: &BackupName| candidates.iter().any(|candidate| candidate.name == *name);
    let newest_first = scope.catalog.in_order(&contents).into_iter().filter(is_listed).collect();
    Ok(Listed { candidates, newest_first })
}

/// Why retention rests.
enum Brake {
    Record(BrakeRecord),
    /// The newest backup may have one.
    Unknown(String),
}

impl std::fmt::Display for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(BrakeRecord { since, why, .. }) => write!(f, "since the backup of {since}: {why}"),
            Self::Unknown(why) => write!(
                f,
                "whether anything was lost is not known: the newest backup cannot be opened ({why})"
            ),
        }
    }
}

struct Looked {
    is_whole: bool,
    brake: Option<Brake>,
}

/// What the newest backup says of itself.
async fn look_at_newest(
    scope: &Scope<'_>,
    newest: &BackupName,
    RetentionOptions { confirm, made, .. }: RetentionOptions<'_>,
) -> Result<Looked> {
    let (totals, brake) = match made.filter(|made| made.name == *newest) {
        Some(made) => (made.totals, made.brake.clone()),
        None => match scope.head(newest).await? {
            Ok(head) => (head.totals, head.brake),
            Err(why) => return Ok(Looked { is_whole: false, brake: Some(Brake::Unknown(why)) }),
        },
    };
    let is_confirmed = brake.is_some() && brake::is_confirmed(scope, newest).await?;
    let is_whole = totals.skipped + totals.changed == 0 && (brake.is_none() || is_confirmed || confirm);
    let brake = brake::in_force(brake.as_ref(), is_confirmed, scope.now()).cloned().map(Brake::Record);
    Ok(Looked { is_whole, brake })
}

/// Says that what a backup lacks is not lost.
async fn confirm(scope: &Scope<'_>, newest: &BackupName) -> Result<()> {
    let (header, data_key) = scope.open(newest).await?;
    let confirmed = Confirmed { time: scope.now(), by: scope.by() };
    statements::put(scope.store(), &header, &data_key, &confirmed).await?;
    tracing::info!(key = newest.archive_key(), "confirmed that nothing was lost");
    Ok(())
}

impl ForgetReport {
    /// Logs the verdicts.
    fn tell(&self) {
        for KeptBackup { key, reasons, .. } in &self.kept {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            tracing::info!(key, reasons = reasons.join("; "), "kept");
        }
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if let Some(resting) = &self.resting {
            tracing::info!("retention rests {resting}");
        }
        let (forgotten, kept) = (self.forgotten.len(), self.kept.len());
        tracing::info!(forgotten, kept, dry_run = self.dry_run, "applied the retention");
    }
}

#[cfg(test)]
mod tests;
