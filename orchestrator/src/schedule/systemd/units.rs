//! The text of the two unit files.

use std::path::Path;

use crate::cron::fields::ranges;
use crate::cron::{Cron, Days};
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::plain_path::plain_path;
use crate::schedule::spec::{RunAs, ScheduleSpec};

const CRON_FOLLOWS: &str = "# Schedule: ";
const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target\n";
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
        "# Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.\n\
         {CRON_FOLLOWS}{cron}\n\
         [Unit]\nDescription=When to back up policy {id}\n\n\
         [Timer]\n{calendar}Persistent=true\nRandomizedDelaySec=0\nAccuracySec=1s\n\n\
         [Install]\nWantedBy=timers.target\n",
        cron = spec.cron,
        id = spec.policy_id,
    )
}

/// The expression that [`timer_unit`] wrote.
pub(super) fn cron_of(timer_unit: &str) -> Option<Cron> {
    timer_unit.lines().find_map(|line| Cron::parse(line.strip_prefix(CRON_FOLLOWS)?).ok())
}

/// The service's unit file.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path that a unit cannot hold.
pub(super) fn service_unit(spec: &ScheduleSpec, folder: &Path) -> Result<String> {
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
        "# Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.\n\
         [Unit]\nDescription=Intellistor backup of policy {id}\n{online}\n\
         [Service]\nType=oneshot\nExecStart={start}\n{account}\
         SuccessExitStatus=3\nTimeoutStartSec=72h\nKillSignal=SIGINT\nNice=10\nIOSchedulingClass=idle\n",
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
