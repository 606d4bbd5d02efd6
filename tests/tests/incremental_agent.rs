//! Incremental backups by the agent: the base is kept over crashes, and what becomes of it meanwhile is survived.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use intellistor_storage::failpoint::Failpoint;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::BUCKET;
use intellistor_tests::tree;
use serde_json::Value;

const POLICY: &str = "increments";

/// A source with a full backup, and a day's changes in it: some parts of new content, a moved and a changed file.
fn sandbox(mib: u64) -> (AgentSandbox, Output) {
    let sandbox = AgentSandbox::filled(POLICY, 2);
    let full = sandbox.run().expect(0);
    assert!(full.json["base"].is_null() && full.json["changes"]["new"] == 602, "{:#}", full.json);
    if mib > 0 {
        tree::write_noise(&sandbox.source().join("novo.bin"), 70, mib << 20);
        fs::write(sandbox.source().join("pasta número 0/relatório 1.txt"), "outro conteúdo").unwrap();
        fs::rename(sandbox.source().join("pasta número 1"), sandbox.source().join("pasta movida")).unwrap();
    }
    (sandbox, full)
}

fn at(sandbox: &AgentSandbox, key: &str) -> PathBuf {
    sandbox.at("s3").join(BUCKET).join(key)
}

fn manifest_of(output: &Output) -> &str {
    output.json["s3"]["key_manifest"].as_str().unwrap()
}

#[track_caller]
fn assert_based_on(output: &Output, base: &Output) {
    assert_eq!(output.json["base"], base.json["backup_id"], "{:#}", output.json);
}

fn changes(output: &Output) -> [u64; 3] {
    ["new", "changed", "moved"].map(|name| output.json["changes"][name].as_u64().unwrap())
}

#[test]
fn an_unchanged_run_stores_nothing_and_says_so() {
    let (sandbox, full) = sandbox(0);
    let second = sandbox.run().expect(0);
    assert_based_on(&second, &full);
    assert_eq!((changes(&second), &second.json["changes"]["unchanged"]), ([0, 0, 0], &Value::from(602)));
    assert!(second.json["archive_bytes"].as_u64().unwrap() < 4096, "{:#}", second.json);
    assert!(
        sandbox.log("last.log").contains("0 new, 0 changed, 0 moved, 602 unchanged; "),
        "{}",
        sandbox.log("last.log")
    );
    sandbox.assert_restores(second.key_backup());
    // Agent and client continue each other.
    let third = sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    assert_based_on(&third, &second);
    let fourth = sandbox.run().expect(0);
    assert_based_on(&fourth, &third);
    sandbox.assert_restores(fourth.key_backup());
}

#[test]
fn the_copy_of_the_last_manifest_is_kept_and_never_needed() {
    let (sandbox, full) = sandbox(1);
    let kept = sandbox.queue().join("last/manifest.json");
    assert!(fs::read(&kept).unwrap() == fs::read(at(&sandbox, manifest_of(&full))).unwrap());
    let mut before = full;
    for spoil in [
        &(|| fs::write(&kept, "damaged").unwrap()) as &dyn Fn(),
        &|| fs::remove_dir_all(sandbox.queue().join("last")).unwrap(),
        &|| {
            let mut bytes = fs::read(&kept).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&kept, bytes).unwrap();
        },
    ] {
        spoil();
        let next = sandbox.run().expect(0);
        assert_based_on(&next, &before);
        assert!(fs::read(&kept).unwrap() == fs::read(at(&sandbox, manifest_of(&next))).unwrap());
        before = next;
    }
    sandbox.assert_restores(before.key_backup());
}

#[test]
fn a_crash_at_any_step_keeps_the_base_and_every_finished_part() {
    for point in Failpoint::ALL {
        let (sandbox, full) = sandbox(18);
        let nth = if matches!(point, Failpoint::PartRecorded | Failpoint::PartListed) { 2 } else { 1 };
        assert!(sandbox.run_until(point.name(), nth), "{} was never reached", point.name());
        let before = sandbox.backups().len();
        let output = sandbox.run().expect(0);
        let result = &output.json;
        let is_closed = matches!(point, Failpoint::JobEnded | Failpoint::JobInHistory | Failpoint::JobClosed);
        assert_eq!(result["resumed"], !is_closed, "{}: {result:#}", point.name());
        if !is_closed {
            assert_based_on(&output, &full);
            // The moved files have the content of others, which are where they were.
            let [new, changed, moved] = changes(&output);
            assert_eq!((new + moved, changed), (121, 1), "{}: {result:#}", point.name());
            assert!(
                result["changes"]["bytes_stored"].as_u64().unwrap() < 20 << 20,
                "{}: {result:#}",
                point.name()
            );
        }
        assert!(sandbox.backups().len() >= before.max(2));
        let reused = result["parts_reused"].as_u64().unwrap();
        for (number, times) in sandbox.parts_of(output.key_backup()) {
            assert!(u64::from(number) > reused || times == 1, "{}: part {number}", point.name());
        }
        sandbox.assert_restores(output.key_backup());
        sandbox.assert_no_open_upload();
        sandbox.assert_order();
    }
}

#[test]
fn an_archive_that_is_gone_before_the_manifest_is_put_begins_the_job_anew() {
    let (sandbox, full) = sandbox(8);
    assert!(sandbox.run_until("archive_completed", 1));
    fs::remove_file(at(&sandbox, full.key_backup())).unwrap();
    let output = sandbox.run().expect(3);
    let warnings = output.warnings();
    assert!(
        warnings.contains("was lost and restarted") && warnings.contains(full.key_backup()),
        "{warnings}"
    );
    assert_eq!(output.json["resumed"], false, "{:#}", output.json);
    sandbox.assert_restores(output.key_backup());
    let next = sandbox.run().expect(0);
    assert_based_on(&next, &output);
}

#[test]
fn a_base_that_is_gone_while_its_job_waits_begins_the_job_anew() {
    let (sandbox, full) = sandbox(18);
    assert!(sandbox.run_until("part_recorded", 1));
    fs::remove_file(at(&sandbox, manifest_of(&full))).unwrap();
    let output = sandbox.run();
    assert!(output.warnings().contains("was lost and restarted"), "{}", output.warnings());
    assert!(output.json["base"].is_null(), "{:#}", output.json);
    sandbox.assert_restores(output.key_backup());
    sandbox.assert_no_open_upload();
}

#[test]
fn a_full_backup_that_is_asked_for_is_made_also_where_a_job_waits() {
    let (sandbox, full) = sandbox(18);
    assert!(sandbox.run_until("part_recorded", 1));
    let output = sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--full"]).expect(0);
    assert!(output.json["base"].is_null() && output.json["resumed"] == false, "{:#}", output.json);
    assert!(output.warnings().contains("a full backup was asked for"), "{}", output.warnings());
    sandbox.assert_restores(output.key_backup());
    // A full needs no other: the first may go.
    fs::remove_dir_all(at(&sandbox, full.key_backup()).parent().unwrap()).unwrap();
    sandbox.assert_restores(output.key_backup());
}
