//! From the spans of `tracing` to those of OpenTelemetry.
//!
//! Only spans of this program are sent, and no event, so that no file name and no error text leaves the machine this way. A
//! span that is not a root is made only below another one, so that none is an orphan.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::metrics;
use crate::names::span;

/// How many spans are open.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenSpans(Arc<AtomicUsize>);

impl OpenSpans {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) fn layer<S>(tracer: Option<SdkTracer>, open: OpenSpans) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Parents come from the spans of tracing alone, which cross threads with the messages.
            .with_context_activation(false)
    });
    let filter = dynamic_filter_fn(|metadata, context: &Context<'_, S>| {
        is_ours(metadata) && (span::ROOTS.contains(&metadata.name()) || context.lookup_current().is_some())
    });
    Layer::and_then(spans, SpanCounter { open }).with_filter(filter.with_max_level_hint(LevelFilter::INFO))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with("intellistor")
}

/// Counts open spans, and retried calls of the store.
struct SpanCounter {
    open: OpenSpans,
}

impl<S> Layer<S> for SpanCounter
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.open.0.fetch_add(1, Ordering::SeqCst);
        if attributes.metadata().name() == span::STORE_CALL {
            let mut call = StoreCall::default();
            attributes.record(&mut call);
            if call.attempt > 1 {
                metrics::retried(call.operation);
            }
        }
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.open.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct StoreCall {
    attempt: i64,
    operation: String,
}

impl Visit for StoreCall {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "intellistor.store.attempt" {
            self.attempt = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "intellistor.store.operation" {
            value.clone_into(&mut self.operation);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
