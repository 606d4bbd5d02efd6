//! The governed layer: runs that survive anything, and leave evidence.
//!
//! ```text
//! <home>/queue/<policy_id>/   the policy's queue: its lock, its ledger, its history, its outbox
//! <home>/logs/<policy_id>/    its logs: run_<timestamp>.log, last.log
//! ```
//! [`Agent::run`] first finishes the job that a crash, an error or a signal has stopped, or else begins one. A job
//! goes from state to state ([`JobState`](intellistor_storage::state::job::JobState)) and every step is recorded before the next; whatever stops a run, the
//! next one goes on from there. In the end the run's log goes to the store; what cannot go waits in the outbox.
//!
//! | room | holds |
//! | --- | --- |
//! | `report` | what to ask for, and what came of it |
//! | `governed` | one run of the agent: which job, in which log, with what end |
//! | `job_run` | one job, from wherever it stands to its end |
//! | `recovery` | what the store says of a job that was stopped |
//! | `supervisor` | what an error means for a job, and how often to try again |
//! | `evidence` | a run's log: its lines, its way to the store, how long it is kept |
//! | `watch` | what other processes may see and ask of a run |

mod evidence;
mod governed;
mod job_run;
mod recovery;
mod report;
mod supervisor;
mod watch;

use std::path::{Path, PathBuf};

use chrono::Utc;
use intellistor_storage as storage;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::create_private_folder;
use intellistor_storage::disk::trust;
use intellistor_storage::keys::Recipients;
use intellistor_storage::objects::{RetryPolicy, SharedStore, StoreFolder, UnfinishedUpload};
use intellistor_storage::state;
use intellistor_storage::state::Queue;
use intellistor_storage::state::job::JobEvent;
use tracing::Instrument as _;

pub use report::{AgentOptions, AgentReport, Cancelled, PolicyStatus, Resumed};
pub use watch::RunProgress;

use crate::catalog::Catalog;
use crate::clock::{self, TIMESTAMP};
use crate::error::{Error, Result};
use crate::operations::copies::other_store;
use crate::policy::Policy;
use evidence::Evidence;
use governed::{Run, close};

/// Runs, resumes and tells of policies. What it knows lies in its home folder.
#[derive(Debug, Clone)]
pub struct Agent {
    home: PathBuf,
    attempts: RetryPolicy,
}

impl Agent {
    /// An agent with its home in `home`, which need not exist.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), attempts: supervisor::ATTEMPTS }
    }

    /// Tries a run that gets no further as often as this says.
    #[must_use]
    pub fn with_attempts(self, attempts: RetryPolicy) -> Self {
        Self { attempts, ..self }
    }

    /// Where a policy's logs lie.
    pub fn logs_folder(&self, policy_id: &str) -> PathBuf {
        self.home.join("logs").join(policy_id)
    }

    fn queue_folder(&self, policy_id: &str) -> PathBuf {
        self.home.join("queue").join(policy_id)
    }

    /// Makes the policy's folders, and answers that of its queue. Whoever else could write there would decide, with a link,
    /// what this account overwrites.
    fn own_folder(&self, policy_id: &str) -> Result<PathBuf> {
        let (queue, logs) = (self.queue_folder(policy_id), self.logs_folder(policy_id));
        for folder in [&queue, &logs] {
            // Before, so that nothing is made behind a link; after, since what was missing may be another's by now.
            self.check_own(folder)?;
            create_private_folder(folder)
                .map_err(intellistor_storage::Error::io("create the folder", folder))?;
            self.check_own(folder)?;
        }
        Ok(queue)
    }

    fn check_own(&self, folder: &Path) -> Result<()> {
        let mut own = folder.ancestors().take_while(|above| above.starts_with(&self.home));
        own.try_for_each(trust::check_folder)
            .map_err(|others| Error::Untrusted { what: "the agent's folder", others })
    }

    /// Finishes the policy's job, or makes a backup; both, if the job was begun long ago.
    ///
    /// # Errors
    /// `Busy` when another run of the policy is active, at once; those of the state folder. What happens to the job
    /// is told in the report.
    pub async fn run(
        &self,
        catalog: &Catalog,
        recipients: &Recipients,
        policy: &Policy,
        options: AgentOptions,
    ) -> Result<AgentReport> {
        policy.check()?;
        let folder = self.own_folder(&policy.policy_id)?;
        let mut queue = Queue::open(&folder)?;
        // Before anything is written to it, be it a log.
        let checked = self
            .check_stores(&queue, &catalog.store, options.new_store)
            .and_then(|()| Ok(policy.check_overlap()?))
            .and_then(|()| {
                let mut copies = options.copy_to.iter();
                copies.try_for_each(|copy| crate::operations::sources::check_copy(&*catalog.store, copy))
            });
        if let Err(error) = checked {
            self.note_failed_start_in(&mut queue, &policy.policy_id, &error.to_string())?;
            return Err(error);
        }
        // Only while the queue is locked are requests left there: one that came before was meant for another run.
        watch::forget_requests(&folder);
        let run = Run { agent: self, catalog, recipients, policy, options };
        let found = queue.job()?;
        let began_ms = found.as_ref().map(|ledger| ledger.job().began_ms);
        let first = run.one(&mut queue, found).await?;
        let age_ms = began_ms.map_or(0, |began| Utc::now().timestamp_millis() - began);
        let is_old = u128::try_from(age_ms).is_ok_and(|age| age > policy.resume.fresh_after.as_millis());
        if first.resumed.is_none() || first.outcome.is_err() || !is_old {
            return Ok(first);
        }
        let fresh = run.one(&mut queue, None).await?;
        Ok(AgentReport { finished_first: Some(Box::new(first)), ..fresh })
    }

    /// Tells of a run that could not even begin, in a log of its own that the next run ships.
    ///
    /// # Errors
    /// `Busy`; those of the state folder.
    pub fn note_failed_start(&self, policy_id: &str, told: &str) -> Result<PathBuf> {
        self.note_failed_start_in(&mut Queue::open(&self.own_folder(policy_id)?)?, policy_id, told)
    }

    fn note_failed_start_in(&self, queue: &mut Queue, policy_id: &str, told: &str) -> Result<PathBuf> {
        let waiting = queue.job()?;
        let taken = governed::names(queue, waiting.as_ref(), &self.logs_folder(policy_id))?;
        let taken = taken.iter().map(String::as_str);
        let timestamp = clock::next_name(taken, Utc::now()).format(TIMESTAMP).to_string();
        let evidence = Evidence::open(&self.logs_folder(policy_id), policy_id, &timestamp)?;
        evidence.span().in_scope(|| tracing::error!(error = told, "the run could not begin"));
        evidence.queue(queue)?;
        queue.write_view(waiting.as_ref());
        Ok(evidence.path())
    }

    /// Checks that the store's folders are those that earlier runs wrote to: a disk that is not mounted leaves an empty
    /// folder in its place.
    fn check_stores(&self, queue: &Queue, store: &SharedStore, accept_new: bool) -> Result<()> {
        for StoreFolder { path, id } in store.folders() {
            let known = queue.known_store(&path)?.filter(|known| !accept_new && id.as_ref() != Some(known));
            if known.is_some() {
                return Err(storage::Error::from(other_store(&**store, &path)).into());
            }
        }
        Ok(())
    }

    /// Every policy that has run here, by name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn policies(&self) -> Result<Vec<String>> {
        let folder = self.home.join("queue");
        let listed = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(intellistor_storage::Error::io("list", &folder))?,
        };
        let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter(|id| intellistor_storage::catalog::layout::is_policy_id(id)).collect();
        names.sort();
        Ok(names)
    }

    /// Where a policy stands. Changes nothing, and can be asked while a run is active.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn status(&self, policy_id: &str) -> Result<PolicyStatus> {
        let folder = self.queue_folder(policy_id);
        let queue = state::snapshot(&folder)?;
        let progress = RunProgress::read(&folder);
        Ok(PolicyStatus { policy_id: policy_id.to_owned(), queue, progress })
    }

    /// Uploads of the policy that were begun and not ended: parts of a job to be resumed, or what another machine or
    /// a crash has left. They are billed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unfinished_uploads(
        &self,
        catalog: &Catalog,
        policy_id: &str,
    ) -> Result<Vec<UnfinishedUpload>> {
        Ok(catalog.store.list_uploads(&BackupName::policy_prefix(policy_id)).await?)
    }

    /// Ends the policy's job for good, and frees what it has sent. A run that is active is asked to.
    ///
    /// # Errors
    /// Those of the state folder.
    pub async fn cancel(&self, catalog: &Catalog, policy: &Policy) -> Result<Cancelled> {
        let folder = self.own_folder(&policy.policy_id)?;
        let mut queue = match Queue::open(&folder) {
            Err(intellistor_storage::Error::Busy { .. }) => {
                let asked = watch::ask_to_cancel(&folder);
                asked.map_err(intellistor_storage::Error::io("write a request into", &folder))?;
                return Ok(Cancelled::Asked);
            }
            opened => opened?,
        };
        let Some(ledger) = queue.job()? else { return Ok(Cancelled::Nothing) };
        let job = ledger.job();
        let evidence =
            Evidence::open(&self.logs_folder(&policy.policy_id), &policy.policy_id, &job.name.timestamp)?;
        let end = async {
            tracing::warn!("the job is cancelled on request");
            let leftover = recovery::abandon(&ledger, catalog, JobEvent::Cancelled).await?;
            close(&mut queue, ledger, &evidence, catalog).await?;
            Ok::<_, Error>(leftover)
        };
        let leftover = end.instrument(evidence.span()).await?;
        Ok(Cancelled::Done { leftover })
    }
}
