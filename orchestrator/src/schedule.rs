//! When to run.
pub mod cron;
mod error;
pub mod triggers;
pub use error::ScheduleError;
