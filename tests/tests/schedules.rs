//! Schedules from the command line, kept by cron; and `serve`, which needs no scheduler. The crontab is one of this
//! test's own: `crontab` is a script that keeps it in a file, so that the machine's stays as it is. What is handed to
//! Task Scheduler and systemd is tested beside the code.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::own_crontab::with_own_crontab;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use serde_json::Value;

fn sandbox() -> Option<AgentSandbox> {
    with_own_crontab("copia")
}

fn apply(sandbox: &AgentSandbox, cron: &str) -> Output {
    let line = ["apply-schedule", "--policy-id", "copia", "--cron", cron, "--policy-path", "policy.yaml"];
    sandbox.agent.run(line.into_iter().chain(["--env-file", "b.env"]))
}

fn table(sandbox: &AgentSandbox) -> String {
    fs::read_to_string(sandbox.at("bin/table")).unwrap_or_default()
}

#[test]
fn a_schedule_is_made_tried_changed_and_removed() {
    let Some(sandbox) = sandbox() else { return };
    fs::write(sandbox.at("bin/table"), "MAILTO=ana\n5 4 * * * other # comment\n").unwrap();
    let applied = apply(&sandbox, "0 2 * * 1-5").expect(0).json;
    assert_eq!((&applied["replaced"], &applied["kept"]), (&false.into(), &"crontab".into()), "{applied:#}");
    assert_eq!(applied["next_runs"].as_array().unwrap().len(), 5, "{applied:#}");

    // Cron's shell knows next to nothing of this one.
    let tried = sandbox.agent.run(["-q", "test-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!((&tried["exit_code"], &tried["result"]), (&0.into(), &"success".into()), "{tried:#}");
    assert!(Path::new(tried["log"].as_str().unwrap()).is_file(), "{tried:#}");
    let backups = sandbox.backups();
    assert_eq!(backups.len(), 1);
    sandbox.assert_restores(&backups[0]);

    let applied = apply(&sandbox, "@hourly").expect(0).json;
    assert_eq!(applied["replaced"], true, "{applied:#}");
    let listed = sandbox.agent.run(["-q", "list-schedules"]).expect(0).json;
    let [one] = listed["schedules"].as_array().unwrap().as_slice() else { panic!("{listed:#}") };
    assert_eq!((&one["policy_id"], &one["cron"]), (&"copia".into(), &"0 * * * *".into()), "{listed:#}");
    assert_eq!(sandbox.status()["schedule"], *one);
    assert!(one["next_run"].as_str().unwrap().ends_with(":00:00Z"), "{listed:#}");
    assert_eq!(sandbox.status()["next_run"], one["next_run"]);
    let listed = sandbox.agent.run(["-q", "list-schedules", "--format", "table"]).expect(0).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let row = listed.lines().find(|line| line.starts_with("copia")).unwrap();
    assert!(row.contains("0 * * * *") && row.contains("on") && row.contains(":00 "), "{listed}");

    let removed = sandbox.agent.run(["-q", "remove-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!(removed["removed"], true, "{removed:#}");
    assert_eq!(table(&sandbox), "MAILTO=ana\n5 4 * * * other # comment\n", "other lines stay as they were");
    let again = sandbox.agent.run(["remove-schedule", "--policy-id", "copia"]).expect(0);
    assert_eq!(again.json["removed"], false, "{}", again.stderr);
}

#[test]
fn a_schedule_seals_with_a_weak_passphrase_where_it_was_told_to() {
    let Some(sandbox) = sandbox() else { return };
    let settings = fs::read_to_string(sandbox.at("b.env")).unwrap();
    let line = |line: &str| match line.starts_with("INTELLISTOR_KEY=") {
        true => "INTELLISTOR_PASSPHRASE='segredo'\n".to_owned(),
        false => format!("{line}\n"),
    };
    fs::write(sandbox.at("b.env"), settings.lines().map(line).collect::<String>()).unwrap();
    let refused = apply(&sandbox, "@daily").expect(2);
    assert!(refused.stderr.contains("easily guessed"), "{}", refused.stderr);
    assert_eq!(table(&sandbox), "");
    let line = ["apply-schedule", "--policy-id", "copia", "--cron", "@daily", "--policy-path", "policy.yaml"];
    sandbox.agent.run(line.into_iter().chain(["--env-file", "b.env", "--weak-passphrase"])).expect(0);
    let tried = sandbox.agent.run(["-q", "test-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!(tried["result"], "success", "{tried:#}");
}

#[test]
fn what_cannot_be_kept_is_refused_and_changes_nothing() {
    let Some(sandbox) = sandbox() else { return };
    let refused = apply(&sandbox, "0 25 * * *").expect(2);
    assert!(refused.stderr.contains("hour") && refused.stderr.contains("25"), "{}", refused.stderr);
    let other = ["apply-schedule", "--policy-id", "other", "--policy-path", "policy.yaml"];
    let other = sandbox.agent.run(other).expect(2);
    assert!(other.stderr.contains("it is the file of policy copia"), "{}", other.stderr);
    assert_eq!(table(&sandbox), "");
    let unknown = sandbox.agent.run(["test-schedule", "--policy-id", "copia"]).expect(1);
    assert!(unknown.stderr.contains("has no schedule"), "{}", unknown.stderr);
}

#[test]
fn what_a_scheduled_run_would_not_find_is_a_warning() {
    let Some(mut sandbox) = sandbox() else { return };
    fs::write(sandbox.at("b.env"), "INTELLISTOR_KEY_FILE='key'\n").unwrap();
    let here = [
        ("AWS_DEFAULT_REGION", "sa-east-1"),
        ("AWS_CA_BUNDLE", "ca.pem"),
        ("SSL_CERT_FILE", "/etc/ssl/cert.pem"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("https_proxy", "http://proxy:3128"),
        ("NO_PROXY", "10.0.0.0/8"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
        ("INTELLISTOR_MACHINE", "web"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_CONFIG_FILE", "/home/ana/aws"),
    ];
    sandbox.agent = sandbox.agent.clone().vars(here);
    let refused = apply(&sandbox, "@daily").expect(2);
    assert!(refused.stderr.contains("INTELLISTOR_KEY_FILE"), "{}", refused.stderr);
    let line = ["apply-schedule", "--policy-id", "copia", "--policy-path", "policy.yaml", "--no-check"];
    let message = sandbox.agent.run(line.into_iter().chain(["--env-file", "b.env"])).expect(0).stderr;
    for (name, _) in here {
        assert!(message.contains(&format!("{name} is set in this shell")), "{name}: {message}");
    }
    assert!(message.contains("AWS_CA_BUNDLE is a relative path"), "{message}");
    assert!(!message.contains("RUST_LOG") && !message.contains("TZ is"), "{message}");
    assert!(message.contains("INTELLISTOR_KEY_FILE is a relative path"), "{message}");
    assert!(message.contains("INTELLISTOR_HOME is set in this shell"), "{message}");
    assert!(!message.contains("INTELLISTOR_KEY_FILE is set"), "the file has it: {message}");
}

#[test]
fn a_try_names_what_its_account_lacks() {
    let Some(sandbox) = sandbox() else { return };
    apply(&sandbox, "@daily").expect(0);
    let settings = fs::read_to_string(sandbox.at("b.env")).unwrap();
    let without = |name: &str| {
        let lines = settings.lines().filter(|line| !line.starts_with(name));
        fs::write(sandbox.at("b.env"), lines.collect::<Vec<_>>().join("\n")).unwrap();
        sandbox.agent.run(["test-schedule", "--policy-id", "copia"])
    };
    let keyless = without("INTELLISTOR_KEY=").expect(2);
    assert!(keyless.json["reason"].as_str().unwrap().contains("INTELLISTOR_KEY"), "{:#}", keyless.json);
    assert!(keyless.json["log"].is_string(), "{:#}", keyless.json);
    // A key that is found from here, and not from where the scheduled run begins.
    let key = settings.lines().find_map(|line| line.strip_prefix("INTELLISTOR_KEY='")).unwrap();
    fs::write(sandbox.at("key"), key.trim_end_matches('\'')).unwrap();
    let rest = fs::read_to_string(sandbox.at("b.env")).unwrap();
    fs::write(sandbox.at("b.env"), format!("{rest}\nINTELLISTOR_KEY_FILE='key'\n")).unwrap();
    let astray = sandbox.agent.run(["test-schedule", "--policy-id", "copia"]).expect(2);
    assert!(astray.json["reason"].as_str().unwrap().contains("INTELLISTOR_KEY_FILE"), "{:#}", astray.json);
    fs::rename(sandbox.at("policy.yaml"), sandbox.at("gone.yaml")).unwrap();
    let lost = sandbox.agent.run(["test-schedule", "--policy-id", "copia"]).expect(2);
    assert_eq!(lost.json["log"], Value::Null, "an older log is not this run's: {:#}", lost.json);
    assert!(lost.stderr.contains("left no log"), "{}", lost.stderr);
}

#[test]
fn serve_finishes_what_was_stopped_and_stops_cleanly() {
    let sandbox = AgentSandbox::filled("copia", 30);
    assert!(sandbox.run_until("part_recorded", 2));
    fs::create_dir(sandbox.at("policies")).unwrap();
    let policy = fs::read_to_string(sandbox.at("policy.yaml")).unwrap();
    fs::write(sandbox.at("policies/copia.yaml"), policy + "schedule: '0 2 * * *'\n").unwrap();
    fs::write(sandbox.at("policies/broken.yaml"), "policy_id: [\n").unwrap();
    let serving = Running::start(sandbox.agent.command(["serve", "--policies", "policies"]));
    serving.wait_for("copia: backed up");
    serving.signal(rustix::process::Signal::TERM);
    let output = serving.end_within(Duration::from_secs(20));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.json["runs"], 1, "{:#}", output.json);
    assert!(output.stderr.contains("sent by an earlier run"), "it was resumed: {}", output.stderr);
    assert!(output.stderr.contains("broken.yaml"), "a file that is no policy is named: {}", output.stderr);
    sandbox.assert_no_open_upload();
    sandbox.assert_restores(&sandbox.backups()[0]);
}

#[test]
fn a_schedule_is_shown_in_the_machines_time_zone_and_not_in_the_shells() {
    let Some(mut sandbox) = sandbox() else { return };
    sandbox.agent = sandbox.agent.clone().var("TZ", "XYZ-09:30");
    let output = apply(&sandbox, "0 2 * * *").expect(0);
    let applied = &output.json;
    let times = applied["next_runs"].as_array().unwrap();
    assert_eq!(times.len(), 5);
    for time in times.iter().chain([&applied["next_run"]]).map(|time| time.as_str().unwrap()) {
        assert!(time.ends_with(":00:00Z"), "{applied:#}");
    }
    let shown: Vec<&str> = output.stderr.lines().filter(|line| line.contains("runs at ")).collect();
    assert_eq!(shown.len(), 5, "{}", output.stderr);
    assert!(shown.iter().all(|line| line.contains("T02:00:00") && !line.contains("+09:30")), "{shown:?}");
    let zone = applied["time_zone"].as_str().unwrap();
    let notes = applied["notes"].to_string();
    assert!(notes.contains("XYZ-09:30") && notes.contains(zone), "{applied:#}");
    let listed = sandbox.agent.run(["-q", "list-schedules"]).expect(0).json;
    assert_eq!(listed["schedules"][0]["next_run"], times[0], "{listed:#}");
}

#[test]
fn a_time_zone_that_is_unknown_here_is_told() {
    let sandbox = AgentSandbox::new("copia");
    for (tz, named) in [("America/Sao_Palo", true), ("XYZ3", false)] {
        let agent = sandbox.agent.clone().var("TZ", tz);
        let refused = agent.run(["serve", "--policies", "no-such-folder"]);
        assert_ne!(refused.code, 0);
        assert_eq!(refused.stderr.contains(tz), named, "{}", refused.stderr);
    }
}

#[test]
fn a_schedule_whose_runs_would_fail_is_refused() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.run().expect(0);
    let right = fs::read_to_string(sandbox.at("b.env")).unwrap();
    let key = intellistor::UserKey::generate().to_base64().unwrap();
    let line = |line: &str| match line.starts_with("INTELLISTOR_KEY=") {
        true => format!("INTELLISTOR_KEY='{}'\n", key.as_str()),
        false => format!("{line}\n"),
    };
    fs::write(sandbox.at("b.env"), right.lines().map(line).collect::<String>()).unwrap();
    let refused = apply(&sandbox, "@daily").expect(2);
    assert!(
        refused.stderr.contains("newest backup: ") && refused.stderr.contains("--no-check"),
        "{}",
        refused.stderr
    );
    assert_eq!(table(&sandbox), "");
    fs::write(sandbox.at("b.env"), right).unwrap();
    // What may work by tonight is a warning.
    sandbox.server.stop_listening();
    let warned = apply(&sandbox, "@daily").expect(0);
    assert!(warned.stderr.contains("endpoint: "), "{}", warned.stderr);
    sandbox.server.listen_again();
    apply(&sandbox, "@daily").expect(0);
}

#[test]
fn after_a_boot_only_what_was_interrupted_is_resumed() {
    let sandbox = AgentSandbox::filled("copia", 30);
    let boot = || sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--only-unfinished"]);
    assert_eq!(boot().expect(0).json["state"], "idle");
    assert!(sandbox.backups().is_empty(), "no backup was asked for");
    assert!(sandbox.run_until("part_recorded", 2));
    let resumed = boot().expect(0);
    sandbox.assert_resumed(&resumed, 2);
    assert_eq!(boot().expect(0).json["state"], "idle");
    assert_eq!(sandbox.backups().len(), 1);
}
