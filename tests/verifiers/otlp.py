"""A collector that is none of ours: OTLP over HTTP, read with OpenTelemetry's own protobufs for Python.

Says its port on standard error; once its standard input ends, writes what it got to standard output, as JSON.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

spans, metrics = [], {}


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def take_traces(request):
    for resource in request.resource_spans:
        about = {pair.key: value(pair.value) for pair in resource.resource.attributes}
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            spans.append({
                "name": span.name,
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "attributes": {pair.key: value(pair.value) for pair in span.attributes},
                "service": about.get("service.name"),
            })


def take_metrics(request):
    scopes = (scope for resource in request.resource_metrics for scope in resource.scope_metrics)
    for metric in (metric for scope in scopes for metric in scope.metrics):
        if metric.HasField("sum"):
            total = sum(point.as_int or point.as_double for point in metric.sum.data_points)
            # Cumulative: the last one holds.
            metrics[metric.name] = total


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            take_traces(ExportTraceServiceRequest.FromString(body))
        elif self.path == "/v1/metrics":
            take_metrics(ExportMetricsServiceRequest.FromString(body))
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"port {server.server_port}.", file=sys.stderr, flush=True)
sys.stdin.read()
json.dump({"spans": spans, "metrics": metrics}, sys.stdout)
