//! The providers of traces and metrics: started with the program, stopped within [`AT_EXIT`].

use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::exporters::{self, Sender, WarnOnce};
use super::layer::{self, OpenSpans};
use super::settings::Settings;
use super::{crashed_run, ids};
use crate::metrics;
use crate::names::SCOPE;

/// The longest that a program waits at its end.
pub const AT_EXIT: Duration = Duration::from_millis(1_700);
/// How long to wait for spans that other threads are about to close, within [`AT_EXIT`].
const LAST_SPANS: Duration = Duration::from_millis(300);
/// A process that is killed loses no more than this.
const BETWEEN_BATCHES: Duration = Duration::from_secs(1);

/// What sends. It lives as long as the process: dropping the providers would wait for the collector again.
#[derive(Clone, Copy)]
pub struct Export(&'static Providers);

struct Providers {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    open: OpenSpans,
    warning: WarnOnce,
    /// A thread may still wait on it when the program ends, so that it is never shut down.
    _runtime: Runtime,
}

/// Starts to send. `None` when that is impossible, after a call of `warn`, which is called once at most.
pub fn start(
    settings: &Settings,
    service: &'static str,
    version: &'static str,
    warn: impl Fn(&str) + Send + Sync + 'static,
) -> Option<Export> {
    let warning = WarnOnce::new(warn);
    match try_to_start(settings, service, version, &warning) {
        Ok(providers) => Some(Export(Box::leak(Box::new(providers)))),
        Err(error) => {
            warning.warn(error);
            None
        }
    }
}

fn try_to_start(
    settings: &Settings,
    service: &'static str,
    version: &'static str,
    warning: &WarnOnce,
) -> Result<Providers, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("telemetry")
        .enable_all()
        .build()?;
    let sender = Sender { runtime: runtime.handle().clone(), warning: warning.clone() };
    let entered = runtime.enter();
    let resource = resource(settings, service, version);
    let traces = settings.traces.as_ref().map(|signal| {
        let config = BatchConfigBuilder::default();
        let config = if settings.own_delay { config } else { config.with_scheduled_delay(BETWEEN_BATCHES) };
        let spans = exporters::spans(signal, &sender)?;
        let batches = BatchSpanProcessor::builder(spans).with_batch_config(config.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches)
            .with_id_generator(ids::Ids::default())
            .with_resource(resource.clone())
            .build();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(provider)
    });
    let metrics = settings.metrics.as_ref().map(|signal| {
        let reader = PeriodicReader::builder(exporters::metrics(signal, &sender)?).build();
        let provider =
            SdkMeterProvider::builder().with_reader(reader).with_resource(resource.clone()).build();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(provider)
    });
    let (traces, metrics) = (traces.transpose()?, metrics.transpose()?);
    drop(entered);
    if let Some(traces) = &traces {
        crashed_run::set_tracer(traces.tracer(SCOPE));
    }
    if let Some(provider) = &metrics {
        metrics::start(&provider.meter(SCOPE));
    }
    Ok(Providers { traces, metrics, open: OpenSpans::default(), warning: warning.clone(), _runtime: runtime })
}

/// `OTEL_RESOURCE_ATTRIBUTES` wins over what is known here, and `OTEL_SERVICE_NAME` over both. The SDK reads the former from
/// the process's environment.
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

    /// Sends what is left; waits for at most [`AT_EXIT`].
    pub fn finish(self) {
        let begun = Instant::now();
        // The last threads of a pipeline close their spans as they end.
        while self.0.open.count() > 0 && begun.elapsed() < LAST_SPANS {
            thread::sleep(Duration::from_millis(2));
        }
        let (done, finished) = mpsc::channel();
        let mut waiting = 0;
        let mut in_thread = |work: Box<dyn FnOnce() + Send>| {
            let done = done.clone();
            let run = move || {
                work();
                // The program may have left already.
                let _ = done.send(());
            };
            waiting += usize::from(thread::Builder::new().name("telemetry".to_owned()).spawn(run).is_ok());
        };
        // A failure was reported where it happened.
        if let Some(traces) = &self.0.traces {
            in_thread(Box::new(|| drop(traces.shutdown_with_timeout(AT_EXIT))));
        }
        if let Some(metrics) = &self.0.metrics {
            in_thread(Box::new(|| drop(metrics.shutdown_with_timeout(AT_EXIT))));
        }
        for _ in 0..waiting {
            if finished.recv_timeout(AT_EXIT.saturating_sub(begun.elapsed())).is_err() {
                self.0.warning.warn("it did not take the last of them in time");
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
