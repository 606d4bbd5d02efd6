//! Many policies on their own schedules, in one process: for containers, and machines without a scheduler.
//!
//! **In:** a folder of policies, a clock, and what a run is ([`Runs`]). **Out:** runs, each begun when its policy's
//! `schedule` says so. **Guarantees:** a time that was missed, for nothing served or the machine slept, is made up for
//! once, however many were missed; a clock that is set back delays nothing; a policy that still runs when its next time
//! comes is not run twice; files that are added, changed or removed are noticed within [`LOOK`]; when it is cancelled it begins nothing and waits for what
//! runs. **After a crash:** nothing of its own is kept. What ran when, and what was stopped, is the agent's to know
//! ([`Past`]).
//!
//! | room | holds |
//! | --- | --- |
//! | `folder` | the policies of a folder, and what is wrong with the others |

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
use crate::policy::Policy;
use folder::Folder;

/// How often the folder is looked at, and the longest sleep: a clock that was set is noticed as late.
pub const LOOK: Duration = Duration::from_secs(10);

/// A clock that is put right by less is not taken for one that was wrong: a run would come twice.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// What is to be served.
#[derive(Debug)]
pub struct ServeOptions {
    /// Its files `*.yaml` and `*.yml` are policies.
    pub folder: PathBuf,
    /// How many policies run at the same time, at least 1; others wait for their turn. Fewer do where this process may have
    /// too few files open.
    pub at_once: usize,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// What was served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Runs that were begun.
    pub runs: u64,
    /// Times at which a policy was still running.
    pub overlaps: u64,
}

/// What is known of a policy's runs, whoever began them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It never ran.
    Never,
    /// Its last run began then, and has ended.
    Began(DateTime<Local>),
    /// A job waits to be resumed.
    Unfinished,
}

/// What running a policy means.
pub trait Runs: Send + Sync + 'static {
    /// What is known of the policy's runs.
    fn past(&self, policy_id: &str) -> Past;
    /// Runs it, and tells by itself what came of it.
    fn run(&self, policy: Policy) -> impl Future<Output = ()> + Send;
}

/// A policy that has its times.
#[derive(Debug)]
struct Planned {
    policy: Policy,
    cron: Cron,
    due: Option<DateTime<Local>>,
}

/// Serves until it is cancelled. `now` is the clock.
///
/// # Errors
/// When the folder cannot be read at the beginning; later that is only a warning.
pub async fn serve<R: Runs>(
    options: ServeOptions,
    now: impl Fn() -> DateTime<Local>,
    runs: Arc<R>,
) -> Result<Served> {
    let ServeOptions { folder, at_once, cancel } = options;
    let at_once = within_handles(at_once, open_files_limit());
    let (mut folder, turns) = (Folder::new(folder), Arc::new(Semaphore::new(at_once)));
    let mut plan = BTreeMap::new();
    let mut running: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let (begun, mut overlaps) = (Arc::new(AtomicU64::new(0)), 0);
    folder.check()?;
    let mut before = now();
    while !cancel.is_cancelled() {
        let moment = now();
        update(&mut plan, folder.look(), &*runs, moment);
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
            let (begun, cancel) = (begun.clone(), cancel.clone());
            let (runs, turns, policy) = (runs.clone(), turns.clone(), planned.policy.clone());
            let run = tokio::spawn(async move {
                let Some(Ok(_turn)) = cancel.run_until_cancelled(turns.acquire()).await else { return };
                begun.fetch_add(1, Ordering::Relaxed);
                runs.run(policy).await;
            });
            ended(id, running.insert(id.clone(), run)).await;
        }
        let next = plan.values().filter_map(|planned| planned.due).min();
        let pause = next.and_then(|due| (due - now()).to_std().ok()).unwrap_or(LOOK).min(LOOK);
        // Not less, or a clock that stands still would have it spin.
        cancel.run_until_cancelled(tokio::time::sleep(pause.max(Duration::from_millis(100)))).await;
    }
    for (id, run) in running {
        ended(&id, Some(run)).await;
    }
    Ok(Served { runs: begun.load(Ordering::Relaxed), overlaps })
}

/// How many runs there may be at once: no more than this process may have files open for.
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

/// Waits for a run's end. One that panicked does not end the others.
async fn ended(id: &str, run: Option<JoinHandle<()>>) {
    if let Some(run) = run
        && let Err(error) = run.await
    {
        tracing::error!(policy = id, %error, "the run crashed; the next one resumes");
    }
}

/// Brings the plan in line with the folder. A policy whose times are as they were keeps its next one.
fn update(
    plan: &mut BTreeMap<String, Planned>,
    found: Vec<(Policy, Cron)>,
    runs: &impl Runs,
    now: DateTime<Local>,
) {
    plan.retain(|id, _| found.iter().any(|(policy, _)| policy.policy_id == *id));
    for (policy, cron) in found {
        let id = policy.policy_id.clone();
        let due = match plan.get(&id) {
            Some(known) if known.cron.to_string() == cron.to_string() => known.due,
            Some(_) => cron.next_after(now),
            None => match runs.past(&id) {
                Past::Unfinished => Some(now),
                Past::Began(began) => cron.next_after(began.min(now)),
                Past::Never => cron.next_after(now),
            },
        };
        if plan.get(&id).is_none_or(|known| known.due != due) {
            let due = due.map_or_else(|| "never".to_owned(), |due| due.to_rfc3339());
            tracing::info!(policy = id, %cron, due, "is served");
        }
        plan.insert(id, Planned { policy, cron, due });
    }
}

#[cfg(test)]
mod tests;
