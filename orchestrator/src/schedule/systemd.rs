//! Service and timer units of systemd, for the system or for the user who asks.
//!
//! In: a [`ScheduleSpec`]. Out: `intellistor-agent-<policy_id>.{service,timer}` in the unit folder, loaded and
//! enabled; written whole or not at all, and replaced when applied again.
//!
//! | setting | why |
//! | --- | --- |
//! | `OnCalendar=` | the cron expression exactly; two lines when a day of the month *or* a weekday is meant. `tests.rs` asks `systemd-analyze` |
//! | `Persistent=true` | a start that was missed while the machine was off is made up for |
//! | `RandomizedDelaySec=0`, `AccuracySec=1s` | at the minute that was asked for |
//! | `Type=oneshot` | systemd never starts a second run beside one that goes on |
//! | `TimeoutStartSec=72h` | as on Windows: a run that hangs must not stop all runs after it in silence |
//! | `KillSignal=SIGINT` | the agent keeps its state and resumes, as after Ctrl-C |
//! | `Nice=10`, `IOSchedulingClass=idle` | a backup stays out of the way |
//! | `SuccessExitStatus=3` | 3 is a finished backup in which entries were skipped. It is a backup; a unit that is red every night for one open file teaches people to look away. The code stays visible in `list-schedules`, the log and the manifest |
//!
//! It runs in the agent's folder, or, as another account, which may not enter that, where systemd puts it.
//! A unit of the user runs while that user is logged in; `loginctl enable-linger` keeps it running, which
//! [`apply`] tells and leaves to the user. The clock is the machine's; where it goes forward over a time, systemd
//! does not start on that day.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::error::{Result, ScheduleError};
use super::runner::{Answer, Call, Runner};
use super::{Applied, Kept, Removed, RunAs, ScheduleInfo, ScheduleSpec, plain_path};
use crate::cron::{Cron, Days, ranges};
use crate::zone::Zone;

const PREFIX: &str = "intellistor-agent-";
const CRON_FOLLOWS: &str = "# Schedule: ";
const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target\n";
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A manager of units and where it reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `--user`, or the system's manager.
    pub(crate) user: bool,
    /// `/etc/systemd/system`, or `~/.config/systemd/user`.
    pub(crate) folder: PathBuf,
}

/// `<name>.service` and `<name>.timer`.
pub(crate) fn unit_name(policy_id: &str) -> String {
    format!("{PREFIX}{policy_id}")
}

/// The values of `OnCalendar=` that together are the expression.
pub(crate) fn on_calendar(cron: &Cron) -> Vec<String> {
    let list = |values: &[u8], all: usize| {
        if values.len() == all { "*".to_owned() } else { ranges(values, "..").join(",") }
    };
    let months = list(cron.months(), 12);
    let time = format!("{}:{}:00", list(cron.hours(), 24), list(cron.minutes(), 60));
    let of_month = |days: &[u8]| format!("*-{months}-{} {time}", list(days, 31));
    let of_week = |days: &[u8]| {
        let names: Vec<&str> = days.iter().map(|&day| WEEKDAYS[usize::from(day)]).collect();
        format!("{} *-{months}-* {time}", names.join(","))
    };
    match cron.days() {
        Days::Every => vec![format!("*-{months}-* {time}")],
        Days::OfMonth(days) => vec![of_month(days)],
        Days::OfWeek(days) => vec![of_week(days)],
        Days::Either(month, week) => vec![of_month(month), of_week(week)],
    }
}

/// The timer's unit file.
pub(crate) fn timer_unit(spec: &ScheduleSpec) -> String {
    let calendar: String =
        on_calendar(&spec.cron).iter().map(|value| format!("OnCalendar={value}\n")).collect();
    format!(
        "# Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.\n\
         {CRON_FOLLOWS}{cron}\n\
         [Unit]\nDescription=When to back up policy {id}\n\n\
         [Timer]\n{calendar}Persistent=true\nRandomizedDelaySec=0\nAccuracySec=1s\n\n\
         [Install]\nWantedBy=timers.target\n",
        cron = spec.cron,
        id = spec.policy_id,
    )
}

/// The service's unit file.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path that a unit cannot hold.
pub(crate) fn service_unit(spec: &ScheduleSpec, folder: &Path) -> Result<String> {
    let program = plain_path("the agent", &spec.program)?;
    if program.contains(['"', '\'', '\\']) {
        return Err(ScheduleError::unusable(
            "the agent",
            program,
            "systemd runs no program with a quote or a backslash in its path",
        ));
    }
    // The program's name is the one word in which `$` is no variable.
    let mut start = format!("\"{}\"", escaped(program));
    start.push_str(" run");
    for (flag, what, path) in spec.path_arguments() {
        let text = escaped(plain_path(what, path)?).replace('$', "$$");
        start.push_str(&format!(" {flag} \"{text}\""));
    }
    start.push_str(spec.switches());
    let in_folder = || -> Result<String> {
        Ok(format!("WorkingDirectory={}\n", bare(plain_path("the folder", folder)?)))
    };
    let (online, place) = match &spec.run_as {
        RunAs::System => (ONLINE, in_folder()?),
        RunAs::Caller => ("", in_folder()?),
        RunAs::User { password: Some(_), .. } => {
            return Err(ScheduleError::unusable("the password", "", "systemd needs none. Leave it out"));
        }
        RunAs::User { name, .. } if is_account(name) => (ONLINE, format!("User={name}\n")),
        RunAs::User { name, .. } => {
            let reason = "this is no name of an account. Correct it";
            return Err(ScheduleError::unusable("the account", name, reason));
        }
    };
    Ok(format!(
        "# Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.\n\
         [Unit]\nDescription=Intellistor backup of policy {id}\n{online}\n\
         [Service]\nType=oneshot\nExecStart={start}\n{place}\
         SuccessExitStatus=3\nTimeoutStartSec=72h\nKillSignal=SIGINT\nNice=10\nIOSchedulingClass=idle\n",
        id = spec.policy_id,
    ))
}

/// What stands between double quotes in `ExecStart=`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

/// A path that is a setting's whole value: not quoted, and neither blank nor backslash at its end.
fn bare(text: &str) -> String {
    let mut text = text.replace('%', "%%");
    if text.ends_with(['\\', ' ', '\t']) {
        text.push('/');
    }
    text
}

fn is_account(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Writes the units, loads them and starts the timer.
///
/// # Errors
/// [`ScheduleError`]; a policy that had no schedule has none afterwards either.
pub(crate) fn apply(
    spec: &ScheduleSpec,
    scope: &Scope,
    folder: &Path,
    runner: &dyn Runner,
) -> Result<Applied> {
    let (service, timer) = (service_unit(spec, folder)?, timer_unit(spec));
    let [service_file, timer_file] = files(scope, &spec.policy_id);
    let replaced = timer_file.exists();
    fs::create_dir_all(&scope.folder).map_err(ScheduleError::file("create", &scope.folder))?;
    let made = write_whole(&service_file, &service)
        .and_then(|()| write_whole(&timer_file, &timer))
        .and_then(|()| start(scope, runner, &format!("{}.timer", unit_name(&spec.policy_id))));
    if let Err(error) = made {
        if !replaced {
            // The first error is the one to tell.
            let _ = fs::remove_file(&timer_file);
            let _ = fs::remove_file(&service_file);
        }
        return Err(error);
    }
    let mut notes = Vec::new();
    if scope.user {
        notes.push(
            "runs only while you are logged in; `loginctl enable-linger` keeps your timers running"
                .to_owned(),
        );
    }
    Ok(Applied::new(info(scope, runner, &spec.policy_id, Some(&spec.cron))?, &spec.cron, replaced, notes))
}

fn start(scope: &Scope, runner: &dyn Runner, timer: &str) -> Result<()> {
    systemctl(scope, runner, &["daemon-reload"])?;
    systemctl(scope, runner, &["enable", timer])?;
    // A timer that runs already takes its new times with a restart.
    systemctl(scope, runner, &["restart", timer]).map(drop)
}

/// Stops and removes the units, with the stamp of the last start. A run that goes on is left to finish.
///
/// # Errors
/// [`ScheduleError`], when something is left behind.
pub(crate) fn remove(policy_id: &str, scope: &Scope, runner: &dyn Runner) -> Result<Option<Removed>> {
    let files = files(scope, policy_id);
    if !files.iter().any(|file| file.exists()) {
        return Ok(None);
    }
    let timer = format!("{}.timer", unit_name(policy_id));
    systemctl(scope, runner, &["disable", "--now", &timer])?;
    let mut notes = Vec::new();
    if let Err(error) = systemctl(scope, runner, &["clean", "--what=state", &timer]) {
        notes.push(format!("the time of the last start is still kept by systemd: {error}"));
    }
    for file in &files {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(ScheduleError::file("remove", file)(error));
            }
            _ => {}
        }
    }
    systemctl(scope, runner, &["daemon-reload"])?;
    Ok(Some(Removed { policy_id: policy_id.to_owned(), removed: true, files: files.to_vec(), notes }))
}

/// The schedules in the unit folder.
///
/// # Errors
/// [`ScheduleError`] when the folder cannot be read or systemd does not answer.
pub(crate) fn list(scope: &Scope, runner: &dyn Runner) -> Result<Vec<ScheduleInfo>> {
    let entries = match fs::read_dir(&scope.folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(ScheduleError::file("read", &scope.folder))?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(ScheduleError::file("read", &scope.folder))?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(".timer"));
        ids.extend(id.filter(|id| super::is_policy_id(id)).map(str::to_owned));
    }
    ids.sort();
    ids.iter()
        .map(|id| {
            let [_, timer] = files(scope, id);
            let text = fs::read_to_string(&timer).map_err(ScheduleError::file("read", &timer))?;
            let cron = text.lines().find_map(|line| Cron::parse(line.strip_prefix(CRON_FOLLOWS)?).ok());
            info(scope, runner, id, cron.as_ref())
        })
        .collect()
}

/// Whether the policy has a timer here.
pub(crate) fn is_scheduled(policy_id: &str, scope: &Scope) -> bool {
    files(scope, policy_id)[1].exists()
}

/// Starts the service as the timer would and waits for its exit code.
///
/// # Errors
/// [`ScheduleError::StillRunning`] when it takes longer than `timeout`.
pub(crate) fn run_now(
    policy_id: &str,
    scope: &Scope,
    runner: &dyn Runner,
    timeout: std::time::Duration,
) -> Result<i32> {
    let service = format!("{}.service", unit_name(policy_id));
    let call = Call { timeout: Some(timeout), ..scope.systemctl(&["start", "--wait", &service]) };
    let answer = runner.run(&call)?;
    if answer.timed_out {
        return Err(ScheduleError::StillRunning {
            policy_id: policy_id.to_owned(),
            seconds: timeout.as_secs(),
        });
    }
    // A start that failed may be the run's own exit code; only the service knows.
    match last_result(scope, runner, policy_id)? {
        Some(code) if answer.succeeded() || code != 0 => Ok(code),
        _ => Err(call.failed(answer.reason(), HINT)),
    }
}

const HINT: &str = "`systemctl status` and `journalctl -u` of the unit say more; a system unit needs sudo";

impl Scope {
    fn systemctl(&self, arguments: &[&str]) -> Call {
        let scope: &[&str] = if self.user { &["systemctl", "--user"] } else { &["systemctl"] };
        Call::of(scope.iter().chain(arguments))
    }
}

fn systemctl(scope: &Scope, runner: &dyn Runner, arguments: &[&str]) -> Result<Answer> {
    let call = scope.systemctl(arguments);
    let answer = runner.run(&call)?;
    if answer.succeeded() { Ok(answer) } else { Err(call.failed(answer.reason(), HINT)) }
}

fn files(scope: &Scope, policy_id: &str) -> [PathBuf; 2] {
    ["service", "timer"].map(|kind| scope.folder.join(format!("{}.{kind}", unit_name(policy_id))))
}

fn info(scope: &Scope, runner: &dyn Runner, policy_id: &str, cron: Option<&Cron>) -> Result<ScheduleInfo> {
    let timer = format!("{}.timer", unit_name(policy_id));
    let shown = systemctl(scope, runner, &["show", "--property=ActiveState", &timer])?;
    let active = properties(&shown).any(|pair| pair == ("ActiveState".to_owned(), "active".to_owned()));
    let next = cron.filter(|_| active).and_then(|cron| cron.next_after(Zone::of_this_machine().now()));
    Ok(ScheduleInfo {
        policy_id: policy_id.to_owned(),
        cron: cron.map(Cron::to_string),
        next_run: next.map(|time| time.to_rfc3339()),
        last_result: last_result(scope, runner, policy_id)?,
        enabled: active,
        running: None,
        kept: if scope.user { Kept::SystemdUser } else { Kept::Systemd },
        place: files(scope, policy_id)[1].display().to_string(),
    })
}

/// The exit code of the last run, if there was one since the machine started.
fn last_result(scope: &Scope, runner: &dyn Runner, policy_id: &str) -> Result<Option<i32>> {
    let service = format!("{}.service", unit_name(policy_id));
    let wanted = "--property=ExecMainStatus,ExecMainExitTimestampMonotonic";
    let shown = systemctl(scope, runner, &["show", wanted, &service])?;
    let value = |name: &str| properties(&shown).find(|(key, _)| key == name).map(|(_, value)| value);
    let ended = value("ExecMainExitTimestampMonotonic").is_some_and(|time| time != "0");
    Ok(value("ExecMainStatus").filter(|_| ended).and_then(|code| code.parse().ok()))
}

fn properties(answer: &Answer) -> impl Iterator<Item = (String, String)> {
    let text = String::from_utf8_lossy(&answer.output).into_owned();
    let pairs: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    pairs.into_iter()
}

/// A unit file is there whole or not at all: systemd may read it at any moment.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = fs::File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written.map_err(ScheduleError::file("write", path))
}

#[cfg(test)]
mod tests;
