//! Schedules from the command line, kept by cron; and `serve`, which needs no scheduler. The crontab is one of this
//! test's own: `crontab` is a script that keeps it in a file, so that the machine's stays as it is. What is handed to
//! Task Scheduler and systemd is tested beside the code.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails where it stands"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use serde_json::Value;

const CRONTAB: &str = r#"#!/bin/sh
table=$(dirname "$0")/table
case $1 in
    -l) [ -e "$table" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; exec cat "$table" ;;
    -r) exec rm "$table" ;;
    -) exec cat >"$table" ;;
esac
"#;

/// A place with a crontab of its own. None where systemd runs: it would keep the schedules.
fn place() -> Option<Governed> {
    if Path::new("/run/systemd/system").is_dir() {
        eprintln!("SKIPPED: systemd runs here, and a test does not write into it");
        return None;
    }
    let mut place = Governed::new("copia");
    let bin = place.at("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("crontab"), CRONTAB).unwrap();
    fs::set_permissions(bin.join("crontab"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.at("casa")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    place.agent = place.agent.clone().var("PATH", path).var("HOME", place.at("casa"));
    fs::write(place.source().join("Relatório.txt"), "olá").unwrap();
    // What a scheduled run sees; the shell of the one who applies it has the same.
    let settings = place.agent.env_file(&["AWS_", "INTELLISTOR_"]);
    fs::write(place.at("b.env"), settings).unwrap();
    fs::set_permissions(place.at("b.env"), fs::Permissions::from_mode(0o600)).unwrap();
    Some(place)
}

fn apply(place: &Governed, cron: &str) -> Output {
    let line = ["apply-schedule", "--policy-id", "copia", "--cron", cron, "--policy-path", "policy.yaml"];
    place.agent.run(line.into_iter().chain(["--env-file", "b.env"]))
}

fn table(place: &Governed) -> String {
    fs::read_to_string(place.at("bin/table")).unwrap_or_default()
}

#[test]
fn a_schedule_is_made_tried_changed_and_removed() {
    let Some(place) = place() else { return };
    fs::write(place.at("bin/table"), "MAILTO=ana\n5 4 * * * other # comment\n").unwrap();
    let applied = apply(&place, "0 2 * * 1-5").expect(0).json;
    assert_eq!((&applied["replaced"], &applied["kept"]), (&false.into(), &"crontab".into()), "{applied:#}");
    assert_eq!(applied["next_runs"].as_array().unwrap().len(), 5, "{applied:#}");

    // Cron's shell knows next to nothing of this one.
    let tried = place.agent.run(["-q", "test-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!((&tried["exit_code"], &tried["result"]), (&0.into(), &"success".into()), "{tried:#}");
    assert!(Path::new(tried["log"].as_str().unwrap()).is_file(), "{tried:#}");
    let backups = place.backups();
    assert_eq!(backups.len(), 1);
    place.assert_restores(&backups[0]);

    let applied = apply(&place, "@hourly").expect(0).json;
    assert_eq!(applied["replaced"], true, "{applied:#}");
    let listed = place.agent.run(["-q", "list-schedules"]).expect(0).json;
    let [one] = listed["schedules"].as_array().unwrap().as_slice() else { panic!("{listed:#}") };
    assert_eq!((&one["policy_id"], &one["cron"]), (&"copia".into(), &"0 * * * *".into()), "{listed:#}");
    assert_eq!(place.status()["schedule"], *one);
    let shown = place.agent.run(["status"]).expect(0).stdout;
    let next = one["next_run"].as_str().unwrap()[..16].replace('T', " ");
    assert!(String::from_utf8(shown).unwrap().contains(&next));

    let removed = place.agent.run(["-q", "remove-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!(removed["removed"], true, "{removed:#}");
    assert_eq!(table(&place), "MAILTO=ana\n5 4 * * * other # comment\n", "other lines stay as they were");
    let again = place.agent.run(["remove-schedule", "--policy-id", "copia"]).expect(0);
    assert_eq!(again.json["removed"], false, "{}", again.stderr);
}

#[test]
fn a_schedule_seals_with_a_weak_passphrase_where_it_was_told_to() {
    let Some(place) = place() else { return };
    let settings = fs::read_to_string(place.at("b.env")).unwrap();
    let line = |line: &str| match line.starts_with("INTELLISTOR_KEY=") {
        true => "INTELLISTOR_PASSPHRASE='segredo'\n".to_owned(),
        false => format!("{line}\n"),
    };
    fs::write(place.at("b.env"), settings.lines().map(line).collect::<String>()).unwrap();
    apply(&place, "@daily").expect(0);
    let refused = place.agent.run(["test-schedule", "--policy-id", "copia"]).expect(2);
    assert!(refused.stderr.contains("easily guessed"), "{}", refused.stderr);
    let line = ["apply-schedule", "--policy-id", "copia", "--cron", "@daily", "--policy-path", "policy.yaml"];
    place.agent.run(line.into_iter().chain(["--env-file", "b.env", "--weak-passphrase"])).expect(0);
    let tried = place.agent.run(["-q", "test-schedule", "--policy-id", "copia"]).expect(0).json;
    assert_eq!(tried["result"], "success", "{tried:#}");
}

#[test]
fn what_cannot_be_kept_is_refused_and_changes_nothing() {
    let Some(place) = place() else { return };
    let refused = apply(&place, "0 25 * * *").expect(2);
    assert!(refused.stderr.contains("hour") && refused.stderr.contains("25"), "{}", refused.stderr);
    let other = ["apply-schedule", "--policy-id", "other", "--policy-path", "policy.yaml"];
    let other = place.agent.run(other).expect(2);
    assert!(other.stderr.contains("it is the file of policy copia"), "{}", other.stderr);
    assert_eq!(table(&place), "");
    let unknown = place.agent.run(["test-schedule", "--policy-id", "copia"]).expect(1);
    assert!(unknown.stderr.contains("has no schedule"), "{}", unknown.stderr);
}

#[test]
fn what_a_scheduled_run_would_not_find_is_a_warning() {
    let Some(mut place) = place() else { return };
    fs::write(place.at("b.env"), "INTELLISTOR_KEY_FILE='key'\n").unwrap();
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
    place.agent = place.agent.clone().vars(here);
    let told = apply(&place, "@daily").expect(0).stderr;
    for (name, _) in here {
        assert!(told.contains(&format!("{name} is set in this shell")), "{name}: {told}");
    }
    assert!(told.contains("AWS_CA_BUNDLE is a relative path"), "{told}");
    assert!(!told.contains("RUST_LOG") && !told.contains("TZ is"), "{told}");
    assert!(told.contains("INTELLISTOR_KEY_FILE is a relative path"), "{told}");
    assert!(told.contains("INTELLISTOR_HOME is set in this shell"), "{told}");
    assert!(!told.contains("INTELLISTOR_KEY_FILE is set"), "the file has it: {told}");
}

#[test]
fn a_try_names_what_its_account_lacks() {
    let Some(place) = place() else { return };
    apply(&place, "@daily").expect(0);
    let settings = fs::read_to_string(place.at("b.env")).unwrap();
    let without = |name: &str| {
        let lines = settings.lines().filter(|line| !line.starts_with(name));
        fs::write(place.at("b.env"), lines.collect::<Vec<_>>().join("\n")).unwrap();
        place.agent.run(["test-schedule", "--policy-id", "copia"])
    };
    let keyless = without("INTELLISTOR_KEY=").expect(2);
    assert!(keyless.json["reason"].as_str().unwrap().contains("INTELLISTOR_KEY"), "{:#}", keyless.json);
    assert!(keyless.json["log"].is_string(), "{:#}", keyless.json);
    // A key that is found from here, and not from where the scheduled run begins.
    let key = settings.lines().find_map(|line| line.strip_prefix("INTELLISTOR_KEY='")).unwrap();
    fs::write(place.at("key"), key.trim_end_matches('\'')).unwrap();
    let rest = fs::read_to_string(place.at("b.env")).unwrap();
    fs::write(place.at("b.env"), format!("{rest}\nINTELLISTOR_KEY_FILE='key'\n")).unwrap();
    let astray = place.agent.run(["test-schedule", "--policy-id", "copia"]).expect(2);
    assert!(astray.json["reason"].as_str().unwrap().contains("INTELLISTOR_KEY_FILE"), "{:#}", astray.json);
    fs::rename(place.at("policy.yaml"), place.at("gone.yaml")).unwrap();
    let lost = place.agent.run(["test-schedule", "--policy-id", "copia"]).expect(2);
    assert_eq!(lost.json["log"], Value::Null, "an older log is not this run's: {:#}", lost.json);
    assert!(lost.stderr.contains("left no log"), "{}", lost.stderr);
}

#[test]
fn serve_finishes_what_was_stopped_and_stops_cleanly() {
    let place = Governed::new("copia");
    place.fill(30);
    assert!(place.run_until("part_recorded", 2));
    fs::create_dir(place.at("policies")).unwrap();
    let policy = fs::read_to_string(place.at("policy.yaml")).unwrap();
    fs::write(place.at("policies/copia.yaml"), policy + "schedule: '0 2 * * *'\n").unwrap();
    fs::write(place.at("policies/broken.yaml"), "policy_id: [\n").unwrap();
    let serving = Running::start(place.agent.command(["serve", "--policies", "policies"]));
    serving.wait_for("copia: backed up");
    serving.signal(rustix::process::Signal::TERM);
    let output = serving.end_within(Duration::from_secs(20));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.json["runs"], 1, "{:#}", output.json);
    assert!(output.stderr.contains("sent by an earlier run"), "it was resumed: {}", output.stderr);
    assert!(output.stderr.contains("broken.yaml"), "a file that is no policy is told: {}", output.stderr);
    place.assert_no_open_upload();
    place.assert_restores(&place.backups()[0]);
}

#[test]
fn a_schedule_is_shown_in_the_machines_time_zone_and_not_in_the_shells() {
    let Some(mut place) = place() else { return };
    place.agent = place.agent.clone().var("TZ", "XYZ-09:30");
    let applied = apply(&place, "0 2 * * *").expect(0).json;
    let times = applied["next_runs"].as_array().unwrap();
    assert_eq!(times.len(), 5);
    for time in times.iter().chain([&applied["next_run"]]).map(|time| time.as_str().unwrap()) {
        assert!(time.contains("T02:00:00") && !time.ends_with("+09:30"), "{applied:#}");
    }
    let zone = applied["time_zone"].as_str().unwrap();
    let notes = applied["notes"].to_string();
    assert!(notes.contains("XYZ-09:30") && notes.contains(zone), "{applied:#}");
    let listed = place.agent.run(["-q", "list-schedules"]).expect(0).json.to_string();
    assert!(listed.contains("T02:00:00") && !listed.contains("+09:30"), "{listed}");
}

#[test]
fn a_time_zone_that_is_unknown_here_is_told() {
    let place = Governed::new("copia");
    for (tz, told) in [("America/Sao_Palo", true), ("XYZ3", false)] {
        let agent = place.agent.clone().var("TZ", tz);
        let refused = agent.run(["serve", "--policies", "no-such-folder"]);
        assert_ne!(refused.code, 0);
        assert_eq!(refused.stderr.contains(tz), told, "{}", refused.stderr);
    }
}
