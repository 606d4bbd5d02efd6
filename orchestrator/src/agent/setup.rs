//! What a run of the agent is given.

use std::path::PathBuf;

use intellistor_storage::keys::Recipients;
use intellistor_storage::objects::RetryPolicy;

use crate::agent::home::Home;
use crate::agent::log::AgentLog;
use crate::agent::report::AgentOptions;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::copies::absolute;
use crate::policy::Policy;

#[derive(Debug, Clone, Copy)]
pub(super) struct RunSetup<'a> {
    pub(super) home: &'a Home,
    /// How often a job is tried without progress.
    pub(super) attempts: RetryPolicy,
    pub(super) catalog: &'a Catalog,
    pub(super) recipients: &'a Recipients,
    pub(super) policy: &'a Policy,
    pub(super) options: &'a AgentOptions,
}

impl RunSetup<'_> {
    /// The log of the job with this timestamp.
    pub(super) fn log(&self, timestamp: &str) -> Result<AgentLog> {
        let policy_id = &self.policy.policy_id;
        AgentLog::open(&self.home.logs_folder(policy_id), policy_id, timestamp)
    }

    /// The folder of the copy, absolute: a later run may start in another folder.
    pub(super) fn copy_to(&self) -> Option<PathBuf> {
        self.options.copy_to.as_deref().map(absolute)
    }
}
