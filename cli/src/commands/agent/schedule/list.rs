//! `list-schedules`: what runs when.

use clap::Args;
use intellistor::schedule::{ScheduleEntry, Scheduler};
use serde::Serialize;

use super::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::session::Session;

/// List the schedules of this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  intellistor-agent list-schedules")]
pub(crate) struct ListSchedules {}

#[derive(Serialize)]
struct Document {
    schedules: Vec<ScheduleEntry>,
}

pub(crate) async fn run(_: &ListSchedules, session: &Session) -> Result<Done, Failure> {
    let schedules = ask(&session.environment, "cannot list the schedules", Scheduler::list).await?;
    if schedules.is_empty() {
        session
            .screen
            .note("no policy is scheduled here; `intellistor-agent apply-schedule` creates a schedule");
    }
    Done::document(&Document { schedules }, Exit::Success)
}
