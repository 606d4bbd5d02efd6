//! Backs up: from a policy to a manifest in the store.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use intellistor_actors::backup::archiver::{BaseRemarks, Resume};
use intellistor_actors::backup::changes::ChangesConfig;
use intellistor_actors::backup::content_counter;
use intellistor_actors::backup::sequencer::MemoryCommitLog;
use intellistor_actors::progress::Progress;
use intellistor_actors::source::Excludes;
use intellistor_storage::archive::{Header, SegmentSealer, equal_part_bytes};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::layout::TIMESTAMP;
use intellistor_storage::keys::{ContentKey, DataKey, Recipients};
use intellistor_storage::manifest::{Base, ManifestDraft, RootRecord, fetch_roots};
use intellistor_storage::objects::{ObjectStoreExt as _, SharedStore, Upload};
use intellistor_storage::state::{Compared, Findings};
use intellistor_telemetry::names::span;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};
use uuid::Uuid;

use crate::advice::with_advice;
use crate::alerts;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::locking;
use crate::operations::base::{BaseChoice, BaseSearch, content_key};
use crate::operations::copies::{Copies, CopySource};
use crate::operations::publish::Publication;
use crate::operations::report::BackupReport;
use crate::operations::root_span::{labelled, root, stopped_by, traced};
use crate::operations::run_options::RunOptions;
use crate::operations::snapshotting::RunSnapshots;
use crate::operations::{publish, sources};
use crate::pipeline::backup::{BackupPipeline, WalkSource};
use crate::pipeline::system::on_system;
use crate::policy::{Policy, VssMode};

/// How to back up.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// A folder that gets a copy of archive and manifest, written as the bytes are made. It is laid out as a
    /// store, so that it can be restored from. A copy that cannot be made is a warning of the report.
    pub copy_to: Option<PathBuf>,
    pub run: RunOptions,
    /// Count files and bytes on a thread beside the backup, so that the remaining time can be estimated.
    pub estimate: bool,
    /// Take the policy over from the machine that it belongs to in this store.
    pub take_over: bool,
    /// Make a backup that depends on no other.
    pub full: bool,
}

/// Backs up what the policy names, so that the recipients can restore it. The backup exists once this has returned `Ok`.
///
/// # Errors
/// [`Error::Policy`] when a path is missing; those of the store; [`Error::Interrupted`].
pub async fn backup(
    catalog: &Catalog,
    recipients: &Recipients,
    policy: &Policy,
    options: BackupOptions,
) -> Result<BackupReport> {
    let policy_id = &policy.policy_id;
    let root = root!(span::BACKUP, policy_id, Empty);
    let cancel = options.run.cancel.clone();
    let catalog = &catalog.under(policy);
    let made = stopped_by(&cancel, back_up(catalog, recipients, policy, options));
    traced(span::BACKUP, policy_id, root, made).await
}

async fn back_up(
    catalog: &Catalog,
    recipients: &Recipients,
    policy: &Policy,
    options: BackupOptions,
) -> Result<BackupReport> {
    policy.check_paths()?;
    let policy_id = &policy.policy_id;
    let copies: Vec<_> = options.copy_to.iter().cloned().collect();
    let excludes = sources::excludes(policy, &*catalog.store, &copies, None)?;
    let (snapshots, cancel) = (options.run.snapshots.clone(), options.run.cancel.clone());
    let take = || RunSnapshots::take(policy, &snapshots, &cancel);
    // Otherwise once it is known that there will be a backup: databases pause for a snapshot.
    let required = match policy.vss {
        Some(VssMode::Required) => Some(take().await?),
        _ => None,
    };
    // Before anything is written: the store may not do what the policy asks, and the policy may be another machine's.
    let claimed = async {
        locking::check(&*catalog.store, policy).await?;
        catalog.claim(policy_id, options.take_over).await
    };
    let claimed = options.run.cancel.run_until_cancelled(claimed).await;
    let claim = claimed.unwrap_or(Err(Error::Interrupted))?;
    let alert = alerts::of_claim(claim, policy_id, catalog.machine.host());
    let taken = match required {
        Some(taken) => taken,
        None => take().await?,
    };
    let taken = Arc::new(taken);
    let store = labelled(catalog.store.clone());
    let make = |snapshots: Arc<RunSnapshots>| {
        let name = new_name(policy, Utc::now());
        Span::current().record("intellistor.backup.id", &name.backup_id);
        let (store, catalog, recipients) = (store.clone(), catalog.clone(), recipients.clone());
        let policy = policy.clone();
        let job = BackupJob {
            name,
            store,
            catalog,
            recipients,
            policy,
            excludes: snapshots.excludes(excludes.clone()),
            snapshots,
            options: options.clone(),
        };
        on_system("backup", move || job.run())
    };
    let made = match make(taken.clone()).await {
        Err(error) if error.is_of_unequal_parts() => {
            tracing::warn!(error = %with_advice(&error), "restarting the backup with equal parts");
            make(taken.clone().or_new(policy, &cancel).await?).await
        }
        Err(error @ (Error::DependencyLost { .. } | Error::BaseLost { .. })) => {
            tracing::warn!(%error, "restarting the backup without what it was based on");
            make(taken.clone().or_new(policy, &cancel).await?).await
        }
        made => made,
    };
    // Where the backup failed before its last read.
    taken.end(false).await;
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

/// Version 7, so that two backups of the same second sort in their order.
pub(crate) fn new_backup_id() -> String {
    Uuid::now_v7().to_string()
}

/// An archive that is in the store.
struct Sent {
    draft: ManifestDraft,
    compared: Option<Compared>,
    remarks: BaseRemarks,
}

struct BackupJob {
    name: BackupName,
    store: SharedStore,
    catalog: Catalog,
    recipients: Recipients,
    policy: Policy,
    excludes: Excludes,
    snapshots: Arc<RunSnapshots>,
    options: BackupOptions,
}

impl BackupJob {
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
        let began_ms = self.snapshots.began_ms().unwrap_or_else(|| Utc::now().timestamp_millis());
        let search = BaseSearch {
            catalog: &self.catalog,
            store: &*self.store,
            recipients: &self.recipients,
            policy: &self.policy,
            copies,
            local: None,
        };
        let chosen = self.options.run.cancel.run_until_cancelled(search.choose(self.options.full)).await;
        let BaseChoice { base, alerts, notes } = chosen.unwrap_or(Err(Error::Interrupted))?;
        let content_key = content_key(base.as_deref())?;
        let data_key = DataKey::generate();
        let header = Header::new(&self.name, self.recipients.wrap(&data_key, &self.name.backup_id));
        let key = self.name.archive_key();
        let upload = self.store.begin_upload(&key).await?;
        let _estimate = self.options.estimate.then(|| self.estimate());
        let teed = copies.tee(&self.store, &key, &[]).await;
        let sent = self.send(&header, &data_key, &upload, teed, base.clone(), content_key.clone()).await;
        let Sent { draft, compared, remarks } = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // The error is what matters; parts that stay behind are only worth a warning.
                if let Err(kept) = self.store.abort_upload(&upload).await {
                    tracing::warn!(error = %kept, key = %upload.key, "the parts sent so far could not be removed from the store");
                }
                return Err(self.snapshots.named(error));
            }
        };
        // Everything was read.
        let of_snapshots = self.snapshots.end(true).await;
        let segments = draft.segments().to_vec();
        let before: Vec<_> = self.roots_before().await.into_iter().collect();
        let findings = sources::findings(&self.policy, &self.excludes, &before);
        let mut findings = Findings { compared, warnings: of_snapshots, ..findings };
        self.snapshots.add_to(&mut findings);
        let publication = Publication {
            store: &*self.store,
            header: &header,
            data_key: &data_key,
            catalog: &self.catalog,
            recipients: &self.recipients,
            base: base.as_deref(),
            began_ms,
            content_key: &content_key,
            form: self.policy.manifest,
            lock: self.policy.lock,
            prune_after: self.policy.prune_after,
        };
        let published = publish::manifest(publication, draft, findings);
        let published = published.instrument(info_span!(span::MANIFEST)).await?;
        let segments = &segments.iter().collect::<Vec<_>>()[..];
        let dependencies: Vec<_> =
            published.dependencies.iter().map(|(key, bytes)| (&**key, *bytes)).collect();
        let source = CopySource {
            store: &*self.store,
            header: &header,
            data_key: &data_key,
            segments,
            dependencies: &dependencies,
        };
        let completed = copies.complete(source, published.manifest.documents(), &self.options.run.cancel);
        let of_copies = match completed.await {
            // The backup exists, and lacks the copy.
            Err(Error::Interrupted) => {
                let warning = "the copy was not completed: interrupted";
                tracing::warn!("{warning}");
                vec![warning.to_owned()]
            }
            completed => completed?,
        };
        let mut report = published.report;
        report.seconds = started.elapsed().as_secs_f64();
        report.warnings.splice(0..0, alerts.into_iter().chain(remarks.warnings));
        report.warnings.extend(of_copies);
        report.notes.splice(0..0, notes.into_iter().chain(remarks.notes));
        Ok(report)
    }

    /// Sends and completes the archive, after checking that the store has what was sent.
    async fn send(
        &self,
        header: &Header,
        data_key: &DataKey,
        upload: &Upload,
        teed: SharedStore,
        base: Option<Arc<Base>>,
        content_key: ContentKey,
    ) -> Result<Sent> {
        let (compared, remarks) =
            (Arc::<OnceLock<Compared>>::default(), Arc::<Mutex<BaseRemarks>>::default());
        let equal = match self.store.capabilities().parts.equal {
            true => Some(equal_part_bytes(self.count().await)),
            false => None,
        };
        let pipeline = BackupPipeline {
            walk: WalkSource::Disk {
                excludes: self.excludes.clone(),
                changes: Box::new(ChangesConfig {
                    base: base.clone(),
                    detect: self.policy.detect_changes,
                    roots: self.snapshots.roots(),
                    compared: compared.clone(),
                }),
            },
            resume: Resume::default(),
            base: base.clone(),
            remarks: remarks.clone(),
            content_key,
            compression: self.policy.compression,
            sealer: SegmentSealer::new(header.clone(), data_key.clone()).with_equal_parts(equal),
            store: teed,
            upload: upload.clone(),
            log: MemoryCommitLog::new(base),
            next_part: 1,
            progress: self.options.run.progress.clone(),
            // A later backup sends everything again.
            in_flight_timeout: Duration::ZERO,
        };
        let committed = pipeline.run(&self.options.run.cancel).await?;
        let parts: Vec<_> = committed.manifest.segments().iter().zip(&committed.receipts).collect();
        let published = publish::archive(&*self.store, header, upload, &parts);
        published.instrument(info_span!(span::COMPLETE)).await?;
        let remarks = std::mem::take(&mut *remarks.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Sent { draft: committed.manifest, compared: compared.get().copied(), remarks })
    }

    /// Bytes of files, as far as they can be counted.
    async fn count(&self) -> u64 {
        let (roots, excludes) = (self.snapshots.roots(), self.excludes.clone());
        let counted = Arc::new(Progress::default());
        let stop = StopOnDrop(Arc::default());
        let (progress, stopped) = (counted.clone(), stop.0.clone());
        let count =
            tokio::task::spawn_blocking(move || content_counter::count(roots, excludes, &progress, &stopped));
        // A walk that panicked has counted less; the pipeline's own reports why.
        let _ = self.options.run.cancel.run_until_cancelled(count).await;
        counted.total_bytes.get()
    }

    /// The folders of the backup that `--latest` selects. Where it cannot be read, nothing is compared.
    async fn roots_before(&self) -> Option<Vec<RootRecord>> {
        let found = async {
            match self.catalog.newest_before(&self.policy.policy_id, &self.recipients).await? {
                Some(newest) => Ok(fetch_roots(&*self.store, &newest).await?),
                None => Ok(None),
            }
        };
        let found: Result<_> = found.await;
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot read the previous backup");
            None
        })
    }

    fn estimate(&self) -> StopOnDrop {
        let stop = Arc::new(AtomicBool::new(false));
        let (roots, excludes) = (self.snapshots.roots(), self.excludes.clone());
        let (progress, stopped) = (self.options.run.progress.clone(), stop.clone());
        std::thread::spawn(move || content_counter::count(roots, excludes, &progress, &stopped));
        StopOnDrop(stop)
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
