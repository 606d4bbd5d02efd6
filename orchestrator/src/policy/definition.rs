//! A policy: its fields in YAML are these, with these defaults.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use intellistor_actors::backup::changes::DetectChanges;
use intellistor_storage::archive::Compression;
use intellistor_storage::objects::{StoreUrl, TransferLimits};
use serde::Deserialize;

use super::error::PolicyError;
use super::hooks::{self, Hooks};
use super::lifecycle::{self, LockPolicy, RetentionRules};
use super::notify::{self, NotifyRule};
use super::rules::{
    check_glob, check_id, check_path, check_prune_after, check_repeated, check_storage_class,
};
use super::{fields, limits};
use crate::cron::Cron;

/// What to back up, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Names the policy everywhere: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    #[serde(deserialize_with = "fields::policy_id")]
    pub policy_id: String,
    /// Files and folders, as absolute paths or relative to the current directory.
    #[serde(deserialize_with = "fields::paths")]
    pub paths: Vec<PathBuf>,
    /// When `apply-schedule` and `serve` run it: a five-field cron expression.
    #[serde(default, deserialize_with = "fields::schedule")]
    pub schedule: Option<String>,
    /// Globs on `relative_path` of what to leave out; `*` crosses `/`.
    #[serde(default, deserialize_with = "fields::globs")]
    pub exclude: Vec<String>,
    /// How hard to compress.
    #[serde(default)]
    pub compression: Compression,
    /// Overrides the store of the environment.
    #[serde(default, deserialize_with = "fields::store")]
    pub store: Option<StoreUrl>,
    /// How the agent resumes an interrupted job.
    #[serde(default)]
    pub resume: ResumePolicy,
    /// What the agent does with old logs.
    #[serde(default)]
    pub logs: LogPolicy,
    /// Leave out file systems that are mounted below `paths`.
    #[serde(default)]
    pub one_file_system: bool,
    /// Leave out the contents of folders with a `CACHEDIR.TAG`.
    #[serde(default)]
    pub exclude_caches: bool,
    /// What is done about files that are in a cloud, and not on this machine.
    #[serde(default)]
    pub cloud_files: CloudFiles,
    /// Keep alternate data streams of Windows.
    #[serde(default)]
    pub streams: bool,
    /// Whether files of Windows that no restore wants are left out.
    #[serde(default)]
    pub system_files: SystemFilesRule,
    /// A backup whose chain began with a full backup older than this is a full backup again.
    #[serde(default, deserialize_with = "fields::duration")]
    pub full_every: Option<Duration>,
    /// What tells that a file is as the base has it.
    #[serde(default)]
    pub detect_changes: DetectChanges,
    /// Whether files are read in snapshots of their volumes; absent, it depends on the system: see [`VssMode::of`].
    #[serde(default)]
    pub vss: Option<VssMode>,
    /// What the manifest shows to those who have no key.
    #[serde(default)]
    pub manifest: ManifestForm,
    /// Which backups are kept; all, where it is absent.
    #[serde(default, deserialize_with = "lifecycle::retention")]
    pub retention: Option<RetentionRules>,
    /// How long a forgotten backup stays in the store.
    #[serde(default = "fields::default_prune_after", deserialize_with = "fields::prune_after")]
    pub prune_after: Duration,
    /// For how long the store lets no one delete a backup.
    #[serde(default, deserialize_with = "lifecycle::lock")]
    pub lock: Option<LockPolicy>,
    /// The store's name of a class for archives, such as `STANDARD_IA`.
    #[serde(default, deserialize_with = "fields::storage_class")]
    pub storage_class: Option<String>,
    /// Who is notified of runs of the agent, and of what.
    #[serde(default, deserialize_with = "notify::notify")]
    pub notify: Vec<NotifyRule>,
    /// Commands that the agent runs before and after a backup.
    #[serde(default, deserialize_with = "hooks::hooks")]
    pub hooks: Option<Hooks>,
    /// How fast bytes go to the store and come from it.
    #[serde(default, deserialize_with = "limits::limits")]
    pub limits: Option<TransferLimits>,
}

/// What is done about files that are in a cloud, and not on this machine. Only Windows says which they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudFiles {
    /// They are left out, with a note.
    #[default]
    Skip,
    /// They are read, which fetches them.
    Read,
}

/// What the manifest shows to those who have no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ManifestForm {
    /// Names, sizes, times and digests of files.
    #[default]
    Plain,
    /// None of them.
    Sealed,
}

/// Whether files are read in snapshots of their volumes, which Windows' Volume Shadow Copy Service makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VssMode {
    /// As they are.
    Off,
    /// Where it can be done; elsewhere as they are, and the run says so.
    Try,
    /// All of them, or the run fails before anything is sent.
    Required,
}

impl VssMode {
    /// What a policy's `vss` means: [`Try`](Self::Try) where it is absent and the process has an administrator's rights
    /// on Windows, for only those may make snapshots.
    pub fn of(vss: Option<Self>, is_elevated: bool) -> Self {
        vss.unwrap_or(if is_elevated { Self::Try } else { Self::Off })
    }

    /// The word for it in policies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Try => "try",
            Self::Required => "required",
        }
    }
}

/// What is done about files of Windows that it makes anew: page files, a volume's own folders, what the registry names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemFilesRule {
    /// They are left out, and counted.
    #[default]
    Skip,
    /// They are files as all others.
    Keep,
}

/// How the agent resumes an interrupted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResumePolicy {
    /// A run that finishes a job older than this makes a new backup as well.
    #[serde(deserialize_with = "fields::fresh_after")]
    pub fresh_after: Duration,
}

impl Default for ResumePolicy {
    /// Six hours.
    fn default() -> Self {
        Self { fresh_after: fields::FRESH_AFTER }
    }
}

/// What the agent does with old logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogPolicy {
    /// Older logs on this machine are removed; those in the store stay.
    #[serde(deserialize_with = "fields::keep_days")]
    pub keep_days: u32,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { keep_days: fields::KEEP_DAYS }
    }
}

impl Policy {
    /// A policy with defaults for all but its name and its paths.
    ///
    /// # Errors
    /// [`PolicyError`] when the name is not allowed, a path is not usable, or there is none.
    pub fn new(
        policy_id: impl Into<String>,
        paths: impl IntoIterator<Item: Into<PathBuf>>,
    ) -> Result<Self, PolicyError> {
        let policy =
            Self { paths: paths.into_iter().map(Into::into).collect(), ..Self::defaults(policy_id.into()) };
        policy.check()?;
        Ok(policy)
    }

    /// What is known of a policy whose file is lost: enough to read its backups, and no policy to make one with, since
    /// [`check`](Self::check) refuses it.
    ///
    /// # Errors
    /// [`PolicyError`] when the name is not allowed.
    pub fn without_paths(policy_id: impl Into<String>) -> Result<Self, PolicyError> {
        let policy = Self::defaults(policy_id.into());
        check_id(&policy.policy_id)?;
        Ok(policy)
    }

    fn defaults(policy_id: String) -> Self {
        Self {
            policy_id,
            paths: Vec::new(),
            schedule: None,
            exclude: Vec::new(),
            compression: Compression::default(),
            store: None,
            resume: ResumePolicy::default(),
            logs: LogPolicy::default(),
            one_file_system: false,
            exclude_caches: false,
            cloud_files: CloudFiles::default(),
            streams: false,
            system_files: SystemFilesRule::default(),
            full_every: None,
            detect_changes: DetectChanges::default(),
            vss: None,
            manifest: ManifestForm::default(),
            retention: None,
            prune_after: fields::PRUNE_AFTER,
            lock: None,
            storage_class: None,
            notify: Vec::new(),
            hooks: None,
            limits: None,
        }
    }

    /// Checks fields that were set by hand; a policy that was read has passed.
    ///
    /// # Errors
    /// [`PolicyError`] for the first field that is not usable.
    pub fn check(&self) -> Result<(), PolicyError> {
        check_id(&self.policy_id)?;
        if self.paths.is_empty() {
            return Err(PolicyError::NoPaths);
        }
        for (at, path) in self.paths.iter().enumerate() {
            check_path(path)?;
            check_repeated(path, &self.paths[..at])?;
        }
        self.exclude.iter().try_for_each(|glob| check_glob(glob))?;
        self.schedule.as_deref().map(Cron::parse).transpose()?;
        self.retention.as_ref().map_or(Ok(()), RetentionRules::check)?;
        check_prune_after(self.prune_after)?;
        self.lock.as_ref().map_or(Ok(()), LockPolicy::check)?;
        self.storage_class.as_deref().map_or(Ok(()), check_storage_class)?;
        notify::check(&self.notify)?;
        self.hooks.as_ref().map_or(Ok(()), Hooks::check)?;
        self.limits.as_ref().map_or(Ok(()), limits::check_limits)
    }

    /// Checks that at least one path exists. The backup reports those that do not.
    ///
    /// # Errors
    /// [`PolicyError::MissingPath`] for the only path; [`PolicyError::NoPathExists`] when there are several.
    pub fn check_paths(&self) -> Result<(), PolicyError> {
        let mut missing = self.missing_paths();
        match (missing.len() == self.paths.len(), missing.pop()) {
            (true, Some(only)) if missing.is_empty() => Err(only),
            (true, Some(last)) => {
                let first = Box::new(missing.into_iter().next().unwrap_or(last));
                Err(PolicyError::NoPathExists { first })
            }
            _ => Ok(()),
        }
    }

    /// An error for each path that does not exist or cannot be accessed.
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
