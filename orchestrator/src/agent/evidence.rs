//! A run's log: its first and last lines, its way to the store, and how long it is kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use chrono::Utc;
use intellistor_actors::log_shipper::{LogShipper, ShipLog, Shipped};
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout;
use intellistor_storage::state::{Job, Ledger, PendingLog, Queue, RunSpan};
use intellistor_telemetry::RunLog;
use intellistor_telemetry::names::span;
use intellistor_telemetry::otlp;
use intellistor_telemetry::run_log::retain;
use intellistor_telemetry::trace::{self, SpanIds};
use tracing::{Instrument as _, Span, info_span};

use crate::agent::report::Resumed;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::report::BackupReport;
use crate::operations::root_span::labelled;
use crate::pipeline::on_system;
use crate::policy::Policy;

/// A run does not wait longer for its logs to go; the next run sends what could not.
const SHIPPING: Duration = Duration::from_secs(60);

/// A run's log.
#[derive(Debug)]
pub(super) struct Evidence {
    log: RunLog,
    policy_id: String,
    timestamp: String,
    /// Why the log is not in the store.
    unshipped: Mutex<Option<String>>,
}

impl Evidence {
    /// Opens the log of a run, or goes on with it.
    pub(super) fn open(folder: &Path, policy_id: &str, timestamp: &str) -> Result<Self> {
        let log = RunLog::open(folder, timestamp);
        let log = log.map_err(intellistor_storage::Error::io("open the run's log in", folder))?;
        Ok(Self {
            log,
            policy_id: policy_id.to_owned(),
            timestamp: timestamp.to_owned(),
            unshipped: Mutex::default(),
        })
    }

    /// What is logged within this span goes into the log, with the id of the span's trace, where traces are on.
    pub(super) fn span(&self) -> Span {
        let span = self.log.span();
        if let Some(SpanIds { trace_id, .. }) = SpanIds::of(&span) {
            self.log.set_trace_id(&trace_id);
        }
        span
    }

    /// Ties the run's trace to that of the run before, and names it in the ledger. Gives its id, where traces are on.
    pub(super) fn trace(&self, run: &Span, ledger: &Ledger) -> Result<Option<String>> {
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

    /// What went wrong with the log itself, and with its way to the store.
    pub(super) fn trouble(&self) -> Vec<String> {
        let unshipped = self.unshipped.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.log.write_failure().into_iter().chain(unshipped).collect()
    }

    /// The first lines of a run.
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
        if let Some(Resumed { state, parts, bytes }) = resumed {
            tracing::info!(state, parts, bytes, "resuming an earlier run's job");
        }
    }

    /// The lines that prove a backup.
    pub(super) fn published(&self, report: &BackupReport) {
        let totals = &report.totals;
        tracing::info!(
            files = totals.files,
            bytes = totals.bytes,
            skipped = totals.skipped,
            changed = totals.changed,
            notes = totals.notes,
            parts = report.parts,
            archive_bytes = report.archive_bytes,
            archive_sha256 = report.archive_sha256,
            key = report.key_backup,
            manifest = report.key_manifest,
            "the backup exists"
        );
    }

    /// Puts the log into the outbox, from where it goes to the store, now or later.
    pub(super) fn queue(&self, queue: &Queue) -> Result<()> {
        if let Err(error) = self.log.sync() {
            tracing::warn!(%error, "the log may not survive a power failure");
        }
        Ok(queue.enqueue_log(&self.pending())?)
    }

    fn pending(&self) -> PendingLog {
        PendingLog {
            timestamp: self.timestamp.clone(),
            file: self.path(),
            key: layout::log_key(&self.policy_id, &self.timestamp),
        }
    }

    /// Ships what is in the outbox, oldest first. Gives this log's key if it is in the store; what is not stays in the
    /// outbox, and is a warning.
    pub(super) async fn ship(&self, queue: &Queue, catalog: &Catalog) -> Option<String> {
        match self.try_to_ship(queue, catalog).instrument(info_span!(span::SHIP_LOGS)).await {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(%error, "the log could not be sent; the next run sends it");
                let told = format!("the log could not be sent; the next run sends it: {error}");
                *self.unshipped.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
                None
            }
        }
    }

    async fn try_to_ship(&self, queue: &Queue, catalog: &Catalog) -> Result<Option<String>> {
        // `last.log` is the owner's.
        catalog.confirm(&self.policy_id).await?;
        let mut shipped = None;
        for log in queue.outbox()? {
            if !log.file.exists() {
                tracing::warn!(path = %log.file.display(), "a queued log file no longer exists");
                queue.log_shipped(&log)?;
                continue;
            }
            let is_this = log.timestamp == self.timestamp;
            let also = is_this.then(|| layout::last_log_key(&self.policy_id));
            let (store, sent) = (labelled(catalog.store.clone()), log.clone());
            let ship = on_system("log shipping", move || async move {
                let shipper = actix::Actor::start(LogShipper::new(store));
                let answer = shipper.send(ShipLog { log: sent, also }).await;
                Ok(answer.map_err(|e| Error::Defect(format!("the log shipper vanished: {e}")))??)
            });
            let in_time = tokio::time::timeout(SHIPPING, ship).await;
            let arrived =
                in_time.map_err(|_| Error::Defect(format!("the store took more than {SHIPPING:?}")))??;
            queue.log_shipped(&log)?;
            if arrived == Shipped::TakenByAnother {
                let told = format!(
                    "the store holds the log of another run as {}; this one's stays in {}",
                    log.key,
                    log.file.display()
                );
                tracing::warn!("{told}");
                *self.unshipped.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
            } else if is_this {
                shipped = Some(log.key);
            }
        }
        Ok(shipped)
    }

    /// Removes logs that are older than the policy keeps them, but for those that are still to be sent.
    pub(super) fn retain(&self, queue: &Queue, keep_days: u32) -> Result<()> {
        let mut except: Vec<PathBuf> = queue.outbox()?.into_iter().map(|log| log.file).collect();
        except.push(self.path());
        let folder = self.log.folder();
        let removed = retain(folder, keep_days, Utc::now(), &except);
        let removed = removed.map_err(intellistor_storage::Error::io("remove old logs in", folder))?;
        if removed > 0 {
            tracing::info!(removed, keep_days, "old logs were removed");
        }
        Ok(())
    }
}
