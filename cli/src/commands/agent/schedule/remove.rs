//! `remove-schedule`: removes all of a schedule.

use clap::Args;

use super::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::PolicyIdArgument;
use crate::session::Session;

/// Remove a policy's schedule; its backups, its logs and an unfinished job are kept
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  intellistor-agent remove-schedule --policy-id docs")]
pub(crate) struct RemoveSchedule {
    #[command(flatten)]
    policy: PolicyIdArgument,
}

pub(crate) async fn run(command: &RemoveSchedule, session: &Session) -> Result<Done, Failure> {
    let id = command.policy.policy_id.clone();
    let what = format!("cannot remove the schedule of policy {id}");
    let removed = ask(&session.environment, what, move |scheduler| scheduler.remove(&id)).await?;
    if !removed.removed {
        session.screen.note(format_args!("policy {} has no schedule on this machine", removed.policy_id));
    }
    for note in &removed.notes {
        session.screen.warn(note);
    }
    Done::document(&removed, Exit::Success)
}
