//! `run`: finishes what was stopped, or backs up.

use std::path::PathBuf;

use clap::Args;
use intellistor::agent::Resumed;
use intellistor::{Agent, AgentOptions, AgentReport, Catalog, Error, Policy, Recipients};
use serde::Serialize;

use super::metrics_file;
use crate::commands::backup;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::{PolicyArgument, SealArgument, TakeOverArgument};
use crate::session::Session;
use crate::units::{counted, duration};
use indicatif::BinaryBytes;

/// Back up what a policy names, or finish the backup that was stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent run --policy policy.yaml
  intellistor-agent run --policy policy.yaml --env-file /etc/intellistor.env --out /mnt/usb

An interrupted run is resumed; parts already stored are not sent again. \
The log goes to the store, whatever the outcome. Exit code 5: another run of this policy is active.")]
pub(crate) struct Run {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// A folder for a copy of the backup, made at the same time; it is laid out as a store
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Accept a replaced disk: use the folder of the store or --out although its mark differs
    #[arg(long)]
    new_store: bool,
    /// A file to write the policy's metrics into when the run ends, for Prometheus' node exporter (its textfile
    /// collector); one for each policy, NAME.prom
    #[arg(long, value_name = "FILE", env = "INTELLISTOR_METRICS_FILE")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    ownership: TakeOverArgument,
}

/// What the agent adds to what a backup gives.
#[derive(Serialize)]
struct RunMembers {
    state: &'static str,
    resumed: bool,
    resumed_from: Option<From>,
    parts_reused: u32,
    parts_sent: u32,
    log: Log,
    trace_id: Option<String>,
}

#[derive(Serialize)]
struct From {
    state: &'static str,
    parts: u32,
    bytes: u64,
}

#[derive(Serialize)]
struct Log {
    local: String,
    /// None where it could not be sent yet.
    s3: Option<String>,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    backup: backup::Document,
    #[serde(flatten)]
    run: RunMembers,
    /// The job of another day that was finished before.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_first: Option<Box<Document>>,
}

/// A run that made no backup.
#[derive(Serialize)]
struct WithoutBackup<'a> {
    backup_id: &'a str,
    timestamp: &'a str,
    policy: &'a str,
    #[serde(flatten)]
    run: RunMembers,
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_first: Option<Box<Document>>,
}

pub(crate) async fn run(command: &Run, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let agent = home::agent(&session.environment)?;
    let outcome = back_up(command, &policy, &agent, session).await;
    if let Some(file) = &command.metrics_file {
        let exit = match &outcome {
            Ok(done) => done.exit(),
            Err(failure) => failure.exit(),
        };
        metrics_file::write(file, &agent, &policy.policy_id, exit, &session.screen);
    }
    outcome
}

async fn back_up(command: &Run, policy: &Policy, agent: &Agent, session: &Session) -> Result<Done, Failure> {
    let (catalog, recipients) = open(policy, agent, &command.seal, session).await?;
    intellistor::privilege::read_everything();
    let run = session.run_options();
    let meter = Meter::start(&session.screen, "backing up", run.progress.clone());
    let options = AgentOptions {
        copy_to: command.out.clone(),
        take_over: command.ownership.take_over,
        new_store: command.new_store,
        run,
    };
    let new_stores = catalog.new_folders();
    let report = agent.run(&catalog, &recipients, policy, options).await;
    let what = format!("cannot back up policy {}", policy.policy_id);
    let report = report.map_err(Failure::engine(what.clone()))?;
    session.note_new_stores(&new_stores);
    match meter {
        Some(meter) if report.outcome.is_ok() => meter.finish(&summary(&report)),
        meter => drop(meter),
    }
    finish(report, &what, command, session, &catalog)
}

/// Opens the policy's store. A failure is logged as a run's, so that it is found where a run of last night is looked for.
pub(super) async fn open(
    policy: &Policy,
    agent: &Agent,
    seal: &SealArgument,
    session: &Session,
) -> Result<(Catalog, Recipients), Failure> {
    session.open_to_seal(policy, seal).await.map_err(|failure| {
        match agent.record_failed_start(&policy.policy_id, &failure.to_string()) {
            Ok(log) => failure.with("log", serde_json::json!({ "local": log.to_string_lossy() })),
            Err(error) => {
                tracing::warn!(%error, "the failed start has no log");
                failure
            }
        }
    })
}

fn finish(
    report: AgentReport,
    what: &str,
    command: &Run,
    session: &Session,
    catalog: &Catalog,
) -> Result<Done, Failure> {
    let restore = |key: &str| session.restore_command(&command.policy.policy, key).line();
    let AgentReport { ref name, ref notices, .. } = report;
    let run = run_members(&report);
    let (name, notices) = (name.clone(), notices.clone());
    let first = report.finished_first.map(|first| document(*first, &restore).map(Box::new));
    let finished_first = first.transpose()?;
    match report.outcome {
        Ok(backup) => {
            let complete = backup.is_complete();
            let cli_restore = restore(&backup.key_backup);
            let mut backup = agents(backup::document(backup, cli_restore));
            backup.warnings.splice(0..0, notices);
            let document = Document { backup, run, finished_first };
            Done::document(&document, if complete { Exit::Success } else { Exit::Incomplete })
        }
        Err(error) => {
            let will_resume = !matches!(run.state, "failed" | "cancelled");
            let interrupted = matches!(error, Error::Interrupted);
            let members = WithoutBackup {
                backup_id: &name.backup_id,
                timestamp: &name.timestamp,
                policy: &name.policy_id,
                run,
                warnings: &notices,
                finished_first,
            };
            let failure = if interrupted && will_resume {
                Failure::new(Exit::Interrupted, "interrupted; what the store has is kept")
            } else {
                Failure::engine(what)(error)
            };
            let failure = failure.with_members(&members);
            Err(match will_resume {
                true => failure.hint(format!("run it again to resume the job in {}", catalog.url())),
                false => failure,
            })
        }
    }
}

fn document(report: AgentReport, restore: &impl Fn(&str) -> String) -> Result<Document, Failure> {
    let run = run_members(&report);
    let backup = report.outcome.map_err(Failure::engine("cannot finish the earlier job"))?;
    let cli_restore = restore(&backup.key_backup);
    Ok(Document { backup: agents(backup::document(backup, cli_restore)), run, finished_first: None })
}

/// The trace is a member of the run, not of the backup.
fn agents(mut backup: backup::Document) -> backup::Document {
    backup.trace_id = None;
    backup
}

fn run_members(report: &AgentReport) -> RunMembers {
    let from = |Resumed { state, parts, bytes }| From { state, parts, bytes };
    RunMembers {
        state: report.state,
        resumed: report.resumed.is_some(),
        resumed_from: report.resumed.map(from),
        parts_reused: report.parts_reused,
        parts_sent: report.parts_sent,
        log: Log { local: report.log.to_string_lossy().into_owned(), s3: report.log_key.clone() },
        trace_id: report.trace_id.clone(),
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
