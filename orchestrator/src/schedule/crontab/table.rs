//! The text of a crontab: our lines in it, and its other bytes unchanged.
//!
//! Our line is for the shell, with paths in single quotes. Only `%` is special to cron itself: it ends the command
//! unless a backslash precedes it. So each `%` is written outside the quotes as `\%`, right after a quote, where no
//! other backslash can precede it.

use intellistor_storage::catalog::layout::is_policy_id;

use crate::cron::Cron;
use crate::schedule::error::Result;
use crate::schedule::plain_path::plain_path;
use crate::schedule::spec::ScheduleSpec;

const REBOOT: &str = "@reboot";
/// In seconds: networks and disks come up meanwhile.
const AFTER_BOOT: u32 = 300;
/// Begins the comment at the end of our lines; the policy's id follows.
const MARK: &[u8] = b" # intellistor-agent ";

/// The lines of a schedule: its times, and the start of the machine, after which a job that was interrupted is resumed. Without
/// a line end.
///
/// # Errors
/// [`ScheduleError::Unusable`](crate::schedule::ScheduleError::Unusable) for a path that a crontab cannot hold.
pub(super) fn lines(spec: &ScheduleSpec) -> Result<String> {
    let mut command = quoted(plain_path("the agent", &spec.program)?);
    command.push_str(" run");
    for (flag, what, path) in spec.path_arguments() {
        command.push_str(&format!(" {flag} {}", quoted(plain_path(what, path)?)));
    }
    command.push_str(spec.switches());
    // cron mails what is left, standard error: the JSON on standard output is for programs.
    let mark = format!("{}{}", String::from_utf8_lossy(MARK), spec.policy_id);
    Ok(format!(
        "{} {command} >/dev/null{mark}\n{REBOOT} sleep {AFTER_BOOT} && {command} --only-unfinished >/dev/null{mark}",
        spec.cron
    ))
}

fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('%', r"'\%'"))
}

/// The policies that have a line, with its expression where that can be read.
pub(super) fn schedules(table: &[u8]) -> impl Iterator<Item = (&str, Option<Cron>)> {
    scheduled(table).filter_map(|line| Some((policy_of(line)?, cron_of(line))))
}

/// What cron hands to the shell for a policy.
pub(super) fn command(table: &[u8], policy_id: &str) -> Option<String> {
    let line = scheduled(table).find(|line| policy_of(line) == Some(policy_id))?;
    command_of(std::str::from_utf8(line).ok()?)
}

/// Lines that have times.
fn scheduled(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(REBOOT.as_bytes()))
}

fn policy_of(line: &[u8]) -> Option<&str> {
    if line.trim_ascii_start().starts_with(b"#") {
        return None;
    }
    let at = line.windows(MARK.len()).rposition(|window| window == MARK)?;
    std::str::from_utf8(&line[at + MARK.len()..]).ok().map(str::trim_end).filter(|id| is_policy_id(id))
}

fn cron_of(line: &[u8]) -> Option<Cron> {
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split_ascii_whitespace().take(5).collect();
    Cron::parse(&fields.join(" ")).ok()
}

pub(super) fn command_of(line: &str) -> Option<String> {
    Some(line.splitn(6, ' ').nth(5)?.replace(r"\%", "%"))
}

/// The crontab with this policy's lines replaced, added (`Some`) or removed (`None`), and how many lines the policy had.
pub(super) fn edited(old: &[u8], policy_id: &str, line: Option<&str>) -> (Vec<u8>, usize) {
    let (mut new, mut found) = (Vec::with_capacity(old.len() + 256), 0);
    for piece in old.split_inclusive(|byte| *byte == b'\n') {
        let content = piece.strip_suffix(b"\n").unwrap_or(piece);
        if policy_of(content) != Some(policy_id) {
            new.extend_from_slice(piece);
            continue;
        }
        found += 1;
        if let (1, Some(line)) = (found, line) {
            new.extend_from_slice(line.as_bytes());
            new.push(b'\n');
        }
    }
    if let (0, Some(line)) = (found, line) {
        if !new.is_empty() && !new.ends_with(b"\n") {
            new.push(b'\n');
        }
        new.extend_from_slice(line.as_bytes());
        new.push(b'\n');
    }
    (new, found)
}

/// The value of `CRON_TZ`, which cronie obeys and other crons ignore.
pub(super) fn cron_tz(table: &[u8]) -> Option<String> {
    let table = String::from_utf8_lossy(table);
    let zone = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("CRON_TZ")?.trim_start().strip_prefix('='))?;
    Some(zone.trim().to_owned())
}
