//! `cancel`: ends a job for good.

use clap::Args;
use intellistor::agent::Cancelled;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::Done;
use crate::selection::PolicyArgument;
use crate::session::Session;

/// End the policy's job for good, and free what it has sent
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  intellistor-agent cancel --policy policy.yaml

A run that is active is asked to end, and does so within seconds. Without one, the job that waits to be resumed \
is ended. The next run begins anew. Ctrl-C, in contrast, stops a run whose job is gone on with.")]
pub(crate) struct Cancel {
    #[command(flatten)]
    policy: PolicyArgument,
}

pub(crate) async fn run(command: &Cancel, session: &Session) -> Result<Done, Failure> {
    let policy = session.policy(&command.policy.policy)?;
    let agent = home::agent(&session.environment)?;
    let vault = session.open_without_key(&policy).await?;
    let cancelled = session.unless_cancelled(agent.cancel(&vault, &policy)).await;
    let cancelled = cancelled
        .map_err(Failure::engine(format!("cannot cancel the job of policy {}", policy.policy_id)))?;
    let (word, told) = match cancelled {
        Cancelled::Asked => ("asked", "the active run was asked to end its job"),
        Cancelled::Done => ("done", "the job is ended; its parts are removed from the store"),
        Cancelled::Nothing => ("nothing", "there is no job to cancel"),
    };
    session.screen.note(told);
    Done::document(&json!({ "policy": policy.policy_id, "cancelled": word }), Exit::Success)
}
