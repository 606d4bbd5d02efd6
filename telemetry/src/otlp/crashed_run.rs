//! The root span of a run that crashed before it could close it.

use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, Status, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::ids;
use crate::names::span;
use crate::trace::SpanIds;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The tracer that [`close_crashed_run`] uses; the first one stays.
pub(super) fn set_tracer(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

/// Sends the root span of a run that crashed, which its other spans, as far as they were sent, name as their parent. It is an
/// error and ends now, since the time of the crash is unknown. Does nothing where traces are off.
pub fn close_crashed_run(root: &SpanIds, began: SystemTime, policy_id: &str, timestamp: &str) {
    let (Some(tracer), Some(ids)) = (TRACER.get(), root.parse()) else { return };
    let attributes = [
        KeyValue::new("intellistor.policy.id", policy_id.to_owned()),
        KeyValue::new("intellistor.run.timestamp", timestamp.to_owned()),
        KeyValue::new("intellistor.run.died", true),
    ];
    let mut span = ids::with_ids(ids, || {
        let builder = tracer.span_builder(span::RUN).with_start_time(began).with_attributes(attributes);
        builder.start_with_context(tracer, &Context::new())
    });
    span.set_status(Status::error("the process ended before its run did"));
    span.end();
}
