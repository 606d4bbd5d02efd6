//! Schedules: runs of the agent at the times of a cron expression, kept by the system's own scheduler.
//!
//! In: a [`ScheduleSpec`]. Out: a task of Windows' Task Scheduler, a timer of systemd, or a line of a crontab. It runs
//! at exactly the expression's times, or the expression is refused with the reason. Applying twice changes one
//! schedule; removing leaves nothing behind. Nothing of ours stays in memory: what the system keeps survives a crash.
//!
//! | room | holds |
//! | --- | --- |
//! | `cron` | the expression |
//! | `triggers`, `task_xml`, `wrapper` | Windows: when, how, and what is run; tested everywhere |
//! | `task_scheduler`, `access` | Windows: COM, and who may write where |
//! | `systemd`, `crontab` | Linux |
//! | `runner`, `zone` | Linux: programs of the system; in which zone they read a schedule |
//!
//! [`Scheduler`] chooses. Its calls block, and on Windows use a thread of their own.
//!
//! What users of schedulers beside backup tools complained of (issues of `creativeprojects/resticprofile`):
//!
//! | complaint | what is done here |
//! | --- | --- |
//! | #589, #641: a start that is missed is never made up for; the setting is lost when applied again | `StartWhenAvailable`, `Persistent=true`: always, in the definition that every apply writes whole |
//! | #595: does not start on battery, whatever is configured | `DisallowStartIfOnBatteries` and `StopIfGoingOnBatteries` are false |
//! | #155, #199: the account lacks the right to log on as a batch job; "exceptional error" in `UserId` | SYSTEM is the default and needs no right; the error for an account names the right |
//! | #205: "access is denied" when the task first runs | the program must lie on a local disk; the wrapper and its folder get an access list that SYSTEM can use; `test-schedule` runs it at once |
//! | #475, #594: highest privileges, S4U | `HighestAvailable` always; an account without password logs on with S4U |
//! | #597: a drive letter that only the user has | refused for SYSTEM when it is a network drive; UNC paths are named instead |
//! | #633, #644: status does not find tasks, or asks the wrong manager | tasks are readable by all users and found by name prefix; systemd is asked only where unit files lie |
//! | #442: a wrong password is remembered | none is stored here; it goes to Task Scheduler and is forgotten |
//! | #481: "created", and nothing is there | what is told after `apply` was read back from the scheduler |
//! | #372, #586: lines that vanish, jobs that stay when a file was renamed | the policy_id alone names a schedule; other lines of a crontab stay byte for byte |

#[cfg(windows)]
mod access;
#[cfg(not(windows))]
mod crontab;
mod error;
#[cfg(not(windows))]
mod runner;
#[cfg(not(windows))]
mod systemd;
#[cfg(windows)]
mod task_scheduler;
#[cfg(any(windows, test))]
mod task_xml;
#[cfg(any(windows, test))]
mod triggers;
#[cfg(any(windows, test))]
mod wrapper;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use intellistor_storage::catalog::layout::is_policy_id;
#[cfg(not(windows))]
use intellistor_storage::create_private_folder;
use intellistor_storage::disk::trust;
use serde::Serialize;
use zeroize::Zeroizing;

pub use error::{Result, ScheduleError};
#[cfg(not(windows))]
use runner::{Processes, Runner};

use crate::cron::Cron;
use crate::policy::Policy;
use crate::zone::Zone;

/// What to run, when, and as whom.
#[derive(Debug)]
pub struct ScheduleSpec {
    /// The policy; it names the schedule.
    pub policy_id: String,
    /// When.
    pub cron: Cron,
    /// The agent.
    pub program: PathBuf,
    /// The policy's file.
    pub policy: PathBuf,
    /// `--env-file`: a scheduled run inherits no variables.
    pub env_file: Option<PathBuf>,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--weak-passphrase`.
    pub weak_passphrase: bool,
    /// The account.
    pub run_as: RunAs,
}

/// The account that a run belongs to.
#[derive(Debug)]
pub enum RunAs {
    /// Windows: SYSTEM, which reads every local file and needs no password. Linux: root.
    System,
    /// The account that asks. Windows: without password, so the run reaches no share of other machines. Linux: units
    /// of the user, or the user's crontab.
    Caller,
    /// Another account. On Windows one of the administrators, who alone may write the agent's folder; without
    /// password its runs reach no share of other machines.
    User {
        /// `DOMAIN\name`, `.\name` or `name`.
        name: String,
        /// Only Windows takes one.
        password: Option<Password>,
    },
}

/// A password: shown by nothing, zeroed when it goes.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes it over.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    #[cfg(windows)]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        f.write_str("Password(..)")
    }
}

impl ScheduleSpec {
    /// Flags of `run`, what an error calls them, and their paths.
    fn path_arguments(&self) -> impl Iterator<Item = (&'static str, &'static str, &Path)> {
        [
            ("--policy", "the policy", Some(self.policy.as_path())),
            ("--env-file", "the env file", self.env_file.as_deref()),
            ("--out", "the out folder", self.out.as_deref()),
        ]
        .into_iter()
        .filter_map(|(flag, what, path)| path.map(|path| (flag, what, path)))
    }

    /// Those of `run`'s flags that take no value, each behind a space.
    fn switches(&self) -> &'static str {
        if self.weak_passphrase { " --weak-passphrase" } else { "" }
    }

    /// Nobody but the account that runs it may decide what runs every night, and where its backups go.
    fn check_hands(&self) -> Result<()> {
        let paths = self.path_arguments().map(|(_, what, path)| (what, path));
        for (what, path) in std::iter::once(("the agent", self.program.as_path())).chain(paths) {
            let checked = match &self.run_as {
                RunAs::User { name, .. } => trust::check_for(name, path),
                RunAs::System | RunAs::Caller => trust::check(path),
            };
            let path = path.to_owned();
            checked.map_err(|others| ScheduleError::Untrusted { what, path, others })?;
        }
        Ok(())
    }

    /// Checks that the policy's file is this policy, means the same from every folder, and is in no other hands.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn check(&self) -> Result<()> {
        check_id(&self.policy_id)?;
        self.check_hands()?;
        let policy = Policy::load(&self.policy)?;
        if policy.policy_id != self.policy_id {
            let reason =
                format!("it is the file of policy {}. Name that, or give another file", policy.policy_id);
            return Err(ScheduleError::unusable("policy", &self.policy_id, reason));
        }
        match policy.paths.iter().find(|path| !path.is_absolute()) {
            Some(path) => Err(ScheduleError::unusable(
                "the path",
                path.display().to_string(),
                "it is relative, and a scheduled run has no current folder. Write it in full in the policy's `paths`",
            )),
            None => Ok(()),
        }
    }
}

/// A path as text that a unit and a crontab can hold.
#[cfg(not(windows))]
fn plain_path<'a>(what: &'static str, path: &'a Path) -> Result<&'a str> {
    let refused = |reason| Err(ScheduleError::unusable(what, path.to_string_lossy(), reason));
    match path.to_str() {
        None => refused("its name is not Unicode. Rename it"),
        Some(_) if !path.is_absolute() => {
            refused("a scheduled run has no current folder. Give its absolute path")
        }
        Some(text) if text.chars().any(char::is_control) => {
            refused("it holds a control character. Rename it")
        }
        Some(text) => Ok(text),
    }
}

fn check_id(policy_id: &str) -> Result<()> {
    if is_policy_id(policy_id) {
        Ok(())
    } else {
        Err(ScheduleError::BadId { policy_id: policy_id.to_owned() })
    }
}

/// What keeps a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Windows' Task Scheduler.
    TaskScheduler,
    /// A unit of the system.
    Systemd,
    /// A unit of the user.
    SystemdUser,
    /// A line of the user's crontab.
    Crontab,
}

/// A schedule that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleInfo {
    /// The policy.
    pub policy_id: String,
    /// The expression, where it can be read back.
    pub cron: Option<String>,
    /// RFC 3339, in local time.
    pub next_run: Option<String>,
    /// The exit code of the last run, where the scheduler keeps it.
    pub last_result: Option<i32>,
    /// Whether it will run.
    pub enabled: bool,
    /// Whether it runs now, where the scheduler says so.
    pub running: Option<bool>,
    /// What keeps it.
    pub kept: Kept,
    /// Where: the task, the unit file, the crontab.
    pub place: String,
}

/// A schedule that was made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// As the scheduler has it now.
    #[serde(flatten)]
    pub schedule: ScheduleInfo,
    /// The next five times, RFC 3339.
    pub next_runs: Vec<String>,
    /// The zone that the schedule is in: the machine's.
    pub time_zone: String,
    /// Whether the policy had a schedule before.
    pub replaced: bool,
    /// What to know about it.
    pub notes: Vec<String>,
}

impl Applied {
    fn new(schedule: ScheduleInfo, cron: &Cron, replaced: bool, notes: Vec<String>) -> Self {
        let zone = Zone::of_this_machine();
        let next_runs = cron.next_five(zone.now()).iter().map(|time| time.to_rfc3339()).collect();
        Self { schedule, next_runs, time_zone: zone.name, replaced, notes }
    }
}

/// A schedule that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The policy.
    pub policy_id: String,
    /// Whether there was one.
    pub removed: bool,
    /// Files that were removed.
    pub files: Vec<PathBuf>,
    /// What could not be cleaned up.
    pub notes: Vec<String>,
}

#[cfg(not(windows))]
impl Removed {
    fn and(mut self, more: Self) -> Self {
        self.files.extend(more.files);
        self.notes.extend(more.notes);
        self
    }
}

/// A run through the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestRun {
    /// The policy.
    pub policy_id: String,
    /// The run's exit code.
    pub exit_code: i32,
}

enum Keeper {
    #[cfg(windows)]
    TaskScheduler,
    #[cfg(not(windows))]
    Systemd { system: systemd::Scope, user: systemd::Scope },
    #[cfg(not(windows))]
    Crontab,
}

/// The scheduler of this system.
pub struct Scheduler {
    keeper: Keeper,
    folder: PathBuf,
    #[cfg(not(windows))]
    runner: Box<dyn Runner>,
}

impl Scheduler {
    /// Chooses: Task Scheduler on Windows, systemd where it runs, else cron. `folder` is the agent's state folder,
    /// `user_units` where units of the user lie (`$XDG_CONFIG_HOME/systemd/user`; Linux alone).
    pub fn of_this_system(folder: PathBuf, user_units: PathBuf) -> Self {
        Self {
            keeper: keeper(user_units),
            folder,
            #[cfg(not(windows))]
            runner: Box::new(Processes::default()),
        }
    }

    /// Makes the policy's schedule, or changes it.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn apply(&self, spec: &ScheduleSpec) -> Result<Applied> {
        spec.check()?;
        match &self.keeper {
            #[cfg(windows)]
            Keeper::TaskScheduler => task_scheduler::apply(spec, &self.folder),
            #[cfg(not(windows))]
            Keeper::Systemd { system, user } => {
                let (scope, other) =
                    if matches!(spec.run_as, RunAs::Caller) { (user, system) } else { (system, user) };
                let own = || {
                    trust::check_folder(&self.folder).map_err(|others| ScheduleError::Untrusted {
                        what: "the agent's folder",
                        path: self.folder.clone(),
                        others,
                    })
                };
                own()?;
                create_private_folder(&self.folder).map_err(ScheduleError::file("create", &self.folder))?;
                own()?;
                let mut applied = systemd::apply(spec, scope, &self.folder, &*self.runner)?;
                match systemd::remove(&spec.policy_id, other, &*self.runner) {
                    Ok(None) => {}
                    Ok(Some(_)) => applied.replaced = true,
                    Err(error) => applied.notes.push(format!(
                        "an older schedule of this policy is still in {}: {error}",
                        other.folder.display()
                    )),
                }
                Ok(applied)
            }
            #[cfg(not(windows))]
            Keeper::Crontab => {
                if matches!(spec.run_as, RunAs::System) && !rustix::process::geteuid().is_root() {
                    let reason = "only root may write root's crontab. Run it with sudo, or schedule for your own account";
                    return Err(ScheduleError::unusable("the account", "root", reason));
                }
                let mut applied = crontab::apply(spec, &*self.runner)?;
                applied.notes.extend(crontab::absence(Path::new(crontab::PROCESSES)));
                Ok(applied)
            }
        }
    }

    /// Removes the policy's schedule. That there was none is no error.
    ///
    /// # Errors
    /// [`ScheduleError`], when something is left behind.
    pub fn remove(&self, policy_id: &str) -> Result<Removed> {
        check_id(policy_id)?;
        let removed = match &self.keeper {
            #[cfg(windows)]
            Keeper::TaskScheduler => task_scheduler::remove(policy_id, &self.folder)?,
            #[cfg(not(windows))]
            Keeper::Systemd { system, user } => {
                // Both, should one that was moved from the other have been left behind.
                let scopes = [user, system].map(|scope| systemd::remove(policy_id, scope, &*self.runner));
                let mut removed: Option<Removed> = None;
                for one in scopes {
                    removed = match (removed, one?) {
                        (Some(all), Some(more)) => Some(all.and(more)),
                        (all, more) => all.or(more),
                    };
                }
                removed
            }
            #[cfg(not(windows))]
            Keeper::Crontab => crontab::remove(policy_id, &*self.runner).or_else(none_kept)?,
        };
        Ok(removed.unwrap_or_else(|| Removed {
            policy_id: policy_id.to_owned(),
            removed: false,
            files: Vec::new(),
            notes: Vec::new(),
        }))
    }

    /// All schedules of the agent that this account may see, by policy.
    ///
    /// # Errors
    /// [`ScheduleError`] when the scheduler does not answer.
    pub fn list(&self) -> Result<Vec<ScheduleInfo>> {
        let mut all = match &self.keeper {
            #[cfg(windows)]
            Keeper::TaskScheduler => task_scheduler::list()?,
            #[cfg(not(windows))]
            Keeper::Systemd { system, user } => {
                let mut all = systemd::list(system, &*self.runner)?;
                all.extend(systemd::list(user, &*self.runner)?);
                all
            }
            #[cfg(not(windows))]
            Keeper::Crontab => crontab::list(&*self.runner).or_else(none_kept)?,
        };
        all.sort_by(|a, b| a.policy_id.cmp(&b.policy_id));
        Ok(all)
    }

    /// Runs the policy's schedule now, as the scheduler would, and waits for the exit code.
    ///
    /// # Errors
    /// [`ScheduleError::NotScheduled`], [`ScheduleError::StillRunning`], or why it did not start.
    pub fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<TestRun> {
        check_id(policy_id)?;
        let exit_code = match &self.keeper {
            #[cfg(windows)]
            Keeper::TaskScheduler => task_scheduler::run_now(policy_id, timeout)?,
            #[cfg(not(windows))]
            Keeper::Systemd { system, user } => {
                let mut scopes = [user, system].into_iter();
                let Some(scope) = scopes.find(|scope| systemd::is_scheduled(policy_id, scope)) else {
                    return Err(ScheduleError::NotScheduled { policy_id: policy_id.to_owned() });
                };
                systemd::run_now(policy_id, scope, &*self.runner, timeout)?
            }
            #[cfg(not(windows))]
            Keeper::Crontab => crontab::run_now(policy_id, &*self.runner, timeout)?,
        };
        Ok(TestRun { policy_id: policy_id.to_owned(), exit_code })
    }
}

/// Where nothing keeps schedules there are none.
#[cfg(not(windows))]
fn none_kept<T: Default>(error: ScheduleError) -> Result<T> {
    match error {
        ScheduleError::NoScheduler => Ok(T::default()),
        other => Err(other),
    }
}

#[cfg(windows)]
fn keeper(_: PathBuf) -> Keeper {
    Keeper::TaskScheduler
}

#[cfg(not(windows))]
fn keeper(user_units: PathBuf) -> Keeper {
    if Path::new("/run/systemd/system").is_dir() {
        Keeper::Systemd {
            system: systemd::Scope { user: false, folder: PathBuf::from("/etc/systemd/system") },
            user: systemd::Scope { user: true, folder: user_units },
        }
    } else {
        Keeper::Crontab
    }
}

#[cfg(test)]
mod tests;
