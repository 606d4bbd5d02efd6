//! Traces and metrics for a collector, over OTLP.
//!
//! - **In**: spans of `tracing` (`layer`), and what [`metrics`](crate::metrics) is told.
//! - **Out**: gRPC or http/protobuf, as the standard `OTEL_*` variables say ([`Settings`]); nothing without them.
//! - **Bound**: the SDK's queue of 2,048 spans (`OTEL_BSP_MAX_QUEUE_SIZE`) and a batch on its way; what comes on top while a
//!   collector hangs is dropped. Metrics are sums, whose size does not grow.
//! - **Blocks**: nothing of a run. Threads and a runtime of its own send; [`Export::finish`] waits for at most
//!   [`AT_EXIT`], whatever the collector does. The first failure is one warning, and no exit code knows of it.
//! - **Survives a crash**: what was sent: batches go each second. The root of a run that died is sent by the run that goes on
//!   with its job ([`end_for_the_dead`](crate::trace::end_for_the_dead)).

mod exporter;
mod ids;
mod layer;
mod settings;

use std::fmt;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Span as _, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::names::{SCOPE, span};
use crate::trace::SpanName;
use exporter::{Place, Teller};
use layer::Open;

pub use settings::{BadSetting, Settings};

/// The longest that a program waits at its end.
pub const AT_EXIT: Duration = Duration::from_millis(1_700);
/// How long spans that other threads are about to close are waited for, within [`AT_EXIT`].
const LAST_SPANS: Duration = Duration::from_millis(300);
/// A process that is killed loses no more than this.
const BETWEEN_BATCHES: Duration = Duration::from_secs(1);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What sends. It lives as long as the process: dropping its parts would wait for the collector again.
#[derive(Clone, Copy)]
pub struct Export(&'static Parts);

struct Parts {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    open: Open,
    teller: Teller,
    /// A thread may still wait on it when the program ends, so that it is never shut down.
    _runtime: Runtime,
}

/// Starts to send. `None` when that is impossible, which `warn` is told; no more than one warning will come.
pub fn start(
    settings: &Settings,
    service: &'static str,
    version: &'static str,
    warn: impl Fn(&str) + Send + Sync + 'static,
) -> Option<Export> {
    let teller = Teller::new(warn);
    match try_to_start(settings, service, version, &teller) {
        Ok(parts) => Some(Export(Box::leak(Box::new(parts)))),
        Err(error) => {
            teller.tell(error);
            None
        }
    }
}

fn try_to_start(
    settings: &Settings,
    service: &'static str,
    version: &'static str,
    teller: &Teller,
) -> Result<Parts, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("telemetry")
        .enable_all()
        .build()?;
    let place = Place { runtime: runtime.handle().clone(), teller: teller.clone() };
    let entered = runtime.enter();
    let resource = resource(settings, service, version);
    let traces = settings.traces.as_ref().map(|signal| {
        let config = BatchConfigBuilder::default();
        let config = if settings.own_delay { config } else { config.with_scheduled_delay(BETWEEN_BATCHES) };
        let spans = exporter::spans(signal, &place)?;
        let batches = BatchSpanProcessor::builder(spans).with_batch_config(config.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches)
            .with_id_generator(ids::Ids::default())
            .with_resource(resource.clone())
            .build();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(provider)
    });
    let metrics = settings.metrics.as_ref().map(|signal| {
        let reader = PeriodicReader::builder(exporter::metrics(signal, &place)?).build();
        let provider =
            SdkMeterProvider::builder().with_reader(reader).with_resource(resource.clone()).build();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(provider)
    });
    let (traces, metrics) = (traces.transpose()?, metrics.transpose()?);
    drop(entered);
    if let Some(traces) = &traces {
        let _ = TRACER.set(traces.tracer(SCOPE));
    }
    if let Some(metrics) = &metrics {
        crate::metrics::start(&metrics.meter(SCOPE));
    }
    Ok(Parts { traces, metrics, open: Open::default(), teller: teller.clone(), _runtime: runtime })
}

/// `OTEL_RESOURCE_ATTRIBUTES` wins over what is known here, and `OTEL_SERVICE_NAME` over both.
fn resource(settings: &Settings, service: &'static str, version: &'static str) -> Resource {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let known = [
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", version),
        KeyValue::new("host.name", host),
        KeyValue::new("os.type", if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS }),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(known)
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &settings.service_name {
        Some(name) => resource.with_service_name(name.clone()).build(),
        None => resource.build(),
    }
}

impl Export {
    pub(crate) fn layer<S>(self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let tracer = self.0.traces.as_ref().map(|traces| traces.tracer(SCOPE));
        layer::layer(tracer, self.0.open.clone())
    }

    /// Sends what is left, and waits for that no longer than [`AT_EXIT`].
    pub fn finish(self) {
        let begun = Instant::now();
        // The last threads of a pipeline close their spans as they end.
        while self.0.open.count() > 0 && begun.elapsed() < LAST_SPANS {
            thread::sleep(Duration::from_millis(2));
        }
        let (done, heard) = mpsc::channel();
        let mut waiting = 0;
        let mut beside = |work: Box<dyn FnOnce() + Send>| {
            let done = done.clone();
            let run = move || {
                work();
                // The program may have left already.
                let _ = done.send(());
            };
            waiting += usize::from(thread::Builder::new().name("telemetry".to_owned()).spawn(run).is_ok());
        };
        // A failure was told where it happened.
        if let Some(traces) = &self.0.traces {
            beside(Box::new(|| drop(traces.shutdown_with_timeout(AT_EXIT))));
        }
        if let Some(metrics) = &self.0.metrics {
            beside(Box::new(|| drop(metrics.shutdown_with_timeout(AT_EXIT))));
        }
        for _ in 0..waiting {
            if heard.recv_timeout(AT_EXIT.saturating_sub(begun.elapsed())).is_err() {
                self.0.teller.tell("it did not take the last of them in time");
                return;
            }
        }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("traces", &self.0.traces.is_some())
            .field("metrics", &self.0.metrics.is_some())
            .finish()
    }
}

pub(crate) fn end_for_the_dead(root: &SpanName, began: SystemTime, policy_id: &str, timestamp: &str) {
    let (Some(tracer), Some(ids)) = (TRACER.get(), root.ids()) else { return };
    let attributes = [
        KeyValue::new("intellistor.policy.id", policy_id.to_owned()),
        KeyValue::new("intellistor.run.timestamp", timestamp.to_owned()),
        KeyValue::new("intellistor.run.died", true),
    ];
    let mut span = ids::named(ids, || {
        let builder = tracer.span_builder(span::RUN).with_start_time(began).with_attributes(attributes);
        builder.start_with_context(tracer, &Context::new())
    });
    span.set_status(Status::error("the process ended before its run did"));
    span.end();
}
