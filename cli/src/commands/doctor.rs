//! `doctor`: tries everything that a backup needs, and says what to do about what does not work.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use intellistor::doctor::{AgentSubject, CheckRow, CheckState, DoctorReport, Subject, examine};
use intellistor::schedule::Scheduler;

use crate::commands::agent::schedule;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::keys;
use crate::output::Done;
use crate::output::checklist::{self, Mark};
use crate::output::format::{FormatArgument, OutputFormat};
use crate::screen::Screen;
use crate::selection::{PolicyArgument, SealArgument};
use crate::session::Session;
use crate::units::counted;

/// Try everything that a backup needs, and say what to do about what does not work
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client doctor --policy policy.yaml --format table
  intellistor-agent doctor --policy policy.yaml --env-file /etc/intellistor/agent.env --format table

No backup is made, and no owner of the policy is recorded. Permissions are tried with a small object, \
backups/<policy_id>/doctor-<random>, which is removed again; no listing shows it. intellistor-agent also examines its \
folder, the time zone and the schedule, and refuses files that others can write, as its runs do. \
Exit code 0 if all that a run needs works, warnings included; else 2.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    policy: PolicyArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// The folder of a copy, as for a backup: it is not counted among what is backed up
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// For how long to count files and look for unreadable ones
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    count_for: u64,
    #[command(flatten)]
    format: FormatArgument,
}

/// Which of the programs examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Examiner {
    Client,
    Agent,
}

pub(crate) async fn run(command: &Doctor, session: &Session, examiner: Examiner) -> Result<Done, Failure> {
    let format = command.format.of(&session.environment)?;
    let subject = subject(command, session, examiner)?;
    let line = Line::start(&session.screen);
    let examined = examine(subject, &session.cancel, |name| line.show(name)).await;
    drop(line);
    let report = examined.map_err(Failure::engine("the examination was not finished"))?;
    let exit = if report.ok { Exit::Success } else { Exit::Configuration };
    match format {
        OutputFormat::Json => Done::document(&report, exit),
        OutputFormat::Table => checklist::print(&marks(&report), &verdict(&report), exit),
    }
}

fn subject(command: &Doctor, session: &Session, examiner: Examiner) -> Result<Subject, Failure> {
    let stores = session.clone();
    let agent = match examiner {
        Examiner::Client => None,
        Examiner::Agent => Some(agent(session)?),
    };
    Ok(Subject {
        policy_file: command.policy.policy.clone(),
        unattended: examiner == Examiner::Agent,
        key: keys::configured(&session.environment).map_err(Failure::into_finding),
        weak_passphrase: command.seal.weak_passphrase,
        store: Box::new(move |policy| stores.store_settings(policy).map_err(Failure::into_finding)),
        machine: session.machine()?,
        copy_to: command.out.clone(),
        count_for: Duration::from_secs(command.count_for),
        agent,
    })
}

fn agent(session: &Session) -> Result<AgentSubject, Failure> {
    let env_file = crate::environment::file(session.env_file.as_deref());
    let scheduler = schedule::scheduler(&session.environment);
    Ok(AgentSubject {
        home: home::folder(&session.environment).map_err(Failure::into_finding),
        schedules: Some(Box::new(move || {
            let listed = scheduler.and_then(|scheduler: Scheduler| {
                scheduler.list().map_err(|error| schedule::failure("cannot list the schedules", &error))
            });
            listed.map_err(Failure::into_finding)
        })),
        unseen: schedule::Unseen::find(session, env_file)?.summary(),
    })
}

/// What the checks come to.
fn verdict(report: &DoctorReport) -> String {
    let count = |state| report.in_state(state).count() as u64;
    match (count(CheckState::Failed), count(CheckState::Warning)) {
        (0, 0) => "all that a run needs works".to_owned(),
        (0, warnings) => format!("all that a run needs works, with {}", counted(warnings, "warning")),
        (failed, _) => format!("{} failed: a run would fail, too", counted(failed, "check")),
    }
}

/// The report as lines for a person.
pub(crate) fn marks(report: &DoctorReport) -> Vec<Mark<'_>> {
    report.checks.chunk_by(is_skipped_alike).map(Mark::of).collect()
}

/// What one failure keeps from being tried is one line.
fn is_skipped_alike(a: &CheckRow, b: &CheckRow) -> bool {
    a.state == CheckState::Skipped && b.state == CheckState::Skipped && a.detail == b.detail
}

/// Shows which check is being made, where a person looks.
struct Line(Option<(Screen, ProgressBar)>);

impl Line {
    fn start(screen: &Screen) -> Self {
        const TICK: Duration = Duration::from_millis(125);
        if !screen.draws() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term(Term::stderr(), 10));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        screen.set_bar(Some(bar.clone()));
        Self(Some((screen.clone(), bar)))
    }

    fn show(&self, name: &'static str) {
        if let Some((_, bar)) = &self.0 {
            bar.set_message(name);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some((screen, bar)) = self.0.take() {
            screen.set_bar(None);
            bar.finish_and_clear();
        }
    }
}
