//! Standard output: one JSON document, or what a person asked to read instead.
//!
//! | module | holds |
//! | --- | --- |
//! | `format` | which of them |
//! | `checklist` | checks, with what to do |
//! | `table` | tables that fit the terminal |
//! | `times` | times as people read them |

pub(crate) mod checklist;
pub(crate) mod format;
pub(crate) mod table;
pub(crate) mod times;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use tracing::Level;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// The output of a command that succeeded.
#[derive(Debug)]
pub(crate) enum Done {
    /// JSON that is not written yet.
    Document(String, Exit),
    /// Standard output has everything already.
    Written(Exit),
}

impl Done {
    /// A document, and how the program ends once it is written.
    pub(crate) fn document(value: &impl Serialize, exit: Exit) -> Result<Self, Failure> {
        match serde_json::to_string_pretty(value) {
            Ok(text) => Ok(Self::Document(text, exit)),
            Err(e) => Err(Failure::new(Exit::Failed, format!("cannot write the result as JSON: {e}"))),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Document(_, exit) | Self::Written(exit) => *exit,
        }
    }
}

/// Writes the outcome to both outputs. What a person reads comes last: where both are one terminal, the JSON would bury it.
pub(crate) fn finish(outcome: Result<Done, Failure>, screen: &Screen) -> ExitCode {
    let failure = match outcome {
        Ok(Done::Written(exit)) => {
            screen.write_summary();
            return exit.into();
        }
        Ok(Done::Document(text, exit)) => {
            let written = write(io::stdout().lock(), &text);
            screen.write_summary();
            match written {
                Ok(()) => return exit.into(),
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return exit.into(),
                Err(e) => unwritable(&e),
            }
        }
        Err(failure) => failure,
    };
    if failure.has_document() {
        // The exit code and standard error report the failure in any case.
        let _ = write(io::stdout().lock(), &format!("{:#}", failure.document()));
    }
    screen.write_summary();
    if !failure.is_shown() {
        screen.say(Level::ERROR, &failure);
    }
    failure.exit().into()
}

fn write(mut out: impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{text}")?;
    out.flush()
}

/// Standard output failed while it was being written.
pub(crate) fn unwritable(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::output_closed(Exit::Failed),
        _ => {
            Failure::new(Exit::Failed, format!("cannot write to standard output: {error}")).without_document()
        }
    }
}
