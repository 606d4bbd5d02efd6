//! How fast bytes go to a store and come from it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::time::Instant;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::tree;

#[test]
fn a_rate_holds_for_parts_side_by_side_and_for_a_restore() {
    let sandbox = AgentSandbox::new("limited");
    tree::write_noise(&sandbox.source().join("noise.bin"), 3, 24 << 20);
    sandbox.write_policy("limits: { upload: 8MiB, download: 8MiB }\n");
    let begun = Instant::now();
    let done = sandbox.agent.run(["run", "--policy", "policy.yaml"]).expect(0);
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 2.7, "24 MiB at 8 MiB/s took {took} s");
    let log = sandbox.log(&format!("run_{}.log", done.json["timestamp"].as_str().unwrap()));
    assert!(log.contains("uploads at most 8MiB/s, downloads at most 8MiB/s"), "{log}");
    let begun = Instant::now();
    let key = done.key_backup();
    let restored =
        sandbox.client.run(["restore", "--policy", "policy.yaml", "--key", key, "--out", "out"]).expect(0);
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 2.7, "24 MiB at 8 MiB/s took {took} s");
    assert!(restored.stderr.contains("the policy limits uploads at most 8MiB/s"), "{}", restored.stderr);
}
