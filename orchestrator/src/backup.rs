//! Backs up: from a policy to a manifest in the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::Utc;
use intellistor_actors::scanner;
use intellistor_actors::sequencer::Committed;
use intellistor_actors::source::{Excludes, make_roots};
use intellistor_storage::archive::{Header, SegmentSealer, archive_digest};
use intellistor_storage::keys::{DataKey, UserKey};
use intellistor_storage::layout::BackupName;
use intellistor_storage::manifest::{Origin, Problem, RootRecord, Totals, put_manifest};
use intellistor_storage::objects::{LocalStore, SharedStore, Tee, Upload};
use uuid::Uuid;

use crate::pipeline::{BackupPipeline, on_system};
use crate::policy::Policy;
use crate::{Error, Result, RunOptions, Vault};

/// A report names no more problems than this; the manifest has them all.
const MOST_PROBLEMS: usize = 100;

/// How to back up.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// A folder that gets a copy of archive and manifest, written as the bytes are made. It is laid out as a
    /// store, so that it can be restored from.
    pub copy_to: Option<PathBuf>,
    /// Who watches, and who may stop it.
    pub run: RunOptions,
    /// Count files and bytes beforehand, on a thread beside the backup, so that a time left can be told.
    pub estimate: bool,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq)]
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
}

pub(crate) async fn backup(vault: &Vault, policy: &Policy, options: BackupOptions) -> Result<BackupReport> {
    policy.check_paths()?;
    let excludes = Excludes::new(&policy.exclude)?;
    let store = match &options.copy_to {
        Some(folder) => {
            let copy = LocalStore::open(folder).await?;
            Arc::new(Tee::new(vault.store.clone(), Arc::new(copy))) as SharedStore
        }
        None => vault.store.clone(),
    };
    let name = BackupName {
        policy_id: policy.policy_id.clone(),
        timestamp: Utc::now().format("%Y%m%dT%H%M%SZ").to_string(),
        // Version 7: two backups within one second are still listed in their order.
        backup_id: Uuid::now_v7().to_string(),
    };
    let job = Job { name, store, key: vault.key.clone(), policy: policy.clone(), excludes, options };
    on_system("backup", move || job.run()).await
}

struct Job {
    name: BackupName,
    store: SharedStore,
    key: UserKey,
    policy: Policy,
    excludes: Excludes,
    options: BackupOptions,
}

impl Job {
    async fn run(self) -> Result<BackupReport> {
        let started = Instant::now();
        let data_key = DataKey::generate();
        let header = Header::new(&self.name, vec![self.key.wrap(&data_key, &self.name.backup_id)]);
        let upload = self.store.begin_upload(&self.name.archive_key()).await?;
        let _estimate = self.options.estimate.then(|| self.estimate());
        let sent = self.send(&header, &data_key, &upload).await;
        let Committed { mut draft, .. } = match sent {
            Ok(committed) => committed,
            Err(error) => {
                // The error is what matters; parts that stay behind are only worth a warning.
                if let Err(kept) = self.store.abort_upload(&upload).await {
                    tracing::warn!(error = %kept, key = %upload.key, "the parts sent so far stay in the store");
                }
                return Err(error);
            }
        };

        let segments = draft.segments();
        let (parts, sha256) = (segments.len() as u32, archive_digest(segments));
        let archive_bytes = segments.iter().map(|s| s.bytes).sum();
        let problems = draft.first_problems(MOST_PROBLEMS)?;
        let (manifest, head) = draft.finish(&header, &data_key, origin(), self.roots())?;
        // Ordering law (must): the manifest is what makes the backup exist, so it is put last.
        put_manifest(&*self.store, &self.name.manifest_key(), &manifest).await?;
        Ok(BackupReport {
            store: self.store.url(),
            key_backup: self.name.archive_key(),
            key_manifest: self.name.manifest_key(),
            name: self.name,
            totals: head.totals,
            archive_bytes,
            manifest_bytes: manifest.bytes(),
            parts,
            archive_sha256: sha256.iter().map(|b| format!("{b:02x}")).collect(),
            seconds: started.elapsed().as_secs_f64(),
            problems,
        })
    }

    /// Sends the archive and makes it appear, after checking that the store has what was sent.
    async fn send(&self, header: &Header, data_key: &DataKey, upload: &Upload) -> Result<Committed> {
        let pipeline = BackupPipeline {
            roots: make_roots(&self.policy.paths),
            excludes: self.excludes.clone(),
            compression: self.policy.compression,
            sealer: SegmentSealer::new(header.clone(), data_key.clone()),
            store: self.store.clone(),
            upload: upload.clone(),
            progress: self.options.run.progress.clone(),
        };
        let committed = pipeline.run(&self.options.run.cancel).await?;
        let segments = committed.draft.segments();
        let differ = segments.iter().zip(&committed.receipts).find(|(segment, receipt)| {
            receipt.number != segment.number
                || receipt.bytes != segment.bytes
                || receipt.sha256.is_some_and(|digest| digest != segment.sha256)
        });
        if let Some((segment, _)) = differ {
            return Err(Error::NotAsSent(format!("part {} has another size or checksum", segment.number)));
        }
        self.store.complete_upload(upload, &committed.receipts).await?;
        let (sent, held) = (segments.iter().map(|s| s.bytes).sum(), self.store.head(&upload.key).await?);
        if held != Some(sent) {
            return Err(Error::NotAsSent(format!("{} has {held:?} bytes, {sent} were sent", upload.key)));
        }
        Ok(committed)
    }

    fn estimate(&self) -> StopOnDrop {
        let stop = Arc::new(AtomicBool::new(false));
        let (roots, excludes) = (make_roots(&self.policy.paths), self.excludes.clone());
        let (progress, stopped) = (self.options.run.progress.clone(), stop.clone());
        std::thread::spawn(move || scanner::count(roots, excludes, &progress, &stopped));
        StopOnDrop(stop)
    }

    fn roots(&self) -> Vec<RootRecord> {
        let record = |root: intellistor_actors::source::Root| RootRecord {
            path: root.path.to_string_lossy().into_owned(),
            prefix: root.prefix,
        };
        make_roots(&self.policy.paths).into_iter().map(record).collect()
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn origin() -> Origin {
    Origin {
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        os: std::env::consts::OS.to_owned(),
        tool: concat!("intellistor ", env!("CARGO_PKG_VERSION")).to_owned(),
        trace_id: None,
    }
}
