//! Policies: what to back up, when and where to, as people write it in YAML.
//!
//! ```
//! let text = "policy_id: documents\npaths: ['/home/ana/Documents']\nexclude: ['*.tmp']\n";
//! let policy = intellistor::Policy::from_yaml("documents.yaml".as_ref(), text)?;
//! assert_eq!(policy.exclude, ["*.tmp"]);
//! # Ok::<(), intellistor::PolicyError>(())
//! ```
//! Relative paths are relative to the current directory, not to the policy's file. `~` and variables are not expanded:
//! a scheduled run has a different home directory and a different environment.
//!
//! | module | holds |
//! | --- | --- |
//! | `definition`, `fields`, `rules` | the fields; how each is read and checked |
//! | `lifecycle` | retention rules and locks |
//! | `notify`, `hooks`, `limits` | what happens around a run: notices, commands, rates |
//! | `duration` | durations as people write them |
//! | `reader`, `correction`, `writer` | from YAML, the line that was meant, to YAML |
//! | `masking` | what may be a secret, and is in no error |
//! | `digest` | what decides whether a job may be resumed |

mod correction;
mod definition;
mod digest;
mod duration;
mod error;
mod fields;
mod hooks;
mod lifecycle;
mod limits;
mod masking;
mod notify;
mod reader;
mod rules;
mod writer;

pub use definition::{CloudFiles, LogPolicy, ManifestForm, Policy, ResumePolicy, SystemFilesRule, VssMode};
pub(crate) use duration::duration_text;
pub use error::{PolicyError, PolicyLocation};
pub(crate) use fields::PRUNE_AFTER;
pub use hooks::{Command, Hooks};
pub use intellistor_actors::backup::changes::DetectChanges;
pub use lifecycle::{LockMode, LockPolicy, RetentionRules};
pub use notify::{
    Channel, MailRule, NotifyRule, Occasion, SECRET_PREFIX, SMTP_PASSWORD, Secret, SmtpSecurity, Variable,
};
pub(crate) use notify::{check_url, shown_url};
pub use rules::parse_duration;

#[cfg(test)]
mod tests;
