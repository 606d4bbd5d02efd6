//! From an event to the log of the run that it belongs to.
//!
//! An event belongs to the run whose span ([`RunLog::span`]) it is in, however deep, on whatever thread. An event in no
//! run's span goes to no log. The nearest run wins.

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

use super::RunLog;
use crate::fields::Fields;
use crate::names;

/// The target of a run's span.
pub const TARGET: &str = "intellistor::run";

thread_local! {
    // A layer hears of a new span on the thread that makes it, before the maker has it. This is how the log comes
    // along, where a field could carry no more than a number.
    static HANDED: Cell<Option<RunLog>> = const { Cell::new(None) };
}

impl RunLog {
    /// A span; every event in it, or in a span below it, goes to this log. The files stay open as long as the span.
    ///
    /// A task or thread of its own has to be given it, or a span below it: `tokio::spawn(work.instrument(span))`.
    pub fn span(&self) -> Span {
        let policy_id = self.folder().file_name().unwrap_or_default().to_string_lossy();
        HANDED.set(Some(self.clone()));
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
        // Still there when nobody keeps logs.
        HANDED.take();
        span
    }
}

/// The logs of all runs as a layer. It has a filter of its own, so that neither `-q` nor `RUST_LOG` takes evidence
/// away: what our own crates say from INFO on, and all others from WARN on.
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
        if let (Some(log), Some(span)) = (HANDED.take(), ctx.span(id)) {
            span.extensions_mut().insert(log);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut spans = ctx.event_scope(event).into_iter().flatten();
        let Some(log) = spans.find_map(|span| span.extensions().get::<RunLog>().cloned()) else {
            return;
        };
        let mut text = String::new();
        // A value that cannot be shown ends the line early; what was told until then is kept.
        let _ = Fields.format_fields(Writer::new(&mut text), event);
        log.write(*event.metadata().level(), &text);
    }
}
