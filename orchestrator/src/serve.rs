//! Many policies on their own schedules, in one process: for containers, and for machines without a scheduler.
//!
//! **In:** a folder of policies, a clock, and a [`PolicyRunner`]. **Out:** runs, each started at the times of its policy's
//! `schedule`. **Guarantees:** times that were missed while nothing served or the machine slept are made up for by one run;
//! a clock that is set back delays nothing; a policy that is still running when its next time comes is not started
//! again; files that are added, changed or removed are noticed within [`POLL`]; once cancelled it starts nothing and waits
//! for active runs. **After a crash:** it has no state of its own; the runner knows the last runs ([`LastRun`]).
//!
//! | module | holds |
//! | --- | --- |
//! | `folder` | reads the folder, again when a file changes |

mod folder;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta};
use intellistor_storage::disk::shortage::{LEAST_OPEN_FILES, open_files_limit, too_few_open_files};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cron::Cron;
use crate::error::Result;
use crate::missed::first_start_after;
use crate::policy::Policy;
use folder::Folder;

/// How often the folder is read, and the longest sleep: a clock that was set is noticed within it.
pub const POLL: Duration = Duration::from_secs(10);

/// Smaller corrections of the clock are ignored: they would repeat a run.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug)]
pub struct ServeOptions {
    /// Its files `*.yaml` and `*.yml` are policies.
    pub folder: PathBuf,
    /// How many policies run at the same time, at least 1; others wait. Lowered when the limit of open files is too low.
    pub at_once: usize,
    /// Stops it.
    pub cancel: CancellationToken,
}

/// Totals of a call of [`serve`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Runs that were started.
    pub runs: u64,
    /// Starts that were skipped because the policy was still running.
    pub overlaps: u64,
}

/// A policy's last run, whatever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRun {
    /// There was none.
    Never,
    /// It began then, and has ended.
    Began(DateTime<Local>),
    /// It left a job to be resumed.
    Unfinished,
}

/// Runs policies.
pub trait PolicyRunner: Send + Sync + 'static {
    /// The policy's last run.
    fn last_run(&self, policy_id: &str) -> LastRun;
    /// Runs it to its end, and reports the outcome itself.
    fn run(&self, policy: Policy) -> impl Future<Output = ()> + Send;
}

/// A policy and its next time.
#[derive(Debug)]
struct Planned {
    policy: Policy,
    cron: Cron,
    due: Option<DateTime<Local>>,
}

/// Runs the folder's policies at their times until it is cancelled. `now` is the clock.
///
/// # Errors
/// When the folder cannot be read at the start; later that is a warning.
pub async fn serve<R: PolicyRunner>(
    options: ServeOptions,
    now: impl Fn() -> DateTime<Local>,
    runner: Arc<R>,
) -> Result<Served> {
    let ServeOptions { folder, at_once, cancel } = options;
    let at_once = within_handles(at_once, open_files_limit());
    let (mut folder, turns) = (Folder::new(folder), Arc::new(Semaphore::new(at_once)));
    let mut plan = BTreeMap::new();
    let mut running: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let (started, mut overlaps) = (Arc::new(AtomicU64::new(0)), 0);
    folder.check()?;
    let mut before = now();
    while !cancel.is_cancelled() {
        let moment = now();
        update(&mut plan, folder.policies(), &*runner, moment);
        if before - moment > SET_BACK {
            tracing::warn!(before = before.to_rfc3339(), now = moment.to_rfc3339(), "the clock was set back");
            plan.values_mut().for_each(|planned| planned.due = planned.cron.next_after(moment));
        }
        before = moment;
        for (id, planned) in &mut plan {
            if planned.due.is_none_or(|due| due > moment) {
                continue;
            }
            planned.due = planned.cron.next_after(moment);
            if running.get(id).is_some_and(|run| !run.is_finished()) {
                tracing::warn!(policy = id, "still running; skipping this start");
                overlaps += 1;
                continue;
            }
            let (started, cancel) = (started.clone(), cancel.clone());
            let (runner, turns, policy) = (runner.clone(), turns.clone(), planned.policy.clone());
            let run = tokio::spawn(async move {
                let Some(Ok(_turn)) = cancel.run_until_cancelled(turns.acquire()).await else { return };
                started.fetch_add(1, Ordering::Relaxed);
                runner.run(policy).await;
            });
            ended(id, running.insert(id.clone(), run)).await;
        }
        let next = plan.values().filter_map(|planned| planned.due).min();
        let pause = next.and_then(|due| (due - now()).to_std().ok()).unwrap_or(POLL).min(POLL);
        // At least a little, or it would spin while the clock does not advance.
        cancel.run_until_cancelled(tokio::time::sleep(pause.max(Duration::from_millis(100)))).await;
    }
    for (id, run) in running {
        ended(&id, Some(run)).await;
    }
    Ok(Served { runs: started.load(Ordering::Relaxed), overlaps })
}

/// `at_once`, lowered to what the limit of open files allows.
fn within_handles(at_once: usize, limit: Option<u64>) -> usize {
    let most =
        limit.and_then(|limit| usize::try_from(limit / LEAST_OPEN_FILES).ok()).unwrap_or(usize::MAX).max(1);
    if at_once > most {
        let needed = LEAST_OPEN_FILES.saturating_mul(at_once as u64);
        tracing::warn!(
            asked_for = at_once,
            at_once = most,
            "fewer policies run at once: {}",
            too_few_open_files(limit.unwrap_or_default(), needed)
        );
    }
    at_once.clamp(1, most)
}

/// Waits for a run's end. A panic does not affect other runs.
async fn ended(id: &str, run: Option<JoinHandle<()>>) {
    if let Some(run) = run
        && let Err(error) = run.await
    {
        tracing::error!(policy = id, %error, "the run crashed; the next one resumes");
    }
}

/// Updates the plan to the folder's policies. A policy whose schedule did not change keeps its next time.
fn update(
    plan: &mut BTreeMap<String, Planned>,
    found: Vec<(Policy, Cron)>,
    runner: &impl PolicyRunner,
    now: DateTime<Local>,
) {
    plan.retain(|id, _| found.iter().any(|(policy, _)| policy.policy_id == *id));
    for (policy, cron) in found {
        let id = policy.policy_id.clone();
        let due = match plan.get(&id) {
            Some(known) if known.cron.to_string() == cron.to_string() => known.due,
            Some(_) => cron.next_after(now),
            None => match runner.last_run(&id) {
                LastRun::Unfinished => Some(now),
                LastRun::Began(began) => first_start_after(&cron, began, now),
                LastRun::Never => cron.next_after(now),
            },
        };
        if plan.get(&id).is_none_or(|known| known.due != due) {
            let due = due.map_or_else(|| "never".to_owned(), |due| due.to_rfc3339());
            tracing::info!(policy = id, %cron, due, "serving the policy");
        }
        plan.insert(id, Planned { policy, cron, due });
    }
}

// They move a clock that tests for Windows are built without: see Cargo.toml.
#[cfg(all(test, not(windows)))]
mod tests;
