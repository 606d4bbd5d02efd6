//! Policies: what to back up, as a person writes it in YAML.
//!
//! ```
//! let text = "policy_id: documents\npaths: ['/home/ana/Documents']\nexclude: ['*.tmp']\n";
//! let policy = intellistor::Policy::from_yaml("documents.yaml".as_ref(), text)?;
//! assert_eq!(policy.exclude, ["*.tmp"]);
//! # Ok::<(), intellistor::PolicyError>(())
//! ```
//! Relative paths are those of the directory that the program runs in, not of the policy's file. `~` and
//! variables are not expanded: what runs at night has another home and another environment.

mod correction;
mod digest;
mod error;
mod yaml;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use intellistor_actors::globs::{self, PathGlobs};
use intellistor_storage::archive::Compression;
use intellistor_storage::catalog::layout::is_policy_id;
use intellistor_storage::objects::StoreUrl;

use crate::cron::Cron;
pub use error::{Place, PolicyError};

type Result<T, E = PolicyError> = std::result::Result<T, E>;

/// A policy is written by hand; one that is larger is some other file.
const MOST_BYTES: usize = 1 << 20;

/// What to back up, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Names the policy everywhere: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    pub policy_id: String,
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// When to run, as a five-field cron expression. For the agent; nothing here runs by itself.
    pub schedule: Option<String>,
    /// Globs on `relative_path` of what to leave out; `*` crosses `/`.
    pub exclude: Vec<String>,
    /// How hard to compress.
    pub compression: Compression,
    /// Where to, when it is not where the environment says.
    pub store: Option<StoreUrl>,
    /// How the agent goes on with a job that was stopped.
    pub resume: ResumePolicy,
    /// What the agent does with old logs.
    pub logs: LogPolicy,
    /// Stay on the file system that each of `paths` lies on: what is mounted below is left out.
    pub one_file_system: bool,
    /// Leave out what is in folders that a `CACHEDIR.TAG` marks as caches.
    pub exclude_caches: bool,
}

/// How the agent goes on with a job that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumePolicy {
    /// A run that finished a job which began longer ago makes a new backup as well.
    pub fresh_after: Duration,
}

impl Default for ResumePolicy {
    /// Six hours: last night's job does not stand in for tonight's.
    fn default() -> Self {
        Self { fresh_after: Duration::from_secs(6 * 3600) }
    }
}

/// What the agent does with old logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPolicy {
    /// Logs on this machine that are older are removed, in days. Those in the store stay.
    pub keep_days: u32,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

impl Policy {
    /// A policy with nothing but its name and its paths.
    ///
    /// # Errors
    /// [`PolicyError`] when the name is not allowed or no path is given.
    pub fn new(policy_id: impl Into<String>, paths: impl IntoIterator<Item: Into<PathBuf>>) -> Result<Self> {
        let policy = Self {
            policy_id: policy_id.into(),
            paths: paths.into_iter().map(Into::into).collect(),
            schedule: None,
            exclude: Vec::new(),
            compression: Compression::default(),
            store: None,
            resume: ResumePolicy::default(),
            logs: LogPolicy::default(),
            one_file_system: false,
            exclude_caches: false,
        };
        policy.check()?;
        Ok(policy)
    }

    /// Reads a policy's file.
    ///
    /// # Errors
    /// [`PolicyError`], which names the file and, where it can, the line.
    pub fn load(path: &Path) -> Result<Self> {
        let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::from_yaml(path, &text),
            Err(_) => Err(PolicyError::NotUtf8 { path: path.to_owned() }),
        }
    }

    /// Reads a policy from text. `origin` names the text in errors. Touches neither disk nor environment.
    ///
    /// # Errors
    /// [`PolicyError`], with the line.
    pub fn from_yaml(origin: &Path, text: &str) -> Result<Self> {
        if text.len() > MOST_BYTES {
            return Err(PolicyError::TooLarge { path: origin.to_owned(), most_kib: MOST_BYTES >> 10 });
        }
        yaml::parse(origin, text)
    }

    /// The policy as a file, with comments that explain it. Every path must be Unicode, which
    /// [`check`](Self::check) makes sure of.
    pub fn to_yaml(&self) -> String {
        yaml::write(self)
    }

    /// Checks what the fields hold; [`new`](Self::new), [`load`](Self::load) and
    /// [`from_yaml`](Self::from_yaml) have done so.
    ///
    /// # Errors
    /// [`PolicyError`] for the first field that is not usable.
    pub fn check(&self) -> Result<()> {
        check_id(&self.policy_id)?;
        if self.paths.is_empty() {
            return Err(PolicyError::NoPaths);
        }
        for (at, path) in self.paths.iter().enumerate() {
            check_path(path)?;
            check_repeated(path, &self.paths[..at])?;
        }
        self.exclude.iter().try_for_each(|glob| check_glob(glob))?;
        self.schedule.as_deref().map_or(Ok(()), check_schedule)
    }

    /// Checks that there is something to back up: one path at least. Those that are missing are told by the backup.
    ///
    /// # Errors
    /// [`PolicyError::MissingPath`] names the one that does not exist; [`PolicyError::NoPathIsThere`] when none of
    /// several does.
    pub fn check_paths(&self) -> Result<()> {
        let mut missing = self.missing_paths();
        match (missing.len() == self.paths.len(), missing.pop()) {
            (true, Some(only)) if missing.is_empty() => Err(only),
            (true, Some(last)) => {
                let first = Box::new(missing.into_iter().next().unwrap_or(last));
                Err(PolicyError::NoPathIsThere { first })
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with each path that is not there.
    pub fn missing_paths(&self) -> Vec<PolicyError> {
        let missing = |path: &PathBuf| match fs::metadata(path) {
            Ok(_) => None,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Some(PolicyError::MissingPath { path: path.clone() })
            }
            Err(source) => Some(PolicyError::UnreachablePath { path: path.clone(), source }),
        };
        self.paths.iter().filter_map(missing).collect()
    }
}

fn check_id(policy_id: &str) -> Result<()> {
    if is_policy_id(policy_id) { Ok(()) } else { Err(PolicyError::BadId { policy_id: policy_id.to_owned() }) }
}

fn check_path(path: &Path) -> Result<()> {
    match path.to_str() {
        None => Err(PolicyError::NotUnicode { path: path.to_owned() }),
        Some("") => Err(PolicyError::EmptyPath),
        Some(text) if has_drive(text) && text.contains(char::is_control) => {
            Err(PolicyError::EscapesInPath { path: path.to_owned() })
        }
        Some(text) if text.contains('\0') => Err(PolicyError::NulInPath { path: path.to_owned() }),
        Some(_) => Ok(()),
    }
}

fn has_drive(path: &str) -> bool {
    path.starts_with(|c: char| c.is_ascii_alphabetic()) && path[1..].starts_with(':')
}

/// Other spellings, and folders within others, only the disk knows.
fn check_repeated(path: &Path, others: &[PathBuf]) -> Result<()> {
    let plain = |path: &Path| -> PathBuf {
        let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        if cfg!(windows) { plain.to_string_lossy().to_lowercase().into() } else { plain }
    };
    match others.iter().find(|other| plain(other) == plain(path)) {
        Some(other) => Err(PolicyError::SamePath { path: other.clone(), other: path.to_owned() }),
        None => Ok(()),
    }
}

fn check_glob(glob: &str) -> Result<()> {
    if let Some(reason) = globs::mistake(glob) {
        return Err(PolicyError::IdleGlob { glob: glob.to_owned(), reason });
    }
    match PathGlobs::new([glob]) {
        Ok(_) => Ok(()),
        Err(e) => Err(PolicyError::BadGlob { glob: e.pattern, reason: e.reason }),
    }
}

fn check_schedule(schedule: &str) -> Result<()> {
    Ok(Cron::parse(schedule).map(drop)?)
}

fn check_duration(text: &str) -> Result<Duration> {
    humantime::parse_duration(text)
        .map_err(|e| PolicyError::BadDuration { text: text.to_owned(), reason: e.to_string() })
}

fn check_store(url: &str) -> Result<StoreUrl> {
    StoreUrl::parse(url).map_err(|e| PolicyError::BadStore { reason: e.to_string() })
}

#[cfg(test)]
mod tests;
