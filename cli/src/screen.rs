//! Standard error: log lines, hints and a progress bar that do not run into each other.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{SecondsFormat, Utc};
use indicatif::ProgressBar;
use intellistor_telemetry::Escaped;
use intellistor_telemetry::console::Format;
use tracing::Level;

use crate::summary::Summary;

/// Standard error, shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen(Arc<State>);

#[derive(Debug, Default)]
struct State {
    quiet: bool,
    draws: bool,
    format: Format,
    bar: Mutex<Option<ProgressBar>>,
    /// What the run ends with.
    summary: Mutex<Option<Summary>>,
}

impl Screen {
    /// Standard error as it is: a bar is drawn only where a person looks.
    pub(crate) fn new(quiet: bool, format: Format) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let draws = !quiet && !dumb && format == Format::Human && io::stderr().is_terminal();
        Self(Arc::new(State { quiet, draws, format, bar: Mutex::default(), summary: Mutex::default() }))
    }

    /// One that shows nothing but errors, for what is said elsewhere.
    pub(crate) fn silent() -> Self {
        Self(Arc::new(State { quiet: true, ..State::default() }))
    }

    /// Whether a progress bar shows here.
    pub(crate) fn draws(&self) -> bool {
        self.0.draws
    }

    /// Lines are written above this bar from now on.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.0.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// What the run will have said at its end, to a person.
    pub(crate) fn conclude(&self, summary: Summary) {
        *self.0.summary.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary);
    }

    /// Writes the summary, where a person looks.
    pub(crate) fn write_summary(&self) {
        let summary = self.0.summary.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(summary) = summary.filter(|_| self.0.draws) {
            // Where standard error is gone there is nowhere to say so.
            let _ = self.clone().write_all(summary.render(self.has_colours()).as_bytes());
        }
    }

    /// A question, whose answer is written behind it. Names in it are escaped.
    pub(crate) fn ask(&self, question: &str) {
        let _ = self.clone().write_all(question.as_bytes());
        let _ = self.clone().flush();
    }

    fn has_colours(&self) -> bool {
        self.0.draws && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// A line that is worth reading, but not with `-q`.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.0.quiet {
            self.line(Level::INFO, Escaped(text));
        }
    }

    /// A line about what may be wrong.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        if !self.0.quiet {
            match self.0.format {
                Format::Human => self.line(Level::WARN, format_args!("warning: {}", Escaped(text))),
                Format::Json => self.line(Level::WARN, Escaped(text)),
            }
        }
    }

    /// What must be read, as it is.
    pub(crate) fn say(&self, level: Level, text: impl fmt::Display) {
        self.line(level, text);
    }

    fn line(&self, level: Level, text: impl fmt::Display) {
        let line = match self.0.format {
            Format::Human => format!("{text}\n"),
            Format::Json => {
                let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
                let text = text.to_string();
                // The level says it.
                let message = text.strip_prefix("error: ").unwrap_or(&text);
                format!(
                    "{}\n",
                    serde_json::json!({ "timestamp": timestamp, "level": level.as_str(), "message": message })
                )
            }
        };
        // Where standard error is gone there is nowhere to say so.
        let _ = self.clone().write_all(line.as_bytes());
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
