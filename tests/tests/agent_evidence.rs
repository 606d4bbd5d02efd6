//! What the agent leaves behind, and what it must not: logs that are shipped late, names under a clock that was set
//! back, no secrets; and that `backup-client` leaves nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use intellistor::BackupName;
use intellistor_storage::objects::Operation;
use intellistor_storage::state::job::JobEvent;
use intellistor_storage::state::{Job, Queue};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::folders::paths_below;
use intellistor_tests::s3_server::{BUCKET, Done, Failure};

const POLICY: &str = "evidence";

fn sandbox(mib: u64) -> AgentSandbox {
    AgentSandbox::filled(POLICY, mib)
}

fn log_key(timestamp: &str) -> String {
    format!("logs/{POLICY}/run_{timestamp}.log")
}

/// A run whose logs the store refuses.
fn run_without_logs(sandbox: &AgentSandbox) -> intellistor_tests::program::Output {
    let traffic = sandbox.server.traffic();
    sandbox.claim();
    traffic.hold(Operation::Put);
    let run = sandbox.start();
    // The manifest, which was let in before the refusals.
    traffic.wait_until(|traffic| traffic.held() == 1);
    traffic.fail_next(1000, Operation::Put, Failure::AccessDenied);
    traffic.release();
    let output = run.end();
    assert!(traffic.failures_left(Operation::Put) < 1000, "no log was refused");
    traffic.fail_no_more();
    output
}

#[test]
fn a_log_that_cannot_be_shipped_waits_for_the_next_run() {
    let sandbox = sandbox(1);
    let output = run_without_logs(&sandbox).expect(0);
    assert_eq!(output.json["state"], "completed");
    assert_eq!(output.json["log"]["s3"], serde_json::Value::Null, "{:#}", output.json);
    assert!(output.stderr.contains("the log could not be sent"), "{}", output.stderr);
    assert!(
        output.json["warnings"].to_string().contains("log"),
        "the JSON has the warning: {:#}",
        output.json
    );
    let timestamp = output.json["timestamp"].as_str().unwrap();
    assert!(sandbox.log(&format!("run_{timestamp}.log")).contains("the backup exists"));
    assert_eq!(sandbox.object(&log_key(timestamp)), None);
    assert_eq!(sandbox.status()["logs_to_send"], 1, "{:#}", sandbox.status());

    let next = sandbox.run().expect(0);
    let newest = next.json["timestamp"].as_str().unwrap();
    assert_eq!(next.json["log"]["s3"], log_key(newest));
    assert_eq!(sandbox.object(&log_key(timestamp)), Some(sandbox.log(&format!("run_{timestamp}.log"))));
    let log = sandbox.object(&log_key(newest)).unwrap();
    assert!(log.contains(next.json["backup_id"].as_str().unwrap()), "{log}");
    assert_eq!(sandbox.object(&format!("logs/{POLICY}/last.log")), Some(log));
    assert_eq!(sandbox.status()["logs_to_send"], 0);
}

#[test]
fn one_log_that_is_lost_keeps_no_other_from_being_shipped() {
    let sandbox = sandbox(1);
    let first = run_without_logs(&sandbox).expect(0);
    let second = run_without_logs(&sandbox).expect(0);
    fs::remove_file(first.json["log"]["local"].as_str().unwrap()).unwrap();
    let third = sandbox.run().expect(0);
    for run in [second, third] {
        let key = log_key(run.json["timestamp"].as_str().unwrap());
        assert!(sandbox.object(&key).is_some_and(|log| log.contains("the backup exists")), "{key}");
    }
    assert_eq!(sandbox.status()["logs_to_send"], 0);
}

#[test]
fn a_run_that_fails_leaves_its_log_in_the_store() {
    let sandbox = sandbox(1);
    fs::rename(sandbox.source(), sandbox.at("elsewhere")).unwrap();
    let failed = sandbox.run();
    assert!(matches!(failed.code, 1 | 2), "{}: {}", failed.code, failed.stderr);
    let message = failed.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(sandbox.source().to_str().unwrap()), "{message}");
    let key = failed.json["log"]["s3"].as_str().expect("its log is in the store");
    let log = sandbox.object(key).unwrap();
    assert!(log.contains("does not exist") && log.contains("ERROR"), "{log}");
    assert_eq!(sandbox.object(&format!("logs/{POLICY}/last.log")), Some(log));
    let status = sandbox.status();
    assert!(status.to_string().contains("does not exist"), "{status:#}");
    fs::rename(sandbox.at("elsewhere"), sandbox.source()).unwrap();
    let output = sandbox.run().expect(0);
    assert_eq!(sandbox.backups().len(), 1);
    sandbox.assert_restores(output.json["s3"]["key_backup"].as_str().unwrap());
}

#[test]
fn a_run_that_cannot_begin_leaves_a_log_that_the_next_one_ships() {
    let mut sandbox = sandbox(1);
    let agent = sandbox.agent.clone();
    sandbox.agent = sandbox.agent.var("INTELLISTOR_KEY", "");
    let failed = sandbox.run().expect(2);
    let local = PathBuf::from(failed.json["log"]["local"].as_str().expect("it has a log"));
    assert!(fs::read_to_string(&local).unwrap().contains("could not begin"));
    sandbox.agent = agent;
    assert_eq!(sandbox.status()["logs_to_send"], 1, "{:#}", sandbox.status());
    let next = sandbox.run().expect(0);
    let key = format!("logs/{POLICY}/{}", local.file_name().unwrap().to_str().unwrap());
    assert!(sandbox.object(&key).is_some_and(|log| log.contains("could not begin")), "{key}");
    assert_eq!(sandbox.status()["logs_to_send"], 0);
    let last = sandbox.object(&format!("logs/{POLICY}/last.log")).unwrap();
    assert!(last.contains(next.json["backup_id"].as_str().unwrap()), "{last}");
}

#[test]
fn a_run_that_cannot_begin_does_not_touch_the_log_of_the_run_before() {
    let mut sandbox = sandbox(1);
    let before = sandbox.run().expect(0);
    let agent = sandbox.agent.clone();
    sandbox.agent = sandbox.agent.var("INTELLISTOR_KEY", "");
    // Within the same second too.
    let failed = sandbox.run().expect(2);
    sandbox.agent = agent;
    assert_ne!(failed.json["log"]["local"], before.json["log"]["local"], "two runs share a log");
}

const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";

/// Puts a job that ended at `moment` into the history.
fn remember_a_run_at(sandbox: &AgentSandbox, moment: DateTime<Utc>) {
    let mut queue = Queue::open(&sandbox.queue()).unwrap();
    let name = BackupName {
        policy_id: POLICY.to_owned(),
        timestamp: moment.format(TIMESTAMP).to_string(),
        backup_id: "0193-from-the-future".to_owned(),
    };
    let job = Job::new(name, Vec::new(), format!("s3://{BUCKET}"), moment.timestamp_millis());
    let ledger = queue.begin(job).unwrap();
    ledger.advance(JobEvent::GaveUp).unwrap();
    ledger.advance(JobEvent::LogsSettled).unwrap();
    queue.close(ledger).unwrap();
}

#[test]
fn names_stay_in_order_when_the_clock_is_set_back() {
    let sandbox = sandbox(1);
    let future = Utc::now() + TimeDelta::hours(3);
    remember_a_run_at(&sandbox, future);
    let mut last = future.format(TIMESTAMP).to_string();
    let mut keys = Vec::new();
    for n in 0..3 {
        fs::write(sandbox.source().join("n.txt"), n.to_string()).unwrap();
        let output = sandbox.run().expect(3);
        assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
        let timestamp = output.json["timestamp"].as_str().unwrap().to_owned();
        assert!(timestamp > last, "{timestamp} comes before {last}");
        assert!(output.json["warnings"].to_string().contains("clock"), "{:#}", output.json);
        last = timestamp;
        keys.push(output.json["s3"]["key_backup"].as_str().unwrap().to_owned());
    }
    assert_eq!(sandbox.backups(), keys, "they are listed in their order");
    sandbox.client.run(["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "newest"]).expect(0);
    assert_eq!(fs::read_to_string(sandbox.at("newest/n.txt")).unwrap(), "2");
    let last_log = sandbox.object(&format!("logs/{POLICY}/last.log")).unwrap();
    assert_eq!(Some(last_log), sandbox.object(&log_key(&last)));
}

#[test]
fn a_run_of_a_clock_years_ahead_does_not_drag_the_names_of_later_runs_along() {
    let sandbox = sandbox(1);
    let future = Utc::now() + TimeDelta::days(5 * 365);
    remember_a_run_at(&sandbox, future);
    let day_ahead = (Utc::now() + TimeDelta::hours(23)).format(TIMESTAMP).to_string();
    let output = sandbox.run().expect(3);
    assert!(output.warnings().contains("clock"), "{}", output.warnings());
    let first = output.json["timestamp"].as_str().unwrap().to_owned();
    assert!(first < day_ahead, "{first} is named after the run of the future");
    // It was the run before, once.
    let output = sandbox.run().expect(0);
    let second = output.json["timestamp"].as_str().unwrap().to_owned();
    assert!(first < second && second < day_ahead, "{first} {second}");
    assert_eq!(
        sandbox.status()["last"]["timestamp"],
        second.as_str(),
        "the last run is the one that ended last"
    );
}

#[test]
fn the_latest_backup_is_not_one_of_the_future() {
    let sandbox = sandbox(1);
    let output = sandbox.run().expect(0);
    // The same backup, as a clock that was years ahead would have named it.
    let named = output.json["timestamp"].as_str().unwrap();
    let backups = sandbox.at("s3").join(BUCKET).join("backups").join(POLICY);
    let future = (Utc::now() + TimeDelta::days(5 * 365)).format(TIMESTAMP).to_string();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(backups.join(named))
        .arg(backups.join(&future))
        .status();
    assert!(copied.unwrap().success());
    fs::write(sandbox.source().join("n.txt"), "today").unwrap();
    for (program, command) in [(&sandbox.agent, "run"), (&sandbox.client, "backup")] {
        let output = program.run(["-q", command, "--policy", "policy.yaml"]).expect(3);
        let message = output.warnings();
        assert!(message.contains(&future) && message.contains("clock"), "{message}");
    }
    let latest = ["restore", "--policy", "policy.yaml", "--latest", "--out", "newest"];
    let restored = sandbox.client.run(latest).expect(0);
    assert_eq!(fs::read_to_string(sandbox.at("newest/n.txt")).unwrap(), "today");
    assert!(restored.stderr.contains("dated in the future"), "{}", restored.stderr);
    // Where all are of the future it is this clock that is wrong.
    for entry in fs::read_dir(&backups).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(&future) {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let shown = sandbox.client.run(["verify", "--policy", "policy.yaml", "--latest"]);
    assert!(shown.stderr.contains("clock may be wrong"), "{}", shown.stderr);
}

#[test]
fn two_runs_within_a_second_have_names_and_logs_of_their_own() {
    let sandbox = sandbox(1);
    let runs: Vec<_> = (0..4).map(|_| sandbox.run().expect(0)).collect();
    let of = |n: usize| runs[n].json["timestamp"].as_str().unwrap().to_owned();
    for n in 1..4 {
        assert!(of(n) > of(n - 1), "{} {}", of(n - 1), of(n));
        let log = sandbox.object(&log_key(&of(n))).unwrap();
        assert_eq!(log.matches("the backup exists").count(), 1, "{log}");
    }
    assert_eq!(sandbox.backups().len(), 4);
}

#[test]
fn the_client_leaves_no_log_and_no_state() {
    let sandbox = sandbox(12);
    let empty = sandbox.at("empty");
    fs::create_dir(&empty).unwrap();
    let variables = [
        "HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "TMPDIR",
        "INTELLISTOR_HOME",
    ];
    let client = variables.iter().fold(sandbox.client.clone(), |client, name| client.var(name, &empty));
    let outside = |sandbox: &AgentSandbox| {
        let of_server = sandbox.at("s3");
        paths_below(sandbox.dir())
            .into_iter()
            .filter(|path| !path.starts_with(&of_server))
            .collect::<Vec<_>>()
    };
    let before = outside(&sandbox);
    let backup = client.run(["-vvv", "backup", "--policy", "policy.yaml"]).expect(0);
    let key = backup.json["s3"]["key_backup"].as_str().unwrap();
    for command in ["list", "show", "verify"] {
        let mut args = vec![command, "--policy", "policy.yaml"];
        if command != "list" {
            args.push("--latest");
        }
        client.run(args).expect(0);
    }
    fs::rename(sandbox.source(), sandbox.at("gone")).unwrap();
    assert_ne!(client.run(["backup", "--policy", "policy.yaml"]).code, 0);
    fs::rename(sandbox.at("gone"), sandbox.source()).unwrap();
    assert_eq!(outside(&sandbox), before);
    let puts: Vec<_> = sandbox.server.traffic().log();
    let puts = puts.iter().filter_map(|done| match done {
        Done::Put { key } => Some(key.as_str()),
        _ => None,
    });
    let expected =
        [format!("backups/{POLICY}/machine.json"), key.replace("backup.tar.gz.enc", "manifest.json")];
    assert_eq!(puts.collect::<Vec<_>>(), expected);
    assert!(!sandbox.at("s3").join(BUCKET).join("logs").exists());
}
