//! Collectors that hang, refuse or have certificates of their own: a backup is as good and as fast with them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::collector::{Collector, Wire, variables};
use intellistor_tests::network::{Authority, Certificate, Listening};
use intellistor_tests::program::{Client, Output};

const POLICY: &str = "traced";

/// What a program may take longer for a collector that is no good.
const PATIENCE: Duration = Duration::from_secs(2);

fn warnings(output: &Output) -> Vec<&str> {
    output.stderr.lines().filter(|line| line.contains("collector")).collect()
}

fn backup(client: &Client) -> Output {
    client.run(["backup", "--policy", "policy.yaml"])
}

/// How long a run takes with these variables, and what it says.
fn timed(sandbox: &AgentSandbox, variables: Vec<(&'static str, String)>) -> (Duration, Output) {
    let agent = sandbox.client.agent().vars(variables);
    let begun = Instant::now();
    let output = agent.run(["run", "--policy", "policy.yaml"]).expect(0);
    (begun.elapsed(), output)
}

#[test]
fn a_collector_that_hangs_costs_two_seconds_at_most() {
    let sandbox = AgentSandbox::filled(POLICY, 24);
    let (without, _) = timed(&sandbox, vec![]);
    for wire in [Wire::Grpc, Wire::Http] {
        // The kernel accepts the connections; no program reads from them.
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let (with, output) = timed(&sandbox, variables(wire, hanging.local_addr().unwrap()));
        assert!(with < without + PATIENCE, "{wire:?}: {with:?}, and {without:?} without");
        assert_eq!(warnings(&output).len(), 1, "{wire:?}: {}", output.stderr);
        assert_eq!(output.json["state"], "completed");
    }
}

#[test]
fn spans_for_a_hanging_collector_do_not_fill_the_memory() {
    let sandbox = AgentSandbox::filled(POLICY, 200);
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = sandbox.client.agent().vars(variables(Wire::Grpc, hanging.local_addr().unwrap()));
    let (output, peak) = agent.run_measured(["run", "--policy", "policy.yaml"]);
    output.expect(0);
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
}

#[test]
fn a_collector_that_refuses_is_one_warning() {
    let sandbox = AgentSandbox::filled(POLICY, 12);
    for wire in [Wire::Grpc, Wire::Http] {
        let refusing: SocketAddr = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let (_, output) = timed(&sandbox, variables(wire, refusing));
        assert_eq!(warnings(&output).len(), 1, "{wire:?}: {}", output.stderr);
        let client = sandbox.client.clone().vars(variables(wire, refusing));
        assert_eq!(warnings(&backup(&client).expect(0)).len(), 1);
    }
}

#[test]
fn settings_that_are_wrong_turn_it_off_with_one_warning() {
    let sandbox = AgentSandbox::filled(POLICY, 1);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address"),
    ] {
        let client =
            sandbox.client.clone().var("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").var(name, value);
        let output = backup(&client).expect(0);
        let message: Vec<_> =
            output.stderr.lines().filter(|line| line.contains("traces and metrics")).collect();
        assert_eq!(message.len(), 1, "{name}: {}", output.stderr);
    }
}

#[test]
fn a_collectors_own_authority_is_trusted_by_either_variable() {
    let (collector, authority) = (Collector::start(Wire::Http), Authority::named("the collector's"));
    let tls = Listening::tls(&authority, Certificate::Good, collector.address());
    let sandbox = AgentSandbox::filled(POLICY, 1);
    fs::write(sandbox.at("ca.pem"), authority.pem()).unwrap();
    let client = sandbox.client.clone().vars(variables(Wire::Http, tls.address()));
    let client = client.var("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{}", tls.address()));
    let refused = backup(&client).expect(0);
    assert!(refused.stderr.contains("do not all reach the collector"), "{}", refused.stderr);
    assert_eq!(collector.spans().len(), 0);
    for variable in ["OTEL_EXPORTER_OTLP_CERTIFICATE", "SSL_CERT_FILE"] {
        let before = collector.spans().len();
        let message = backup(&client.clone().var(variable, sandbox.at("ca.pem"))).expect(0).stderr;
        assert!(collector.spans().len() > before, "{variable}: {message}");
    }
    let message = backup(&client.var("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem")).expect(0).stderr;
    assert!(message.contains("OTEL_EXPORTER_OTLP_CERTIFICATE=/no/such.pem"), "{message}");
}
