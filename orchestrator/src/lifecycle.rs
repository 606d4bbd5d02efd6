//! What becomes of backups after they were made: kept, forgotten, held, swept, locked, copied.
//!
//! A backup is **forgotten** by a small statement beside it, and is not listed any more; until a **sweep** deletes it, days
//! later, that can be taken back. A **hold** wins over forgetting. **Retention** is the rule by which a policy forgets.
//!
//! | file | holds |
//! | --- | --- |
//! | `locking` | Object Lock: what is checked, prolonged and looked at |
//! | `policy_store` | what gives new objects the policy's lock and storage class |
//! | `forget`, `apply` | forgets one backup; forgets what no rule of the policy keeps |
//! | `subject` | a backup that something is said about, and the law of that |
//! | `hold`, `legal_hold` | keeps a backup, releases it, takes a forgetting back; the same in the store itself |
//! | `brake` | why retention rests after much was missing or changed at once |
//! | `copy` | chosen backups, and what they depend on, to another store |
//! | `retention`, `outlook` | which backups the rules keep, and why; which go next; both pure |
//! | `sweep` | deletes what was forgotten long enough ago |
//! | `interleavings` | a model checker over all of it, for tests |
//! | `scope` | which policy in which store, by whom, and what time it is there |

mod apply;
pub(crate) mod brake;
mod copy;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod forget;
mod hold;
#[cfg(test)]
mod interleavings;
mod legal_hold;
pub(crate) mod locking;
pub(crate) mod outlook;
pub(crate) mod policy_store;
mod retention;
pub(crate) mod scope;
mod subject;
mod sweep;

pub use apply::{RetentionOptions, apply_retention};
pub use copy::{CopiedBackup, CopyOptions, CopyReport, CopySelection, UncopiedBackup, copy};
pub use forget::{ForgetOptions, ForgetReport, ForgottenBackup, KeepReason, KeptBackup, forget};
pub use hold::{BackupState, HoldOptions, HoldReport, hold, release, unforget};
pub use outlook::{BackupReference, RetentionOutlook};
pub use retention::Reason;
pub(crate) use scope::Scope;
pub use sweep::{ArchiveKept, SweepReport, SweptBackup, UnsweptBackup, WaitingBackup, prune};
pub(crate) use sweep::{KnownReferences, SweepOptions, sweep};
