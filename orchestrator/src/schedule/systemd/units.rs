//! The text of the unit files.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use crate::cron::fields::ranges;
use crate::cron::{Cron, Days};
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::plain_path::plain_path;
use crate::schedule::spec::{RunAs, ScheduleSpec};

const WRITTEN_BY: &str =
    "# Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.\n";
const CRON_FOLLOWS: &str = "# Schedule: ";
const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target\n";
/// Between a run that failed and the next attempt.
const RETRY_AFTER: &str = "10min";
/// Starts of a unit within the time that its limit counts: the scheduled one, and three more.
const STARTS: u32 = 4;
/// Where a policy runs more often, its next start is soon enough, and must not count against the limit.
const RETRIED_FROM: TimeDelta = TimeDelta::hours(2);
/// Between the start of the machine and the start of what it had interrupted: networks and disks come up meanwhile.
const AFTER_BOOT: &str = "5min";
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The values of `OnCalendar=` that together are the expression.
pub(super) fn on_calendar(cron: &Cron) -> Vec<String> {
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
pub(super) fn timer_unit(spec: &ScheduleSpec) -> String {
    let calendar: String =
        on_calendar(&spec.cron).iter().map(|value| format!("OnCalendar={value}\n")).collect();
    format!(
        "{WRITTEN_BY}{CRON_FOLLOWS}{cron}\n\
         [Unit]\nDescription=When to back up policy {id}\n\n\
         [Timer]\n{calendar}Persistent=true\nRandomizedDelaySec=0\nAccuracySec=1s\n\n\
         [Install]\nWantedBy=timers.target\n",
        cron = spec.cron,
        id = spec.policy_id,
    )
}

/// The timer of the unit that resumes what was interrupted when the machine stopped.
pub(super) fn boot_timer_unit(spec: &ScheduleSpec) -> String {
    // The user's manager starts at a login.
    let since = if matches!(spec.run_as, RunAs::Caller) { "OnStartupSec" } else { "OnBootSec" };
    format!(
        "{WRITTEN_BY}[Unit]\nDescription=When to resume the backup of policy {id} that a stop of the machine interrupted\n\n\
         [Timer]\n{since}={AFTER_BOOT}\n\n\
         [Install]\nWantedBy=timers.target\n",
        id = spec.policy_id,
    )
}

/// The least time between two starts of an expression; `None` where it has one start only.
fn least_gap(cron: &Cron) -> Option<TimeDelta> {
    /// A year of days and more.
    const STARTS: usize = 400;
    let next = |time: &DateTime<Utc>| cron.next_after(*time);
    let starts: Vec<_> = std::iter::successors(next(&DateTime::UNIX_EPOCH), next).take(STARTS).collect();
    starts.windows(2).map(|pair| pair[1] - pair[0]).min()
}

/// Within which time [`STARTS`] are the most; `None` where nothing is retried.
fn limit(cron: &Cron) -> Option<TimeDelta> {
    match least_gap(cron) {
        None => Some(TimeDelta::hours(23)),
        // The next scheduled start has to find the limit reset.
        Some(gap) => (gap >= RETRIED_FROM).then(|| (gap - TimeDelta::hours(1)).min(TimeDelta::hours(23))),
    }
}

/// What makes systemd try a failed run again.
struct Retries {
    /// Lines of `[Unit]`.
    limit: String,
    /// Lines of `[Service]`.
    restart: String,
}

impl Retries {
    fn of(cron: &Cron, occasion: Occasion, can_restart: bool) -> Self {
        let within = match occasion {
            Occasion::Scheduled => limit(cron),
            Occasion::Boot => Some(TimeDelta::hours(23)),
        };
        match within.filter(|_| can_restart) {
            None => Self { limit: String::new(), restart: String::new() },
            Some(within) => Self {
                limit: format!("StartLimitIntervalSec={}s\nStartLimitBurst={STARTS}\n", within.num_seconds()),
                restart: format!(
                    "Restart=on-failure\nRestartSec={RETRY_AFTER}\nRestartPreventExitStatus=2 4 5\n"
                ),
            },
        }
    }
}

/// The expression that [`timer_unit`] wrote.
pub(super) fn cron_of(timer_unit: &str) -> Option<Cron> {
    timer_unit.lines().find_map(|line| Cron::parse(line.strip_prefix(CRON_FOLLOWS)?).ok())
}

/// What starts a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The times of the expression.
    Scheduled,
    /// The start of the machine: the run ends at once where nothing is to be resumed.
    Boot,
}

/// The service's unit file. `can_restart`: whether this systemd restarts units that run to their end.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path that a unit cannot hold.
pub(super) fn service_unit(
    spec: &ScheduleSpec,
    folder: &Path,
    occasion: Occasion,
    can_restart: bool,
) -> Result<String> {
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
    // Another run may be active then, which resumes the same job.
    let success = match occasion {
        Occasion::Scheduled => "3",
        Occasion::Boot => "3 5",
    };
    if occasion == Occasion::Boot {
        start.push_str(" --only-unfinished");
    }
    let Retries { limit, restart } = Retries::of(&spec.cron, occasion, can_restart);
    let in_folder = || -> Result<String> {
        Ok(format!("WorkingDirectory={}\n", bare(plain_path("the folder", folder)?)))
    };
    let (online, account) = match &spec.run_as {
        RunAs::System => (ONLINE, in_folder()?),
        RunAs::Caller => ("", in_folder()?),
        RunAs::User { password: Some(_), .. } => {
            return Err(ScheduleError::unusable("the password", "", "systemd needs none. Leave it out"));
        }
        RunAs::User { name, .. } if is_account(name) => (ONLINE, format!("User={name}\n")),
        RunAs::User { name, .. } => {
            let reason = "this is not the name of an account. Correct it";
            return Err(ScheduleError::unusable("the account", name, reason));
        }
    };
    Ok(format!(
        "{WRITTEN_BY}[Unit]\nDescription=Intellistor backup of policy {id}\n{online}{limit}\n\
         [Service]\nType=oneshot\nExecStart={start}\n{account}\
         SuccessExitStatus={success}\n{restart}TimeoutStartSec=72h\nKillSignal=SIGINT\nNice=10\nIOSchedulingClass=idle\n",
        id = spec.policy_id,
    ))
}

/// Text between double quotes in `ExecStart=`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

/// A path that is a setting's whole value: unquoted, so a slash keeps a blank or backslash at its end.
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
