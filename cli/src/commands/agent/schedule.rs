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

use std::path::Path;

use intellistor::schedule::{ScheduleEntry, ScheduleError, Scheduler};

use crate::environment::{self, Environment, variables};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hints;
use crate::home;
use crate::session::Session;

/// The scheduler of this system.
pub(crate) fn scheduler(environment: &Environment) -> Result<Scheduler, Failure> {
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
    answered.map_err(|error| failure(what, &error))
}

/// A scheduler's error, with what was being done.
pub(crate) fn failure(what: impl Into<String>, error: &ScheduleError) -> Failure {
    Failure::new(error.category().into(), what).because(hints::with_schedule_hint(error))
}

/// What a scheduled run would not see of this shell, or would read otherwise: names of variables.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Not in the environment file.
    missing: Vec<&'static str>,
    /// Such a file may not set them.
    of_the_shell: Vec<&'static str>,
    /// Relative paths.
    relative: Vec<&'static str>,
}

impl Unseen {
    /// Compares this shell with what a run reads from `env_file`.
    pub(crate) fn find(session: &Session, env_file: Option<&Path>) -> Result<Self, Failure> {
        let there = env_file.map(environment::variables_in_file).transpose()?.unwrap_or_default();
        let get = |name: &str| session.environment.get(name);
        let mut unseen = Self::default();
        for name in variables::needed_by_runs() {
            if get(name)?.is_some() && !there.contains_key(name) {
                unseen.missing.push(name);
            }
        }
        for name in variables::OF_THE_SHELL_ALONE {
            if get(name)?.is_some() {
                unseen.of_the_shell.push(name);
            }
        }
        for name in [home::HOME, "INTELLISTOR_KEY_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            if get(name)?.is_some_and(|path| Path::new(path.as_str()).is_relative()) {
                unseen.relative.push(name);
            }
        }
        Ok(unseen)
    }

    /// A warning for each variable.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|name| {
            format!(
                "{name} is set in this shell, but a scheduled run will not see it: put it into the file given with --env-file"
            )
        });
        let of_the_shell = self.of_the_shell.iter().map(|name| {
            format!(
                "{name} is set in this shell, but a scheduled run will not see it, and a file may not set it: put the \
                 credentials that it leads to (access keys, or AWS_PROFILE) into the file given with --env-file"
            )
        });
        let relative = self.relative.iter().map(|name| {
            format!(
                "{name} is a relative path, but a scheduled run has a different current folder: use an absolute path"
            )
        });
        missing.chain(of_the_shell).chain(relative).collect()
    }

    /// A sentence for each reason.
    pub(crate) fn summary(&self) -> Vec<String> {
        let sentence =
            |what: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")));
        let all = [
            sentence("set here, and not in the file given with --env-file", &self.missing),
            sentence("set here, where no scheduled run sees it, and no file may set it", &self.of_the_shell),
            sentence("relative paths, which depend on the current folder", &self.relative),
        ];
        all.into_iter().flatten().collect()
    }
}

/// All schedules of this machine, for `status`, and why the scheduler did not answer.
pub(crate) async fn known(environment: &Environment) -> (Vec<ScheduleEntry>, Option<String>) {
    match ask(environment, "cannot list the schedules", Scheduler::list).await {
        Ok(schedules) => (schedules, None),
        Err(failure) => (Vec::new(), Some(failure.summary())),
    }
}
