//! What is scheduled.

use std::fmt;
use std::path::{Path, PathBuf};

use intellistor_storage::catalog::layout::is_policy_id;
use intellistor_storage::disk::trust;
use zeroize::Zeroizing;

use super::error::{Result, ScheduleError};
use crate::cron::Cron;
use crate::policy::Policy;

const METRICS: &str = "the metrics folder";

/// What to run, when, and as whom.
#[derive(Debug)]
pub struct ScheduleSpec {
    /// Names the schedule.
    pub policy_id: String,
    pub cron: Cron,
    /// The agent's executable.
    pub program: PathBuf,
    /// The policy's file.
    pub policy: PathBuf,
    /// `--env-file`: a scheduled run does not inherit the caller's variables.
    pub env_file: Option<PathBuf>,
    /// `--out`.
    pub out: Option<PathBuf>,
    /// `--metrics-dir`.
    pub metrics_dir: Option<PathBuf>,
    /// `--weak-passphrase`.
    pub weak_passphrase: bool,
    pub run_as: RunAs,
}

/// The account that runs it.
#[derive(Debug)]
pub enum RunAs {
    /// Windows: SYSTEM, which reads every local file and needs no password. Linux: root.
    System,
    /// The caller's account. Windows: without its password, so its runs cannot access network shares. Linux: units of
    /// the user, or the user's crontab.
    Caller,
    /// Another account. On Windows an administrator, since others may not write to the agent's folder; without
    /// password its runs cannot access network shares.
    User {
        /// `DOMAIN\name`, `.\name` or `name`; `DOMAIN\name$` is a group managed service account, whose password the
        /// domain gives.
        name: String,
        /// Windows only.
        password: Option<Password>,
    },
}

/// A password: never shown, zeroed on drop.
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    #[cfg(windows)]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        f.write_str("Password(..)")
    }
}

impl ScheduleSpec {
    /// Flags of `run` with a path: the flag, what errors call it, and the path.
    pub(super) fn path_arguments(&self) -> impl Iterator<Item = (&'static str, &'static str, &Path)> {
        [
            ("--policy", "the policy", Some(self.policy.as_path())),
            ("--env-file", "the environment file", self.env_file.as_deref()),
            ("--out", "the --out folder", self.out.as_deref()),
            ("--metrics-dir", METRICS, self.metrics_dir.as_deref()),
        ]
        .into_iter()
        .filter_map(|(flag, what, path)| path.map(|path| (flag, what, path)))
    }

    /// Flags of `run` without a value, each after a space.
    pub(super) fn switches(&self) -> &'static str {
        if self.weak_passphrase { " --weak-passphrase" } else { "" }
    }

    /// Others must not be able to change what runs every night, or where its backups go.
    fn check_trust(&self) -> Result<()> {
        // Metrics decide nothing, and their folder may be that of another account: of the node exporter.
        let paths = self.path_arguments().filter(|(_, what, _)| *what != METRICS);
        let paths = paths.map(|(_, what, path)| (what, path));
        for (what, path) in std::iter::once(("the agent", self.program.as_path())).chain(paths) {
            let checked = match &self.run_as {
                RunAs::User { name, .. } => trust::check_for(name, path),
                RunAs::System | RunAs::Caller => trust::check(path),
            };
            let path = path.to_owned();
            checked.map_err(|others| ScheduleError::Untrusted { what, path, others })?;
        }
        Ok(())
    }

    /// Checks that the policy's file is this policy's, that its paths are absolute, and that others cannot change it, nor
    /// the agent or the other files.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn check(&self) -> Result<()> {
        check_id(&self.policy_id)?;
        self.check_trust()?;
        let policy = Policy::load(&self.policy)?;
        if policy.policy_id != self.policy_id {
            let reason = format!(
                "it is the file of policy {}. Give that --policy-id, or another file",
                policy.policy_id
            );
            return Err(ScheduleError::unusable("policy", &self.policy_id, reason));
        }
        match policy.paths.iter().find(|path| !path.is_absolute()) {
            Some(path) => Err(ScheduleError::unusable(
                "the path",
                path.display().to_string(),
                "it is relative, and a scheduled run has no current folder. Write it in full in the policy's `paths`",
            )),
            None => Ok(()),
        }
    }
}

pub(super) fn check_id(policy_id: &str) -> Result<()> {
    if is_policy_id(policy_id) {
        Ok(())
    } else {
        Err(ScheduleError::BadId { policy_id: policy_id.to_owned() })
    }
}
