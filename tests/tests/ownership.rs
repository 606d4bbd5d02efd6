//! A policy in a store belongs to one machine: who may write there, who is refused, and what clean-up leaves alone.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use intellistor_storage::Hashed;
use intellistor_storage::catalog::ownership;
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::objects::{ObjectStoreExt as _, Operation, Part, Upload};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::{Done, UploadState};

const POLICY: &str = "owned";
const MACHINE_KEY: &str = "backups/owned/machine.json";
const RUN: [&str; 4] = ["-q", "run", "--policy", "policy.yaml"];
const BACKUP: [&str; 4] = ["-q", "backup", "--policy", "policy.yaml"];
const DAY: Duration = Duration::from_secs(24 * 3600);

fn sandbox() -> AgentSandbox {
    let sandbox = AgentSandbox::new(POLICY);
    fs::write(sandbox.source().join("a.txt"), "content").unwrap();
    sandbox
}

/// Both programs as they are on a machine of that name.
fn machine(sandbox: &AgentSandbox, name: &str) -> (Client, Client) {
    let client = sandbox.client.clone().var("INTELLISTOR_MACHINE", name);
    let client = client.var("INTELLISTOR_HOME", sandbox.at(&format!("home-{name}")));
    (client.agent(), client)
}

/// Everything in the store, byte for byte.
fn store(sandbox: &AgentSandbox) -> BTreeMap<String, Vec<u8>> {
    fn collect(folder: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, all);
            } else {
                all.insert(path.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    collect(&sandbox.at("s3"), &mut all);
    all
}

#[track_caller]
fn assert_refused(output: &Output, owner: &str) {
    assert_eq!(output.code, 2, "{} {:#}", output.stderr, output.json);
    let message = output.json["error"]["message"].as_str().unwrap();
    for part in [
        &format!("belongs to the machine {owner} since 20"),
        "policy_id",
        "--take-over",
        "INTELLISTOR_MACHINE",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn a_second_machine_is_refused_before_it_writes_anything() {
    let sandbox = sandbox();
    let (a_agent, a_client) = machine(&sandbox, "a");
    let (b_agent, b_client) = machine(&sandbox, "b");
    let first = a_agent.run(RUN).expect(0);
    a_client.run(BACKUP).expect(0);
    let before =
        (store(&sandbox), sandbox.server.traffic().log().len(), sandbox.server.traffic().uploads().len());
    for refused in [b_agent.run(RUN), b_client.run(BACKUP), b_agent.run(RUN)] {
        assert_refused(&refused, "a");
    }
    let after =
        (store(&sandbox), sandbox.server.traffic().log().len(), sandbox.server.traffic().uploads().len());
    assert!(before == after, "a machine that was refused has written into the store");
    // The evidence is at home.
    let log = fs::read_to_string(sandbox.at("home-b/logs/owned/last.log")).unwrap();
    assert!(log.contains("belongs to the machine a"), "{log}");
    // Who only reads is asked nothing.
    let listed = b_client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(
        (&listed["machine"]["host"], &listed["backups"][0]["host"]),
        (&"a".into(), &"a".into()),
        "{listed:#}"
    );
    b_client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0);
    let key = first.key_backup();
    b_client.run(["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", "restored"]).expect(0);
    let shown = b_client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
    assert_eq!(shown["host"], "a", "{shown:#}");
}

#[test]
fn a_machine_that_replaces_another_takes_the_policy_over() {
    let sandbox = sandbox();
    let (a_agent, a_client) = machine(&sandbox, "a");
    let (b_agent, b_client) = machine(&sandbox, "b");
    a_agent.run(RUN).expect(0);
    let taken = b_agent.run([&RUN[..], &["--take-over"]].concat()).expect(3);
    assert!(taken.warnings().contains("belonged to the machine a since"), "{}", taken.warnings());
    b_agent.run(RUN).expect(0);
    b_client.run(BACKUP).expect(0);
    assert_refused(&a_agent.run(RUN), "b");
    assert_refused(&a_client.run(BACKUP), "b");
    a_client.run([&BACKUP[..], &["--take-over"]].concat()).expect(3);
    assert_refused(&b_agent.run(RUN), "a");
    let listed = a_client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    let hosts: Vec<_> =
        listed["backups"].as_array().unwrap().iter().map(|backup| backup["host"].clone()).collect();
    assert_eq!(hosts, ["a", "b", "b", "b", "a"]);
}

#[test]
fn of_two_machines_that_begin_at_once_exactly_one_wins() {
    for round in 0..3 {
        let sandbox = sandbox();
        let traffic = sandbox.server.traffic();
        traffic.hold(Operation::Put);
        let (a_agent, a_client) = machine(&sandbox, "a");
        let (b_agent, b_client) = machine(&sandbox, "b");
        let (a, b) = match round {
            0 => (a_agent.command(RUN), b_agent.command(RUN)),
            1 => (a_client.command(BACKUP), b_client.command(BACKUP)),
            _ => (a_client.command(BACKUP), b_agent.command(RUN)),
        };
        let (a, b) = (Running::start(a), Running::start(b));
        traffic.wait_until(|traffic| traffic.held() == 2);
        traffic.release();
        let (a, b) = (a.end(), b.end());
        let mut codes = [a.code, b.code];
        codes.sort_unstable();
        assert_eq!(codes, [0, 2], "{} {}", a.stderr, b.stderr);
        assert_refused(if a.code == 2 { &a } else { &b }, if a.code == 2 { "b" } else { "a" });
        assert_eq!(sandbox.backups().len(), 1);
    }
}

#[test]
fn a_file_that_names_no_owner_is_refused_with_what_to_do() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.at("s3/backups-test/backups/owned")).unwrap();
    for junk in ["", "{\"machine\":1}", "\u{1b}[2J", &"x".repeat(1 << 20)] {
        fs::write(sandbox.at("s3/backups-test").join(MACHINE_KEY), junk).unwrap();
        let (agent, client) = machine(&sandbox, "a");
        for refused in [agent.run(RUN), client.run(BACKUP)] {
            assert_eq!(refused.code, 2, "{}", refused.stderr);
            let message = refused.json["error"]["message"].as_str().unwrap();
            assert!(message.contains(MACHINE_KEY) && message.contains("--take-over"), "{message}");
        }
        client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0);
        assert_eq!(sandbox.object(MACHINE_KEY).unwrap(), junk);
    }
    let (agent, _) = machine(&sandbox, "a");
    agent.run([&RUN[..], &["--take-over"]].concat()).expect(3);
    agent.run(RUN).expect(0);
}

#[test]
fn a_policy_that_is_taken_over_amid_a_run_gets_no_backup_of_the_old_machine() {
    let sandbox = sandbox();
    let traffic = sandbox.server.traffic();
    traffic.hold_parts();
    let (agent, _) = machine(&sandbox, "a");
    let run = Running::start(agent.command(RUN));
    traffic.wait_until(|traffic| traffic.held() == 1);
    let other = Machine::named("b");
    let bucket = sandbox.server.store();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(ownership::claim(&*bucket, POLICY, &other, "test", true)).unwrap();
    traffic.release();
    assert_refused(&run.end(), "b");
    assert_eq!(sandbox.backups(), [""; 0]);
    assert!(!sandbox.at("s3/backups-test/logs").exists(), "its log is not the owner's");
}

fn part(bytes: usize) -> Part {
    Part { number: 1, offset: 0, body: Hashed::new(Bytes::from(vec![7; bytes])) }
}

#[test]
fn clean_up_aborts_only_what_nothing_was_sent_to_for_a_week() {
    let sandbox = sandbox();
    sandbox.run().expect(0);
    let (bucket, traffic) = (sandbox.server.store(), sandbox.server.traffic());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begin = |name: &str| -> Upload {
        let key = format!("backups/{POLICY}/{name}/backup.tar.gz.enc");
        runtime.block_on(async {
            let upload = bucket.begin_upload(&key).await.unwrap();
            bucket.put_part(&upload, &part(9)).await.unwrap();
            upload
        })
    };
    let (alive, abandoned, young) = (begin("alive"), begin("abandoned"), begin("young"));
    traffic.age_upload(&alive.id, DAY * 30, DAY * 6);
    traffic.age_upload(&abandoned.id, DAY * 30, DAY * 8);
    traffic.age_upload(&young.id, DAY * 6, DAY * 6);
    sandbox.run().expect(0);
    let state = |upload: &Upload| {
        let uploads = traffic.uploads();
        uploads.iter().find(|seen| seen.id == upload.id).unwrap().state
    };
    assert_eq!(
        [state(&alive), state(&abandoned), state(&young)],
        [UploadState::Open, UploadState::Aborted, UploadState::Open]
    );
    let (b_agent, _) = machine(&sandbox, "b");
    traffic.age_upload(&alive.id, DAY * 30, DAY * 30);
    assert_eq!(b_agent.run(RUN).code, 2);
    assert_eq!(state(&alive), UploadState::Open, "a machine that owns nothing cleans nothing up");
}

#[test]
fn the_log_of_another_run_is_never_overwritten() {
    let sandbox = sandbox();
    let first = sandbox.run().expect(0);
    let key = first.json["log"]["s3"].as_str().unwrap().to_owned();
    // Another run's log has taken the name of the next one.
    let traffic = sandbox.server.traffic();
    traffic.hold_parts();
    let run = sandbox.start();
    traffic.wait_until(|traffic| traffic.held() == 1);
    let status = sandbox.status();
    let timestamp = status["progress"]["timestamp"].as_str().unwrap_or_default().to_owned();
    assert!(!timestamp.is_empty(), "{status:#}");
    let taken = key.replace(first.json["timestamp"].as_str().unwrap(), &timestamp);
    fs::write(sandbox.at("s3/backups-test").join(&taken), "another run's\n").unwrap();
    traffic.release();
    let output = run.end().expect(0);
    assert_eq!(output.json["timestamp"], timestamp.as_str());
    assert_eq!(sandbox.object(&taken).unwrap(), "another run's\n");
    assert_eq!(output.json["log"]["s3"], serde_json::Value::Null);
    assert!(output.warnings().contains("log of another run"), "{}", output.warnings());
    let puts =
        traffic.log().into_iter().filter(|done| matches!(done, Done::Put { key } if *key == taken)).count();
    assert_eq!(puts, 0);
}
