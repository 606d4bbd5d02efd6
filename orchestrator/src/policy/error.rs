//! What can be wrong with a policy, and where.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::duration_text;
use super::masking::{masked, masked_lines};
use crate::cron::CronError;

/// A policy's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Occurs when the policy's file cannot be read.
    #[error("cannot read policy {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Occurs when the path is a folder, a pipe or a device: a policy is read again and again, at each scheduled run.
    #[error("{} is a {}, and a policy is read from a file. Save it as a file and name that", path.display(), if *is_folder { "folder" } else { "pipe, a terminal or another device" })]
    NotAFile { path: PathBuf, is_folder: bool },
    /// Occurs when the file is too large to be a policy.
    #[error("{} is larger than {most_kib} KiB, so it cannot be a policy. Check the path", path.display())]
    TooLarge { path: PathBuf, most_kib: usize },
    /// Occurs when the file is not text, or text in another encoding.
    #[error("{} is not UTF-8. Save it as UTF-8 (in PowerShell 5, `>` writes UTF-16)", path.display())]
    NotUtf8 { path: PathBuf },
    /// Occurs when the text is not YAML, or a field's name or value is not that of a policy.
    #[error("{}: {reason}{}{}", at.position(), at.excerpt(), write_instead(correction.as_deref()))]
    Invalid {
        /// Where.
        at: Box<PolicyLocation>,
        /// What is wrong there.
        reason: String,
        /// The line that was probably meant.
        correction: Option<String>,
    },
    /// Occurs when the id cannot be used in a path, an object key and a task name.
    #[error(
        "{policy_id:?} is not a valid policy_id: 1 to 64 characters of A-Z a-z 0-9 . _ - that begin with a letter or a digit, [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}"
    )]
    BadId { policy_id: String },
    /// Occurs when there is nothing to back up.
    #[error("`paths` is empty: there is nothing to back up. Name at least one file or folder")]
    NoPaths,
    /// Occurs when a path is the empty text.
    #[error("a path in `paths` is empty. Use `.` for the current folder")]
    EmptyPath,
    /// Occurs when a path holds a NUL, which no system allows.
    #[error("the path {path:?} contains a NUL character. Remove it")]
    NulInPath { path: PathBuf },
    /// Occurs when a Windows path was written in double quotes, where `\n` and `\t` are escapes.
    #[error(
        "the path {path:?} contains control characters: in double quotes a backslash begins an escape. Write it in single quotes"
    )]
    EscapesInPath { path: PathBuf },
    /// Occurs when a path has a drive and no backslash after it, on Windows.
    #[error(
        "the path {path:?} is the current folder of that drive, wherever that is. For the drive, write {correct}"
    )]
    DriveRelative { path: PathBuf, correct: String },
    /// Occurs when a path cannot be written in YAML.
    #[error(
        "the path {path:?} is not Unicode, which a policy cannot contain. Name the folder that contains it"
    )]
    NotUnicode { path: PathBuf },
    /// Occurs when a pattern in `exclude` is not a glob.
    #[error("the pattern {glob:?} in `exclude` is not a glob: {reason}")]
    BadGlob {
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a pattern in `exclude` never matches.
    #[error("the pattern {glob:?} in `exclude` never matches: {reason}")]
    IdleGlob {
        glob: String,
        /// Why, and what to write.
        reason: String,
    },
    /// Occurs when two paths are the same file or folder.
    #[error("`paths` names the same folder or file twice, as {path:?} and as {other:?}. Remove one of them")]
    SamePath { path: PathBuf, other: PathBuf },
    /// Occurs when one path contains another.
    #[error("`paths` names {path:?}, which is in {outer:?} and would be stored twice. Remove {path:?}")]
    PathWithin {
        path: PathBuf,
        /// It contains `path`.
        outer: PathBuf,
    },
    /// Occurs when a path is, or is in, a folder that the backup itself writes to.
    #[error(
        "{path:?} in `paths` is in {}, and {reason}: the backup would contain itself and grow with each run. Name other folders",
        folder.display()
    )]
    OwnFolder {
        path: PathBuf,
        folder: PathBuf,
        /// What the folder is used for.
        reason: &'static str,
    },
    /// Occurs when `schedule` is not a cron expression.
    #[error("`schedule` cannot be used: {0}")]
    BadSchedule(#[from] CronError),
    /// Occurs when a duration cannot be read.
    #[error("{text:?} is not a duration: {reason}. Write 14d, 6h or 1h 30m")]
    BadDuration {
        /// As written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a number is negative, has a fraction, is too large or is none.
    #[error("{text:?} is not a whole number from 0 to {}", u32::MAX)]
    BadNumber {
        /// As written.
        text: String,
    },
    /// Occurs when `retention` keeps nothing.
    #[error(
        "`retention` has no rule. Write at least one of keep_last, keep_within, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, or remove `retention`: then all backups are kept"
    )]
    NoRetentionRule,
    /// Occurs when `keep_within` is no time that says anything, or longer than a calendar.
    #[error(
        "`keep_within` is {}, and must be from 1h to 36500d. d is days, h hours, m minutes",
        duration_text(*span)
    )]
    KeepWithinRange { span: Duration },
    /// Occurs when `prune_after` leaves no time to notice what was forgotten, or is longer than a calendar.
    #[error(
        "`prune_after` is {}, and must be from 2d to 36500d: {}",
        duration_text(*span),
        why_not(*span)
    )]
    PruneAfterRange { span: Duration },
    /// Occurs when no store could lock for so many days.
    #[error("`days` of `lock` is {days}, and must be from 1 to 36500")]
    LockDaysRange { days: u32 },
    /// Occurs when a lock has no mode or no days.
    #[error(
        "{text:?} is not a lock. A lock has a mode, governance or compliance, and days: write `lock: {{ mode: governance, days: 30 }}` in a policy, governance:30 in a command"
    )]
    BadLock { text: String },
    /// Occurs when a class cannot be the name of one.
    #[error(
        "{class:?} in `storage_class` is not the name of a storage class: up to 64 characters of A-Z 0-9 _ -. Write {instead}"
    )]
    BadStorageClass {
        class: String,
        /// What was probably meant, or an example.
        instead: String,
    },
    /// Occurs when a rule of `notify` cannot be used.
    #[error("a rule in `notify` cannot be used: {reason}")]
    BadNotify {
        /// What is wrong with it, and what to write.
        reason: &'static str,
    },
    /// Occurs when a URL cannot be posted to. It may be a secret, and is not repeated.
    #[error("a URL in `notify` cannot be used: {reason}")]
    BadNotifyUrl { reason: &'static str },
    /// Occurs when a secret is to come from a variable that holds none. It may be the secret itself, and is not repeated.
    #[error(
        "what is written for a secret in `notify` is not the name of a variable, and is not repeated here. Write env:INTELLISTOR_NOTIFY_ and capital letters, digits or _, as in env:INTELLISTOR_NOTIFY_TOKEN, and set that variable in the environment file. A secret itself does not belong into a policy"
    )]
    BadNotifyVariable,
    /// Occurs when no mail can go to or come from an address.
    #[error(
        "{address:?} in `mail` is not a mail address. Write name@example.com, or 'Name <name@example.com>'"
    )]
    BadMailAddress { address: String },
    /// Occurs when `hooks` runs nothing.
    #[error("`hooks` has no command. Write at least one of before, after, on_failure, or remove `hooks`")]
    NoHook,
    /// Occurs when a command of `hooks` cannot be run.
    #[error("the command {:?} in `hooks` cannot be run: {reason}", masked(command))]
    BadHook {
        /// Its arguments, with spaces between them.
        command: String,
        reason: &'static str,
    },
    /// Occurs when a command would have no time, or more than a week.
    #[error("`timeout` of `hooks` is {}, and must be from 1s to 7d", duration_text(*timeout))]
    HookTimeoutRange { timeout: Duration },
    /// Occurs when `limits` limits nothing.
    #[error("`limits` has no rate. Write `limits: {{ upload: 10MiB }}`, or download, or remove `limits`")]
    NoLimit,
    /// Occurs when a rate cannot be used.
    #[error("{text:?} is not a rate: {reason}. Write bytes per second with a unit: 10MiB, 500KiB or 2MB")]
    BadRate { text: String, reason: &'static str },
    /// Occurs when a window is not two times of day.
    #[error(
        "{text:?} in `limits` is not a time of day with an end. Write \"08:00-18:00\", or \"20:00-06:00\" across midnight"
    )]
    BadWindow { text: String },
    /// Occurs when `timezone` is not in the IANA database.
    #[error("{timezone:?} in `timezone` is not a time zone{}", or_nearest(nearest.as_deref()))]
    UnknownTimezone {
        timezone: String,
        /// The zone that was probably meant.
        nearest: Option<String>,
    },
    /// Occurs when the only path does not exist at the time of a run.
    #[error(
        "{path:?}, which the policy names, does not exist.{} Correct `paths`, or mount or restore it",
        hint(path)
    )]
    MissingPath { path: PathBuf },
    /// Occurs when none of several paths exists at the time of a run.
    #[error("none of the paths in the policy exists: {first}")]
    NoPathExists {
        /// What is wrong with the first of them.
        first: Box<PolicyError>,
    },
    /// Occurs when the system does not say whether a path exists.
    #[error(
        "cannot access {path:?}, which the policy names: {source}. Check that the account that runs this may read it"
    )]
    UnreachablePath {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

fn why_not(prune_after: Duration) -> &'static str {
    match prune_after < Duration::from_secs(2 * 24 * 3600) {
        true => "a backup in progress may depend on one that was forgotten yesterday",
        false => {
            "that is a hundred years. To keep what was forgotten, leave out `retention`, or never run `prune`"
        }
    }
}

fn or_nearest(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || ". Write a name of the IANA database, as in America/Sao_Paulo, or UTC".to_owned(),
        |zone| format!(". Write {zone}"),
    )
}

fn write_instead(correction: Option<&str>) -> String {
    correction.map_or_else(String::new, |line| format!("\nwrite: {}", line.trim_start()))
}

fn hint(path: &std::path::Path) -> &'static str {
    if path.starts_with("~") {
        " `~` is not expanded: write the whole path."
    } else if path.is_relative() {
        " It is relative to the current directory."
    } else {
        ""
    }
}

/// A line and column of a policy's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLocation {
    /// The policy's file.
    pub origin: PathBuf,
    /// From 1; 0 where it is not known.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
    /// The line, shortened around the column and without secrets.
    pub text: String,
}

impl PolicyLocation {
    /// Characters of a line that are shown.
    const SHOWN: usize = 100;

    pub(super) fn new(origin: PathBuf, text: &str, line: u64, column: u64) -> Self {
        let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let whole = masked_lines(text).into_iter().nth(before).unwrap_or_default();
        let count = whole.chars().count();
        // Masks make a line shorter.
        let column_shown = usize::try_from(column).unwrap_or(usize::MAX).min(count);
        let skip = column_shown.saturating_sub(Self::SHOWN / 2);
        let shown = if count <= Self::SHOWN {
            whole
        } else {
            let part: String = whole.chars().skip(skip).take(Self::SHOWN).collect();
            if skip > 0 { format!("...{part}") } else { part }
        };
        Self {
            origin,
            line,
            column,
            text: shown.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
        }
    }

    fn position(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| match self.line {
            0 => write!(f, "{}", self.origin.display()),
            line => write!(f, "{}, line {line}, column {}", self.origin.display(), self.column),
        })
    }

    fn excerpt(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| match self.text.trim_end() {
            "" => Ok(()),
            text => write!(f, "\n  {} | {text}", self.line),
        })
    }
}
