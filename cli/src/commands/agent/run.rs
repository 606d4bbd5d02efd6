//! `run`: resumes an unfinished backup, or makes one.

use std::path::{Path, PathBuf};

use clap::Args;
use intellistor::{Agent, AgentOptions, AgentReport, Catalog, Error, Policy, Recipients};

use super::metrics::{Metrics, MetricsArgument};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{FullArgument, PolicyArgument, SealArgument, TakeOverArgument};
use crate::session::Session;
use crate::summary;
use crate::units::{counted, duration};
use indicatif::BinaryBytes;

/// Back up what a policy names, or resume an unfinished backup
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent run --policy policy.yaml
  intellistor-agent run --policy policy.yaml --env-file /etc/intellistor/agent.env --out /mnt/usb

An interrupted run is resumed; parts already stored are not sent again. \
The log is sent to the store, whatever the outcome. Exit code 5: another run of this policy is active.")]
pub(crate) struct Run {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// A folder for a copy of the backup, made at the same time; the copy is a complete store
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Accept a replaced disk: use the folder of the store or of --out although its mark is missing or different
    #[arg(long)]
    new_store: bool,
    /// Only resume a backup that was interrupted, and do nothing where there is none: for the start of the machine
    #[arg(long, conflicts_with_all = ["full", "new_store"])]
    only_unfinished: bool,
    #[command(flatten)]
    metrics: MetricsArgument,
    #[command(flatten)]
    kind: FullArgument,
    #[command(flatten)]
    ownership: TakeOverArgument,
}

impl Run {
    /// Where `status` finds runs that failed before they had read it.
    pub(crate) fn policy_file(&self) -> &Path {
        &self.policy.policy
    }
}

pub(crate) async fn run(command: &Run, session: &Session) -> Result<Done, Failure> {
    let agent = home::agent(&session.environment)?;
    let policy = session.policy(&command.policy.policy);
    let policy = policy.inspect_err(|failure| record_unread(&agent, command.policy_file(), failure))?;
    if command.only_unfinished
        && !agent.has_unfinished_job(&policy.policy_id).map_err(Failure::engine("cannot look for a job"))?
    {
        session.screen.note(format_args!("{}: nothing to resume", policy.policy_id));
        let nothing = serde_json::json!({ "policy": policy.policy_id, "state": "idle", "resumed": false });
        return Done::document(&nothing, Exit::Success);
    }
    let (id, cron) = (&policy.policy_id, policy.schedule.as_deref());
    let metrics = Metrics::begin(&command.metrics, &agent, id, cron, session).await;
    let outcome = back_up(command, &policy, &agent, session).await;
    if let Some(metrics) = metrics {
        let exit = match &outcome {
            Ok(done) => done.exit(),
            Err(failure) => failure.exit(),
        };
        metrics.write(exit).await;
    }
    outcome
}

/// A run that could not read its policy is found by the policy's schedule, which names the file.
pub(crate) fn record_unread(agent: &Agent, policy: &Path, failure: &Failure) {
    if let Err(error) = agent.record_unread_policy(policy, &failure.summary_with_hint()) {
        tracing::debug!(%error, "the failed start was not recorded");
    }
}

async fn back_up(command: &Run, policy: &Policy, agent: &Agent, session: &Session) -> Result<Done, Failure> {
    let (catalog, recipients) = open(policy, agent, &command.seal, session).await?;
    intellistor::privilege::reach_all_files();
    let run = session.run_options();
    session.note_limits(policy);
    let meter = Meter::start(&session.screen, "backing up", run.progress.clone());
    let options = AgentOptions {
        copy_to: command.out.clone(),
        take_over: command.ownership.take_over,
        new_store: command.new_store,
        full: command.kind.full,
        notify: session.notify_settings(Some(&command.policy.policy)),
        run,
    };
    let new_stores = catalog.new_folders();
    let report = agent.run(&catalog, &recipients, policy, options).await;
    drop(meter);
    let what = format!("cannot back up policy {}", policy.policy_id);
    let report = report.map_err(Failure::engine(what.clone()))?;
    session.note_new_stores(&new_stores, "run this again");
    finish(report, &what, command, session, &catalog)
}

/// Opens the policy's store. A failure is logged as a run's, so that it is found where a run of last night is looked for, and
/// those whom the policy names are notified.
pub(super) async fn open(
    policy: &Policy,
    agent: &Agent,
    seal: &SealArgument,
    session: &Session,
) -> Result<(Catalog, Recipients), Failure> {
    let failure = match session.open_to_seal(policy, seal).await {
        Err(failure) => failure,
        opened => return opened,
    };
    let reason = failure.summary_with_hint();
    let log = match agent.record_failed_start(&policy.policy_id, &reason) {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(%error, "the failed start could not be logged");
            None
        }
    };
    // Who stopped it knows.
    if failure.exit() != Exit::Interrupted {
        let settings = session.notify_settings(None);
        let failed = agent.notify_failed_start(policy, &settings, &reason, log.clone());
        failed.await.into_iter().for_each(|failed| session.screen.warn(failed));
    }
    Err(match log {
        Some(log) => failure.with("log", serde_json::json!({ "local": log.to_string_lossy() })),
        None => failure,
    })
}

fn finish(
    report: AgentReport,
    what: &str,
    command: &Run,
    session: &Session,
    catalog: &Catalog,
) -> Result<Done, Failure> {
    let document = report.document(&|key| session.restore_command(&command.policy.policy, key).lines());
    let will_resume = report.will_resume();
    if let Ok(backup) = &report.outcome {
        let cli_restore = session.restore_command(&command.policy.policy, &backup.key_backup).line();
        session.screen.conclude(summary::of_run(&report, backup, &cli_restore));
    }
    match report.outcome {
        Ok(backup) => {
            let exit = if backup.is_complete() { Exit::Success } else { Exit::Incomplete };
            Done::document(&document, exit)
        }
        Err(error) => {
            let failure = if matches!(error, Error::Interrupted) && will_resume {
                Failure::new(Exit::Interrupted, "interrupted; what was uploaded is kept")
            } else {
                Failure::engine(what)(error)
            };
            let failure = failure.with_members(&document);
            Err(match will_resume {
                true => failure.hint(format!("run it again to resume the job in {}", catalog.url())),
                false => failure,
            })
        }
    }
}

/// The line that stays on the screen.
pub(super) fn summary(report: &AgentReport) -> String {
    let Ok(backup) = &report.outcome else { return String::new() };
    let (files, bytes) = (counted(backup.totals.files, "file"), BinaryBytes(backup.totals.bytes));
    let resumed = match report.resumed {
        Some(resumed) => format!(", {} of it sent by an earlier run", BinaryBytes(resumed.bytes)),
        None => String::new(),
    };
    format!("backed up {files}, {bytes}{resumed}, in {}", duration(backup.seconds))
}
