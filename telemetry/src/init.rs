//! Starts the console, the runs' logs and the traces, once for the whole process.

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::console::{self, BadFilter, Format, Verbosity};
use crate::otlp::Export;
use crate::run_log;

/// Starts the console, the logs of runs where the program keeps them, and the traces where they are sent. Each has its own
/// filter: `-q` changes neither a run's log nor its trace. A second call changes nothing.
///
/// Where `-v` or `-q` was given, `rust_log` is ignored.
///
/// # Errors
/// [`BadFilter`] when `rust_log` is used and malformed.
pub fn init<W>(
    verbosity: Verbosity,
    format: Format,
    rust_log: Option<&str>,
    writer: W,
    with_run_logs: bool,
    export: Option<Export>,
) -> Result<(), BadFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let console = console::layer(verbosity, format, rust_log, writer)?;
    let run_logs = with_run_logs.then(run_log::layer);
    let traces = export.map(Export::layer);
    // Fails only when a subscriber is installed already; that one stays.
    let _ = tracing_subscriber::registry().with(traces).with(run_logs).with(console).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::run_log::RunLog;

    #[test]
    fn a_quiet_console_leaves_the_log_and_a_second_init_changes_nothing() {
        let room = tempfile::tempdir().unwrap();
        let log = RunLog::open(room.path(), "20261124T020000Z").unwrap();
        init(Verbosity::Quiet, Format::Human, None, io::sink, true, None).unwrap();
        init(Verbosity::Quiet, Format::Human, None, io::sink, false, None).unwrap();
        log.span().in_scope(|| tracing::info!("logged"));
        assert!(std::fs::read_to_string(log.path()).unwrap().ends_with("Z INFO  logged\n"));
    }
}
