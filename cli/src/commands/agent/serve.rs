//! `serve`: runs many policies on their own schedules.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::Local;
use clap::Args;
use intellistor::agent::Activity;
use intellistor::serve::{LastRun, PolicyRunner, ServeOptions, serve};
use intellistor::{Agent, AgentOptions, AgentReport, Policy};
use serde_json::json;

use super::metrics::{Metrics, MetricsArgument};
use super::run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::home;
use crate::output::Done;
use crate::selection::SealArgument;
use crate::session::Session;
use crate::zone;

/// Run the policies in a folder, each at the times of its `schedule`, until stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent serve --policies /etc/intellistor/policies --env-file /etc/intellistor/agent.env
  intellistor-agent serve --policies policies --at-once 1

For containers, and for machines without a scheduler. Policies that are added, changed or removed are noticed within \
seconds. Starts that were missed are run once. Ctrl-C or SIGTERM stops it: active runs stop within 10 s, and the next \
`serve` or `run` resumes them.")]
pub(crate) struct Serve {
    /// The folder with the policies: its *.yaml and *.yml files
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    #[command(flatten)]
    seal: SealArgument,
    /// A folder for a copy of each backup
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many policies may run at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    at_once: usize,
    #[command(flatten)]
    metrics: MetricsArgument,
}

/// Runs of the agent, reported on standard error.
struct AgentRunner {
    agent: Agent,
    session: Session,
    copy_to: Option<PathBuf>,
    seal: SealArgument,
    metrics: MetricsArgument,
}

impl PolicyRunner for AgentRunner {
    fn last_run(&self, policy_id: &str) -> LastRun {
        let Ok(status) = self.agent.status(policy_id) else { return LastRun::Never };
        match (status.activity, status.last) {
            (Activity::Running | Activity::Stopped, _) => LastRun::Unfinished,
            (Activity::Idle, Some(last)) => LastRun::Began(last.began.with_timezone(&Local)),
            (Activity::Idle, None) => LastRun::Never,
        }
    }

    async fn run(&self, policy: Policy) {
        let (id, screen) = (&policy.policy_id, &self.session.screen);
        let cron = policy.schedule.as_deref();
        let metrics = Metrics::begin(&self.metrics, &self.agent, id, cron, &self.session).await;
        let ran = self.back_up(&policy).await;
        if let Some(metrics) = metrics {
            metrics.write(exit_of(&ran)).await;
        }
        match ran {
            Ok(report) => {
                report.notices.iter().for_each(|notice| screen.warn(format_args!("{id}: {notice}")));
                match &report.outcome {
                    Ok(backup) => {
                        backup
                            .warnings
                            .iter()
                            .for_each(|warning| screen.warn(format_args!("{id}: {warning}")));
                        screen.note(format_args!("{id}: {}", run::summary(&report)));
                    }
                    Err(error) => {
                        let error = hints::with_hint(error);
                        screen.warn(format_args!("{id}: {}: {error}", report.state));
                    }
                }
            }
            Err(failure) => screen.say(tracing::Level::ERROR, format_args!("{id}: {failure}")),
        }
    }
}

/// The exit code of `run`.
fn exit_of(ran: &Result<AgentReport, Failure>) -> Exit {
    match ran.as_ref().map(|report| &report.outcome) {
        Ok(Ok(backup)) if backup.is_complete() => Exit::Success,
        Ok(Ok(_)) => Exit::Incomplete,
        Ok(Err(error)) => error.category().into(),
        Err(failure) => failure.exit(),
    }
}

impl AgentRunner {
    async fn back_up(&self, policy: &Policy) -> Result<AgentReport, Failure> {
        let (catalog, recipients) = run::open(policy, &self.agent, &self.seal, &self.session).await?;
        let options = AgentOptions {
            copy_to: self.copy_to.clone(),
            notify: self.session.notify_settings(None),
            run: self.session.run_options(),
            ..AgentOptions::default()
        };
        let report = self.agent.run(&catalog, &recipients, policy, options).await;
        report.map_err(Failure::engine("cannot back up"))
    }
}

pub(crate) async fn run(command: Serve, session: &Session) -> Result<Done, Failure> {
    let agent = home::agent(&session.environment)?;
    let Serve { policies: folder, seal, out, at_once, metrics } = command;
    let runner = AgentRunner { agent, session: session.clone(), copy_to: out, seal, metrics };
    let options = ServeOptions { folder, at_once, cancel: session.cancel.clone() };
    intellistor::privilege::reach_all_files();
    zone::warn(&session.screen);
    session.screen.note(format_args!("serving the policies in {}", options.folder.display()));
    let served = serve(options, Local::now, Arc::new(runner)).await;
    let served = served.map_err(Failure::engine("cannot serve the policies"))?;
    let served = json!({ "runs": served.runs, "overlaps": served.overlaps });
    Done::document(&served, Exit::Success)
}
