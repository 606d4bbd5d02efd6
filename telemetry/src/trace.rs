//! The ids of spans outside their process: in logs, manifests, results and the queue.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The ids of a span, in hex, as people and later processes see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanIds {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
}

impl SpanIds {
    /// `None` where traces are off.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| Self {
            trace_id: context.trace_id().to_string(),
            span_id: context.span_id().to_string(),
        })
    }

    /// `None` where they are not hex.
    pub(crate) fn parse(&self) -> Option<(TraceId, SpanId)> {
        Some((TraceId::from_hex(&self.trace_id).ok()?, SpanId::from_hex(&self.span_id).ok()?))
    }
}

/// The id of the trace that this code runs in; `None` where traces are off.
pub fn current_id() -> Option<String> {
    SpanIds::of(&Span::current()).map(|ids| ids.trace_id)
}

/// Links a span to an earlier one, which may be another process's.
pub fn link(span: &Span, earlier: &SpanIds) {
    if let Some((trace_id, span_id)) = earlier.parse() {
        let state = TraceState::default();
        span.add_link(SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, state));
    }
}
