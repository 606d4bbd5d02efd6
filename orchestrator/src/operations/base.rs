//! Chooses the backup that a new one takes entries over from.
//!
//! **In:** the store, the policy, who can open what is sealed. **Out:** a verified manifest whose archives were looked at, and
//! which of them may be used; or none, for a full backup. What a person should know of it is reported. **After a crash:** the
//! agent keeps the choice in the job; a client chooses again.
//!
//! A base is the newest backup of this policy by this machine that is not dated in the future (unless all are), is not
//! forgotten, opens with the configured key, is authentic, and has the policy's folders in their order. A few of the newest are
//! tried. A job that is resumed keeps a base that was forgotten in the meantime, for [a day](forgotten).

mod bounds;
mod dependencies;
pub(crate) mod forgotten;
mod local_copy;

use std::sync::Arc;

use chrono::Utc;
use intellistor_actors::source::make_roots;
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::keys::{ContentKey, Recipients};
use intellistor_storage::manifest::{Base, Head, Preamble, VerifiedManifest};
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::{Error as Storage, StoreErrorKind};

pub(crate) use dependencies::{ArchiveState, look_at};
pub(crate) use forgotten::obstacle;
pub(crate) use local_copy::LocalManifest;

use crate::catalog::Catalog;
use crate::clock;
use crate::error::{Error, Result};
use crate::operations::base::bounds::ArchiveUse;
use crate::operations::copies::Copies;
use crate::policy::{Policy, duration_text};

/// Backups that are tried as a base: a damaged one, or one of a day with another key, should not cost a full backup.
const MOST_TRIED: usize = 5;
/// Backups of other machines that are passed over. A policy changes its machine once in years.
const MOST_LOOKED_AT: usize = 50;

/// What a base is searched with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseSearch<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) recipients: &'a Recipients,
    pub(crate) policy: &'a Policy,
    /// Stores of their own: they must have what the new backup depends on.
    pub(crate) copies: &'a Copies,
    /// The manifest of the last backup, where this machine keeps one.
    pub(crate) local: Option<&'a LocalManifest>,
}

/// What a new backup is based on.
#[derive(Debug, Default)]
pub(crate) struct BaseChoice {
    /// `None` for a full backup.
    pub(crate) base: Option<Arc<Base>>,
    /// What needs attention although the backup will be made.
    pub(crate) alerts: Vec<String>,
    /// What is worth knowing, and no reason to worry.
    pub(crate) notes: Vec<String>,
}

/// Why a backup is not used as a base.
enum Refusal {
    /// Worth a line in the log.
    Unfit(String),
    /// A person should look at it.
    Damaged(String),
}

impl BaseSearch<'_> {
    /// Chooses a base. With `full`, none.
    ///
    /// # Errors
    /// Those of the store, unless it only refuses to list or to show: backups need no right to read.
    pub(crate) async fn choose(&self, full: bool) -> Result<BaseChoice> {
        let mut choice = BaseChoice::default();
        if full {
            tracing::info!("full backup: it was asked for");
            return Ok(choice);
        }
        let mut tried = 0;
        let (contents, candidates) = self.candidates().await?;
        for name in candidates.into_iter().take(MOST_LOOKED_AT) {
            if tried == MOST_TRIED {
                break;
            }
            // One at a time: with a passphrase each statement takes a tenth of a second to prove.
            if self.is_passed_over(&contents, &name).await? {
                continue;
            }
            let refusal = match self.examine(&name).await? {
                None => continue,
                Some(Ok(manifest)) => return self.take(manifest, choice).await,
                Some(Err(refusal)) => refusal,
            };
            tried += 1;
            match refusal {
                Refusal::Unfit(why) => {
                    tracing::info!(why, backup_id = name.backup_id, "an earlier backup is not used as a base");
                }
                Refusal::Damaged(why) => choice.alerts.push(format!(
                    "the manifest {} is damaged ({why}): that backup cannot be restored with it, and this one was not \
                     based on it. `backup-client restore --without-manifest` can restore what its archive holds",
                    name.manifest_key()
                )),
            }
        }
        tracing::info!("full backup: there is no earlier backup to base it on");
        Ok(choice)
    }

    /// Opens the base that a job recorded.
    ///
    /// # Errors
    /// [`Error::BaseLost`] when it is not in the store any more, is not what it was, or was forgotten for more than a day; those
    /// of the store.
    pub(crate) async fn reopen(
        &self,
        name: &BackupName,
        manifest_sha256: [u8; 32],
        numbers: Vec<Option<u32>>,
    ) -> Result<Arc<Base>> {
        let lost = |why: String| Error::BaseLost { key: name.manifest_key(), why };
        // It would not be found right before the manifest is put: sooner is cheaper.
        if let Some(why) = obstacle(self.store, name, self.recipients).await? {
            return Err(lost(why));
        }
        let opened = match self.open(name, None).await {
            Ok(Err(Error::Storage(Storage::Integrity { reason, .. }))) | Err(reason) => {
                return Err(lost(reason));
            }
            Ok(opened) => opened?,
        };
        if opened.document_sha256() != manifest_sha256 {
            return Err(lost("it is another one than it was".to_owned()));
        }
        Ok(Arc::new(Base::new(opened, numbers)?))
    }

    /// What the store has of the policy, and its backups, forgotten or not, the best candidate first.
    async fn candidates(&self) -> Result<(Contents, Vec<BackupName>)> {
        let contents = match self.catalog.contents(&self.policy.policy_id).await {
            // Without the right to list, the one that this machine remembers will do.
            Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::AccessDenied => {
                tracing::info!(%error, "cannot list earlier backups");
                let remembered = self.local.and_then(LocalManifest::name).into_iter().collect();
                return Ok((Contents::default(), remembered));
            }
            contents => contents?,
        };
        let names = self.catalog.in_order(&contents);
        Ok((contents, names))
    }

    /// Whether a backup is forgotten, or was, and only a hold lists it: nothing may depend on what a release would end.
    async fn is_passed_over(&self, contents: &Contents, name: &BackupName) -> Result<bool> {
        if !contents.of_backup(name).is_some_and(|objects| objects.has(ObjectKind::Forgotten)) {
            return Ok(false);
        }
        if self.catalog.is_forgotten(contents, name, self.recipients).await? {
            return Ok(true);
        }
        let obstacle = obstacle(self.store, name, self.recipients).await?;
        if let Some(why) = &obstacle {
            tracing::info!(why, backup_id = name.backup_id, "an earlier backup is not used as a base");
        }
        Ok(obstacle.is_some())
    }

    /// A backup's manifest, if it can be a base; `None` for a backup of another machine.
    async fn examine(&self, name: &BackupName) -> Result<Option<Result<VerifiedManifest, Refusal>>> {
        // What is wrong with it is found again below.
        let preamble = Preamble::fetch(self.store, name).await.ok();
        let machine =
            preamble.as_ref().map_or(Some(self.catalog.machine.id()), |found| found.machine.as_deref());
        if machine != Some(self.catalog.machine.id()) {
            return Ok(None);
        }
        let manifest = match self.open(name, preamble).await {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(Error::Storage(Storage::Integrity { reason, .. }))) => {
                return Ok(Some(Err(Refusal::Damaged(reason))));
            }
            Ok(Err(error)) => return Err(error),
            Err(why) => return Ok(Some(Err(Refusal::Unfit(why)))),
        };
        Ok(Some(match self.unfit(manifest.head()) {
            Some(why) => Err(Refusal::Unfit(why)),
            None => Ok(manifest),
        }))
    }

    /// Reads and verifies a manifest, this machine's copy of it if that is the same. The outer error says why it cannot be
    /// had, and that trying again would not help.
    async fn open(
        &self,
        name: &BackupName,
        preamble: Option<Preamble>,
    ) -> Result<Result<VerifiedManifest>, String> {
        let opened = async {
            // Also shows that it is still in the store.
            let header = match preamble {
                Some(preamble) => preamble.header,
                None => Preamble::fetch(self.store, name).await?.header,
            };
            let data_key = self.recipients.reopen(header.keys(), header.backup_id())?;
            if let Some(local) = self.local
                && let Some(manifest) = local.open(&header, &data_key)
            {
                return Ok(manifest);
            }
            VerifiedManifest::fetch_own(self.store, &header, &data_key).await
        };
        match opened.await {
            Err(error @ (Storage::WrongKey { .. } | Storage::WrongPassphrase { .. })) => {
                Err(error.to_string())
            }
            Err(error @ (Storage::UnsupportedVersion { .. } | Storage::OtherBackup { .. })) => {
                Err(error.to_string())
            }
            Err(Storage::Store(error))
                if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::AccessDenied) =>
            {
                Err(error.to_string())
            }
            opened => Ok(opened.map_err(Error::from)),
        }
    }

    /// Why the policy wants no backup that is based on this one.
    fn unfit(&self, head: &Head) -> Option<String> {
        let roots = make_roots(&self.policy.paths);
        let is_same = head.roots.len() == roots.len()
            && head
                .roots
                .iter()
                .zip(&roots)
                .all(|(then, now)| then.path == now.path.to_string_lossy() && then.prefix == now.prefix);
        if !is_same {
            return Some("the policy had other `paths`".to_owned());
        }
        let full = head.base.as_ref().map_or(&head.name.timestamp, |base| &base.full);
        let full_every = self.policy.full_every?;
        let age = clock::parse(full).and_then(|full| (Utc::now() - full).to_std().ok());
        (age? >= full_every)
            .then(|| format!("the last full backup, {full}, is older than {}", duration_text(full_every)))
    }

    /// Looks at the archives of a base, and decides which of them are used.
    async fn take(&self, manifest: VerifiedManifest, mut choice: BaseChoice) -> Result<BaseChoice> {
        let head = manifest.head();
        let archives = head.archives.iter().map(|archive| (archive.key.clone(), archive.bytes));
        let states = look_at(self.store, archives.collect()).await?;
        let mut is_any_lost = false;
        for (archive, state) in head.archives.iter().zip(&states) {
            let Some(what) = state.problem(archive.bytes) else { continue };
            is_any_lost = true;
            choice.alerts.push(format!(
                "{} {what}. This backup stores its files again and is whole; earlier backups that need that archive are not. \
                 Find out who deleted or damaged it",
                archive.key
            ));
        }
        let uses: Vec<_> = head
            .archives
            .iter()
            .zip(&states)
            .map(|(a, state)| ArchiveUse::of(a, *state == ArchiveState::Whole))
            .collect();
        let usable = bounds::usable(&uses);
        let replaced = uses
            .iter()
            .zip(&usable)
            .filter(|(archive, usable)| archive.is_there && archive.live > 0 && !**usable);
        let (count, bytes) =
            replaced.fold((0, 0), |(count, bytes), (archive, _)| (count + 1, bytes + archive.live));
        if count > 0 {
            tracing::info!(
                archives = count,
                bytes,
                "storing the files of these archives again, since little of them is needed"
            );
        }
        if is_any_lost && !usable.contains(&true) {
            tracing::info!("full backup: no archive of an earlier one is usable");
            return Ok(choice);
        }
        let needed = head.archives.iter().zip(&usable).filter(|(_, usable)| **usable);
        let needed: Vec<_> = needed.map(|(archive, _)| (&*archive.key, archive.bytes)).collect();
        if let Some(folder) = self.copies.lacks_any(&needed).await {
            let note = format!(
                "full backup: the copy in {} lacks archives of earlier backups, and is to be a store of its own",
                folder.display()
            );
            tracing::info!("{note}");
            choice.notes.push(note);
            return Ok(choice);
        }
        tracing::info!(
            base = head.name.backup_id,
            timestamp = head.name.timestamp,
            archives = needed.len(),
            "based on an earlier backup"
        );
        choice.base = Some(Arc::new(Base::new(manifest, Base::numbers_of(usable))?));
        Ok(choice)
    }
}

/// The key of the sketches of a backup with this base: that of the chain, or a new one.
///
/// # Errors
/// `Integrity` when the base's is not what was sealed.
pub(crate) fn content_key(base: Option<&Base>) -> Result<ContentKey> {
    let of_chain = base.map(|base| base.manifest().content_key()).transpose()?.flatten();
    Ok(of_chain.unwrap_or_else(ContentKey::generate))
}
