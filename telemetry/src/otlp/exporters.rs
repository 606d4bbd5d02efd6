//! Exporters that run on a runtime of their own, and whose failures give one warning.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::HttpClient;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    MetricExporter, Protocol as Otlp, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as ExportSpans};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio_util::context::TokioContext;

use super::settings::{Protocol, Signal};

/// The SDK's own timeout (`OTEL_EXPORTER_OTLP_TIMEOUT`) ends a request; this covers what it may not.
const LONGEST: Duration = Duration::from_secs(30);

/// Reports the first failure, and no other.
#[derive(Clone)]
pub(super) struct WarnOnce(Arc<WarnOnceState>);

struct WarnOnceState {
    warned: AtomicBool,
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl WarnOnce {
    pub(super) fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(WarnOnceState { warned: AtomicBool::new(false), warn: Box::new(warn) }))
    }

    pub(super) fn warn(&self, why: impl fmt::Display) {
        if !self.0.warned.swap(true, Ordering::SeqCst) {
            (self.0.warn)(&format!(
                "traces and metrics do not all reach the collector: {why}. The backup itself is not affected. Check \
                 OTEL_EXPORTER_OTLP_ENDPOINT, or turn them off with OTEL_SDK_DISABLED=true"
            ));
        }
    }
}

impl fmt::Debug for WarnOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WarnOnce")
    }
}

/// Runs exports on a runtime: the SDK drives them from plain threads, and its clients need one.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) runtime: Handle,
    pub(super) warning: WarnOnce,
}

impl Sender {
    async fn run(&self, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
        let bounded = async { tokio::time::timeout(LONGEST, export).await };
        let done = TokioContext::new(bounded, self.runtime.clone()).await;
        let done = done.unwrap_or(Err(opentelemetry_sdk::error::OTelSdkError::Timeout(LONGEST)));
        if let Err(error) = &done {
            self.warning.warn(error);
        }
        done
    }
}

#[derive(Debug)]
pub(super) struct Spans {
    inner: SpanExporter,
    sender: Sender,
}

impl ExportSpans for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.sender.run(self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

pub(super) struct Metrics {
    inner: MetricExporter,
    sender: Sender,
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.sender.run(self.inner.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// Few and short: a failure that lasts longer is not worth a run's time.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(2).with_max_delay(Duration::from_millis(400))
}

/// Builds either exporter: their builders have the same methods, but no trait in common.
macro_rules! build {
    ($exporter:ident, $signal:expr) => {
        match $signal.protocol {
            Protocol::Grpc => {
                let builder = $exporter::builder().with_tonic().with_retry_policy(retries());
                if $signal.https { builder.with_tls_config(tls($signal)?).build() } else { builder.build() }
            }
            Protocol::HttpProtobuf => $exporter::builder()
                .with_http()
                .with_retry_policy(retries())
                .with_protocol(Otlp::HttpBinary)
                .with_shared_http_client(http($signal)?)
                .build(),
        }
    };
}

type Built<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Must be called within the runtime.
pub(super) fn spans(signal: &Signal, sender: &Sender) -> Built<Spans> {
    Ok(Spans { inner: build!(SpanExporter, signal)?, sender: sender.clone() })
}

/// Must be called within the runtime.
pub(super) fn metrics(signal: &Signal, sender: &Sender) -> Built<Metrics> {
    Ok(Metrics { inner: build!(MetricExporter, signal)?, sender: sender.clone() })
}

fn tls(signal: &Signal) -> Result<ClientTlsConfig, io::Error> {
    let config = ClientTlsConfig::new();
    let Some((variable, file)) = &signal.authorities else { return Ok(config.with_enabled_roots()) };
    let pem = std::fs::read(file).map_err(|error| unusable(variable, file, error))?;
    Ok(config.ca_certificate(Certificate::from_pem(pem)))
}

/// The system's certificates are read only where the endpoint is https.
fn http(signal: &Signal) -> Result<Arc<dyn HttpClient>, io::Error> {
    if !signal.https {
        return Ok(Arc::new(HyperClient::with_default_connector(LONGEST, None)));
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let connector = HttpsConnectorBuilder::new();
    let connector = match &signal.authorities {
        None => connector.with_provider_and_native_roots(provider)?,
        Some((variable, file)) => {
            let roots = authorities(file).map_err(|error| unusable(variable, file, error))?;
            let config = ClientConfig::builder_with_provider(Arc::new(provider));
            let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
            connector.with_tls_config(config.with_root_certificates(roots).with_no_client_auth())
        }
    };
    let connector = connector.https_or_http().enable_http1().build();
    Ok(Arc::new(HyperClient::new(connector, LONGEST, None)))
}

fn authorities(file: &Path) -> Result<RootCertStore, io::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    if roots.is_empty() { Err(io::Error::other("it contains no PEM certificate")) } else { Ok(roots) }
}

fn unusable(variable: &str, file: &Path, error: io::Error) -> io::Error {
    io::Error::other(format!("{variable}={} cannot be used: {error}", file.display()))
}
