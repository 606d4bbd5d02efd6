//! Standard output: one JSON document.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// What a command that worked leaves behind.
#[derive(Debug)]
pub(crate) enum Done {
    /// A document that is still to be written.
    Document(Value, Exit),
    /// Standard output has everything already.
    Written,
}

impl Done {
    /// A document, with nothing to complain about.
    pub(crate) fn document(value: Value) -> Self {
        Self::Document(value, Exit::Success)
    }
}

/// Tells the outcome on both outputs.
pub(crate) fn finish(outcome: Result<Done, Failure>, screen: &Screen) -> ExitCode {
    let failure = match outcome {
        Ok(Done::Written) => return Exit::Success.into(),
        Ok(Done::Document(value, exit)) => match write(io::stdout().lock(), &value) {
            Ok(()) => return exit.into(),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return exit.into(),
            Err(e) => unwritable(&e),
        },
        Err(failure) => failure,
    };
    if !failure.is_silent() {
        screen.say(&failure);
    }
    if failure.wants_document() {
        // The exit code and standard error have told it already.
        let _ = write(io::stdout().lock(), &failure.document());
    }
    failure.exit().into()
}

fn write(mut out: impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Standard output failed while it was being written.
pub(crate) fn unwritable(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::nobody_reads(Exit::Failed),
        _ => Failure::new(Exit::Failed, format!("cannot write to standard output: {error}")).after_output(),
    }
}
