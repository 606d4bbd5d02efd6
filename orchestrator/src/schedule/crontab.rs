//! One line in the crontab of the user who asks, where no systemd runs.
//!
//! In: the crontab, as `crontab -l` prints it. Out: the same bytes with one line added, replaced or taken away, through
//! `crontab -`. The line ends in `# intellistor-agent <policy_id>`, a comment to the shell, by which it is found again.
//!
//! The line is a shell's, in single quotes; only `%` is cron's own: it ends the command unless a backslash stands
//! before it. So each `%` stands outside the quotes as `\%`, after a quote, where no backslash can be its neighbour.
//!
//! What cron cannot do: a start that was missed while the machine was off is not made up for, and it keeps no exit
//! code. It mails what the run complains of. cron has no locks: who edits the crontab at the same moment may win.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::error::{Result, ScheduleError};
use super::runner::{Call, Runner};
use super::{Applied, Kept, Removed, RunAs, ScheduleInfo, ScheduleSpec, is_policy_id, plain_path};
use crate::cron::Cron;
use crate::zone::Zone;

const MARK: &[u8] = b" # intellistor-agent ";
const HINT: &str = "Check that cron is installed and that you may use it (/etc/cron.allow, /etc/cron.deny)";

/// Cron gives a command these variables and no others, and the home as its current folder. A try that had more would
/// succeed where the night's run fails.
const AS_CRON: &str = r#"cd "$HOME" &&
    exec env -i HOME="$HOME" LOGNAME="$(id -un)" PATH=/usr/bin:/bin SHELL=/bin/sh /bin/sh -c "$1""#;

/// The line of a schedule, without its end.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path that a crontab cannot hold.
pub(crate) fn line(spec: &ScheduleSpec) -> Result<String> {
    let mut command = quoted(plain_path("the agent", &spec.program)?);
    command.push_str(" run");
    for (flag, what, path) in spec.path_arguments() {
        command.push_str(&format!(" {flag} {}", quoted(plain_path(what, path)?)));
    }
    command.push_str(spec.switches());
    // The JSON of a run is for programs; what a person should read comes on the other channel, and cron mails it.
    Ok(format!("{} {command} >/dev/null{}{}", spec.cron, String::from_utf8_lossy(MARK), spec.policy_id))
}

fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('%', r"'\%'"))
}

/// Adds or replaces the line.
///
/// # Errors
/// [`ScheduleError`]; the crontab is as it was.
pub(crate) fn apply(spec: &ScheduleSpec, runner: &dyn Runner) -> Result<Applied> {
    if let RunAs::User { name, .. } = &spec.run_as {
        let reason = "a crontab is its owner's. Log in as that user and schedule for your own account";
        return Err(ScheduleError::unusable("the account", name, reason));
    }
    let line = line(spec)?;
    let old = read(runner)?;
    let (new, found) = edited(&old, &spec.policy_id, Some(&line));
    write(runner, &old, &new)?;
    let mut notes =
        vec!["cron does not make up for a start that was missed while the machine was off".to_owned()];
    notes.extend(zone_of_its_own(&new));
    Ok(Applied::new(info(&spec.policy_id, Some(&spec.cron)), &spec.cron, found > 0, notes))
}

/// Where Linux tells what runs.
pub(crate) const PROCESSES: &str = "/proc";

/// What to say where nothing runs that would start a schedule.
pub(crate) fn absence(processes: &Path) -> Option<String> {
    (runs_cron(processes) == Some(false)).then(|| {
        "no cron runs on this machine, so nothing will start this schedule. Start it (`service cron start`, `crond`), or \
         use `intellistor-agent serve`, which needs none"
            .to_owned()
    })
}

/// Whether something runs that reads crontabs. `None` where the system does not show all that runs.
fn runs_cron(processes: &Path) -> Option<bool> {
    /// As Linux calls them: Debian's, cronie's and BusyBox's, and those that read the same tables.
    const NAMES: [&str; 5] = ["cron", "crond", "fcron", "bcron-sched", "systemd-cron"];
    let name_of = |process: &Path| fs::read_to_string(process.join("comm")).ok();
    // One of root's: what is hidden from this user would be hidden there, too.
    name_of(&processes.join("1"))?;
    let all = fs::read_dir(processes).ok()?.filter_map(|process| name_of(&process.ok()?.path()));
    Some(all.into_iter().any(|name| NAMES.contains(&name.trim_end())))
}

/// What to say of a crontab that sets a zone of its own for its times.
fn zone_of_its_own(table: &[u8]) -> Option<String> {
    let table = String::from_utf8_lossy(table);
    let zone = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("CRON_TZ")?.trim_start().strip_prefix('='))?;
    Some(format!(
        "the crontab sets CRON_TZ to {}: cronie runs what follows in that zone, other crons in the machine's",
        zone.trim()
    ))
}

/// Takes the line away.
///
/// # Errors
/// [`ScheduleError`]; the crontab is as it was.
pub(crate) fn remove(policy_id: &str, runner: &dyn Runner) -> Result<Option<Removed>> {
    let old = read(runner)?;
    let (new, found) = edited(&old, policy_id, None);
    if found == 0 {
        return Ok(None);
    }
    write(runner, &old, &new)?;
    Ok(Some(Removed { policy_id: policy_id.to_owned(), removed: true, files: Vec::new(), notes: Vec::new() }))
}

/// Our lines.
///
/// # Errors
/// [`ScheduleError`] when the crontab cannot be read.
pub(crate) fn list(runner: &dyn Runner) -> Result<Vec<ScheduleInfo>> {
    let text = read(runner)?;
    let ours = text.split(|byte| *byte == b'\n').filter_map(|line| Some((line, policy_of(line)?)));
    Ok(ours.map(|(line, id)| info(id, cron_of(line).as_ref())).collect())
}

/// Runs the line's command as cron would: with `sh`, in the user's home, and of all variables those that cron sets.
///
/// # Errors
/// [`ScheduleError::StillRunning`] when it takes longer than `timeout`.
pub(crate) fn run_now(policy_id: &str, runner: &dyn Runner, timeout: Duration) -> Result<i32> {
    let text = read(runner)?;
    let ours = text.split(|byte| *byte == b'\n').find(|line| policy_of(line) == Some(policy_id));
    let command = ours.and_then(|line| command_of(std::str::from_utf8(line).ok()?));
    let Some(command) = command else {
        return Err(ScheduleError::NotScheduled { policy_id: policy_id.to_owned() });
    };
    let call = Call { timeout: Some(timeout), ..Call::of(["/bin/sh", "-c", AS_CRON, "sh", &command]) };
    let answer = runner.run(&call)?;
    match answer.code {
        Some(code) => Ok(code),
        None if answer.timed_out => {
            Err(ScheduleError::StillRunning { policy_id: policy_id.to_owned(), seconds: timeout.as_secs() })
        }
        None => Err(call.failed(answer.reason(), "Run the agent by hand to see why")),
    }
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

/// What cron hands to the shell.
fn command_of(line: &str) -> Option<String> {
    Some(line.splitn(6, ' ').nth(5)?.replace(r"\%", "%"))
}

/// The crontab with this policy's line as it should be, and how many it had. All other bytes stay.
fn edited(old: &[u8], policy_id: &str, line: Option<&str>) -> (Vec<u8>, usize) {
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

/// Only an answer that means "there is none" counts as an empty crontab: any other would erase what is there.
fn read(runner: &dyn Runner) -> Result<Vec<u8>> {
    let call = Call::of(["crontab", "-l"]);
    let answer = runner.run(&call).map_err(|error| match error {
        ScheduleError::NoProgram { .. } => ScheduleError::NoScheduler,
        other => other,
    })?;
    let said = &answer.complaint;
    let none = said.contains("no crontab for")
        || (said.contains("can't open") && said.contains("No such file or directory"));
    match answer.code {
        Some(0) => Ok(answer.output),
        Some(_) if none && answer.output.is_empty() => Ok(Vec::new()),
        _ => Err(call.failed(answer.reason(), HINT)),
    }
}

fn write(runner: &dyn Runner, old: &[u8], new: &[u8]) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let call =
        if new.is_empty() { Call::of(["crontab", "-r"]) } else { Call::of(["crontab", "-"]).with_input(new) };
    let answer = runner.run(&call)?;
    if answer.succeeded() { Ok(()) } else { Err(call.failed(answer.reason(), HINT)) }
}

fn info(policy_id: &str, cron: Option<&Cron>) -> ScheduleInfo {
    ScheduleInfo {
        policy_id: policy_id.to_owned(),
        cron: cron.map(Cron::to_string),
        next_run: cron
            .and_then(|cron| cron.next_after(Zone::of_this_machine().now()))
            .map(|time| time.to_rfc3339()),
        last_result: None,
        enabled: true,
        running: None,
        kept: Kept::Crontab,
        place: "the crontab of this user (`crontab -l`)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
