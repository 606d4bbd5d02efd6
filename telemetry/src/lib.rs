//! What a run tells about itself.
//!
//! | room | holds |
//! | --- | --- |
//! | [`console`] | log lines for a person, on standard error |
//! | [`run_log`] | a log file for each run: evidence, whatever the console shows |
//! | [`otlp`] | traces and metrics for a collector, where the standard variables ask for them |
//! | [`trace`], [`metrics`] | what the other crates say of both |
//! | [`names`] | every span, metric and attribute, with its unit |
//! | `fields` | how an event's values read, the same in both |
//! | [`Escaped`] | text that cannot steer a terminal or forge a line |
//!
//! Everything that comes from outside (file names, a store's words) passes through [`Escaped`] on its way
//! to a terminal or a log, so that no line of ours can be forged.

pub mod console;
mod escape;
mod fields;
pub mod metrics;
pub mod names;
pub mod otlp;
pub mod run_log;
pub mod trace;

pub use escape::Escaped;
pub use run_log::RunLog;

use console::{BadFilter, Format, Verbosity};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the console for the whole process, the logs of runs where the program keeps them, and the traces where they are
/// sent; once. None filters for another: `-q` leaves a run's log and its trace as they are.
///
/// Where `-v` or `-q` was given, `rust_log` is not looked at.
///
/// # Errors
/// [`BadFilter`] when `rust_log` is needed and malformed. A second call changes nothing.
pub fn init<W>(
    verbosity: Verbosity,
    format: Format,
    rust_log: Option<&str>,
    writer: W,
    with_run_logs: bool,
    export: Option<otlp::Export>,
) -> Result<(), BadFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let console = console::layer(verbosity, format, rust_log, writer)?;
    let run_logs = with_run_logs.then(run_log::layer);
    // Fails only when a subscriber is there already; it then stays.
    let traces = export.map(otlp::Export::layer);
    let _ = tracing_subscriber::registry().with(traces).with(run_logs).with(console).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn one_init_starts_both_and_a_quiet_console_leaves_the_log() {
        let room = tempfile::tempdir().unwrap();
        let log = RunLog::open(room.path(), "20261124T020000Z").unwrap();
        init(Verbosity::Quiet, Format::Human, None, io::sink, true, None).unwrap();
        console::init(Verbosity::Quiet, Format::Human, None, io::sink).unwrap();
        log.span().in_scope(|| tracing::info!("told"));
        assert!(std::fs::read_to_string(log.path()).unwrap().ends_with("Z INFO  told\n"));
    }
}
