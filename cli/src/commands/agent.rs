//! The commands of `intellistor-agent`.

pub(crate) mod cancel;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod status;
