//! `--metrics-dir`: a file of metrics for each policy.

use std::path::PathBuf;

use clap::Args;
use intellistor::Agent;
use intellistor::agent::{AllowedAges, MetricsDocument};
use intellistor::cron::Cron;

use crate::commands::agent::schedule;
use crate::exit::Exit;
use crate::session::Session;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MetricsArgument {
    /// A folder in which each run, also one that fails, leaves the policy's metrics as intellistor_POLICY.prom, for the
    /// textfile collector of Prometheus' node exporter
    #[arg(long, value_name = "DIR", env = "INTELLISTOR_METRICS_DIR")]
    pub(crate) metrics_dir: Option<PathBuf>,
}

/// The metrics of one run.
pub(super) struct Metrics<'a> {
    folder: &'a PathBuf,
    agent: &'a Agent,
    policy_id: &'a str,
    session: &'a Session,
    /// Where the scheduler does not know the policy.
    cron: Option<Cron>,
    missed: usize,
}

impl<'a> Metrics<'a> {
    /// Before the run: what was missed until then. `cron`: the policy's own schedule.
    pub(super) async fn begin(
        argument: &'a MetricsArgument,
        agent: &'a Agent,
        policy_id: &'a str,
        cron: Option<&str>,
        session: &'a Session,
    ) -> Option<Self> {
        let folder = argument.metrics_dir.as_ref()?;
        let cron = cron.and_then(|cron| Cron::parse(cron).ok());
        let mut metrics = Self { folder, agent, policy_id, session, cron, missed: 0 };
        if let Some(status) = metrics.status().await {
            let of_policy = || status.missed_starts(metrics.cron.as_ref()?, None);
            metrics.missed = status.missed.or_else(of_policy).map_or(0, |missed| missed.count);
        }
        Some(metrics)
    }

    async fn status(&self) -> Option<intellistor::agent::PolicyStatus> {
        let (schedules, _) = schedule::known(&self.session.environment).await;
        let schedule = schedules.into_iter().find(|schedule| schedule.policy_id == self.policy_id);
        self.agent.status_with(self.policy_id, schedule, AllowedAges::default()).ok()
    }

    /// Writes the policy's file. A failure is only a warning: the backup is not affected.
    pub(super) async fn write(self, exit: Exit) {
        let Some(status) = self.status().await else { return };
        let document = MetricsDocument::new(&status, exit.code(), self.cron.as_ref(), self.missed);
        if let Err(error) = document.write_in(self.folder) {
            self.session.screen.warn(format_args!(
                "the metrics file {} was not written: {error}. The backup itself is not affected",
                document.file_in(self.folder).display()
            ));
        }
    }
}
