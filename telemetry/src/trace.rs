//! The names of spans beyond their process: in logs, manifests, results and the queue.

use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::otlp;

/// A span, as it is named to people and to later processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanName {
    /// Its trace, in hex.
    pub trace_id: String,
    /// Itself, in hex.
    pub span_id: String,
}

impl SpanName {
    /// Of a span; `None` where traces are off.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| Self {
            trace_id: context.trace_id().to_string(),
            span_id: context.span_id().to_string(),
        })
    }

    pub(crate) fn ids(&self) -> Option<(TraceId, SpanId)> {
        Some((TraceId::from_hex(&self.trace_id).ok()?, SpanId::from_hex(&self.span_id).ok()?))
    }
}

/// The trace that this code runs in; `None` where traces are off.
pub fn current_id() -> Option<String> {
    SpanName::of(&Span::current()).map(|name| name.trace_id)
}

/// Links a span to an earlier one, which may have been another process's.
pub fn link(span: &Span, earlier: &SpanName) {
    if let Some((trace_id, span_id)) = earlier.ids() {
        let state = TraceState::default();
        span.add_link(SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, state));
    }
}

/// Ends the root of a run that died before it could do so itself; its other spans, as far as they were sent, would have no
/// parent otherwise. It ends now, as an error, for nobody knows when it died.
pub fn end_for_the_dead(root: &SpanName, began: SystemTime, policy_id: &str, timestamp: &str) {
    otlp::end_for_the_dead(root, began, policy_id, timestamp);
}
