//! `test-schedule`: runs a schedule now, as its own account, and reports the outcome.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use intellistor::agent::last_error;
use serde::Serialize;

use super::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::selection::PolicyIdArgument;
use crate::session::Session;

/// Run a policy's schedule now, under its own account, wait for the run, and report the outcome
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent test-schedule --policy-id docs
  intellistor-agent test-schedule --policy-id docs --timeout 600

This makes a real backup. The exit code is that of the run.")]
pub(crate) struct TestSchedule {
    #[command(flatten)]
    policy: PolicyIdArgument,
    /// How many seconds to wait for the run; it is not stopped after that
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

#[derive(Serialize)]
struct Document {
    policy_id: String,
    exit_code: i32,
    /// The meaning of the exit code.
    result: &'static str,
    /// The run's log, if it got that far.
    log: Option<String>,
    /// The last error in its log.
    reason: Option<String>,
}

pub(crate) async fn run(command: &TestSchedule, session: &Session) -> Result<Done, Failure> {
    let id = command.policy.policy_id.clone();
    let log = home::agent(&session.environment)?.logs_folder(&id).join("last.log");
    let before = version(&log);
    let timeout = Duration::from_secs(command.timeout);
    let what = format!("the test of the schedule of policy {id} failed");
    session.screen.note(format_args!("running the schedule of {id}; this waits until its backup ends"));
    let asked = id.clone();
    let ran = ask(&session.environment, what.clone(), move |scheduler| scheduler.run_now(&asked, timeout));
    let code = ran.await?.exit_code;

    let exit = Exit::of_code(code);
    let log = Some(log).filter(|log| version(log) != before);
    let reason = log.as_deref().filter(|_| !is_done(exit)).and_then(last_error);
    let log = log.map(|log| log.to_string_lossy().into_owned());
    let document =
        Document { policy_id: id.clone(), exit_code: code, result: exit.name(), log: log.clone(), reason };
    if is_done(exit) {
        return Done::document(&document, exit);
    }
    let failure = Failure::new(exit, what).because(match (&document.reason, code) {
        (Some(reason), _) => reason.clone(),
        (None, _) => format!("its run ended with exit code {code} ({})", exit.name()),
    });
    let failure = failure.with_members(&document);
    Err(match log {
        Some(log) => failure.hint(format!("read the log of the run: {log}")),
        None => failure.hint(
            "the run left no log: it failed before it had read its policy. Check that its account may run the agent, read the \
             policy, the environment file and the key file, and write to the agent's folder",
        ),
    })
}

fn is_done(exit: Exit) -> bool {
    matches!(exit, Exit::Success | Exit::Incomplete)
}

/// Changes when the file is written to.
fn version(file: &Path) -> Option<(u64, SystemTime)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
