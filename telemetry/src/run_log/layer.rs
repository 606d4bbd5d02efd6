//! From an event to the log of the run that it belongs to.
//!
//! An event belongs to the run whose span ([`RunLog::span`]) it is in, at any depth, on any thread; of two runs to the inner
//! one. An event in no run's span goes to no log.

use std::cell::Cell;

use tracing::field::Empty;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Span, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::log::RunLog;
use crate::fields::Fields;
use crate::names;

/// The target of a run's span.
pub const TARGET: &str = "intellistor::run";

thread_local! {
    // A layer is called for a new span on the thread that makes it. This passes the log to it, which a field could not.
    static PASSED: Cell<Option<RunLog>> = const { Cell::new(None) };
}

impl RunLog {
    /// A span; every event in it, or in a span below it, goes to this log. The files stay open as long as the span.
    ///
    /// Another task or thread needs it, or a span below it: `tokio::spawn(work.instrument(span))`.
    pub fn span(&self) -> Span {
        let policy_id = self.folder().file_name().unwrap_or_default().to_string_lossy();
        PASSED.set(Some(self.clone()));
        let span = info_span!(
            target: TARGET,
            // It is also the root of the run's trace.
            parent: None,
            names::span::RUN,
            intellistor.policy.id = &*policy_id,
            intellistor.run.timestamp = self.timestamp(),
            intellistor.run.resumed = Empty,
            intellistor.run.state = Empty,
            intellistor.backup.id = Empty,
            intellistor.parts.sent = Empty,
            intellistor.parts.reused = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        // Still there where no layer keeps logs.
        PASSED.take();
        span
    }
}

/// The logs of all runs as a layer. Its own filter keeps `-q` and `RUST_LOG` from removing evidence: events of our crates
/// from INFO on, of all others from WARN on.
pub fn layer<S>() -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    RunLogs.with_filter(filter_fn(is_evidence))
}

fn is_evidence(metadata: &Metadata<'_>) -> bool {
    if metadata.target().starts_with("intellistor") {
        // Every span of ours, since an event may name any of them as its parent: one left out would cut it off.
        metadata.is_span() || *metadata.level() <= Level::INFO
    } else {
        *metadata.level() <= Level::WARN
    }
}

struct RunLogs;

impl<S> Layer<S> for RunLogs
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        if let (Some(log), Some(span)) = (PASSED.take(), ctx.span(id)) {
            span.extensions_mut().insert(log);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut spans = ctx.event_scope(event).into_iter().flatten();
        let Some(log) = spans.find_map(|span| span.extensions().get::<RunLog>().cloned()) else {
            return;
        };
        let mut text = String::new();
        // A value that cannot be formatted ends the line early; what precedes it stays.
        let _ = Fields.format_fields(Writer::new(&mut text), event);
        log.write(*event.metadata().level(), &text);
    }
}
