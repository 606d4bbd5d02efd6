//! What is examined: what a run would be given.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::keys::UserKey;
use intellistor_storage::objects::{OpenOptions, StoreUrl};

use super::finding::Finding;
use crate::policy::Policy;
use crate::schedule::ScheduleEntry;

/// What a run would be given. Where the program cannot give it, it says why.
pub struct Subject {
    pub policy_file: PathBuf,
    /// Whether a scheduler will start the run, which refuses files that others can write.
    pub unattended: bool,
    pub key: Result<ConfiguredKey, Finding>,
    /// Seal with a passphrase that is easily guessed.
    pub weak_passphrase: bool,
    /// Which store the policy has, and how it is opened.
    pub store: StoreOf,
    /// `None` for this machine under its own name.
    pub machine: Option<Machine>,
    /// The folder of a copy: `--out`.
    pub copy_to: Option<PathBuf>,
    /// How long files are counted.
    pub count_for: Duration,
    /// What only the agent has.
    pub agent: Option<AgentSubject>,
}

/// Finds the store of a policy.
pub type StoreOf = Box<dyn Fn(&Policy) -> Result<StoreSettings, Finding> + Send + Sync>;

/// A store, and where its settings are.
#[derive(Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    pub options: OpenOptions,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_PROFILE`.
    pub profile: Option<String>,
}

/// A key, and where it is from.
pub struct ConfiguredKey {
    pub key: UserKey,
    /// Which of `INTELLISTOR_KEY`, `INTELLISTOR_KEY_FILE` and `INTELLISTOR_PASSPHRASE` has it.
    pub variable: &'static str,
    /// The file that it names.
    pub file: Option<PathBuf>,
}

/// Lists the schedules of this machine. It blocks.
pub type ListSchedules = Box<dyn FnOnce() -> Result<Vec<ScheduleEntry>, Finding> + Send>;

/// What only the agent has.
pub struct AgentSubject {
    pub home: Result<PathBuf, Finding>,
    /// `None` before there is a schedule.
    pub schedules: Option<ListSchedules>,
    /// What a scheduled run would not see of this process's variables, in a sentence each.
    pub unseen: Vec<String>,
}

impl fmt::Debug for Subject {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("policy_file", &self.policy_file).finish_non_exhaustive()
    }
}
