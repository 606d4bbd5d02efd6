//! `list-schedules`: what runs when.

use clap::Args;
use intellistor::schedule::{ScheduleEntry, Scheduler};
use serde::Serialize;

use super::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::session::Session;

/// List the schedules of this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent list-schedules
  intellistor-agent list-schedules --format table")]
pub(crate) struct ListSchedules {
    #[command(flatten)]
    format: FormatArgument,
}

#[derive(Serialize)]
struct Document {
    schedules: Vec<ScheduleEntry>,
}

pub(crate) async fn run(command: &ListSchedules, session: &Session) -> Result<Done, Failure> {
    let format = command.format.of(&session.environment)?;
    let schedules = ask(&session.environment, "cannot list the schedules", Scheduler::list).await?;
    if schedules.is_empty() {
        session
            .screen
            .note("no policy is scheduled here; `intellistor-agent apply-schedule` creates a schedule");
    }
    match format {
        OutputFormat::Json => Done::document(&Document { schedules }, Exit::Success),
        OutputFormat::Table => table(&schedules).print(Exit::Success),
    }
}

fn table(schedules: &[ScheduleEntry]) -> Table {
    let mut table = Table::new(["policy", "schedule", "state", "next run", "last run", "code"])
        .shown_from(3, 60)
        .shown_from(4, 90)
        .shown_from(5, 60);
    for schedule in schedules {
        let state = match (schedule.running, schedule.enabled) {
            (Some(true), _) => ("running".to_owned(), Tone::Good),
            (_, true) if schedule.missing.is_empty() => plain("on"),
            (_, true) => ("broken".to_owned(), Tone::Bad),
            (_, false) => ("off".to_owned(), Tone::Warning),
        };
        let time = |time: &Option<String>| time.as_deref().map_or_else(|| "-".to_owned(), times::of_rfc3339);
        let code = schedule.last_result.map_or_else(|| "-".to_owned(), |code| code.to_string());
        table.row([
            plain(&schedule.policy_id),
            plain(schedule.cron.as_deref().unwrap_or("-")),
            state,
            plain(time(&schedule.next_run)),
            plain(time(&schedule.last_run)),
            plain(code),
        ]);
        for missing in &schedule.missing {
            table.note(format_args!("{}: {missing}", schedule.policy_id));
        }
    }
    table
}
