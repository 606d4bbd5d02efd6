//! Standard error: log lines, hints and a progress bar that do not run into each other.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use intellistor_telemetry::Escaped;

/// Standard error, shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen(Arc<State>);

#[derive(Debug, Default)]
struct State {
    quiet: bool,
    draws: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Screen {
    /// Standard error as it is: a bar is drawn only where a person looks.
    pub(crate) fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let draws = !quiet && !dumb && io::stderr().is_terminal();
        Self(Arc::new(State { quiet, draws, bar: Mutex::default() }))
    }

    /// Whether a progress bar shows here.
    pub(crate) fn draws(&self) -> bool {
        self.0.draws
    }

    /// Lines are written above this bar from now on.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.0.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// A line that is worth reading, but not with `-q`.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.0.quiet {
            self.say(format_args!("{}", Escaped(text)));
        }
    }

    /// A line about what may be wrong.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        self.note(format_args!("warning: {text}"));
    }

    /// What must be read, as it is.
    pub(crate) fn say(&self, text: impl fmt::Display) {
        // Where standard error is gone there is nowhere to say so.
        let _ = self.clone().write_all(format!("{text}\n").as_bytes());
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
