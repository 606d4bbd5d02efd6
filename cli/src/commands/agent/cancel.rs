//! `cancel`: ends a job, which is then not resumed.

use clap::Args;
use intellistor::agent::Cancelled;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::selection::PolicyArgument;
use crate::session::Session;

/// End the policy's job and delete its uploaded parts
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  intellistor-agent cancel --policy policy.yaml

An active run is asked to end its job, and does so within seconds. If there is none, the job that waits to be resumed \
is ended, and what it had uploaded is removed from its store; if that cannot be done, the exit code is 3 and the result \
says what is left, and where. The next run starts a new job. To stop a run that you want to resume, use Ctrl-C instead.")]
pub(crate) struct Cancel {
    #[command(flatten)]
    policy: PolicyArgument,
}

pub(crate) async fn run(command: &Cancel, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let agent = home::agent(&session.environment)?;
    let catalog = session.open_catalog(&policy).await?;
    let cancelled = session.unless_cancelled(agent.cancel(&catalog, &policy)).await;
    let cancelled = cancelled
        .map_err(Failure::engine(format!("cannot cancel the job of policy {}", policy.policy_id)))?;
    let (word, leftover) = match cancelled {
        Cancelled::Requested => ("asked", None),
        Cancelled::Done { leftover } => ("done", leftover),
        Cancelled::NoJob => ("nothing", None),
    };
    let mut document = json!({ "policy": policy.policy_id, "cancelled": word });
    if let Some(leftover) = leftover {
        session.screen.warn(format_args!("the job has ended, but {leftover}"));
        document["leftover"] = leftover.into();
        return Done::document(&document, Exit::Incomplete);
    }
    session.screen.note(match word {
        "asked" => "the active run was asked to end its job",
        "done" => "the job has ended; what it had uploaded was removed from its store",
        _ => "there is no job to cancel",
    });
    Done::document(&document, Exit::Success)
}
