//! An event for a person: a subject, a paragraph, and a mail that is read at three in the morning.

use std::fmt::Write as _;

use intellistor_telemetry::Escaped;

use super::event::{Event, EventMissed};
use crate::policy::Occasion;

/// One line, without what could end a header.
pub(super) fn subject(event: &Event) -> String {
    let Event { policy, host, .. } = event;
    Escaped(format_args!("{}: {policy} on {host}", headline(event.occasion))).to_string()
}

fn headline(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Failed => "Backup FAILED",
        Occasion::Warnings => "Backup made, with warnings",
        Occasion::Success => "Backup made",
        Occasion::Missed => "Backup MISSED",
    }
}

/// What happened, and what is to be done.
pub(super) fn paragraph(event: &Event) -> String {
    let mut text = subject(event);
    if let Some(error) = &event.error {
        let _ = write!(text, ". {}", Escaped(error));
    }
    if let Some(missed) = &event.missed {
        let _ = write!(text, ". {}", missed_sentence(missed));
    }
    if let Some(backup) = &event.backup {
        let _ =
            write!(text, ". {}, {}, in {:.0} s", files(backup.files), bytes(backup.bytes), backup.seconds);
    }
    if let Some(first) = event.warnings.first() {
        let _ = write!(text, ". {}", Escaped(first));
        let more = event.warnings.len() - 1 + event.warnings_left_out;
        if more > 0 {
            let _ = write!(text, " (and {more} more)");
        }
    }
    text
}

/// The whole, one thing a line.
pub(super) fn body(event: &Event) -> String {
    let Event { policy, host, .. } = event;
    let mut text = match event.occasion {
        Occasion::Failed => format!("The backup of policy {policy} on {host} failed.\n\n"),
        Occasion::Warnings => {
            format!("The backup of policy {policy} on {host} was made. Something needs your attention.\n\n")
        }
        Occasion::Success => format!("The backup of policy {policy} on {host} was made.\n\n"),
        Occasion::Missed => {
            format!("The backup of policy {policy} on {host} did not run when it was scheduled.\n\n")
        }
    };
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name:<13}{}", Escaped(value));
    };
    if let Some(error) = &event.error {
        line("Why:", error);
        let next = match (event.run.is_some(), event.resumes) {
            (false, _) => "nothing was sent; the next run begins a backup",
            (true, true) => "the next run resumes this backup; parts that were sent are kept",
            (true, false) => "the next run begins a new backup",
        };
        line("Next:", &next);
    }
    if let Some(missed) = &event.missed {
        line("Missed:", &missed_sentence(missed));
        line("Next:", &"a run has begun now and makes up for it");
    }
    if event.backup.is_none() {
        let last = event.last_backup.as_deref().unwrap_or("none is known on this machine");
        line("Last backup:", &last);
    }
    if let Some(backup) = &event.backup {
        line("Files:", &format_args!("{}, {}", files(backup.files), bytes(backup.bytes)));
        line("Archive:", &bytes(backup.archive_bytes));
        line("Took:", &format_args!("{:.0} s", backup.seconds));
        if backup.skipped + backup.changed > 0 {
            let (skipped, changed) = (backup.skipped, backup.changed);
            line("Entries:", &format_args!("{skipped} skipped, {changed} changed while they were read"));
        }
    }
    if let Some(run) = &event.run {
        line("Run:", run);
    }
    if let Some(store) = &event.store {
        line("Store:", store);
    }
    if let Some(log) = &event.log {
        line("Log:", &format_args!("{} on {host}", log.local.display()));
        if let Some(key) = &log.s3 {
            line("", &format_args!("{key} in the store"));
        }
    }
    if !event.warnings.is_empty() {
        text.push_str("\nWarnings:\n");
        for warning in &event.warnings {
            let _ = writeln!(text, "- {}", Escaped(warning));
        }
        if event.warnings_left_out > 0 {
            let _ = writeln!(text, "- and {} more, which the log has", event.warnings_left_out);
        }
    }
    text.push_str(match event.occasion {
        Occasion::Missed => "\nWhat is scheduled:\n",
        _ => "\nWhat happened, step by step:\n",
    });
    let command = match (event.occasion, &event.run) {
        (Occasion::Missed, _) => "intellistor-agent status".to_owned(),
        (_, Some(run)) => format!("intellistor-agent logs show --policy-id {policy} --run {run}"),
        (_, None) => format!("intellistor-agent logs show --policy-id {policy}"),
    };
    let _ = writeln!(text, "  {command}");
    if let Some(backup) = &event.backup {
        let _ = writeln!(text, "\nTo restore it:\n  {}", Escaped(&backup.cli_restore));
    }
    text
}

fn missed_sentence(missed: &EventMissed) -> String {
    let EventMissed { first, last, count } = missed;
    match count {
        1 => format!("the start of {first}"),
        _ => format!("{count} starts, from {first} to {last}"),
    }
}

fn files(files: u64) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    if value < 1.0 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_why_and_what_is_next() {
        let event = Event::example();
        assert_eq!(subject(&event), "Backup FAILED: docs on web1");
        assert_eq!(paragraph(&event), "Backup FAILED: docs on web1. no key is configured");
        assert_eq!(
            body(&event),
            "The backup of policy docs on web1 failed.\n\n\
             Why:         no key is configured\n\
             Next:        nothing was sent; the next run begins a backup\n\
             Last backup: 20261126T020000Z\n\
             Log:         /var/lib/intellistor/run.log on web1\n\n\
             What happened, step by step:\n  intellistor-agent logs show --policy-id docs\n"
        );
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (size, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (9 << 50, "9216.0 TiB")]
        {
            assert_eq!(bytes(size), text);
        }
    }
}
