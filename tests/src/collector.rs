//! A real OTLP receiver on 127.0.0.1, in a thread of this process: the services of `opentelemetry-proto` behind tonic for
//! gRPC, and hyper for http/protobuf. It keeps all that it receives.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    Http,
}

/// A span as it was received, its ids in hex and its attributes as text.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root.
    pub parent: String,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
    pub start_ns: u64,
    pub end_ns: u64,
    pub events: usize,
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute that is a number.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let found = self.attributes.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        found.parse().unwrap()
    }
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    /// The newest of each: its unit, and its points by their attributes. Of histograms the count.
    metrics: BTreeMap<String, (String, BTreeMap<String, f64>)>,
    bytes: Vec<u8>,
}

/// A running receiver; dropping it stops it.
#[derive(Debug)]
pub struct Collector {
    wire: Wire,
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Starts it.
    pub fn start(wire: Wire) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = mpsc::channel();
        let receiver = Receiver(received.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(wire, listener, receiver) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { wire, address: bound.recv().unwrap(), received, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The variables that make a child process send to it, soon.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        variables(self.wire, self.address)
    }

    /// All spans.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().spans.clone()
    }

    /// The newest points of a metric, by their attributes as `name=value`, and its unit.
    #[track_caller]
    pub fn metric(&self, name: &str) -> (String, BTreeMap<String, f64>) {
        let received = self.received.lock().unwrap();
        let names = || received.metrics.keys().cloned().collect::<Vec<_>>();
        received.metrics.get(name).cloned().unwrap_or_else(|| panic!("no {name} among {:?}", names()))
    }

    /// The sum over a metric's points.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        self.metric(name).1.values().sum()
    }

    /// Names of all metrics, with their units.
    pub fn metrics(&self) -> BTreeMap<String, String> {
        let received = self.received.lock().unwrap();
        received.metrics.iter().map(|(name, (unit, _))| (name.clone(), unit.clone())).collect()
    }

    /// All that was received.
    pub fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().bytes.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the receiver shows in the test that it failed.
            let _ = thread.join();
        }
    }
}

/// The variables that make a child process send to an address.
pub fn variables(wire: Wire, address: SocketAddr) -> Vec<(&'static str, String)> {
    let protocol = match wire {
        Wire::Grpc => "grpc",
        Wire::Http => "http/protobuf",
    };
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
    ]
}

async fn serve(wire: Wire, listener: TcpListener, receiver: Receiver) {
    match wire {
        Wire::Grpc => {
            let server = tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(receiver.clone()))
                .add_service(MetricsServiceServer::new(receiver));
            server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        }
        Wire::Http => loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let receiver = receiver.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| receiver.clone().answer(request));
                let builder = Builder::new(TokioExecutor::new());
                // A connection that breaks is the client's to report.
                let _ = builder.serve_connection(TokioIo::new(socket), answer).await;
            });
        },
    }
}

#[derive(Debug, Clone)]
struct Receiver(Arc<Mutex<Received>>);

impl Receiver {
    async fn answer(
        self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = match path.as_str() {
            "/v1/traces" => {
                self.record_traces(ExportTraceServiceRequest::decode(body).unwrap());
                ExportTraceServiceResponse::default().encode_to_vec()
            }
            "/v1/metrics" => {
                self.record_metrics(ExportMetricsServiceRequest::decode(body).unwrap());
                ExportMetricsServiceResponse::default().encode_to_vec()
            }
            _ => {
                let mut missing = Response::new(Full::default());
                *missing.status_mut() = StatusCode::NOT_FOUND;
                return Ok(missing);
            }
        };
        Ok(Response::new(Full::from(answer)))
    }

    fn record_traces(&self, request: ExportTraceServiceRequest) {
        let mut received = self.0.lock().unwrap();
        received.bytes.extend(request.encode_to_vec());
        for resource_spans in request.resource_spans {
            let resource = texts(&resource_spans.resource.unwrap_or_default().attributes);
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                received.spans.push(Span {
                    name: span.name,
                    trace_id: hex::encode(span.trace_id),
                    span_id: hex::encode(span.span_id),
                    parent: hex::encode(span.parent_span_id),
                    links: span
                        .links
                        .iter()
                        .map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id)))
                        .collect(),
                    attributes: texts(&span.attributes),
                    is_error: span.status.is_some_and(|status| status.code == 2),
                    start_ns: span.start_time_unix_nano,
                    end_ns: span.end_time_unix_nano,
                    events: span.events.len(),
                    resource: resource.clone(),
                });
            }
        }
    }

    fn record_metrics(&self, request: ExportMetricsServiceRequest) {
        let mut received = self.0.lock().unwrap();
        received.bytes.extend(request.encode_to_vec());
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let number = |value: Option<Number>| match value.unwrap() {
                Number::AsInt(n) => n as f64,
                Number::AsDouble(x) => x,
            };
            let points = match metric.data.unwrap() {
                Data::Sum(sum) => {
                    sum.data_points.into_iter().map(|p| (label(&p.attributes), number(p.value))).collect()
                }
                Data::Gauge(gauge) => {
                    gauge.data_points.into_iter().map(|p| (label(&p.attributes), number(p.value))).collect()
                }
                Data::Histogram(histogram) => histogram
                    .data_points
                    .into_iter()
                    .map(|p| (label(&p.attributes), p.count as f64))
                    .collect(),
                other => panic!("a metric of another kind: {other:?}"),
            };
            received.metrics.insert(metric.name, (metric.unit, points));
        }
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.record_traces(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.record_metrics(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(n)) => n.to_string(),
        Some(Value::DoubleValue(x)) => x.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn label(attributes: &[KeyValue]) -> String {
    let pairs = texts(attributes).into_iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}
