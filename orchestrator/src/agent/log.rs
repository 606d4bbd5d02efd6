//! The log of one job's runs on this machine: its lines, its trace, and how long it is kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use chrono::Utc;
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout;
use intellistor_storage::state::{Job, Ledger, PendingLog, Queue, RunSpan};
use intellistor_telemetry::RunLog;
use intellistor_telemetry::otlp;
use intellistor_telemetry::run_log::retain;
use intellistor_telemetry::trace::{self, SpanIds};
use tracing::Span;

use crate::agent::report::Resumed;
use crate::error::Result;
use crate::operations::report::BackupReport;
use crate::policy::Policy;

#[derive(Debug)]
pub(super) struct AgentLog {
    log: RunLog,
    policy_id: String,
    timestamp: String,
    /// Why the log is not in the store.
    unshipped: Mutex<Option<String>>,
}

impl AgentLog {
    /// Opens the log of the job with this timestamp; a later run of the job appends to it.
    pub(super) fn open(folder: &Path, policy_id: &str, timestamp: &str) -> Result<Self> {
        let log = RunLog::open(folder, timestamp);
        let log = log.map_err(StorageError::io("open the run's log in", folder))?;
        Ok(Self {
            log,
            policy_id: policy_id.to_owned(),
            timestamp: timestamp.to_owned(),
            unshipped: Mutex::default(),
        })
    }

    /// A new root span. What is logged within it goes into this log, with the span's trace id where traces are on.
    pub(super) fn span(&self) -> Span {
        let span = self.log.span();
        if let Some(SpanIds { trace_id, .. }) = SpanIds::of(&span) {
            self.log.set_trace_id(&trace_id);
        }
        span
    }

    /// Links the run's trace to that of the job's earlier run, and records it in the ledger. Returns its id, where
    /// traces are on.
    pub(super) fn link_trace(&self, run: &Span, ledger: &Ledger) -> Result<Option<String>> {
        let job = ledger.job();
        if let (Some(trace_id), Some(RunSpan { span_id, began_ms, ended })) = (job.trace_id, job.run_span) {
            let earlier = SpanIds { trace_id, span_id };
            if !ended {
                let began = UNIX_EPOCH + Duration::from_millis(u64::try_from(began_ms).unwrap_or(0));
                otlp::close_crashed_run(&earlier, began, &self.policy_id, &self.timestamp);
            }
            trace::link(run, &earlier);
        }
        let Some(SpanIds { trace_id, span_id }) = SpanIds::of(run) else { return Ok(None) };
        let began_ms = Utc::now().timestamp_millis();
        ledger.update(|job| {
            job.trace_id = Some(trace_id.clone());
            job.run_span = Some(RunSpan { span_id, began_ms, ended: false });
        })?;
        Ok(Some(trace_id))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.log.path().to_owned()
    }

    pub(super) fn policy_id(&self) -> &str {
        &self.policy_id
    }

    pub(super) fn timestamp(&self) -> &str {
        &self.timestamp
    }

    pub(super) fn set_unshipped(&self, why: String) {
        *self.unshipped.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Takes the failures of writing the log, and of shipping it.
    pub(super) fn failures(&self) -> Vec<String> {
        let unshipped = self.unshipped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let failure = self.log.write_failure();
        failure.iter().for_each(|failure| tracing::warn!("{failure}"));
        failure.into_iter().chain(unshipped).collect()
    }

    /// Writes the first lines of a run.
    pub(super) fn begin(
        &self,
        policy: &Policy,
        job: &Job,
        header: &Header,
        resumed: Option<Resumed>,
        host: &str,
    ) {
        let version = env!("CARGO_PKG_VERSION");
        let Job { name, store, runs: run, .. } = job;
        let (policy_id, backup_id) = (&name.policy_id, &name.backup_id);
        let keys = header.keys().iter().map(|key| key.key_id.to_string()).collect::<Vec<_>>().join(",");
        tracing::info!(policy = policy_id, backup_id, store, run, keys, host, version, "run begins");
        for path in &policy.paths {
            tracing::info!(path = %path.display(), "backs up");
        }
        if let Some(limits) = policy.limits {
            tracing::info!(%limits, "transfers are limited");
        }
        if let Some(Resumed { state, parts, bytes }) = resumed {
            tracing::info!(state, parts, bytes, "resuming an earlier run's job");
        }
    }

    /// Writes what identifies the backup: sizes, digests and keys.
    pub(super) fn published(&self, report: &BackupReport) {
        let totals = &report.totals;
        tracing::info!(
            files = totals.files,
            bytes = totals.bytes,
            skipped = totals.skipped,
            changed = totals.changed,
            notes = totals.notes,
            base = report.base,
            unchanged = report.changes.unchanged,
            new = report.changes.new,
            modified = report.changes.changed,
            moved = report.changes.moved,
            deleted = report.changes.deleted,
            bytes_read = report.changes.bytes_read,
            bytes_referenced = report.changes.bytes_referenced,
            parts = report.parts,
            archive_bytes = report.archive_bytes,
            archive_sha256 = report.archive_sha256,
            key = report.key_backup,
            manifest = report.key_manifest,
            "the backup exists"
        );
    }

    /// Puts the log into the outbox: it is shipped now, or by a later run.
    pub(super) fn enqueue(&self, queue: &Queue) -> Result<()> {
        if let Err(error) = self.log.sync() {
            tracing::warn!(%error, "the log may not survive a power failure");
        }
        Ok(queue.enqueue_log(&PendingLog {
            timestamp: self.timestamp.clone(),
            file: self.path(),
            key: layout::log_key(&self.policy_id, &self.timestamp),
        })?)
    }

    /// Removes logs older than `keep_days`, except this one and those in the outbox.
    pub(super) fn remove_old(&self, queue: &Queue, keep_days: u32) -> Result<()> {
        let mut except: Vec<PathBuf> = queue.outbox()?.into_iter().map(|log| log.file).collect();
        except.push(self.path());
        let folder = self.log.folder();
        let removed = retain(folder, keep_days, Utc::now(), &except);
        let removed = removed.map_err(StorageError::io("remove old logs in", folder))?;
        if removed > 0 {
            tracing::info!(removed, keep_days, "old logs were removed");
        }
        Ok(())
    }
}
