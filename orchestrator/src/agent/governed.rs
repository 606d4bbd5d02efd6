//! One run of the agent: which job it works on, in which log, and how that ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::keys::{DataKey, Recipients};
use intellistor_storage::manifest::RootRecord;
use intellistor_storage::objects::{StoreFolder, UnfinishedUpload};
use intellistor_storage::state::job::{Ending, JobEvent, JobState};
use intellistor_storage::state::{Job, Ledger, Queue};
use intellistor_telemetry::names::span;
use intellistor_telemetry::run_log;
use tracing::Instrument as _;

use super::evidence::Evidence;
use super::job_run::{Ended, JobRun};
use super::supervisor::Verdict;
use super::watch::Watch;
use super::{Agent, recovery};
use crate::agent::report::{AgentOptions, AgentReport, Resumed};
use crate::alerts;
use crate::catalog::Catalog;
use crate::clock::{self, TIMESTAMP};
use crate::error::{Error, Result};
use crate::operations::backup::{new_backup_id, new_name};
use crate::operations::copies::{Copies, absolute};
use crate::operations::report::BackupReport;
use crate::operations::report::Sums;
use crate::operations::root_span;
use crate::policy::Policy;

/// An upload of which no part has arrived for so long is abandoned: its parts are only billed.
const ABANDONED_MS: i64 = 7 * 24 * 3600 * 1000;

/// What a run works with.
pub(super) struct Run<'a> {
    pub(super) agent: &'a Agent,
    pub(super) catalog: &'a Catalog,
    pub(super) recipients: &'a Recipients,
    pub(super) policy: &'a Policy,
    pub(super) options: AgentOptions,
}

/// A job, and its data key.
struct Opened {
    ledger: Ledger,
    header: Header,
    data_key: DataKey,
    resumed: Option<Resumed>,
    /// What a person has to look at although the backup is made.
    alerts: Vec<String>,
}

impl Run<'_> {
    /// One run of one job: of the one that was found, or of a new one.
    pub(super) async fn one(&self, queue: &mut Queue, found: Option<Ledger>) -> Result<AgentReport> {
        let mut notices = queue.take_notices();
        let mut found = found;
        if let Some(ledger) = found.take_if(|ledger| is_without_backup(&ledger.job())) {
            // Only its log was still to be sent when the run before died.
            let evidence = self.evidence(&ledger.job().name.timestamp)?;
            let end = close(queue, ledger, &evidence, self.catalog);
            end.instrument(evidence.span()).await?;
        }
        if let Some(ledger) = &found
            && let Some(why) = self.obstacle(ledger)
        {
            notices.push(format!("the job of {} was not resumed: {why}", ledger.job().name.timestamp));
            notices.extend(self.drop_job(queue, found.take(), why).await?);
        }
        let opened = match found {
            Some(ledger) => self.resume(queue, ledger).await?,
            None => self.begin(queue)?,
        };
        let mut report = self.governed(queue, opened, &mut notices).await?;
        if let (Err(error), true) = (&report.outcome, report.state == Ending::Failed.name())
            && Verdict::of(error) == Verdict::Lost
        {
            notices.push(format!("the job of {} was lost and restarted: {error}", report.name.timestamp));
            let anew = self.begin(queue)?;
            report = self.governed(queue, anew, &mut notices).await?;
        }
        report.notices = notices;
        Ok(report)
    }

    fn obstacle(&self, ledger: &Ledger) -> Option<String> {
        let job = ledger.job();
        if let Some(why) = recovery::obstacle(&job, self.policy.digest(), &self.catalog.url()) {
            return Some(why.to_owned());
        }
        self.data_key(&job).err().map(|error| error.to_string())
    }

    fn data_key(&self, job: &Job) -> Result<(Header, DataKey)> {
        let header = Header::of(&job.name, "the job's header", &job.header)?;
        let data_key = self.recipients.reopen(header.keys(), header.backup_id())?;
        Ok((header, data_key))
    }

    /// Ends a job that cannot be resumed, in its own log. Gives what stays of it in its store.
    async fn drop_job(
        &self,
        queue: &mut Queue,
        ledger: Option<Ledger>,
        why: String,
    ) -> Result<Option<String>> {
        let Some(ledger) = ledger else { return Ok(None) };
        let job = ledger.job();
        let evidence = self.evidence(&job.name.timestamp)?;
        let end = async {
            tracing::warn!(why, "the job cannot be resumed and is ended");
            ledger.update(|job| job.last_error = Some(why))?;
            let leftover = recovery::abandon(&ledger, self.catalog, JobEvent::GaveUp).await?;
            close(queue, ledger, &evidence, self.catalog).await?;
            Ok(leftover)
        };
        end.instrument(evidence.span()).await
    }

    async fn resume(&self, queue: &mut Queue, ledger: Ledger) -> Result<Opened> {
        self.rename(queue, &ledger).await?;
        let job = ledger.job();
        let (header, data_key) = self.data_key(&job)?;
        let resumed = Resumed {
            state: job.state.name(),
            parts: ledger.part_count(),
            bytes: ledger.parts()?.iter().map(|part| part.segment.bytes).sum(),
        };
        if !matches!(job.state, JobState::Ended(_)) {
            ledger.advance(JobEvent::Resumed)?;
        }
        ledger.update(|job| {
            job.runs += 1;
            job.copy_to = job.copy_to.take().or_else(|| self.copy_to());
        })?;
        let began = DateTime::from_timestamp_millis(job.began_ms).unwrap_or_default();
        let alerts = self.alerts(queue, &job.name, began)?;
        Ok(Opened { ledger, header, data_key, resumed: Some(resumed), alerts })
    }

    /// Gives a job that has no upload yet a new name. Nothing is lost by it; and of two copies of this home none puts
    /// its archive into the place of the other's.
    async fn rename(&self, queue: &mut Queue, ledger: &Ledger) -> Result<()> {
        let job = ledger.job();
        let is_unsent = matches!(job.state, JobState::Queued | JobState::Scanning | JobState::Transferring);
        if job.upload.is_some() || !is_unsent {
            return Ok(());
        }
        let name = BackupName { backup_id: new_backup_id(), ..job.name.clone() };
        let data_key = DataKey::generate();
        let header = Header::new(&name, self.recipients.wrap(&data_key, &name.backup_id));
        queue.rename(ledger, name, header.encoded().to_vec())?;
        // Where this fails the clean-up looks again.
        let aborted = match recovery::store_of(&job, self.catalog).await {
            Ok(store) => recovery::abort_strays(&*store, &job.name.archive_key()).await,
            Err(error) => Err(error),
        };
        match aborted {
            Ok(()) => queue.forget_lost_job(&job.name)?,
            // The run itself is about to say so.
            Err(error) if error.is_of_no_store() => {}
            Err(error) => tracing::warn!(%error, "cannot look for an upload that was begun and not recorded"),
        }
        Ok(())
    }

    /// Where this run is asked to copy to, wherever the next one is started.
    fn copy_to(&self) -> Option<PathBuf> {
        self.options.copy_to.as_deref().map(absolute)
    }

    /// What the names of this run and of the one before say about the clock.
    fn alerts(&self, queue: &Queue, name: &BackupName, began: DateTime<Utc>) -> Result<Vec<String>> {
        let last = queue.history()?.into_iter().next().map(|job| job.name.timestamp);
        let last = last.filter(|last| clock::is_future(last, began));
        let of_last = last.map(|last| {
            format!(
                "the run before is named {last}, and the clock says {}: it ran under a wrong clock, or this one is \
                 wrong. Its name is not counted. Check this machine's clock",
                began.format(TIMESTAMP)
            )
        });
        Ok(of_last.into_iter().chain(alerts::of_name(name, began)).collect())
    }

    fn begin(&self, queue: &mut Queue) -> Result<Opened> {
        let (policy, now) = (self.policy, Utc::now());
        let taken = names(queue, None, &self.agent.logs_folder(&policy.policy_id))?;
        let name = new_name(policy, clock::next_name(taken.iter().map(String::as_str), now));
        let alerts = self.alerts(queue, &name, now)?;
        let data_key = DataKey::generate();
        let header = Header::new(&name, self.recipients.wrap(&data_key, &name.backup_id));
        let ledger = queue.begin(Job {
            name,
            header: header.encoded().to_vec(),
            store: self.catalog.url(),
            copy_to: self.copy_to(),
            policy_digest: policy.digest(),
            upload: None,
            state: JobState::Queued,
            began_ms: now.timestamp_millis(),
            ended_ms: None,
            runs: 1,
            scanned: None,
            last_error: None,
            trace_id: None,
            run_span: None,
            summary: None,
            findings: Default::default(),
        })?;
        Ok(Opened { ledger, header, data_key, resumed: None, alerts })
    }

    fn evidence(&self, timestamp: &str) -> Result<Evidence> {
        let policy_id = &self.policy.policy_id;
        Evidence::open(&self.agent.logs_folder(policy_id), policy_id, timestamp)
    }

    /// Runs a job within its log.
    async fn governed(
        &self,
        queue: &mut Queue,
        opened: Opened,
        notices: &mut Vec<String>,
    ) -> Result<AgentReport> {
        let begun = Instant::now();
        let evidence = self.evidence(&opened.ledger.job().name.timestamp)?;
        let root = evidence.span();
        let trace_id = evidence.trace(&root, &opened.ledger)?;
        let run = self.in_its_log(queue, opened, &evidence, notices);
        let mut report = run.instrument(root.clone()).await?;
        report.trace_id = trace_id;
        report.tell_in(&root);
        let done = report.outcome.as_ref().map(Sums::from);
        root_span::count(span::RUN, &self.policy.policy_id, begun, &root, done);
        drop(root);
        notices.append(&mut report.notices);
        notices.extend(evidence.trouble());
        let kept = evidence.retain(queue, self.policy.logs.keep_days);
        if let Err(error) = kept {
            notices.push(format!("old logs could not be removed: {error}"));
        }
        Ok(report)
    }

    async fn in_its_log(
        &self,
        queue: &mut Queue,
        opened: Opened,
        evidence: &Evidence,
        notices: &[String],
    ) -> Result<AgentReport> {
        let Opened { ledger, header, data_key, resumed, alerts } = opened;
        let job = ledger.job();
        evidence.begin(self.policy, &job, &header, resumed, self.catalog.machine.host());
        notices.iter().chain(&alerts).for_each(|text| tracing::warn!("{text}"));
        let mut told = Vec::new();
        let cancel = self.options.run.cancel.child_token();
        let progress = self.options.run.progress.clone();
        let folder = self.agent.queue_folder(&self.policy.policy_id);
        let watch = Watch::start(&folder, ledger.clone(), progress.clone(), cancel.clone());
        let found = ledger.part_count();
        // The job has the copy that it was begun with, and this run may ask for another one.
        let copies = [job.copy_to.as_deref(), self.options.copy_to.as_deref()];
        let mut copies = Copies::new(copies.into_iter().flatten());
        if !self.options.new_store {
            copies.expect(|folder| queue.known_store(folder))?;
        }
        let run = JobRun {
            ledger: ledger.clone(),
            policy: self.policy.clone(),
            home: self.agent.home.clone(),
            before: before(queue)?,
            store: root_span::labelled(self.catalog.store.clone()),
            catalog: self.catalog.clone(),
            recipients: self.recipients.clone(),
            take_over: self.options.take_over,
            copies,
            header,
            data_key,
            progress,
            cancel,
            attempts: self.agent.attempts,
            started: Instant::now(),
            kept: OnceLock::new(),
            saw_others: AtomicBool::default(),
            notices: Mutex::default(),
            alerts: Mutex::new(alerts),
            claimed: OnceLock::new(),
            folder: folder.clone(),
        };
        // Before anything is written, the claim included.
        let ended = match self.make_ready(queue).await {
            Err(error) => Ended::Stopped(Verdict::of(&error), error),
            Ok(()) => {
                let clean_up = async {
                    // Whether the policy is ours; where this fails the run itself says so.
                    match run.claim().await {
                        Ok(()) => self.clean_up(queue, &job).await,
                        Err(_) => Ok(()),
                    }
                };
                if let Some(Err(error)) = run.cancel.run_until_cancelled(clean_up).await {
                    tracing::warn!(%error, "cannot look for abandoned uploads");
                    told.push(format!("could not check for abandoned uploads, which are billed: {error}"));
                }
                run.run().await
            }
        };
        if let Err(error) = remember(queue, run.copies.stores().await) {
            tracing::warn!(%error, "the queue does not keep which store the copy's folder is");
        }
        told.append(&mut run.notices.lock().unwrap_or_else(PoisonError::into_inner));
        let kept = run.kept.get().copied().unwrap_or(found);
        drop(run);
        let is_cancelled = watch.stop().await;
        let parts_sent = ledger.part_count().saturating_sub(kept);
        let (state, log_key, outcome) = self.settle(queue, ledger, evidence, ended, is_cancelled).await?;
        Ok(AgentReport {
            name: job.name,
            state,
            resumed,
            parts_reused: kept,
            parts_sent,
            log: evidence.path(),
            log_key,
            trace_id: None,
            notices: told,
            outcome,
            finished_first: None,
        })
    }

    /// Makes the store ready, and remembers which one it is before anything is sent.
    async fn make_ready(&self, queue: &Queue) -> Result<()> {
        self.catalog.store.prepare().await?;
        remember(queue, self.catalog.store.folders())
    }

    /// Ends the job or keeps it, and sends the log.
    async fn settle(
        &self,
        queue: &mut Queue,
        ledger: Ledger,
        evidence: &Evidence,
        ended: Ended,
        is_cancelled: bool,
    ) -> Result<(&'static str, Option<String>, Result<BackupReport>)> {
        let (verdict, error) = match ended {
            Ended::Published(report) => {
                evidence.published(&report);
                let (state, log_key) = close(queue, ledger, evidence, self.catalog).await?;
                return Ok((state, log_key, Ok(*report)));
            }
            Ended::Stopped(verdict, _) if is_cancelled => (verdict, Error::Cancelled),
            Ended::Stopped(verdict, error) => (verdict, error),
        };
        let is_overtaken = matches!(error, Error::Overtaken { .. });
        let told = error.to_string();
        // Where even this cannot be written the error itself is what has to be told.
        let stopped = ledger.update(|job| {
            job.last_error = Some(told.clone());
            // Its root span is sent with the others, since the process lives.
            job.run_span.iter_mut().for_each(|run| run.ended = true);
        });
        if let Err(error) = stopped {
            tracing::warn!(%error, "the queue does not keep why the run stopped");
        }
        let event = match verdict {
            _ if is_cancelled => Some(JobEvent::Cancelled),
            Verdict::Fail | Verdict::Lost => Some(JobEvent::GaveUp),
            // Nothing was sent that a later run could continue.
            Verdict::Pause if error.is_refusal() && ledger.job().upload.is_none() => Some(JobEvent::GaveUp),
            Verdict::Retry | Verdict::Pause => None,
        };
        let Some(event) = event else {
            let (state, parts) = (ledger.job().state.name(), ledger.part_count());
            tracing::error!(error = told, state, parts, "the run stopped; the next run resumes it");
            // Whoever interrupts a run does not wait for a log, which the next run will send. Nor is a store asked again
            // that was said to be of no use.
            let log_key = match (evidence.queue(queue), &error) {
                (Ok(()), error) if matches!(error, Error::Interrupted) || error.is_of_no_store() => None,
                (Ok(()), _) => evidence.ship(queue, self.catalog).await,
                (Err(error), _) => {
                    tracing::warn!(%error, "the log could not be queued; the next run sends it");
                    None
                }
            };
            queue.write_view(Some(&ledger));
            return Ok((state, log_key, Err(error)));
        };
        tracing::error!(error = told, "the job ends without a backup");
        if is_overtaken {
            // What has this job's name in the store, its log too, is of the one that went on.
            ledger.advance(event)?;
            ledger.update(|job| job.ended_ms = Some(Utc::now().timestamp_millis()))?;
            let state = ledger.advance(JobEvent::LogsSettled)?.name();
            queue.close(ledger)?;
            return Ok((state, None, Err(error)));
        }
        recovery::abandon(&ledger, self.catalog, event).await?;
        let (state, log_key) = close(queue, ledger, evidence, self.catalog).await?;
        Ok((state, log_key, Err(error)))
    }

    /// Aborts uploads of the policy that are this machine's by its own records (those of jobs whose ledger was lost), and
    /// those of which no part has arrived for a week. The policy must be this machine's.
    async fn clean_up(&self, queue: &Queue, job: &Job) -> Result<()> {
        let (store, policy_id) = (&self.catalog.store, &self.policy.policy_id);
        for lost in queue.lost_jobs(&job.name)? {
            recovery::clear_lost(&**store, &lost).await?;
            queue.forget_lost_job(&lost)?;
        }
        for UnfinishedUpload { upload, began_ms } in
            self.agent.unfinished_uploads(self.catalog, policy_id).await?
        {
            // Our own clock may be years ahead.
            let now_ms = store.now_ms().unwrap_or_else(|| Utc::now().timestamp_millis());
            let is_old = |ms: i64| now_ms.saturating_sub(ms) > ABANDONED_MS;
            if upload.key == job.name.archive_key() || !began_ms.is_some_and(is_old) {
                continue;
            }
            let last_part_ms = match store.last_part_ms(&upload).await {
                Ok(last_part_ms) => last_part_ms,
                Err(error) => {
                    tracing::warn!(%error, key = upload.key, "it is not known when this upload was last used; it stays");
                    continue;
                }
            };
            if last_part_ms.is_none_or(is_old) {
                tracing::info!(key = upload.key, "an upload that was not used for a week is aborted");
                store.abort_upload(&upload).await?;
            }
        }
        Ok(())
    }
}

/// Ships the log of a job that has its ending, and closes it. Ordering law: the log stands in the outbox before the
/// job is closed, so that it is shipped whatever happens.
pub(super) async fn close(
    queue: &mut Queue,
    ledger: Ledger,
    evidence: &Evidence,
    catalog: &Catalog,
) -> Result<(&'static str, Option<String>)> {
    let state = match ledger.job().state {
        JobState::ShippingLogs(ending) | JobState::Ended(ending) => ending.name(),
        other => other.name(),
    };
    tracing::info!(state, "the job has ended");
    evidence.queue(queue)?;
    Failpoint::LogQueued.reached();
    let log_key = evidence.ship(queue, catalog).await;
    Failpoint::LogShipped.reached();
    if !ledger.job().state.is_ended() {
        ledger.update(|job| job.ended_ms = Some(Utc::now().timestamp_millis()))?;
        ledger.advance(JobEvent::LogsSettled)?;
    }
    Failpoint::JobEnded.reached();
    queue.close(ledger)?;
    Ok((state, log_key))
}

fn remember(queue: &Queue, stores: Vec<StoreFolder>) -> Result<()> {
    for StoreFolder { path, id } in stores {
        if let Some(id) = id
            && queue.known_store(&path)?.as_ref() != Some(&id)
        {
            queue.remember_store(&path, &id)?;
        }
    }
    Ok(())
}

/// The folders of the backups that are remembered, the newest first.
fn before(queue: &Queue) -> Result<Vec<Vec<RootRecord>>> {
    let roots = |job: Job| Some(serde_json::from_str::<BackupReport>(&job.summary?).ok()?.roots);
    Ok(queue.history()?.into_iter().filter_map(roots).collect())
}

/// Whether a job has ended, but for its log, and has made no backup.
fn is_without_backup(job: &Job) -> bool {
    matches!(job.state, JobState::ShippingLogs(Ending::Failed | Ending::Cancelled))
}

/// The timestamps of runs that are known here: names of jobs, and of logs.
pub(super) fn names(queue: &Queue, waiting: Option<&Ledger>, logs: &Path) -> Result<Vec<String>> {
    let mut names: Vec<_> = queue.history()?.into_iter().map(|job| job.name.timestamp).collect();
    names.extend(waiting.map(|ledger| ledger.job().name.timestamp));
    names.extend(queue.outbox()?.into_iter().map(|log| log.timestamp));
    let logs = run_log::list(logs).map_err(intellistor_storage::Error::io("list the logs in", logs))?;
    names.extend(logs.into_iter().map(|log| log.timestamp));
    Ok(names)
}
