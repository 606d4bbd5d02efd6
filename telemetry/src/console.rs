//! Log lines for a person, on standard error. Never in a file.
//!
//! ```text
//! warning: the store asks for fewer requests, trying again store=s3://bucket attempt=2
//! ```

use std::error::Error as StdError;
use std::fmt;
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt as subscriber_fmt};

use crate::fields::Fields;

macro_rules! run_end {
    () => {
        "intellistor::run_end"
    };
}

/// The target of events that say why a run ended. They are in its log; on the console the program's last lines say it, and
/// these only from `-v` on.
pub const RUN_END: &str = run_end!();

/// How much a person wants to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors (`-q`).
    Quiet,
    /// Warnings too.
    #[default]
    Normal,
    /// What our own code does (`-v`).
    Verbose,
    /// Its details, and what the libraries do (`-vv`).
    Debug,
    /// Everything (`-vvv`).
    Trace,
}

impl Verbosity {
    /// From the flags of a command line: `-q`, and how often `-v` was given.
    pub fn from_flags(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            (false, 2) => Self::Debug,
            (false, _) => Self::Trace,
        }
    }

    // Targets match by prefix: `intellistor` is every crate of ours.
    fn directives(self) -> &'static str {
        match self {
            Self::Quiet => concat!("error,", run_end!(), "=off"),
            Self::Normal => concat!("error,intellistor=warn,", run_end!(), "=off"),
            Self::Verbose => "warn,intellistor=info",
            Self::Debug => "info,intellistor=debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for a person.
    #[default]
    Human,
    /// A JSON object: `timestamp`, `level`, `message`, `target`, the event's other fields, `span` with those of the
    /// innermost span.
    Json,
}

/// Occurs when `RUST_LOG` is not a valid filter.
#[derive(Debug)]
pub struct BadFilter {
    text: String,
    reason: String,
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, reason } = self;
        write!(
            f,
            "RUST_LOG={text:?} is not a log filter: {reason}. Use a level such as `info`, or `warn,intellistor=debug`"
        )
    }
}

impl StdError for BadFilter {}

/// The console as a layer beside others.
///
/// # Errors
/// [`BadFilter`] when `rust_log` is used and malformed.
pub fn layer<S, W>(
    verbosity: Verbosity,
    format: Format,
    rust_log: Option<&str>,
    writer: W,
) -> Result<Box<dyn Layer<S> + Send + Sync>, BadFilter>
where
    S: Subscriber + for<'l> LookupSpan<'l> + Send + Sync,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = match rust_log.filter(|text| verbosity == Verbosity::Normal && !text.trim().is_empty()) {
        None => EnvFilter::new(verbosity.directives()),
        Some(text) => EnvFilter::builder()
            .parse(text)
            .map_err(|e| BadFilter { text: text.to_owned(), reason: e.to_string() })?,
    };
    if format == Format::Json {
        let lines = subscriber_fmt::layer().json().flatten_event(true).with_span_list(false);
        return Ok(lines.with_writer(writer).with_filter(filter).boxed());
    }
    let detailed = !matches!(verbosity, Verbosity::Quiet | Verbosity::Normal);
    let lines = Lines { started: detailed.then(Instant::now) };
    let lines = subscriber_fmt::layer().event_format(lines).fmt_fields(Fields);
    Ok(lines.with_writer(writer).with_filter(filter).boxed())
}

/// One event, one line.
struct Lines {
    /// Where set, each line begins with the seconds since then and ends with its spans.
    started: Option<Instant>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(started) = self.started {
            write!(writer, "[{:9.3} s] ", started.elapsed().as_secs_f64())?;
        }
        writer.write_str(match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "info: ",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        })?;
        ctx.format_fields(writer.by_ref(), event)?;
        if self.started.is_some() {
            let mut before = " in ";
            for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
                write!(writer, "{before}{}", span.name())?;
                before = ">";
            }
        }
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(verbosity: Verbosity, rust_log: Option<&str>, log: impl FnOnce()) -> String {
        lines_of(Format::Human, verbosity, rust_log, log)
    }

    fn lines_of(format: Format, verbosity: Verbosity, rust_log: Option<&str>, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let console = layer(verbosity, format, rust_log, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(console), log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn chatter() {
        tracing::info!(target: "hyper", "theirs");
        tracing::warn!(target: "hyper", "theirs");
        tracing::info!(target: "intellistor_actors::backup::scanner", "ours");
        tracing::warn!(target: "intellistor_actors::backup::scanner", "ours");
    }

    #[test]
    fn a_line_is_the_level_the_message_and_the_fields() {
        let text = lines(Verbosity::Normal, None, || {
            let gone = io::Error::new(io::ErrorKind::NotFound, "gone");
            tracing::warn!(
                attempt = 2,
                store = "s3://b",
                path = "a b",
                error = &gone as &dyn StdError,
                "trying again"
            );
        });
        assert_eq!(text, "warning: trying again attempt=2 store=s3://b path=\"a b\" error=gone\n");
    }

    #[test]
    fn no_value_forges_a_line() {
        let hostile = "x\nerror: forged\x1b[31m";
        let text = lines(Verbosity::Normal, None, || {
            tracing::warn!(shown = %hostile, text = hostile, debug = ?hostile, "skipped {hostile}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_line_can_be_json() {
        let text = lines_of(Format::Json, Verbosity::Normal, None, || {
            let _run = tracing::info_span!(target: "intellistor", "run", policy = "p").entered();
            tracing::warn!(attempt = 2, path = "a\n\"b", "trying again");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in
            [r#""level":"WARN""#, r#""message":"trying again""#, r#""attempt":2"#, r#""path":"a\n\"b""#]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains(r#""timestamp":"20"#), "{text}");
    }

    #[test]
    fn flags_choose_how_much_is_told() {
        assert_eq!(lines(Verbosity::Quiet, None, chatter), "");
        assert_eq!(lines(Verbosity::Normal, None, chatter), "warning: ours\n");
        assert_eq!(lines(Verbosity::Verbose, None, chatter).lines().count(), 3);
        assert_eq!(lines(Verbosity::Debug, None, chatter).lines().count(), 4);
        assert_eq!(Verbosity::from_flags(true, 0), Verbosity::Quiet);
        assert_eq!(Verbosity::from_flags(false, 9), Verbosity::Trace);
    }

    #[test]
    fn why_a_run_ended_is_left_to_the_last_lines() {
        let ends = || tracing::error!(target: RUN_END, "the run stopped");
        assert_eq!([Verbosity::Quiet, Verbosity::Normal].map(|v| lines(v, None, ends)), ["", ""]);
        assert!(lines(Verbosity::Verbose, None, ends).contains("the run stopped"));
    }

    #[test]
    fn rust_log_applies_where_no_flag_was_given() {
        assert_eq!(lines(Verbosity::Normal, Some("hyper=info"), chatter), "info: theirs\nwarning: theirs\n");
        assert_eq!(lines(Verbosity::Quiet, Some("trace"), chatter), "");
        assert_eq!(lines(Verbosity::Normal, Some(" "), chatter), "warning: ours\n");
        let text = layer::<tracing_subscriber::Registry, _>(
            Verbosity::Normal,
            Format::Human,
            Some("a=b=c"),
            io::sink,
        );
        assert!(text.err().unwrap().to_string().contains("RUST_LOG=\"a=b=c\""));
    }

    #[test]
    fn details_show_time_and_spans() {
        let text = lines(Verbosity::Verbose, None, || {
            let _job = tracing::info_span!(target: "intellistor", "job").entered();
            let _scan = tracing::info_span!(target: "intellistor", "scan").entered();
            tracing::info!(target: "intellistor", "walking");
        });
        assert!(text.starts_with("[") && text.ends_with(" s] info: walking in job>scan\n"), "{text}");
    }
}
