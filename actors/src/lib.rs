//! The stages of backup and restore, one actor each, and the machine's files on both ends.
//!
//! ```text
//! source  reads this machine's files      target  writes them
//! backup  from files to a store           restore from a store to files: their docs draw the flow and its bounds
//! link    the bounded link between stages, and the failure report that stops them all
//! threaded  the adapter that runs a stage on threads of its own
//! ```
//!
//! **Backpressure law.** A stage answers a message when it has taken responsibility for it, and sends
//! through a [`Link`](link::Link), which allows a fixed number of unanswered messages. What is in memory
//! is therefore the sum of the windows times the message sizes, whatever the data set; each stage's doc
//! states its numbers.
//!
//! **Failure law.** The pipeline is the unit of restart. A stage that fails reports once to
//! [`Failures`](link::Failures) and answers `Err(Stopped)` from then on; so do its neighbours, and the
//! pipeline ends with the first report.

pub mod backup;
pub mod globs;
pub mod link;
pub mod log_shipper;
pub mod privileges;
pub mod progress;
pub mod restore;
pub mod shown;
pub mod source;
mod stage_span;
pub mod target;
pub mod threaded;
#[cfg(any(windows, test))]
mod verbatim;
