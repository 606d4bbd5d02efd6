//! What a policy says about its runs' surroundings: rates, hooks, notices.

use std::path::Path;
use std::sync::Arc;

use intellistor::{NotifySettings, Policy};

use crate::session::Session;

impl Session {
    /// Says how fast bytes may go, for a line that is not used up looks like a fault.
    pub(crate) fn note_limits(&self, policy: &Policy) {
        if let Some(limits) = policy.limits {
            self.screen.note(format_args!("the policy limits {limits}"));
        }
    }

    /// Secrets and proxies of notices, and the command in them that restores a backup of the policy in a file.
    pub(crate) fn notify_settings(&self, policy: Option<&Path>) -> NotifySettings {
        let mut settings = NotifySettings { variables: self.environment.for_store(), restore_command: None };
        if let Some(policy) = policy {
            let (session, policy) = (self.clone(), policy.to_owned());
            let command = move |key: &str| session.restore_command(policy.as_path(), key).line();
            settings.restore_command = Some(Arc::new(command));
        }
        settings
    }

    /// Says what of a policy only the agent does.
    pub(crate) fn note_agent_only(&self, policy: &Policy) {
        let fields = [("hooks", policy.hooks.is_some()), ("notify", !policy.notify.is_empty())];
        let fields: Vec<_> = fields.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
        if !fields.is_empty() {
            self.screen.note(format_args!(
                "the policy's {} are not used here: `intellistor-agent run` does that",
                fields.join(" and ")
            ));
        }
    }
}
