//! The commands of `intellistor-agent`.

pub(crate) mod cancel;
pub(crate) mod logs;
mod metrics_file;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod status;
