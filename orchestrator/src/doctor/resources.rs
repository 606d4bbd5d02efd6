//! What this machine gives a process: open files, memory; and its time zone.

use intellistor_storage::disk::shortage::{LEAST_OPEN_FILES, open_files_limit, too_few_open_files};

use super::examination::Examination;
use super::finding::Finding;
use super::sizes::bytes;
use crate::zone::Zone;

/// What a run with two cores and parts of 8 MiB takes, and the base's records.
const MEMORY: u64 = 192 << 20;

pub(super) async fn check(_: &mut Examination) -> Finding {
    let files = match open_files_limit() {
        Some(limit) if limit < LEAST_OPEN_FILES => {
            return Finding::failed(too_few_open_files(limit, LEAST_OPEN_FILES));
        }
        Some(limit) => format!("{limit} open files"),
        None => "open files without limit".to_owned(),
    };
    match available_memory() {
        None => Finding::ok(files),
        Some(free) if free < MEMORY => Finding::warning(format!(
            "{files}, {} of memory available; a run takes up to {}",
            bytes(free),
            bytes(MEMORY)
        ))
        .advise(
            "Give this machine or container more memory, or stop what needs it at the time of the backup",
        ),
        Some(free) => Finding::ok(format!("{files}, {} of memory available", bytes(free))),
    }
}

/// Of the machine, or of the container where that is less.
#[cfg(target_os = "linux")]
fn available_memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let of_machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
    });
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let of_group =
        limit.map(|limit| limit.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    of_machine.into_iter().chain(of_group).min()
}

#[cfg(not(target_os = "linux"))]
fn available_memory() -> Option<u64> {
    None
}

pub(super) async fn check_time_zone(_: &mut Examination) -> Finding {
    let zone = Zone::of_this_machine();
    match zone.problem {
        Some(problem) => {
            Finding::warning(problem).advise("Schedules follow the machine's time zone, not the shell's")
        }
        None => Finding::ok(format!("{}, now {}", zone.name, zone.now().format("%Y-%m-%d %H:%M %:z"))),
    }
}
