//! Traces and metrics, as a collector receives them from real runs.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use intellistor_storage::objects::Operation;
use intellistor_telemetry::names;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::collector::{Collector, Span, Wire};
use intellistor_tests::program::{Client, Output};
use intellistor_tests::s3_server::Failure;

const POLICY: &str = "traced";

/// A place whose agent sends to the collector.
fn traced(collector: &Collector, mib: u64) -> AgentSandbox {
    let mut sandbox = AgentSandbox::filled(POLICY, mib);
    sandbox.agent = sandbox.agent.clone().vars(collector.env());
    sandbox
}

fn backup(client: &Client) -> Output {
    client.run(["backup", "--policy", "policy.yaml"])
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{} spans named {name}", found.len());
    found[0]
}

/// Spans are of one trace, below one root, and about within its time.
#[track_caller]
fn assert_connected(spans: &[Span], root: &str) {
    let ids: BTreeMap<_, _> = spans.iter().map(|span| (&*span.span_id, span)).collect();
    assert_eq!(ids.len(), spans.len(), "two spans have one id");
    let roots: Vec<_> = spans.iter().filter(|span| span.parent.is_empty()).collect();
    assert_eq!(roots.len(), 1, "roots: {roots:?}");
    assert_eq!(roots[0].name, root);
    for span in spans {
        assert_eq!(span.trace_id, roots[0].trace_id, "{} is of another trace", span.name);
        assert_eq!(span.events, 0, "{span:?}");
        if let Some(parent) = Some(&*span.parent).filter(|id| !id.is_empty()) {
            let parent = ids.get(parent).unwrap_or_else(|| panic!("{} is an orphan", span.name));
            assert!(span.start_ns >= parent.start_ns, "{} begins before {}", span.name, parent.name);
        }
        // A span ends when it is left last, and a stage's thread may leave its own just after the root was left.
        let slack_ns = 500_000_000;
        assert!(span.end_ns >= span.start_ns && span.end_ns <= roots[0].end_ns + slack_ns, "{span:?}");
    }
}

#[track_caller]
fn assert_known(collector: &Collector) {
    let attributes: BTreeSet<_> = names::ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    for span in collector.spans() {
        assert!(names::span::ALL.contains(&&*span.name), "{}", span.name);
        let unknown: Vec<_> =
            span.attributes.keys().filter(|name| !attributes.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?} of {}", span.name);
        let resource: Vec<_> = names::RESOURCE.iter().filter(|n| !span.resource.contains_key(**n)).collect();
        assert!(resource.is_empty(), "{resource:?} is missing");
    }
    let metrics: BTreeMap<_, _> =
        names::metric::ALL.iter().map(|metric| (metric.name, metric.unit)).collect();
    for (name, unit) in collector.metrics() {
        assert_eq!(metrics.get(&*name), Some(&&*unit), "{name}");
    }
}

fn warnings(output: &Output) -> Vec<&str> {
    output.stderr.lines().filter(|line| line.contains("collector")).collect()
}

#[test]
fn a_run_of_the_agent_is_one_connected_trace() {
    let collector = Collector::start(Wire::Grpc);
    let sandbox = traced(&collector, 30);
    sandbox.server.traffic().fail_next(1, Operation::PutPart, Failure::SlowDown);
    let output = sandbox.run().expect(0);
    assert_eq!(warnings(&output), [""; 0], "{}", output.stderr);
    let (json, spans) = (&output.json, collector.spans());
    let (archive_bytes, parts) =
        (json["archive_bytes"].as_u64().unwrap(), json["parts"].as_u64().unwrap() as usize);
    assert_connected(&spans, "run");
    assert_known(&collector);

    let root = only(&spans, "run");
    assert_eq!(json["trace_id"], root.trace_id.as_str());
    assert_eq!(root.attributes["intellistor.policy.id"], POLICY);
    assert_eq!(root.attributes["intellistor.backup.id"], json["backup_id"].as_str().unwrap());
    assert_eq!(root.attributes["intellistor.run.state"], "completed");
    assert_eq!(root.resource["service.name"], "intellistor-agent");
    assert_eq!(root.resource["service.version"], env!("CARGO_PKG_VERSION"));
    for stage in ["scan", "archive", "seal", "upload", "complete", "manifest", "ship_logs"] {
        assert_eq!(only(&spans, stage).parent, root.span_id, "{stage}");
    }
    for stage in ["scan", "archive", "seal"] {
        let busy: f64 = only(&spans, stage).attributes["intellistor.stage.busy"].parse().unwrap();
        let span = only(&spans, stage);
        let whole = (span.end_ns - span.start_ns) as f64 / 1e9;
        assert!(busy > 0.0 && busy < 3.0 * whole + 1.0, "{stage} was busy for {busy} of {whole} s");
    }
    let sent = named(&spans, "upload_part");
    assert_eq!(sent.len(), parts);
    assert_eq!(sent.iter().map(|part| part.number("intellistor.part.size")).sum::<u64>(), archive_bytes);
    assert!(sent.iter().all(|part| part.parent == only(&spans, "upload").span_id));

    let attempts: Vec<_> = named(&spans, "store_call")
        .into_iter()
        .filter(|call| call.attributes["intellistor.store.operation"] == "put_part")
        .collect();
    assert_eq!(attempts.len(), parts + 1);
    let again: Vec<_> =
        attempts.iter().filter(|call| call.number("intellistor.store.attempt") == 2).collect();
    assert_eq!(again.len(), 1);
    let first = attempts.iter().find(|call| call.parent == again[0].parent && call.is_error).unwrap();
    assert_eq!(first.attributes["error.type"], "Throttled");

    let totals = |name: &str| collector.sum(name);
    assert_eq!(totals("intellistor.parts") as usize, parts);
    assert_eq!(totals("intellistor.store.sent") as u64, archive_bytes);
    assert_eq!(totals("intellistor.content.size") as u64, json["bytes"].as_u64().unwrap());
    assert_eq!(totals("intellistor.files") as u64, json["files"].as_u64().unwrap());
    assert_eq!(totals("intellistor.upload.queue"), 0.0);
    assert_eq!(totals("intellistor.part.duration") as usize, parts);
    let retries = BTreeMap::from([("intellistor.store.operation=put_part".to_owned(), 1.0)]);
    assert_eq!(collector.metric("intellistor.store.retries").1, retries);
    let runs = collector.metric("intellistor.operation.duration").1;
    let label =
        format!("intellistor.operation=run,intellistor.outcome=completed,intellistor.policy.id={POLICY}");
    assert_eq!(runs, BTreeMap::from([(label, 1.0)]));
}

#[test]
fn the_trace_is_named_wherever_it_is_looked_for() {
    let collector = Collector::start(Wire::Http);
    let sandbox = traced(&collector, 12);
    let output = sandbox.run().expect(0);
    let trace_id = output.json["trace_id"].as_str().unwrap();
    assert_eq!(only(&collector.spans(), "run").trace_id, trace_id);
    let log = sandbox.log("last.log");
    let without: Vec<_> = log.lines().filter(|line| !line.ends_with(&format!(" trace={trace_id}"))).collect();
    assert!(log.lines().count() > 5 && without.is_empty(), "{without:#?}");
    let key = output.key_backup();
    let shown = sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--key", key]).expect(0);
    assert_eq!(shown.json["trace_id"], trace_id, "{:#}", shown.json);
    let manifest = output.json["s3"]["key_manifest"].as_str().unwrap();
    for key in [key, manifest] {
        assert_eq!(sandbox.server.metadata(key).get("trace-id").map(String::as_str), Some(trace_id), "{key}");
    }

    // Without the variables nothing of it is there.
    fs::write(sandbox.source().join("more"), "more").unwrap();
    let silent = Client::run(&sandbox.client.agent(), ["-q", "run", "--policy", "policy.yaml"]).expect(0);
    assert!(silent.json["trace_id"].is_null());
    assert!(!sandbox.log("last.log").contains("trace="));
    assert!(sandbox.server.metadata(silent.key_backup()).is_empty());
    assert_eq!(named(&collector.spans(), "run").len(), 1);
}

#[test]
fn backups_and_restores_of_the_client_are_traces_too() {
    let collector = Collector::start(Wire::Http);
    let sandbox = AgentSandbox::filled(POLICY, 12);
    let client = sandbox.client.clone().vars(collector.env()).var("OTEL_SERVICE_NAME", "my-backups");
    let client =
        client.var("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,host.name=elsewhere");
    let made = backup(&client).expect(0);
    let spans = collector.spans();
    assert_connected(&spans, "backup");
    let root = only(&spans, "backup");
    assert_eq!(made.json["trace_id"], root.trace_id.as_str());
    assert_eq!(root.resource["service.name"], "my-backups");
    assert_eq!(root.resource["host.name"], "elsewhere");
    assert_eq!(root.resource["deployment.environment.name"], "test");
    let sizes =
        named(&spans, "upload_part").iter().map(|part| part.number("intellistor.part.size")).sum::<u64>();
    assert_eq!(sizes, made.json["archive_bytes"].as_u64().unwrap());

    for (command, root, stages) in [
        ("restore", "restore", &["fetch_manifest", "plan", "fetch", "open", "extract"][..]),
        ("verify", "verify", &["fetch_manifest", "read_archive"][..]),
    ] {
        let before: BTreeSet<_> = collector.spans().into_iter().map(|span| span.span_id).collect();
        let mut arguments = vec!["-q", command, "--policy", "policy.yaml", "--latest"];
        arguments.extend(["--out", "restored"].iter().filter(|_| command == "restore"));
        let done = client.run(arguments).expect(0);
        let spans: Vec<_> =
            collector.spans().into_iter().filter(|span| !before.contains(&span.span_id)).collect();
        assert_connected(&spans, root);
        assert_eq!(done.json["trace_id"], only(&spans, root).trace_id.as_str());
        let id = &only(&spans, root).span_id;
        stages.iter().for_each(|stage| assert_eq!(&only(&spans, stage).parent, id, "{stage}"));
    }
    assert_known(&collector);
    // What only looks sends nothing.
    let before = collector.spans().len();
    client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(collector.spans().len(), before);
}

#[test]
fn a_resumed_job_is_a_second_trace_that_links_to_the_one_that_died() {
    let collector = Collector::start(Wire::Grpc);
    let sandbox = traced(&collector, 40);
    assert!(sandbox.run_until("part_recorded", 3));
    let output = sandbox.run().expect(0);
    sandbox.assert_resumed(&output, 3);
    let spans = collector.spans();
    let roots = named(&spans, "run");
    assert_eq!(roots.len(), 2, "{roots:#?}");
    let (crashed, resumed): (Vec<&Span>, Vec<&Span>) =
        roots.into_iter().partition(|root| root.attributes.contains_key("intellistor.run.died"));
    let (crashed, resumed) = (crashed[0], resumed[0]);
    assert_ne!(crashed.trace_id, resumed.trace_id);
    assert!(crashed.is_error && !resumed.is_error);
    assert!(crashed.start_ns < resumed.start_ns && crashed.links.is_empty());
    assert_eq!(resumed.links, [(crashed.trace_id.clone(), crashed.span_id.clone())]);
    assert_eq!(output.json["trace_id"], resumed.trace_id.as_str());
    assert_eq!(resumed.attributes["intellistor.run.resumed"], "true");
    assert_eq!(resumed.number("intellistor.parts.reused"), output.json["parts_reused"].as_u64().unwrap());
    let of_resumed: Vec<_> = spans.iter().filter(|s| s.trace_id == resumed.trace_id).cloned().collect();
    assert_connected(&of_resumed, "run");
    // The spans that the crashed process had sent belong to the root that was sent for it.
    let scan = spans.iter().find(|span| span.name == "scan" && span.trace_id == crashed.trace_id).unwrap();
    assert_eq!(scan.parent, crashed.span_id);
}

#[test]
fn a_run_that_stops_in_good_order_ends_its_own_trace() {
    let collector = Collector::start(Wire::Http);
    let sandbox = traced(&collector, 12);
    sandbox.server.traffic().fail_next(1, Operation::PutPart, Failure::AccessDenied);
    let stopped = sandbox.run().expect(1);
    let output = sandbox.run().expect(0);
    assert_eq!(output.json["resumed"], true);
    let spans = collector.spans();
    let roots = named(&spans, "run");
    assert_eq!(roots.len(), 2, "{roots:#?}");
    assert_eq!(stopped.json["trace_id"], roots[0].trace_id.as_str());
    assert!(roots[0].is_error && !roots[0].attributes.contains_key("intellistor.run.died"));
    assert_eq!(roots[1].links, [(roots[0].trace_id.clone(), roots[0].span_id.clone())]);
    for root in roots {
        let trace: Vec<_> = spans.iter().filter(|s| s.trace_id == root.trace_id).cloned().collect();
        assert_connected(&trace, "run");
    }
}

#[test]
fn a_collector_of_others_reads_the_same() {
    let python = std::env::var("INTELLISTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut verifier = Command::new(python);
    verifier.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/verifiers/otlp.py")).stdin(Stdio::piped());
    let mut verifier = verifier.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut errors = BufReader::new(verifier.stderr.take().unwrap());
    // What it says instead of its port is why it cannot run; `pip install opentelemetry-proto` is what it needs.
    while !said.ends_with(".\n") && errors.read_line(&mut said).unwrap() > 0 {}
    let port = said.trim().strip_prefix("port ").and_then(|port| port.strip_suffix('.')).expect(&said);
    let sandbox = AgentSandbox::filled(POLICY, 12);
    let endpoint = format!("http://127.0.0.1:{port}");
    let output = backup(&sandbox.client.clone().var("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)).expect(0);
    assert_eq!(warnings(&output), [""; 0]);
    drop(verifier.stdin.take());
    let got: serde_json::Value =
        serde_json::from_slice(&verifier.wait_with_output().unwrap().stdout).unwrap();
    let spans = got["spans"].as_array().unwrap();
    let ids: BTreeSet<_> = spans.iter().map(|span| span["span_id"].as_str().unwrap()).collect();
    let mut roots = 0;
    for span in spans {
        assert_eq!(span["trace_id"], output.json["trace_id"]);
        assert_eq!(span["service"], "backup-client");
        match span["parent"].as_str().unwrap() {
            "" => roots += 1,
            parent => assert!(ids.contains(parent), "{span} is an orphan"),
        }
    }
    assert_eq!((roots, ids.len()), (1, spans.len()));
    let parts = spans.iter().filter(|span| span["name"] == "upload_part");
    let sizes: Vec<_> =
        parts.map(|part| part["attributes"]["intellistor.part.size"].as_u64().unwrap()).collect();
    assert_eq!(sizes.len() as u64, output.json["parts"].as_u64().unwrap());
    assert_eq!(sizes.iter().sum::<u64>(), output.json["archive_bytes"].as_u64().unwrap());
    assert_eq!(got["metrics"]["intellistor.store.sent"], output.json["archive_bytes"]);
}

#[test]
fn lines_for_programs_are_json() {
    let sandbox = AgentSandbox::filled(POLICY, 1);
    let message = |output: Output| -> Vec<serde_json::Value> {
        output.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let run = sandbox.client.agent().run(["-v", "--log-format", "json", "run", "--policy", "policy.yaml"]);
    let lines = message(run.expect(0));
    assert!(lines.iter().any(|line| line["message"] == "part stored" && line["part"] == 1), "{lines:#?}");
    let known = ["ERROR", "WARN", "INFO"];
    assert!(
        lines
            .iter()
            .all(|line| line["timestamp"].is_string() && known.contains(&line["level"].as_str().unwrap()))
    );
    let failed = sandbox.client.run(["--log-format", "json", "backup", "--policy", "missing.yaml"]);
    let lines = message(failed.expect(2));
    let last = lines.last().unwrap();
    assert!(last["level"] == "ERROR" && last["message"].as_str().unwrap().contains("missing.yaml"), "{last}");
}

#[test]
fn every_name_is_in_the_documentation() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/TELEMETRY.md")).unwrap();
    let quoted = |name: &str| text.contains(&format!("`{name}`"));
    let spans = names::span::ALL.into_iter().chain(names::RESOURCE);
    let attributes = names::ATTRIBUTES.iter().map(|(name, _)| *name);
    let missing: Vec<_> = spans.chain(attributes).filter(|name| !quoted(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for metric in names::metric::ALL {
        let row = format!("| `{}` | `{}` |", metric.name, metric.unit);
        assert!(text.lines().any(|line| line.starts_with(&row)), "no {row}");
    }
}
