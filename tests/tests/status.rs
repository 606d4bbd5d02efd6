//! `status` tells the truth, to a person and to a monitor, also about runs that left nothing behind. The crontab is a file of
//! this test's own.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;

use chrono::{DateTime, Local};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::own_crontab::with_own_crontab;
use intellistor_tests::s3_server::BUCKET;
use serde_json::Value;

fn sandbox() -> Option<AgentSandbox> {
    with_own_crontab("ruim")
}

fn apply(sandbox: &AgentSandbox) {
    let line = [
        "-q",
        "apply-schedule",
        "--policy-id",
        "ruim",
        "--cron",
        "0 * * * *",
        "--policy-path",
        "policy.yaml",
    ];
    sandbox.agent.run(line.into_iter().chain(["--env-file", "b.env"])).expect(0);
}

/// The exit code and the line that a monitor gets.
fn check(sandbox: &AgentSandbox) -> (i32, String) {
    let checked = sandbox.agent.run(["-q", "status", "--check"]);
    (checked.code, String::from_utf8(checked.stdout).unwrap())
}

fn reasons(status: &Value) -> String {
    status["reasons"].to_string()
}

#[test]
fn a_week_with_one_failing_policy_is_seen_at_one_look() {
    let Some(sandbox) = sandbox() else { return };
    let good = fs::read_to_string(sandbox.at("policy.yaml")).unwrap().replace("ruim", "boa");
    fs::write(sandbox.at("boa.yaml"), good).unwrap();
    let run_good = || sandbox.agent.run(["-q", "run", "--policy", "boa.yaml"]).expect(0);
    sandbox.run().expect(0);
    run_good();
    assert_eq!(check(&sandbox).0, 0, "{}", check(&sandbox).1);
    let made = sandbox.status()["last_good"].clone();
    let keyless = sandbox.agent.clone().var("INTELLISTOR_KEY", "");
    for _ in 0..7 {
        keyless.run(["-q", "run", "--policy", "policy.yaml"]).expect(2);
        run_good();
    }
    let shown = sandbox.agent.run(["-q", "status", "--format", "table"]).expect(0).stdout;
    let shown = String::from_utf8(shown).unwrap();
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[1].starts_with("ruim") && rows[1].contains("failed"), "{shown}");
    assert!(rows[2].starts_with("boa") && rows[2].contains("ok"), "{shown}");
    assert!(
        rows[3..].iter().any(|line| line.starts_with("ruim: ") && line.contains("INTELLISTOR_KEY")),
        "{shown}"
    );

    let status = sandbox.status();
    assert_eq!((&status["state"], &status["health"]), (&"failed".into(), &"critical".into()), "{status:#}");
    assert_eq!(status["last_run"]["source"], "failed_start", "{status:#}");
    assert!(Path::new(status["last_run"]["log"].as_str().unwrap()).is_file(), "{status:#}");
    assert!(status["last_run"]["ended"].as_str().unwrap().ends_with('Z'), "{status:#}");
    assert_eq!(status["last_good"]["backup_id"], made["backup_id"], "{status:#}");
    let good = sandbox.agent.run(["-q", "status", "--policy-id", "boa", "--json"]).expect(0).json;
    assert_eq!(good["policies"][0]["trend"].as_array().unwrap().len(), 7, "{good:#}");

    let (code, line) = check(&sandbox);
    assert!(code == 2 && line.starts_with("CRITICAL - ruim: the last run failed: "), "{code} {line}");
    assert!(line.contains("(1 of 2 policies) | ") && line.contains("'boa_age'="), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");

    sandbox.run().expect(0);
    let (code, line) = check(&sandbox);
    assert!(code == 0 && line.starts_with("OK - 2 policies"), "{code} {line}");
}

#[test]
fn what_failed_before_it_could_write_a_log_is_seen() {
    let Some(sandbox) = sandbox() else { return };
    apply(&sandbox);
    let never = sandbox.status();
    assert_eq!((&never["state"], &never["health"]), (&"never_ran".into(), &"warning".into()), "{never:#}");
    assert_eq!(check(&sandbox).0, 1);
    let try_it = || sandbox.agent.run(["-q", "test-schedule", "--policy-id", "ruim"]);
    try_it().expect(0);
    assert_eq!(check(&sandbox).0, 0, "{}", check(&sandbox).1);

    fs::rename(sandbox.at("policy.yaml"), sandbox.at("gone.yaml")).unwrap();
    let broken = sandbox.status();
    assert_eq!(broken["state"], "failed", "before the next run, too: {broken:#}");
    assert!(reasons(&broken).contains("policy.yaml, does not exist"), "{broken:#}");
    assert_eq!(broken["last_run"]["result"], "completed", "{broken:#}");
    try_it().expect(2);
    let failed = sandbox.status();
    assert_eq!(failed["last_run"]["result"], "failed", "{failed:#}");
    assert_eq!(failed["last_run"]["source"], "failed_start", "{failed:#}");
    assert!(failed["last_run"]["error"].as_str().unwrap().contains("policy.yaml"), "{failed:#}");
    assert_eq!(check(&sandbox).0, 2);
    fs::rename(sandbox.at("gone.yaml"), sandbox.at("policy.yaml")).unwrap();
    try_it().expect(0);
    assert_eq!(sandbox.status()["state"], "ok");

    // The program is gone as well: cron leaves no trace of that.
    let table = fs::read_to_string(sandbox.at("bin/table")).unwrap();
    fs::write(sandbox.at("bin/table"), table.replace("intellistor-agent' run", "no-agent' run")).unwrap();
    fs::rename(sandbox.at("b.env"), sandbox.at("gone.env")).unwrap();
    let broken = sandbox.status();
    assert!(reasons(&broken).contains("no-agent, does not exist"), "{broken:#}");
    assert!(reasons(&broken).contains("b.env, does not exist"), "{broken:#}");
}

#[test]
fn starts_that_never_happened_are_counted() {
    let Some(sandbox) = sandbox() else { return };
    apply(&sandbox);
    sandbox.run().expect(0);
    assert_eq!(sandbox.status()["missed"], Value::Null);
    // As if the last run had been three days ago.
    let view = sandbox.queue().join("view.json");
    let mut text: Value = serde_json::from_slice(&fs::read(&view).unwrap()).unwrap();
    for time in ["began_ms", "ended_ms"] {
        let moved = text["history"][0][time].as_i64().unwrap() - 72 * 3600 * 1000;
        text["history"][0][time] = moved.into();
    }
    fs::write(&view, text.to_string()).unwrap();
    fs::remove_dir_all(sandbox.logs()).unwrap();
    let status = sandbox.status();
    assert_eq!((&status["state"], &status["health"]), (&"missed".into(), &"critical".into()), "{status:#}");
    assert!((71..=72).contains(&status["missed"]["count"].as_u64().unwrap()), "{status:#}");
    assert!(status["missed"]["first"].as_str().unwrap().ends_with(":00:00Z"), "{status:#}");
    let (code, line) = check(&sandbox);
    assert!(code == 2 && line.contains("starts did not happen, the first 2 d ago"), "{line}");
    sandbox.run().expect(0);
    assert_eq!(sandbox.status()["missed"], Value::Null, "one run makes up for all");
}

#[test]
fn a_monitor_is_told_what_is_old_and_what_cannot_be_known() {
    let sandbox = AgentSandbox::new("ruim");
    assert_eq!(check(&sandbox).0, 3, "no policy is known");
    sandbox.run().expect(0);
    let aged = |option: &str| sandbox.agent.run(["-q", "status", "--check", option, "1ns"]);
    assert_eq!((aged("--warning-age").code, aged("--critical-age").code), (1, 2));
    let mut elsewhere = sandbox.agent.clone();
    elsewhere = elsewhere.var("INTELLISTOR_HOME", sandbox.at("policy.yaml"));
    let unreadable = elsewhere.run(["-q", "status", "--check"]);
    let line = String::from_utf8(unreadable.stdout).unwrap();
    assert!(unreadable.code == 3 && line.starts_with("UNKNOWN - "), "{} {line}", unreadable.code);
}

#[test]
fn the_store_has_a_say_where_it_is_asked() {
    let sandbox = AgentSandbox::new("ruim");
    fs::write(sandbox.source().join("a"), "a").unwrap();
    sandbox.run().expect(0);
    let ask = || {
        let asked = sandbox.agent.run(["-q", "status", "--policy", "policy.yaml", "--json"]).expect(0).json;
        asked["policies"][0].clone()
    };
    let whole = ask();
    assert_eq!((&whole["state"], &whole["store"]["backups"]), (&"ok".into(), &1.into()), "{whole:#}");
    assert_eq!(whole["store"]["newest"]["backup_id"], whole["last_good"]["backup_id"], "{whole:#}");
    fs::remove_dir_all(sandbox.at("s3").join(BUCKET).join("backups/ruim")).unwrap();
    let lost = ask();
    assert_eq!(lost["health"], "critical", "{lost:#}");
    assert!(reasons(&lost).contains("is not in the store"), "{lost:#}");
}

#[test]
fn a_log_is_found_by_both_kinds_of_time() {
    let sandbox = AgentSandbox::new("ruim");
    sandbox.run().expect(0);
    let logs = sandbox.agent.run(["-q", "logs", "list", "--policy-id", "ruim"]).expect(0).json;
    let [log] = logs["logs"].as_array().unwrap().as_slice() else { panic!("{logs:#}") };
    let began = DateTime::parse_from_rfc3339(log["began"].as_str().unwrap()).unwrap().with_timezone(&Local);
    let show = |run: &str| sandbox.agent.run(["-q", "logs", "show", "--policy-id", "ruim", "--run", run]);
    let text = show(log["timestamp"].as_str().unwrap()).expect(0).stdout;
    assert!(String::from_utf8_lossy(&text).contains("run begins"));
    for run in ["latest".to_owned(), began.format("%Y-%m-%d %H:%M").to_string()] {
        assert_eq!(show(&run).expect(0).stdout, text, "{run}");
    }
    let table = ["-q", "logs", "list", "--policy-id", "ruim", "--format", "table"];
    let table = String::from_utf8(sandbox.agent.run(table).expect(0).stdout).unwrap();
    assert!(table.contains(&began.format("%Y-%m-%d %H:%M %:z").to_string()), "{table}");
    // A second run in the same minute makes that minute ambiguous.
    let stamp = (began.to_utc() - chrono::TimeDelta::seconds(1)).format("%Y%m%dT%H%M%SZ").to_string();
    fs::write(sandbox.logs().join(format!("run_{stamp}.log")), "x\n").unwrap();
    let minute = began.format("%Y-%m-%d %H:%M").to_string();
    let same = began.format("%S").to_string() != "00";
    let answer = show(&minute).expect(if same { 2 } else { 0 });
    assert!(!same || answer.stderr.contains(&stamp), "{}", answer.stderr);
}
