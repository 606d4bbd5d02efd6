//! The end of a run, for a person at a terminal: two or three lines that say what was done, how much, how long it took, what was
//! left out, where it is and what to do with it.
//!
//! **In:** the reports of operations. **Out:** a [`Summary`], which the [`Screen`](crate::screen::Screen) writes to standard error
//! as the last thing of the run, below the JSON where standard output is the same terminal. Where standard error is no terminal,
//! and with `-q`, nothing of it is shown: programs read the JSON.

use console::Style;
use indicatif::BinaryBytes;
use intellistor::{
    AgentReport, BackupReport, CopyReport, NameList, RestorePlan, RestoreReport, SweepReport, VerifyReport,
};
use intellistor_telemetry::Escaped;

use crate::units::{counted, duration};

/// The most names in a line.
const MOST_NAMES: usize = 3;
/// A reason that is longer is cut here, in characters: the JSON has all of it.
const MOST_REASON: usize = 160;

/// How a run went; a terminal shows it as the colour of the first line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tone {
    /// Nothing was done.
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
}

/// Lines for a person; the first says how it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    tone: Tone,
    lines: Vec<String>,
    /// To paste; not to be cut or broken.
    command: Option<String>,
}

impl Summary {
    fn new(tone: Tone, first: String) -> Self {
        Self { tone, lines: vec![first], command: None }
    }

    fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn line_if(self, is_wanted: bool, line: impl FnOnce() -> String) -> Self {
        if is_wanted { self.line(line()) } else { self }
    }

    /// What was left out, one line for each of the first.
    fn list(mut self, names: impl Iterator<Item = String>, count: u64) -> Self {
        let shown: Vec<_> = names.take(MOST_NAMES).map(|name| format!("  {}", shortened(&name))).collect();
        let more = count.saturating_sub(shown.len() as u64);
        self.lines.extend(shown);
        if more > 0 {
            self.lines.push(format!("  and {more} more"));
        }
        self
    }

    fn command(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// The lines as they are written, each with its end.
    pub(crate) fn render(&self, colours: bool) -> String {
        let mut text = String::new();
        for (i, line) in self.lines.iter().enumerate() {
            let line = Escaped(line).to_string();
            let style = match self.tone {
                _ if i > 0 => Style::new(),
                Tone::Good => Style::new().green(),
                Tone::Warning => Style::new().yellow(),
                Tone::Bad => Style::new().red(),
                Tone::Plain => Style::new(),
            };
            text.push_str(&style.force_styling(colours).apply_to(line).to_string());
            text.push('\n');
        }
        if let Some(command) = &self.command {
            text.push_str(&format!("restore it with: {}\n", Escaped(command)));
        }
        text
    }
}

/// `a, b, c and 12 more`.
pub(crate) fn names(listed: &[String], count: u64) -> String {
    let shown: Vec<_> = listed.iter().take(MOST_NAMES).map(|name| shortened(name)).collect();
    let more = count.saturating_sub(shown.len() as u64);
    let shown = shown.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn shortened(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    match text.char_indices().nth(MOST_REASON) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A backup, and the command that restores it.
pub(crate) fn of_backup(report: &BackupReport, cli_restore: &str) -> Summary {
    backup(report, String::new(), cli_restore)
}

/// A run of the agent that made this backup.
pub(crate) fn of_run(run: &AgentReport, report: &BackupReport, cli_restore: &str) -> Summary {
    let resumed = match run.resumed {
        Some(resumed) => format!(", {} of it sent by an earlier run,", BinaryBytes(resumed.bytes)),
        None => String::new(),
    };
    backup(report, resumed, cli_restore)
}

fn backup(report: &BackupReport, resumed: String, cli_restore: &str) -> Summary {
    let tone = if report.is_complete() { Tone::Good } else { Tone::Warning };
    let files = counted(report.totals.files, "file");
    let (bytes, took) = (BinaryBytes(report.totals.bytes), duration(report.seconds));
    let first = format!("backed up {files}, {bytes}{resumed} in {took}: {}", report.summary());
    let (skipped, changed) = (report.totals.skipped, report.totals.changed);
    let problems =
        report.problems.iter().map(|problem| format!("{}: {}", problem.shown_path(), problem.reason));
    Summary::new(tone, first)
        .line(format!(
            "stored {} in {}, {}",
            BinaryBytes(report.archive_bytes),
            report.store,
            report.key_backup
        ))
        .line_if(skipped > 0 || changed > 0, || match (skipped, changed) {
            (skipped, 0) => format!("{} skipped:", counted(skipped, "item")),
            (0, changed) => format!("{} changed while read:", counted(changed, "item")),
            (skipped, changed) => {
                format!("{} skipped, {changed} changed while read:", counted(skipped, "item"))
            }
        })
        .list(problems, skipped + changed)
        .list(report.warnings.iter().cloned(), report.warnings.len() as u64)
        .command(cli_restore)
}

/// What was restored, also where some of it was not.
pub(crate) fn of_restore(report: &RestoreReport) -> Summary {
    let tone = match () {
        () if report.damaged_count > 0 => Tone::Bad,
        () if report.is_complete() => Tone::Good,
        () => Tone::Warning,
    };
    let entries = counted(report.restored, "item");
    let fetched = BinaryBytes(report.fetched_bytes);
    let mut first = format!(
        "restored {entries}, {} written, {fetched} fetched in {}",
        BinaryBytes(report.bytes),
        duration(report.seconds)
    );
    if report.unchanged > 0 {
        first.push_str(&format!("; {} were there already", indicatif::HumanCount(report.unchanged)));
    }
    let to = match &report.out {
        Some(out) => format!("into {}", out.display()),
        None => format!("in place: {}", list_of_places(&report.places)),
    };
    let (replaced, left) = (report.overwritten, &report.left);
    let failed = report.warning_count;
    Summary::new(tone, first)
        .line(to)
        .line_if(replaced > 0, || format!("replaced {}", counted(replaced, "file")))
        .line_if(!left.is_empty(), || {
            format!(
                "left {} as they were: {}",
                counted(left.count(), "file"),
                names(left.names(), left.count())
            )
        })
        .line_if(failed > 0, || format!("{}:", counted(failed, "warning")))
        .list(report.warnings.iter().take(failed.try_into().unwrap_or(usize::MAX)).cloned(), failed)
}

fn list_of_places(places: &[std::path::PathBuf]) -> String {
    let shown: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    names(&shown, shown.len() as u64)
}

/// What a restore would do.
pub(crate) fn of_plan(plan: &RestorePlan) -> Summary {
    let tone = if plan.is_possible() { Tone::Plain } else { Tone::Warning };
    let to = match &plan.out {
        Some(out) => format!("into {}", out.display()),
        None => format!("in place, to {}", list_of_places(&plan.places)),
    };
    let (new, identical) = (counted(plan.new, "new item"), plan.identical);
    let (write, fetch) = (BinaryBytes(plan.bytes_to_write), BinaryBytes(plan.bytes_to_fetch));
    let cold: Vec<_> =
        plan.archives.iter().filter(|archive| archive.cold).map(|archive| archive.key.clone()).collect();
    let list = |what: &str, list: &NameList| {
        format!("{} {what}: {}", indicatif::HumanCount(list.count()), names(list.names(), list.count()))
    };
    Summary::new(
        tone,
        format!("would restore {}, {write}, {to}; {fetch} to fetch", counted(plan.found, "item")),
    )
    .line(format!(
        "{new}; of what is there, {identical} identical, {} different: {} would be replaced, {} left",
        plan.different.count(),
        plan.overwrites,
        plan.leaves
    ))
    .line_if(!plan.different.is_empty(), || list("different", &plan.different))
    .line_if(!plan.newer.is_empty(), || list("modified later than in the backup", &plan.newer))
    .line_if(!plan.blocked.is_empty(), || list("cannot be restored", &plan.blocked))
    .line_if(!cold.is_empty(), || {
        let (archives, count) = (counted(cold.len() as u64, "archive"), cold.len() as u64);
        format!("{archives} must be thawed first: {}", names(&cold, count))
    })
}

pub(crate) fn of_verify(report: &VerifyReport, store: &str) -> Summary {
    let (entries, took) = (counted(report.entries, "item"), duration(report.seconds));
    let first = format!(
        "verified {entries}, {} in {took}: all are as they were backed up",
        BinaryBytes(report.bytes)
    );
    let archives = counted(report.archives.len() as u64, "archive");
    Summary::new(Tone::Good, first)
        .line(format!("read {archives}, {}, from {store}", BinaryBytes(report.archive_bytes)))
        .line_if(report.skipped > 0, || {
            format!(
                "{} skipped when it was made; `backup-client show` lists them",
                counted(report.skipped, "item")
            )
        })
}

pub(crate) fn of_copy(report: &CopyReport) -> Summary {
    let tone = match () {
        () if !report.failed.is_empty() => Tone::Bad,
        () if report.is_complete() => Tone::Good,
        () => Tone::Warning,
    };
    let did = if report.dry_run { "would copy" } else { "copied" };
    let copied = counted(report.copied.len() as u64, "backup");
    let skipped = match report.skipped.len() {
        0 => String::new(),
        skipped => format!(", skipped {skipped} that are there"),
    };
    let took = duration(report.seconds);
    let passed_over = report.passed_over.iter().map(|backup| format!("{}: {}", backup.key, backup.reason));
    Summary::new(tone, format!("{did} {copied}, {} in {took}{skipped}", BinaryBytes(report.bytes)))
        .line(format!("from {} to {}", report.from, report.to))
        .line_if(!report.passed_over.is_empty(), || "passed over:".to_owned())
        .list(passed_over, report.passed_over.len() as u64)
}

pub(crate) fn of_prune(report: &SweepReport) -> Summary {
    let deleted = counted(report.deleted.len() as u64, "forgotten backup");
    let verb = if report.dry_run { "would delete" } else { "deleted" };
    let archives = match report.archive_kept.len() as u64 {
        0 => String::new(),
        backups => format!(", and {backups} more but for the archives, which other backups need"),
    };
    let next = report.waiting.iter().map(|backup| backup.prunable_from).min();
    let next = next.map(|next| format!(", the next from {} on", crate::output::times::local(&next)));
    let kept = report.kept.iter().map(|backup| format!("{}: {}", backup.key, backup.reason));
    Summary::new(Tone::Good, format!("{verb} {deleted}{archives}: {} freed", BinaryBytes(report.bytes_freed)))
        .line(format!(
            "{} waiting{}; {} kept{}",
            report.waiting.len(),
            next.unwrap_or_default(),
            report.kept.len(),
            if report.kept.is_empty() { "" } else { ":" }
        ))
        .list(kept, report.kept.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let listed: Vec<_> = (0..5).map(|i| format!("f{i}")).collect();
        assert_eq!(names(&listed, 15), "f0, f1, f2 and 12 more");
        assert_eq!(names(&listed[..3], 3), "f0, f1, f2");
        let listed = Summary::new(Tone::Good, "a".into()).list(listed.into_iter(), 15);
        assert_eq!(listed.lines, ["a", "  f0", "  f1", "  f2", "  and 12 more"]);
        assert!(shortened(&"é".repeat(500)).chars().count() < 170);
    }

    #[test]
    fn nothing_forges_a_line_or_a_colour() {
        let hostile = "a\u{1b}[2J\nrestored 9 items".to_owned();
        let shown = Summary::new(Tone::Warning, "first".into()).list([hostile].into_iter(), 1).render(false);
        assert_eq!(shown, "first\n  a\\u{1b}[2J\n");
        let coloured = Summary::new(Tone::Warning, "first".into()).render(true);
        assert_eq!(coloured, "\u{1b}[33mfirst\u{1b}[0m\n");
    }

    #[test]
    fn a_restore_says_what_is_there_and_what_was_left() {
        let mut left = NameList::default();
        left.add("mine.txt");
        let report = RestoreReport {
            name: intellistor::BackupName::default(),
            out: Some("out".into()),
            places: Vec::new(),
            found: 9,
            restored: 8,
            unchanged: 5,
            overwritten: 1,
            overwritten_newer: NameList::default(),
            left,
            integrity: intellistor::Integrity::Verified,
            bytes: 2048,
            fetched_bytes: 1024,
            seconds: 3.0,
            streams_left_out: 0,
            access_lists: None,
            changed: 0,
            warnings: Vec::new(),
            warning_count: 0,
            damaged: Vec::new(),
            damaged_count: 0,
            trace_id: None,
        };
        let shown = of_restore(&report).render(false);
        let expected = "restored 8 items, 2.00 KiB written, 1.00 KiB fetched in 3.0 s; 5 were there already\n\
            into out\nreplaced 1 file\nleft 1 file as they were: mine.txt\n";
        assert_eq!(shown, expected);
    }
}
