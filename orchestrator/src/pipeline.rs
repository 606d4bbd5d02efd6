//! The stages of both directions, wired downstream first, on a thread of their own.
//!
//! The pipeline is the unit of restart: the first stage that fails stops all, and its failure is the error.
//!
//! Every address is held until the last stage has given its outcome, and with them every stage's link: actix
//! (0.13.5, `sync.rs`) passes over a queued message whose sender no longer waits for the answer.

pub(crate) mod backup;
pub(crate) mod content;
pub(crate) mod restore;
pub(crate) mod system;
