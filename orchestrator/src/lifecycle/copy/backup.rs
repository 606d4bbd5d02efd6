//! Copies one backup: the archives that it names, what was said about it, its manifest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::catalog::statements::{self, Confirmed, Forgotten, Found, Hold, Statement};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{ArchiveRecord, VerifiedManifest, has_manifest, put_manifest};
use intellistor_storage::objects::PutOptions;
use intellistor_storage::{Error as Storage, StoreError, StoreErrorKind};

use crate::catalog::Catalog;
use crate::error::{Category, Error, Result};
use crate::lifecycle::copy::outcome::Outcome;
use crate::lifecycle::copy::target::Target;
use crate::lifecycle::forget;
use crate::operations::archive_copy::{ArchiveSource, copy_archive};
use crate::operations::base;
use crate::operations::provenance::{self, Provenance};
use crate::operations::run_options::RunOptions;
use crate::operations::show::show;
use crate::policy::PRUNE_AFTER;

/// Copies backups, one after the other, and remembers what it has seen of archives that several of them name.
#[derive(Debug)]
pub(super) struct BackupCopier<'a> {
    from: &'a Catalog,
    /// What the source has.
    contents: Contents,
    identity: &'a Identity,
    target: Target<'a>,
    /// The backups were chosen by name.
    is_named: bool,
    dry_run: bool,
    run: &'a RunOptions,
    /// Archives that the target has whole.
    arrived: BTreeSet<String>,
    /// Archives that cannot be copied, and why.
    damaged: BTreeMap<String, String>,
    objects: u64,
    bytes: u64,
    warnings: Vec<String>,
}

impl<'a> BackupCopier<'a> {
    pub(super) fn new(
        from: &'a Catalog,
        contents: Contents,
        identity: &'a Identity,
        target: Target<'a>,
        is_named: bool,
        dry_run: bool,
        run: &'a RunOptions,
    ) -> Self {
        let (arrived, damaged, warnings) = Default::default();
        let (objects, bytes) = (0, 0);
        Self {
            from,
            contents,
            identity,
            target,
            is_named,
            dry_run,
            run,
            arrived,
            damaged,
            objects,
            bytes,
            warnings,
        }
    }

    /// Objects and bytes that were written, and warnings.
    pub(super) fn finish(self) -> (u64, u64, Vec<String>) {
        (self.objects, self.bytes, self.warnings)
    }

    /// Copies a backup, if it may be.
    ///
    /// # Errors
    /// Those of either store, and what is wrong with this backup.
    pub(super) async fn copy(&mut self, name: &BackupName) -> Result<Outcome> {
        self.target.refresh().await?;
        let standing = self.target.standing(name).await?;
        self.warnings.extend(standing.unproven(name));
        if let Some(forgotten) = standing.forgotten() {
            if forgotten.sweeping {
                return Ok(passed_over(format!("a sweep is deleting {} in the target", name)));
            }
            let Forgotten { time, why, .. } = forgotten;
            let when = time.format("%Y-%m-%d");
            if !self.is_named {
                let reason =
                    format!("it was forgotten in the target on {when} ({why}); --key copies it all the same");
                self.run.progress.bytes.add(self.target.bytes(name, ObjectKind::Archive).unwrap_or(0));
                return Ok(Outcome::Skipped { reason });
            }
            self.warnings.push(format!(
                "{} was forgotten in the target on {when} and stays so until `backup-client unforget` takes it back there",
                name
            ));
        }
        let manifest = show(self.from, self.identity, name).await?;
        let is_there = match has_manifest(self.target.store(), name, manifest.documents()).await? {
            Some(false) => return Err(self.differs(name.manifest_key())),
            found => found.is_some(),
        };
        if !is_there && let Some(threat) = self.target.threat(name, manifest.head()).await? {
            return Ok(passed_over(threat));
        }
        let archives = &manifest.head().archives;
        if let Some((key, why)) = archives.iter().find_map(|archive| self.damaged.get_key_value(&archive.key))
        {
            return Ok(Outcome::Failed {
                reason: format!("{key}, which it needs, cannot be copied: {why}"),
                cause: Category::Integrity,
            });
        }
        let (objects, before) = (self.objects, self.bytes);
        for number in 0..archives.len() {
            self.archive(&manifest, number, is_there).await?;
        }
        if !self.dry_run {
            self.statement::<Hold>(name).await?;
            self.statement::<Confirmed>(name).await?;
        }
        if !is_there {
            if !self.dry_run
                && let Some(reason) = self.publish(name, &manifest).await?
            {
                return Ok(passed_over(reason));
            }
            let documents = manifest.documents();
            self.objects += 1 + u64::from(documents.sealed_lists().is_some());
            self.bytes += documents.bytes();
        }
        Ok(match self.objects - objects {
            0 => Outcome::Skipped { reason: "the target has it".to_owned() },
            _ => Outcome::Copied { bytes: self.bytes - before },
        })
    }

    /// Makes sure that the target has an archive that a manifest names.
    async fn archive(&mut self, manifest: &VerifiedManifest, number: usize, is_listed: bool) -> Result<()> {
        let record = &manifest.head().archives[number];
        let ArchiveRecord { key, bytes, segments, .. } = record;
        if self.arrived.contains(key) {
            return Ok(());
        }
        let progress = &self.run.progress;
        if number > 0 {
            // The sum of the chosen backups' own archives was known before.
            progress.total_bytes.add(*bytes);
        }
        let header = header_of(manifest, record)?;
        let segments: Vec<_> = segments.iter().collect();
        let listed = self.target.bytes(&header.name(), ObjectKind::Archive);
        // It was compared before the manifest was put, so its size is enough.
        let provenance = if is_listed && listed == Some(*bytes) {
            Provenance::Own
        } else if listed.is_none() {
            Provenance::Absent
        } else {
            provenance::of_archive(self.target.store(), &header, &segments).await?
        };
        match provenance {
            Provenance::Own => progress.bytes.add(*bytes),
            Provenance::Foreign => return Err(self.differs(key.clone())),
            Provenance::Unreadable => {
                let reason = "it is in a storage class that is not read at once, and cannot be compared with the original";
                let (kind, store) = (StoreErrorKind::ColdStorage, self.target.store().url());
                return Err(Storage::from(StoreError::new(kind, store, "compare", key, reason)).into());
            }
            Provenance::Absent if self.dry_run => {
                self.objects += 1;
                self.bytes += bytes;
            }
            Provenance::Absent => {
                let source = ArchiveSource { store: &*self.from.store, header: &header, segments: &segments };
                let sent = copy_archive(source, self.target.store(), progress, &self.run.cancel).await;
                let sent = sent.map_err(|error| self.not_copied(key, error))?;
                tracing::info!(key, bytes, sent, "archive copied");
                self.objects += 1;
                self.bytes += sent;
            }
        }
        self.arrived.insert(key.clone());
        Ok(())
    }

    /// Names the archive in an error, and remembers one that no other backup can be copied with either.
    fn not_copied(&mut self, key: &str, error: Error) -> Error {
        match error {
            Error::Overtaken { key, .. } => self.differs(key),
            Error::Storage(Storage::Integrity { what, reason }) => {
                let damage = Storage::integrity(format!("{what} of {key}"), reason);
                self.damaged.insert(key.to_owned(), damage.to_string());
                damage.into()
            }
            error => error,
        }
    }

    fn differs(&self, key: String) -> Error {
        Error::CopyDiffers { key, from: self.from.url(), to: self.target.catalog.url() }
    }

    /// Copies what was said about the backup, if it is proven and nothing was said in the target: there, another one says it.
    async fn statement<S: Statement>(&mut self, name: &BackupName) -> Result<()> {
        let key = name.key(S::OBJECT);
        let is_said = self.contents.of_backup(name).is_some_and(|objects| objects.has(S::OBJECT));
        if !is_said || self.target.bytes(name, S::OBJECT).is_some() {
            return Ok(());
        }
        let source = &*self.from.store;
        match statements::read::<S>(source, name, self.identity).await? {
            Found::Nothing => Ok(()),
            Found::Unproven(why) => {
                self.warnings.push(format!("{key} was not copied: {why}"));
                Ok(())
            }
            Found::Proven(_) => {
                let bytes: Bytes = source.get_range(&key, 0..u64::MAX).await?;
                let size = bytes.len() as u64;
                match self.target.store().put_with(&key, bytes, &PutOptions::if_absent()).await {
                    Err(Storage::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => Ok(()),
                    put => {
                        put?;
                        self.objects += 1;
                        self.bytes += size;
                        Ok(())
                    }
                }
            }
        }
    }

    /// Puts the manifest, which makes the backup exist in the target. The reason where that may not be.
    ///
    /// Publish law (must): right before it, every archive that it names is looked at; if an hour has passed when it is there,
    /// they are looked at again, and a backup that is not whole is forgotten at once.
    async fn publish(&mut self, name: &BackupName, manifest: &VerifiedManifest) -> Result<Option<String>> {
        self.target.refresh().await?;
        if let Some(threat) = self.threat(name, manifest).await? {
            return Ok(Some(threat));
        }
        Failpoint::BeforeManifest.reached();
        let store = self.target.store();
        match put_manifest(store, name, manifest.documents()).await {
            // Another copy may have been quicker.
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {
                if has_manifest(store, name, manifest.documents()).await? != Some(true) {
                    return Err(self.differs(name.manifest_key()));
                }
            }
            put => put?,
        }
        Failpoint::ManifestPut.reached();
        if !self.target.is_stale() {
            return Ok(None);
        }
        self.target.refresh().await?;
        let Some(threat) = self.threat(name, manifest).await? else { return Ok(None) };
        let why = format!("this copy is not whole: {threat}");
        let scope = self.target.scope();
        forget::put(&scope, name, &forget::forgetting(&scope, &why, PRUNE_AFTER)).await?;
        Ok(Some(format!("{threat}; its copy was forgotten at once")))
    }

    async fn threat(&self, name: &BackupName, manifest: &VerifiedManifest) -> Result<Option<String>> {
        let archives = &manifest.head().archives;
        if let Some(threat) = self.target.threat(name, manifest.head()).await? {
            return Ok(Some(threat));
        }
        let sizes = archives.iter().map(|archive| (archive.key.clone(), archive.bytes)).collect();
        let found = base::look_at(self.target.store(), sizes).await?;
        Ok(archives.iter().zip(found).find_map(|(archive, state)| {
            Some(format!("{} {} since it was copied", archive.key, state.problem(archive.bytes)?))
        }))
    }
}

fn passed_over(reason: String) -> Outcome {
    Outcome::PassedOver {
        reason: format!(
            "{reason}; run `backup-client prune` with a policy whose `store` is the target, then copy again"
        ),
    }
}

/// The header of an archive that a verified manifest names.
fn header_of(manifest: &VerifiedManifest, record: &ArchiveRecord) -> Result<Header> {
    let Some(header) = &record.header else { return Ok(manifest.header().clone()) };
    let unknown =
        || Storage::integrity("the manifest", format!("{} is not the key of an archive", record.key));
    let name = BackupName::from_archive_key(&record.key).ok_or_else(unknown)?;
    Ok(Header::of(&name, &record.key, header)?)
}
