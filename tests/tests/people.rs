//! What people and monitors look at: the tree of a backup, the metrics file, completions, manual pages.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails where it stands"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use intellistor_storage::objects::Operation;
use intellistor_tests::governed::Governed;
use intellistor_tests::s3_server::Failure;

/// `promtool check metrics`, the judge; `.ci/test` fetches it.
fn judge(file: &Path) {
    let Some(promtool) = std::env::var_os("INTELLISTOR_TEST_PROMTOOL") else {
        eprintln!("SKIPPED: INTELLISTOR_TEST_PROMTOOL names no promtool");
        return;
    };
    let text = Stdio::from(fs::File::open(file).unwrap());
    let judged = Command::new(promtool).args(["check", "metrics"]).stdin(text).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    assert!(judged.stderr.is_empty(), "it has no advice: {}", String::from_utf8_lossy(&judged.stderr));
}

fn metrics(file: &Path) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file).unwrap();
    let values = text.lines().filter(|line| !line.starts_with('#'));
    values
        .map(|line| {
            let (name, value) = line.split_once("{policy=\"people\"} ").unwrap();
            (name.strip_prefix("intellistor_").unwrap().to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn a_monitor_sees_the_last_success_also_after_a_failure() {
    let place = Governed::new("people");
    place.fill(1);
    let file = place.at("people.prom");
    let run = || place.agent.run(["-q", "run", "--policy", "policy.yaml", "--metrics-file", "people.prom"]);
    let output = run().expect(0);
    judge(&file);
    let told = metrics(&file);
    assert_eq!(told["last_run_exit_code"], 0.0);
    assert_eq!(told["last_success_files"], output.json["files"].as_f64().unwrap());
    assert_eq!(told["last_success_content_bytes"], output.json["bytes"].as_f64().unwrap());
    assert_eq!(told["last_success_archive_bytes"], output.json["archive_bytes"].as_f64().unwrap());
    assert_eq!(told["last_success_warnings"], 0.0);
    assert!((told["last_run_timestamp_seconds"] - told["last_success_timestamp_seconds"]).abs() < 60.0);

    place.server.traffic().fail_next(1000, Operation::BeginUpload, Failure::AccessDenied);
    run().expect(1);
    judge(&file);
    let now = metrics(&file);
    assert_eq!(now["last_run_exit_code"], 1.0);
    assert_eq!(now["last_success_timestamp_seconds"], told["last_success_timestamp_seconds"]);

    let unwritable =
        place.agent.run(["run", "--policy", "policy.yaml", "--metrics-file", "no/folder/x.prom"]);
    assert!(unwritable.stderr.contains("no/folder/x.prom"), "{}", unwritable.stderr);
}

#[test]
fn a_backup_shows_as_a_tree() {
    let place = Governed::new("people");
    fs::create_dir_all(place.source().join("pasta/ação")).unwrap();
    fs::write(place.source().join("pasta/ação/Relatório.txt"), vec![b'x'; 1536]).unwrap();
    std::os::unix::fs::symlink("ação/Relatório.txt", place.source().join("pasta/ligação")).unwrap();
    place.run().expect(0);
    let show = ["show", "--policy", "policy.yaml", "--latest", "--tree"];
    let shown = String::from_utf8(place.client.run(show).expect(0).stdout).unwrap();
    let lines = [
        "            pasta/",
        "              ação/",
        "   1.5 KiB      Relatório.txt",
        "              ligação -> ação/Relatório.txt",
        "   1.5 KiB  1 file in all",
    ];
    for line in lines {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in:\n{shown}");
    }
}

#[test]
fn shells_and_man_understand_what_is_generated() {
    let place = Governed::new("people");
    for program in [&place.client, &place.agent] {
        let script = program.run(["completions", "bash"]).expect(0).stdout;
        fs::write(place.at("completions.bash"), script).unwrap();
        let checked = Command::new("bash").arg("-n").arg(place.at("completions.bash")).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        fs::create_dir_all(place.at("man")).unwrap();
        let made = program.run(["manual", "--out", "man"]).expect(0).json;
        assert!(made["created"].as_array().unwrap().len() > 5, "{made:#}");
    }
    let page = fs::read_to_string(place.at("man/backup-client-restore.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains(".TH") && page.contains("latest"), "{page}");
}
