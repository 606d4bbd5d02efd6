//! What can be wrong with a policy, and where.

use std::fmt;
use std::path::PathBuf;

use crate::cron::CronError;

/// A policy's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Occurs when the policy's file cannot be read.
    #[error("cannot read policy {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Occurs when the file is too large to be a policy.
    #[error("{} is larger than {most_kib} KiB, so it is not a policy", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        most_kib: usize,
    },
    /// Occurs when the file is not text, or text in another encoding.
    #[error("{} is not UTF-8. Save it as UTF-8 (in PowerShell 5, `>` writes UTF-16)", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// Occurs when the text is not YAML, or not the YAML of a policy.
    #[error("{}: {reason}{}{}", at.position(), at.excerpt(), write_instead(correction.as_deref()))]
    Yaml {
        /// Where.
        at: Box<Place>,
        /// What is wrong there.
        reason: String,
        /// The line that was probably meant.
        correction: Option<String>,
    },
    /// Occurs when a value in a policy's file is not usable.
    #[error("{}: {error}{}", at.position(), at.excerpt())]
    At {
        /// Where the value stands.
        at: Box<Place>,
        /// What is wrong with it.
        error: Box<PolicyError>,
    },
    /// Occurs when the policy's name could not be a path, an object key and a task name.
    #[error(
        "{policy_id:?} cannot name a policy. A policy_id has 1 to 64 characters, only A-Z a-z 0-9 . _ - and begins with a letter or a digit: [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}"
    )]
    BadId {
        /// The name.
        policy_id: String,
    },
    /// Occurs when there is nothing to back up.
    #[error("`paths` is empty, so there is nothing to back up. Name at least one file or folder")]
    NoPaths,
    /// Occurs when a path has no characters.
    #[error("a path in `paths` is empty. Use `.` for the current folder")]
    EmptyPath,
    /// Occurs when a path holds a NUL, which no system allows.
    #[error("the path {path:?} holds a NUL character")]
    NulInPath {
        /// The path.
        path: PathBuf,
    },
    /// Occurs when a path of Windows was written in double quotes, where `\n` and `\t` are no folders.
    #[error(
        "the path {path:?} holds control characters: in double quotes a backslash begins an escape. Write it in single quotes"
    )]
    EscapesInPath {
        /// The path.
        path: PathBuf,
    },
    /// Occurs when a path cannot be written in YAML.
    #[error("the path {path:?} is not Unicode, which a policy cannot hold. Name the folder that it lies in")]
    NotUnicode {
        /// The path.
        path: PathBuf,
    },
    /// Occurs when a pattern in `exclude` is no glob.
    #[error("the pattern {glob:?} in `exclude` is not a glob: {reason}")]
    BadGlob {
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a pattern in `exclude` can match nothing.
    #[error("the pattern {glob:?} in `exclude` can match nothing: {reason}")]
    IdleGlob {
        /// The pattern.
        glob: String,
        /// Why, and what to write.
        reason: String,
    },
    /// Occurs when two paths are the same.
    #[error("`paths` names the same folder or file twice, as {path:?} and as {other:?}. Remove one of them")]
    SamePath {
        /// One of them.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Occurs when a path lies in another one.
    #[error("`paths` names {path:?}, which lies in {outer:?} and would be stored twice. Remove {path:?}")]
    PathWithin {
        /// What lies within.
        path: PathBuf,
        /// What it lies in.
        outer: PathBuf,
    },
    /// Occurs when a path is, or lies in, a folder that the backup itself grows.
    #[error(
        "{path:?}, which the policy names, lies in {}, and {reason}: such a backup would hold itself and grow with each run. Name other folders in `paths`",
        place.display()
    )]
    OwnFolder {
        /// The path.
        path: PathBuf,
        /// The folder.
        place: PathBuf,
        /// What it is for.
        reason: &'static str,
    },
    /// Occurs when `schedule` is no cron expression.
    #[error("`schedule` is not usable: {0}")]
    BadSchedule(#[from] CronError),
    /// Occurs when a span of time is not written as one.
    #[error("{text:?} is no span of time: {reason}. Write 6h, 90m or 1h 30m")]
    BadDuration {
        /// What is written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when `store` is no store's URL.
    #[error("{reason}")]
    BadStore {
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when a path is not there at the time of a run.
    #[error(
        "{path:?}, which the policy names, does not exist.{} Correct `paths`, or bring it back",
        hint(path)
    )]
    MissingPath {
        /// The path.
        path: PathBuf,
    },
    /// Occurs when none of several paths is there at the time of a run.
    #[error("none of the paths that the policy names is there: {first}")]
    NoPathIsThere {
        /// What is wrong with the first of them.
        first: Box<PolicyError>,
    },
    /// Occurs when the system does not say whether a path is there.
    #[error("cannot look at {path:?}, which the policy names: {source}")]
    UnreachablePath {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

fn write_instead(correction: Option<&str>) -> String {
    correction.map_or_else(String::new, |line| format!("\nwrite: {}", line.trim_start()))
}

fn hint(path: &std::path::Path) -> &'static str {
    if path.starts_with("~") {
        " `~` is not expanded: write the whole path."
    } else if path.is_relative() {
        " It is looked for in the current directory."
    } else {
        ""
    }
}

/// A place in a policy's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The policy's file.
    pub origin: PathBuf,
    /// From 1; 0 where it is not known.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
    /// The line, shortened around the column.
    pub text: String,
}

impl Place {
    /// So much of a line is shown.
    const SHOWN: usize = 100;

    pub(super) fn new(origin: PathBuf, text: &str, line: u64, column: u64) -> Self {
        let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let whole = text.lines().nth(before).unwrap_or_default();
        let skip = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(Self::SHOWN / 2);
        let shown = if whole.chars().count() <= Self::SHOWN {
            whole.to_owned()
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
