//! The deletions of a sweep, one after another: in the same order for the same store.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::standing::Standing;
use intellistor_storage::catalog::statements::{self, Forgotten, Found};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::uptime::Uptime;
use intellistor_storage::{Error as Storage, StoreErrorKind};
use tokio_util::sync::CancellationToken;

use super::locks::lock_on;
use super::plan::{ForgottenBackup, Plan, kept, needed_by};
use super::references::References;
use super::report::SweepReport;
use crate::error::{Error, Result};
use crate::lifecycle::scope::Scope;

/// How old a look at `hold.json` may be when the manifest is deleted: much less than [`YIELDING`](super::plan::YIELDING).
const RECENT: Duration = Duration::from_secs(10 * 60);

const REFUSED: &str = "the store does not let this account delete it";

pub(super) struct Execution<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) now: DateTime<Utc>,
    /// The latest listing.
    pub(super) contents: Contents,
    /// What the manifests of that listing need.
    pub(super) references: References,
    pub(super) report: SweepReport,
    pub(super) cancel: CancellationToken,
    /// The store has refused to delete: it is asked no more.
    pub(super) is_refused: bool,
}

/// A backup whose manifest is gone.
struct BegunBackup {
    name: BackupName,
    /// What this sweep has freed of it.
    freed: u64,
    /// Whether its manifest has gone now, or before.
    goes_now: bool,
}

/// What became of an object.
enum Erased {
    Gone,
    Locked,
    Refused,
}

impl Execution<'_> {
    pub(super) async fn run(mut self, plan: Plan) -> Result<(SweepReport, References)> {
        let begun =
            plan.begun.into_iter().map(|backup| BegunBackup { name: backup.name, freed: 0, goes_now: false });
        // First, since it makes room, and may be all that a full store can do.
        let mut needed = self.finish(begun.collect()).await?;
        let mut due = VecDeque::from(plan.due);
        while !due.is_empty() {
            let begun = self.begin_those_due(&mut due).await?;
            if !begun.is_empty() {
                self.list_again().await?;
                // What was needed may have been needed by these alone.
                needed.extend(begun);
                needed = self.finish(needed).await?;
            }
        }
        let by = self.references.needed(|_| true);
        let by: Vec<_> = needed.iter().map(|backup| by.get(&backup.name).copied().cloned()).collect();
        for (BegunBackup { name, goes_now, freed }, by) in needed.into_iter().zip(by) {
            let Some(by) = by else { continue };
            match goes_now {
                true => self.report.delete_manifest(&name, freed, needed_by(&by)),
                false => self.report.keep(&name, needed_by(&by)),
            }
            let left = self.contents.of_backup(&name).and_then(|objects| objects.bytes(ObjectKind::Entries));
            // A sweep that was interrupted has left them behind. Those of a manifest that is still there are needed.
            if let Some(bytes) = left.filter(|_| !goes_now && by != name && !self.is_refused)
                && matches!(self.erase(&name, ObjectKind::Entries).await?, Erased::Gone)
            {
                self.report.bytes_freed += bytes;
            }
        }
        Ok((self.report, self.references))
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Deletes manifests, until all are, or the store is full: then what is begun has to be finished first.
    async fn begin_those_due(&mut self, due: &mut VecDeque<ForgottenBackup>) -> Result<Vec<BegunBackup>> {
        let mut begun = Vec::new();
        while let Some(backup) = due.pop_front() {
            self.check_cancel()?;
            if self.is_refused {
                self.report.keep(&backup.name, REFUSED.to_owned());
                continue;
            }
            match self.begin(&backup).await {
                // Another sweep was faster.
                Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::NotFound => {}
                Ok(Some(freed)) => {
                    begun.push(BegunBackup { name: backup.name, freed, goes_now: true });
                }
                Ok(None) => {}
                Err(Error::Storage(Storage::Store(error)))
                    if error.kind == StoreErrorKind::Full && !begun.is_empty() =>
                {
                    due.push_front(backup);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(begun)
    }

    /// Deletes a manifest, and its sealed lists; answers the bytes that were freed. `None` where the backup is kept, and has said
    /// why.
    async fn begin(&mut self, backup: &ForgottenBackup) -> Result<Option<u64>> {
        let ForgottenBackup { name, forgotten, objects } = backup;
        let scope = self.scope;
        // Law (must): what was planned is still said. Since then it may have been taken back, or be another sweep's.
        match statements::read::<Forgotten>(scope.store(), name, scope.keys).await? {
            Found::Proven(said) if said.id == forgotten.id && said.sweeping == forgotten.sweeping => {}
            Found::Nothing => return Ok(None),
            Found::Proven(_) | Found::Unproven(_) => {
                self.report.keep(name, "what is said of it has changed meanwhile".to_owned());
                return Ok(None);
            }
        }
        let (header, data_key) = scope.open(name).await?;
        let put = async |says: Forgotten| statements::put(scope.store(), &header, &data_key, &says).await;
        let put_ms = objects.modified_ms(ObjectKind::Forgotten);
        let first_put = forgotten.put.or_else(|| put_ms.and_then(DateTime::from_timestamp_millis));
        let given_back = Forgotten { sweeping: false, put: first_put, ..forgotten.clone() };
        if !forgotten.sweeping {
            // Law (must): first it is said, then looked whether someone holds the backup. `hold` does the same, so that
            // one of the two sees the other.
            match put(Forgotten { sweeping: true, ..given_back.clone() }).await {
                Err(Storage::Store(error)) if is_refusal(error.kind) => {
                    self.refuse(&error.to_string());
                    self.report.keep(name, REFUSED.to_owned());
                    return Ok(None);
                }
                said => said?,
            }
            Failpoint::SweepBegun.reached();
        }
        let (mut standing, mut looked) = self.look(name, forgotten).await?;
        Failpoint::SweepDecided.reached();
        // Law (must): the look is recent. An hour after `sweeping` was put another sweep may give the backup back.
        while looked.elapsed() > RECENT {
            (standing, looked) = self.look(name, forgotten).await?;
        }
        let reason = kept(&standing, forgotten, name);
        if reason.is_some() || standing.speaks_for(forgotten) {
            let is_held = reason.is_some();
            self.report
                .keep(name, reason.unwrap_or_else(|| "it was taken back: not forgotten any more".to_owned()));
            // It is listed again, as the person who held it or took it back has been shown.
            if is_held || !matches!(self.erase(name, ObjectKind::Forgotten).await?, Erased::Gone) {
                put(given_back.clone()).await?;
            }
            return Ok(None);
        }
        // The manifest goes first: a backup without an archive must never be listed.
        match self.erase(name, ObjectKind::Manifest).await? {
            Erased::Gone => {}
            // The backup is as it was: a person who wants it back must not find it given up.
            kept @ (Erased::Locked | Erased::Refused) => {
                // Where an earlier sweep has said so, that one may still be at work.
                if !forgotten.sweeping {
                    put(given_back).await?;
                }
                let is_locked = matches!(kept, Erased::Locked);
                let reason = if is_locked { "its manifest is locked in the store" } else { REFUSED };
                self.report.keep(name, reason.to_owned());
                return Ok(None);
            }
        }
        Failpoint::SweepManifestErased.reached();
        self.references.remove(name);
        let mut freed = objects.bytes(ObjectKind::Manifest).unwrap_or(0);
        if objects.has(ObjectKind::Entries)
            && matches!(self.erase(name, ObjectKind::Entries).await?, Erased::Gone)
        {
            freed += objects.bytes(ObjectKind::Entries).unwrap_or(0);
        }
        Failpoint::SweepEntriesErased.reached();
        self.report.bytes_freed += freed;
        Ok(Some(freed))
    }

    /// What speaks for a backup, and when that was asked.
    async fn look(&self, name: &BackupName, forgotten: &Forgotten) -> Result<(Standing, Uptime)> {
        let asked = Uptime::now();
        let hold = statements::read(self.scope.store(), name, self.scope.keys).await?;
        Ok((Standing { forgotten: Found::Proven(forgotten.clone()), hold }, asked))
    }

    /// Law (must): whether an archive is needed is decided by what is in the store after manifests were deleted.
    async fn list_again(&mut self) -> Result<()> {
        self.contents = self.scope.catalog.contents(self.scope.policy_id).await?;
        self.references.complete(&self.scope, &self.contents, &self.cancel).await?;
        Failpoint::SweepListedAgain.reached();
        Ok(())
    }

    /// Deletes what is left of backups that have no manifest; answers those whose archives a manifest needs.
    async fn finish(&mut self, begun: Vec<BegunBackup>) -> Result<Vec<BegunBackup>> {
        let needed = self.references.needed(|_| true);
        // Law (must): an archive that a manifest needs outlives its own, with its tombstone beside it.
        let (needed, free): (Vec<_>, Vec<_>) =
            begun.into_iter().partition(|backup| needed.contains_key(&backup.name));
        for backup in free {
            self.check_cancel()?;
            if self.is_refused {
                self.report.keep(&backup.name, REFUSED.to_owned());
            } else {
                self.finish_one(backup).await?;
            }
        }
        Ok(needed)
    }

    async fn finish_one(&mut self, BegunBackup { name, mut freed, .. }: BegunBackup) -> Result<()> {
        let objects = self.contents.of_backup(&name).cloned().unwrap_or_default();
        let lockable = [ObjectKind::Archive, ObjectKind::Entries];
        let lockable = lockable.into_iter().filter(|kind| objects.has(*kind));
        if let Some(lock) = lock_on(&self.scope, &name, lockable, self.now).await? {
            self.report.keep(&name, lock);
            return Ok(());
        }
        // Where there are versions, an interrupted call may have left some of what is not listed any more.
        let keeps_versions = self.scope.store().capabilities().versions;
        let order: &[ObjectKind] = if keeps_versions { &[ObjectKind::Manifest] } else { &[] };
        let rest = [ObjectKind::Archive, ObjectKind::Entries, ObjectKind::Confirmed, ObjectKind::Hold];
        // Law (must): what says that it is forgotten goes last, or a crash would leave an archive that no sweep touches.
        for &kind in order.iter().chain(&rest).chain(&[ObjectKind::Forgotten]) {
            // Somebody who was refused may have left a hold since the listing.
            let is_there = objects.has(kind) || kind == ObjectKind::Hold;
            if is_there || keeps_versions {
                match self.erase(&name, kind).await? {
                    Erased::Gone => {
                        let bytes = objects.bytes(kind).unwrap_or(0);
                        freed += bytes;
                        self.report.bytes_freed += bytes;
                    }
                    Erased::Locked => {
                        self.report.keep(&name, format!("{} is locked in the store", name.key(kind)));
                        return Ok(());
                    }
                    Erased::Refused => {
                        self.report.keep(&name, REFUSED.to_owned());
                        return Ok(());
                    }
                }
            }
            match kind {
                ObjectKind::Archive => Failpoint::SweepArchiveErased.reached(),
                ObjectKind::Hold => Failpoint::SweepStatementsErased.reached(),
                ObjectKind::Forgotten => Failpoint::SweepEnded.reached(),
                ObjectKind::Manifest | ObjectKind::Entries | ObjectKind::Confirmed => {}
            }
        }
        self.report.delete(&name, freed);
        Ok(())
    }

    async fn erase(&mut self, name: &BackupName, kind: ObjectKind) -> Result<Erased> {
        match self.scope.store().erase(&name.key(kind)).await {
            Ok(()) => Ok(Erased::Gone),
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::Locked => {
                tracing::info!(%error, "not deleted");
                Ok(Erased::Locked)
            }
            Err(Storage::Store(error)) if is_refusal(error.kind) => {
                self.refuse(&error.to_string());
                Ok(Erased::Refused)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reported once. Backups need no right to delete: that somebody else has it is a way to run this.
    fn refuse(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_refused, true) {
            self.report.warn(format!(
                "nothing more is deleted: {error}. Forgotten backups take space until someone with the right to delete \
                 runs `backup-client prune`"
            ));
        }
    }
}

/// Whether the store, or the folder, does not let this account do it.
fn is_refusal(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::AccessDenied | StoreErrorKind::FolderDenied)
}
