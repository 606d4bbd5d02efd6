//! Tries everything that a run needs, in the order in which a run needs it, and says what to do about what does not work.
//!
//! - **In:** a [`Subject`]: the policy's file, and what the program was configured with. **Out:** a [`DoctorReport`], one
//!   [`CheckRow`] for each check.
//! - **Guarantees:** nothing is claimed, and no backup, statement or log is written. What is written to a store is one object of a few
//!   bytes and two uploads under [`layout::probe_key`], which no listing shows and no sweep takes; they are removed again,
//!   also when a check fails or the work is cancelled. A folder that holds no store stays one. Each check has a time limit, and one that
//!   needs what another has not found is skipped with that reason.
//! - **After a crash:** the object may stay: the next examination that is an hour later removes it, and no sweep counts it. An upload is aborted by the agent as any other that no one used for a week.
//!
//! | file | holds |
//! | --- | --- |
//! | `checks` | the list of all checks: the order, what each needs, its time limit |
//! | `subject`, `examination` | what is examined; what the checks have found out so far |
//! | `finding` | what a check says, and the report |
//! | `policy_file`, `paths`, `key`, `newest` | the policy, its folders, the key, and whether that opens the newest backup |
//! | `snapshots` | whether files can be read in snapshots of their volumes |
//! | `store`, `folder`, `endpoint`, `skew`, `bucket`, `owner` | which store, how it is reached, whose the policy is there |
//! | `objects`, `uploads`, `prescribed` | permissions, by trying them; what the policy asks of new objects |
//! | `home`, `resources`, `schedule` | this machine |
//! | `free_space`, `sizes` | bytes that are free, and as people read them |

mod bucket;
mod checks;
mod endpoint;
mod examination;
pub(crate) mod finding;
mod folder;
mod free_space;
mod home;
mod key;
mod newest;
mod objects;
mod owner;
mod paths;
mod policy_file;
mod prescribed;
mod resources;
mod schedule;
mod sizes;
mod skew;
mod snapshots;
mod store;
mod subject;
mod uploads;

use std::time::Duration;

#[cfg(doc)]
use intellistor_storage::catalog::layout;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use checks::CHECKS;
use examination::Examination;
pub use finding::{CheckRow, CheckState, DoctorReport, Finding};
pub use subject::{AgentSubject, ConfiguredKey, ListSchedules, StoreOf, StoreSettings, Subject};

/// For the removal of what was written, once the checks have ended.
const CLEAN_UP: Duration = Duration::from_secs(15);

/// Makes all checks that apply. `begins` gets the name of each before it is made.
///
/// # Errors
/// [`Error::Interrupted`] when `cancel` is cancelled.
pub async fn examine(
    subject: Subject,
    cancel: &CancellationToken,
    mut begins: impl FnMut(&'static str),
) -> Result<DoctorReport> {
    let mut examination = Examination::new(subject);
    let mut rows: Vec<CheckRow> = Vec::new();
    let checks = async {
        for check in &CHECKS {
            let Some(name) = check.name(&examination) else { continue };
            let obstacle = check.obstacle(&rows);
            let finding = match obstacle {
                Some(obstacle) => obstacle.skips(),
                None => {
                    begins(name);
                    let limit = check.within(&examination);
                    let made = tokio::time::timeout(limit, (check.run)(&mut examination)).await;
                    made.unwrap_or_else(|_| Finding::no_answer(limit))
                }
            };
            rows.push(finding.row(check.id, name));
        }
    };
    let ended = cancel.run_until_cancelled(checks).await;
    // Also where a check was given up halfway: it may have written something.
    let _ = tokio::time::timeout(CLEAN_UP, examination.clean_up()).await;
    match ended {
        Some(()) => Ok(DoctorReport::new(rows)),
        None => Err(Error::Interrupted),
    }
}
