//! Ids for spans: random ones, or those of a span that a process that crashed had begun.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace_id, _)| trace_id)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span_id)| span_id)
    }
}

/// A root span that `begin` begins on this thread gets these ids.
pub(super) fn with_ids<T>(ids: (TraceId, SpanId), begin: impl FnOnce() -> T) -> T {
    NEXT.set(Some(ids));
    let begun = begin();
    NEXT.take();
    begun
}
