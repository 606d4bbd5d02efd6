//! `apply-schedule`: runs a policy at the times of a cron expression.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use intellistor::Policy;
use intellistor::cron::Cron;
use intellistor::doctor::CheckState;
use intellistor::schedule::{Password, Rehearsal, RunAs, ScheduleSpec, rehearse};
use intellistor::zone::Zone;

use super::{Unseen, ask};
use crate::commands::agent::metrics::MetricsArgument;
use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::selection::{PolicyIdArgument, SealArgument};
use crate::session::Session;

/// The variable with the account's password, which Windows alone asks for.
const PASSWORD: &str = "INTELLISTOR_RUN_AS_PASSWORD";
const NIGHTLY: &str = "0 2 * * *";

/// Schedule a policy in Task Scheduler, systemd or cron, or change its schedule
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent apply-schedule --policy-id docs --cron '0 2 * * *' --policy-path docs.yaml --env-file docs.env
  intellistor-agent apply-schedule --policy-id docs --policy-path docs.yaml --env-file docs.env
  intellistor-agent test-schedule --policy-id docs

Without --cron, the policy's `schedule` gives the times. `test-schedule` then makes a backup in the same way. \
What a run needs is tried first, as the account that will run it (`doctor`); what cannot work is refused. \
A scheduled run does not see the variables of this shell: put them into the file given with --env-file. Task Scheduler \
and systemd make up for a start that was missed while the machine was off; cron does not. On Windows, use a console \
that was opened with \"Run as administrator\".")]
pub(crate) struct ApplySchedule {
    #[command(flatten)]
    policy: PolicyIdArgument,
    /// When to run: minute, hour, day of month, month, day of week, or a word such as @daily; by default, the policy's
    /// `schedule`
    #[arg(long, value_name = "CRON")]
    cron: Option<String>,
    /// The file of the policy
    #[arg(long, value_name = "FILE")]
    policy_path: PathBuf,
    /// A folder for a copy of each backup
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Do not try what a run needs first
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    metrics: MetricsArgument,
    #[command(flatten)]
    seal: SealArgument,
    /// The account that runs it; by default SYSTEM on Windows, elsewhere the account that runs this command
    #[arg(long, value_enum, value_name = "WHO", conflicts_with = "user")]
    run_as: Option<Who>,
    /// Another account that runs it, logged on or not; on Windows its password is taken from
    /// INTELLISTOR_RUN_AS_PASSWORD, and without one its runs cannot access shares on other machines; DOMAIN\name$ is a
    /// group managed service account, which needs none
    #[arg(long, value_name = "ACCOUNT")]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Who {
    /// Windows: SYSTEM; elsewhere root.
    System,
    /// The account that runs this command.
    Me,
}

pub(crate) async fn run(command: &ApplySchedule, session: &Session) -> Result<Done, Failure> {
    let id = &command.policy.policy_id;
    let policy = Policy::load(&command.policy_path)?;
    let cron = command.cron.as_deref().or(policy.schedule.as_deref()).unwrap_or(NIGHTLY);
    let cron = Cron::parse(cron).map_err(|error| Failure::configuration(error.to_string()))?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(Exit::Failed, "cannot find the path of this program").because(e))?;
    // A scheduled run has another current folder than the one in which `.env` was found.
    let env_file = environment::file(session.env_file.as_deref()).map(absolute).transpose()?;
    for unseen in Unseen::find(session, env_file.as_deref())?.warnings() {
        session.screen.warn(unseen);
    }
    let spec = ScheduleSpec {
        policy_id: id.clone(),
        cron,
        program,
        policy: absolute(&command.policy_path)?,
        env_file,
        out: command.out.as_deref().map(absolute).transpose()?,
        metrics_dir: command.metrics.metrics_dir.as_deref().map(absolute).transpose()?,
        weak_passphrase: command.seal.weak_passphrase,
        run_as: account(command, &session.environment)?,
    };
    let spec = if command.no_check { spec } else { check(spec, session).await? };
    let applied = ask(&session.environment, format!("cannot schedule policy {id}"), move |scheduler| {
        scheduler.apply(&spec)
    });
    let mut applied = applied.await?;
    applied.notes.extend(zone_notes(&applied.time_zone));
    let word = if applied.replaced { "changed" } else { "created" };
    session.screen.note(format_args!("the schedule of {id} was {word}: {}", applied.schedule.location));
    for next in &applied.next_runs {
        session.screen.note(format_args!("  runs at {}", in_machines_zone(next)));
    }
    session.screen.note(format_args!("  in the time zone {}", applied.time_zone));
    for note in &applied.notes {
        session.screen.warn(note);
    }
    session.screen.note(format_args!("to test it: intellistor-agent test-schedule --policy-id {id}"));
    Done::document(&applied, Exit::Success)
}

/// Refuses what cannot work: a wrong key, missing permissions. What may work by tonight, such as a network that is down or a disk
/// that is not mounted, is a warning.
async fn check(spec: ScheduleSpec, session: &Session) -> Result<ScheduleSpec, Failure> {
    let id = spec.policy_id.clone();
    spec.check().map_err(|error| super::failure(format!("cannot schedule policy {id}"), &error))?;
    session.screen.note(format_args!("trying what a run of {id} needs, as the account that will run it"));
    let tried = tokio::task::spawn_blocking(move || (rehearse(&spec), spec)).await;
    let (rehearsal, spec) =
        tried.map_err(|e| Failure::new(Exit::Failed, "the check was not finished").because(e))?;
    let refused = format!("policy {id} was not scheduled, since its runs would fail");
    let test = format!("`intellistor-agent test-schedule --policy-id {id}` does");
    match rehearsal {
        Ok(Rehearsal::Report(report)) => {
            let lasting: Vec<_> = report.lasting_failures().collect();
            if let Some(first) = lasting.first() {
                let all: Vec<_> = lasting.iter().map(|row| format!("{}: {}", row.name, row.detail)).collect();
                let failure = Failure::configuration(refused).because(all.join("\n"));
                let advice = match lasting.len() {
                    1 => first.advice.clone(),
                    _ => Some("`intellistor-agent doctor` says what to do about each".to_owned()),
                };
                let advice = advice.unwrap_or_else(|| "Correct it, then run this again".to_owned());
                let failure = failure.with_members(&report.problems());
                return Err(failure.hint(format!("{advice}. --no-check schedules it all the same")));
            }
            let rows = report.checks.iter().filter(|row| row.name != "schedule" && row.name != "variables");
            for row in rows.filter(|row| matches!(row.state, CheckState::Failed | CheckState::Warning)) {
                session.screen.warn(format_args!("{}: {}", row.name, row.detail));
            }
        }
        Ok(Rehearsal::Refused { message, advice }) => {
            let failure = Failure::configuration(refused).because(message);
            return Err(match advice {
                Some(advice) => failure.hint(format!("{advice}. --no-check schedules it all the same")),
                None => failure.hint("--no-check schedules it all the same"),
            });
        }
        Ok(Rehearsal::NotTried(why)) => session.screen.note(format_args!("{why}; {test}")),
        Err(error) => session.screen.warn(format_args!("what a run needs was not tried: {error}; {test}")),
    }
    Ok(spec)
}

/// The scheduler uses the machine's zone. A list of times does not show that the shell has another one, or that the
/// machine has none.
fn zone_notes(zone: &str) -> Vec<String> {
    let shells = crate::zone::of_the_shell().filter(|tz| tz != zone).map(|tz| {
        format!("TZ is {tz:?} in this shell, but the scheduler uses the machine's time zone, {zone}, and so do the times above")
    });
    shells.into_iter().chain(Zone::of_this_machine().problem).collect()
}

/// A time as the scheduler's clock shows it.
fn in_machines_zone(rfc3339: &str) -> String {
    let zone = Zone::of_this_machine().now().timezone();
    let time = chrono::DateTime::parse_from_rfc3339(rfc3339);
    time.map_or_else(|_| rfc3339.to_owned(), |time| time.with_timezone(&zone).to_rfc3339())
}

fn account(command: &ApplySchedule, environment: &Environment) -> Result<RunAs, Failure> {
    Ok(match (&command.user, command.run_as) {
        (Some(name), _) => {
            let password = environment.get(PASSWORD)?.map(|given| Password::new(String::clone(&given)));
            RunAs::User { name: name.clone(), password }
        }
        (None, Some(Who::System)) => RunAs::System,
        (None, Some(Who::Me)) => RunAs::Caller,
        (None, None) if cfg!(windows) || home::is_root() => RunAs::System,
        (None, None) => RunAs::Caller,
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|e| Failure::configuration(format!("{} is not a valid path: {e}", path.display())))
}
