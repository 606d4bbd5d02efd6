//! Logs, traces and metrics of both programs.
//!
//! | module | holds |
//! | --- | --- |
//! | [`mod@init`] | the one call that starts all of them |
//! | [`console`] | log lines for a person, on standard error |
//! | [`run_log`] | a log file for each run, whatever the console shows |
//! | [`otlp`] | traces and metrics for a collector, where the standard variables ask for them |
//! | [`trace`], [`metrics`] | what the other crates record for both |
//! | [`names`] | every span, metric and attribute, with its unit |
//! | `fields` | how an event's values are written, the same in both |
//! | [`Escaped`] | text that cannot steer a terminal or forge a line |
//!
//! Everything that comes from outside (file names, a store's replies) passes through [`Escaped`] before it reaches a
//! terminal or a log, so that it cannot forge a line.

pub mod console;
mod escape;
mod fields;
pub mod init;
pub mod metrics;
pub mod names;
pub mod otlp;
pub mod run_log;
pub mod trace;

pub use escape::Escaped;
pub use init::init;
pub use run_log::RunLog;
