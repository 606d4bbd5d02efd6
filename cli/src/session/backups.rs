//! Which backup a command is about.

use intellistor::{BackupName, BackupSelector, Catalog, Forgotten, Identity, Policy};

use super::Session;
use crate::failure::Failure;
use crate::selection::Which;

impl Session {
    /// The backup that the arguments name.
    pub(crate) async fn choose(
        &self,
        catalog: &Catalog,
        identity: &Identity,
        policy: &Policy,
        which: &Which,
    ) -> Result<BackupName, Failure> {
        self.select(catalog, identity, policy, &which.selector()).await
    }

    /// The backup that a person means, to be read. A forgotten one is reported.
    pub(crate) async fn select(
        &self,
        catalog: &Catalog,
        identity: &Identity,
        policy: &Policy,
        selector: &BackupSelector,
    ) -> Result<BackupName, Failure> {
        let name = self.named(catalog, identity, policy, selector).await?;
        if name.policy_id != policy.policy_id {
            self.screen.warn(format_args!(
                "this is a backup of the policy {}, not of {}",
                name.policy_id, policy.policy_id
            ));
        }
        if matches!(selector, BackupSelector::Key(_) | BackupSelector::Prefix(_)) {
            self.warn_if_forgotten(catalog, identity, &name).await;
        }
        Ok(name)
    }

    /// The backup that something is to be said about.
    pub(crate) async fn named(
        &self,
        catalog: &Catalog,
        identity: &Identity,
        policy: &Policy,
        selector: &BackupSelector,
    ) -> Result<BackupName, Failure> {
        let selected = self.unless_cancelled(catalog.select(&policy.policy_id, identity, selector)).await;
        selected.map_err(Failure::engine(not_found(selector, "backup")))
    }

    /// A forgotten backup is used all the same: a person has named it.
    async fn warn_if_forgotten(&self, catalog: &Catalog, identity: &Identity, name: &BackupName) {
        match self.unless_cancelled(catalog.forgotten(name, identity)).await {
            Ok(None) => {}
            Ok(Some(Forgotten { why, sweeping, .. })) => {
                let state = match sweeping {
                    false => "and a sweep will delete it; `backup-client unforget` lists it again",
                    true => {
                        "and a sweep is deleting it, which cannot be taken back: restore what you need of it now"
                    }
                };
                self.screen.warn(format_args!("this backup is forgotten ({why}), {state}"));
            }
            // Whatever it is, it fails more clearly where the backup is read.
            Err(error) => tracing::debug!(%error, "cannot tell whether the backup is forgotten"),
        }
    }

    /// As [`choose`](Self::choose), also where no manifest says that the backup exists.
    pub(crate) async fn choose_archive(
        &self,
        catalog: &Catalog,
        policy: &Policy,
        which: &Which,
    ) -> Result<BackupName, Failure> {
        let selector = which.selector();
        let selected = self.unless_cancelled(catalog.select_archive(&policy.policy_id, &selector)).await;
        selected.map_err(Failure::engine(not_found(&selector, "archive")))
    }
}

/// What failed, where nothing was selected.
fn not_found(selector: &BackupSelector, what: &str) -> String {
    match selector {
        BackupSelector::Latest(0) => format!("cannot find the newest {what}"),
        BackupSelector::At(_) => format!("cannot find the {what} at {selector}"),
        _ => format!("cannot find the {what} {selector}"),
    }
}
