//! `apply-schedule`, `test-schedule`, `remove-schedule`, `list-schedules`: runs at the times of the system's own
//! scheduler.
//!
//! | module | holds |
//! | --- | --- |
//! | `apply` | makes or changes a schedule |
//! | `test` | runs one now, as the scheduler would |
//! | `remove`, `list` | what they say |

pub(crate) mod apply;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod test;

use intellistor::schedule::{ScheduleEntry, ScheduleError, Scheduler};

use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::home;

/// The scheduler of this system.
fn scheduler(environment: &Environment) -> Result<Scheduler, Failure> {
    let folder = home::folder(environment)?;
    let units = home::configuration(environment)?.join("systemd/user");
    Ok(Scheduler::of_this_system(folder, units))
}

/// Asks the scheduler, whose calls block.
async fn ask<T: Send + 'static>(
    environment: &Environment,
    what: impl Into<String>,
    question: impl FnOnce(&Scheduler) -> Result<T, ScheduleError> + Send + 'static,
) -> Result<T, Failure> {
    let (scheduler, what) = (scheduler(environment)?, what.into());
    let answered = tokio::task::spawn_blocking(move || question(&scheduler)).await;
    let answered = answered.map_err(|e| Failure::new(Exit::Failed, what.clone()).because(e))?;
    answered.map_err(|error| {
        Failure::new(error.category().into(), what).because(hints::with_schedule_hint(&error))
    })
}

/// All schedules of this machine, for `status`; none where the scheduler does not answer.
pub(crate) async fn known(environment: &Environment) -> Vec<ScheduleEntry> {
    let known = ask(environment, "cannot list the schedules", Scheduler::list).await;
    known.unwrap_or_else(|failure| {
        tracing::debug!(%failure, "no schedules are shown");
        Vec::new()
    })
}
