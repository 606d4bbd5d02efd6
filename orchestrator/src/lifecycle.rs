//! What becomes of backups after they were made: kept, forgotten, held, swept, locked, copied.
//!
//! A backup is **forgotten** by a small statement beside it, and is not listed any more; until a **sweep** deletes it, days
//! later, that can be taken back. A **hold** wins over forgetting. **Retention** is the rule by which a policy forgets.
//!
//! | file | holds |
//! | --- | --- |
//! | `retention` | which backups the rules keep, and why; pure |
//! | `scope` | which policy in which store, by whom, and what time it is there |

// While its rooms are being built.
#![allow(dead_code, unused_imports)]

mod retention;
mod scope;

pub use retention::Reason;
pub(crate) use retention::{Candidate, Verdict, verdicts};
pub(crate) use scope::Scope;
