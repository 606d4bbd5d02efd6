//! Backs up: from a policy to a manifest in the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use intellistor_actors::archiver::Resume;
use intellistor_actors::progress::Progress;
use intellistor_actors::scanner;
use intellistor_actors::sequencer::Draft;
use intellistor_actors::source::{Excludes, make_roots};
use intellistor_storage::StoreErrorKind;
use intellistor_storage::archive::{Header, SegmentSealer, equal_part_bytes};
use intellistor_storage::keys::DataKey;
use intellistor_storage::layout::BackupName;
use intellistor_storage::manifest::{Problem, RootRecord, Totals, peek_roots};
use intellistor_storage::objects::{SharedStore, Upload};
use intellistor_telemetry::names::span;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, Span, info_span};
use uuid::Uuid;

use crate::clock::TIMESTAMP;
use crate::copy::{Copies, Source};
use crate::operation::labelled;
use crate::pipeline::{BackupPipeline, WalkSource, on_system};
use crate::policy::Policy;
use crate::{Error, Result, RunOptions, Vault, publish, sources};

/// How to back up.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// A folder that gets a copy of archive and manifest, written as the bytes are made. It is laid out as a
    /// store, so that it can be restored from. A copy that cannot be made is a warning of the report.
    pub copy_to: Option<PathBuf>,
    /// Who watches, and who may stop it.
    pub run: RunOptions,
    /// Count files and bytes beforehand, on a thread beside the backup, so that a time left can be told.
    pub estimate: bool,
    /// Take the policy over from the machine that it belongs to in this store.
    pub take_over: bool,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReport {
    /// What names it.
    pub name: BackupName,
    /// The store's URL.
    pub store: String,
    /// The archive's key.
    pub key_backup: String,
    /// The manifest's key.
    pub key_manifest: String,
    /// Sums over the entries.
    pub totals: Totals,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Size of the manifest.
    pub manifest_bytes: u64,
    /// Parts sent.
    pub parts: u32,
    /// SHA-256 over the parts' SHA-256 digests, in hex.
    pub archive_sha256: String,
    /// How long it took.
    pub seconds: f64,
    /// The first entries that were skipped or changed; `totals` counts all of them.
    pub problems: Vec<Problem>,
    /// What a person should see to, although the backup was made: a copy that is missing, a wrong clock, another key
    /// than the last backup's, a folder that is empty and was not. With any, a run ends with exit code 3.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is worth knowing, and no reason to worry.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The policy's folders, and how many files each held.
    #[serde(default)]
    pub roots: Vec<RootRecord>,
    /// The trace that it was published in, where traces are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl BackupReport {
    /// Whether all was backed up as it is, and copied wherever a copy was asked for.
    pub fn is_complete(&self) -> bool {
        self.totals.skipped == 0 && self.totals.changed == 0 && self.warnings.is_empty()
    }
}

pub(crate) async fn backup(vault: &Vault, policy: &Policy, options: BackupOptions) -> Result<BackupReport> {
    policy.check_paths()?;
    let copies: Vec<_> = options.copy_to.iter().cloned().collect();
    let excludes = sources::excludes(policy, &*vault.store, &copies, None)?;
    // Nothing is written before: the policy may be another machine's.
    let claimed = vault.claim(&policy.policy_id, options.take_over);
    let claimed = options.run.cancel.run_until_cancelled(claimed).await;
    let alert = claimed.unwrap_or(Err(Error::Interrupted))?;
    let store = labelled(vault.store.clone());
    let make = || {
        let name = new_name(policy, Utc::now());
        Span::current().record("intellistor.backup.id", &name.backup_id);
        let (store, vault, policy) = (store.clone(), vault.clone(), policy.clone());
        let job = Job { name, store, vault, policy, excludes: excludes.clone(), options: options.clone() };
        on_system("backup", move || job.run())
    };
    let made = match make().await {
        Err(Error::Storage(intellistor_storage::Error::Store(error)))
            if error.kind == StoreErrorKind::UnequalParts =>
        {
            tracing::warn!(%error, "restarting the backup with equal parts");
            make().await
        }
        made => made,
    };
    let mut report = made?;
    report.warnings.splice(0..0, alert);
    Ok(report)
}

/// Names a backup that begins now.
pub(crate) fn new_name(policy: &Policy, now: DateTime<Utc>) -> BackupName {
    BackupName {
        policy_id: policy.policy_id.clone(),
        timestamp: now.format(TIMESTAMP).to_string(),
        backup_id: new_backup_id(),
    }
}

/// Version 7: two backups within one second are still listed in their order.
pub(crate) fn new_backup_id() -> String {
    Uuid::now_v7().to_string()
}

struct Job {
    name: BackupName,
    store: SharedStore,
    vault: Vault,
    policy: Policy,
    excludes: Excludes,
    options: BackupOptions,
}

impl Job {
    async fn run(self) -> Result<BackupReport> {
        let copies = Copies::new(self.options.copy_to.as_deref());
        let report = self.make(&copies).await;
        if report.is_err() {
            copies.clear(&self.name.archive_key()).await;
        }
        report
    }

    async fn make(&self, copies: &Copies) -> Result<BackupReport> {
        let started = Instant::now();
        let data_key = DataKey::generate();
        let header = Header::new(&self.name, vec![self.vault.key.wrap(&data_key, &self.name.backup_id)]);
        let key = self.name.archive_key();
        let upload = self.store.begin_upload(&key).await?;
        let _estimate = self.options.estimate.then(|| self.estimate());
        let teed = copies.tee(&self.store, &key, &[]).await;
        let sent = self.send(&header, &data_key, &upload, teed).await;
        let draft = match sent {
            Ok(committed) => committed.manifest,
            Err(error) => {
                // The error is what matters; parts that stay behind are only worth a warning.
                if let Err(kept) = self.store.abort_upload(&upload).await {
                    tracing::warn!(error = %kept, key = %upload.key, "the parts sent so far stay in the store");
                }
                return Err(error);
            }
        };
        let segments = draft.segments().to_vec();
        let before: Vec<_> = self.roots_before().await.into_iter().collect();
        let findings = sources::findings(&self.policy, &self.excludes, &before);
        let published = publish::manifest(&*self.store, &header, &data_key, draft, findings, &self.vault);
        let published = published.instrument(info_span!(span::MANIFEST)).await?;
        let segments = &segments.iter().collect::<Vec<_>>()[..];
        let source = Source { store: &*self.store, header: &header, data_key: &data_key, segments };
        let warnings = copies.complete(source, published.manifest.document(), &self.options.run.cancel);
        let of_copies = match warnings.await {
            // The backup exists; whoever stopped it then has a copy less.
            Err(Error::Interrupted) => vec!["the copy was not completed: interrupted".to_owned()],
            completed => completed?,
        };
        let mut report = published.report;
        report.seconds = started.elapsed().as_secs_f64();
        report.warnings.extend(of_copies);
        Ok(report)
    }

    /// Sends the archive and makes it appear, after checking that the store has what was sent.
    async fn send(
        &self,
        header: &Header,
        data_key: &DataKey,
        upload: &Upload,
        teed: SharedStore,
    ) -> Result<Draft> {
        let equal = match self.store.wants_equal_parts() {
            true => Some(equal_part_bytes(self.count().await)),
            false => None,
        };
        let pipeline = BackupPipeline {
            walk: WalkSource::Disk { roots: make_roots(&self.policy.paths), excludes: self.excludes.clone() },
            resume: Resume::default(),
            compression: self.policy.compression,
            sealer: SegmentSealer::new(header.clone(), data_key.clone()).with_equal_parts(equal),
            store: teed,
            upload: upload.clone(),
            book: Draft::default(),
            next_part: 1,
            progress: self.options.run.progress.clone(),
            // Nothing goes on with what was sent.
            last_parts: Duration::ZERO,
        };
        let committed = pipeline.run(&self.options.run.cancel).await?;
        let parts: Vec<_> = committed.manifest.segments().iter().zip(&committed.receipts).collect();
        let published = publish::archive(&*self.store, header, upload, &parts);
        published.instrument(info_span!(span::COMPLETE)).await?;
        Ok(committed)
    }

    /// Bytes of files, as far as they can be counted. Cancelled, the backup ends before it sends anything.
    async fn count(&self) -> u64 {
        let (roots, excludes) = (make_roots(&self.policy.paths), self.excludes.clone());
        let counted = Arc::new(Progress::default());
        let stop = StopOnDrop(Arc::default());
        let (progress, stopped) = (counted.clone(), stop.0.clone());
        let count = tokio::task::spawn_blocking(move || scanner::count(roots, excludes, &progress, &stopped));
        // A walk that panicked has counted less; the pipeline's own reports why.
        let _ = self.options.run.cancel.run_until_cancelled(count).await;
        counted.total_bytes.get()
    }

    /// The folders of the backup that `--latest` means. Where it cannot be seen nothing is compared.
    async fn roots_before(&self) -> Option<Vec<RootRecord>> {
        let found = async {
            match self.vault.newest_before(&self.policy.policy_id).await? {
                Some(newest) => Ok(peek_roots(&*self.store, &newest).await?),
                None => Ok(None),
            }
        };
        let found: Result<_> = found.await;
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, "the backup before cannot be seen");
            None
        })
    }

    fn estimate(&self) -> StopOnDrop {
        let stop = Arc::new(AtomicBool::new(false));
        let (roots, excludes) = (make_roots(&self.policy.paths), self.excludes.clone());
        let (progress, stopped) = (self.options.run.progress.clone(), stop.clone());
        std::thread::spawn(move || scanner::count(roots, excludes, &progress, &stopped));
        StopOnDrop(stop)
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
