//! The copy that `--out` asks for: made whenever it can be, and never at the cost of the backup.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};

use intellistor_storage::objects::STORE_MARK;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::disk::SmallDisk;
use intellistor_tests::folders::files_below;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::BUCKET;

const POLICY: &str = "copies";
/// Five parts.
const MIB: u64 = 34;

fn run_with_copy(sandbox: &AgentSandbox, out: &str) -> Output {
    sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--out", out])
}

/// The objects of a copy, which need not exist.
fn copied_objects(folder: &Path) -> Vec<PathBuf> {
    let mut all = if folder.exists() { files_below(folder) } else { Vec::new() };
    // What marks a folder as a store.
    all.retain(|path| !path.ends_with(STORE_MARK));
    all
}

/// The copy has the backup, and nothing else.
#[track_caller]
fn assert_copied(sandbox: &AgentSandbox, copy: &str, output: &Output) {
    let archive = output.key_backup();
    let manifest = output.json["s3"]["key_manifest"].as_str().unwrap();
    for key in [archive, manifest] {
        let copied = fs::read(sandbox.at(copy).join(key)).unwrap_or_default();
        assert!(copied == fs::read(sandbox.at("s3").join(BUCKET).join(key)).unwrap(), "{key} in {copy}");
    }
    assert_eq!(copied_objects(&sandbox.at(copy)).len(), 2, "{:?}", copied_objects(&sandbox.at(copy)));
}

#[track_caller]
fn assert_without_copy(sandbox: &AgentSandbox, output: &Output, names: &Path) {
    assert_eq!(output.code, 3, "{}\n{:#}", output.stderr, output.json);
    let message = output.warnings();
    assert!(message.contains("not copied to") && message.contains(names.to_str().unwrap()), "{message}");
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0);
    sandbox.assert_restores(output.key_backup());
    sandbox.assert_no_open_upload();
}

#[test]
fn a_job_begun_without_a_copy_is_copied_wherever_it_was_killed() {
    for (point, nth) in [
        ("job_recorded", 1),
        ("upload_recorded", 1),
        ("part_recorded", 3),
        ("archive_committed", 1),
        ("archive_completed", 1),
        ("manifest_put", 1),
        ("log_queued", 1),
    ] {
        let sandbox = AgentSandbox::filled(POLICY, MIB);
        assert!(sandbox.run_until(point, nth));
        let output = run_with_copy(&sandbox, "copy").expect(0);
        assert_eq!(output.json["resumed"], true, "{point}: {:#}", output.json);
        assert_copied(&sandbox, "copy", &output);
        sandbox.assert_restores(output.key_backup());
    }
}

#[test]
fn a_job_begun_with_a_copy_keeps_it_wherever_it_was_killed() {
    for (point, nth) in [
        ("upload_recorded", 1),
        ("part_recorded", 3),
        ("before_complete", 1),
        ("archive_completed", 1),
        ("manifest_put", 1),
    ] {
        let sandbox = AgentSandbox::filled(POLICY, MIB);
        assert!(sandbox.run_until_with(point, nth, &["--out", "copy"]));
        let output = sandbox.run().expect(0);
        assert_eq!(output.json["resumed"], true, "{point}: {:#}", output.json);
        assert_copied(&sandbox, "copy", &output);
    }
}

#[test]
fn a_job_begun_with_another_copy_has_both() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until_with("part_recorded", 3, &["--out", "one"]));
    let output = run_with_copy(&sandbox, "two").expect(0);
    sandbox.assert_resumed(&output, 3);
    assert_copied(&sandbox, "one", &output);
    assert_copied(&sandbox, "two", &output);
}

#[test]
fn a_copy_that_was_lost_meanwhile_is_made_from_the_store() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until_with("part_recorded", 3, &["--out", "copy"]));
    fs::remove_dir_all(sandbox.at("copy")).unwrap();
    let output = run_with_copy(&sandbox, "copy").expect(0);
    sandbox.assert_resumed(&output, 3);
    assert_copied(&sandbox, "copy", &output);
}

/// A copy is made of what was sent, or not at all.
#[test]
fn a_copy_is_not_made_of_an_archive_that_was_damaged_in_the_store() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until("log_queued", 1));
    let archive = sandbox.at("s3").join(BUCKET).join(&sandbox.backups()[0]);
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let output = run_with_copy(&sandbox, "copy").expect(3);
    assert!(output.warnings().contains("integrity"), "{}", output.warnings());
    assert_eq!(copied_objects(&sandbox.at("copy")), [] as [PathBuf; 0]);
}

#[test]
fn a_full_disk_under_the_copy_costs_the_copy_and_not_the_backup() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    let Some(disk) = SmallDisk::mount(sandbox.at("disk"), "12m") else { return };
    let output = run_with_copy(&sandbox, "disk/copy");
    assert_without_copy(&sandbox, &output, disk.path());
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    assert_eq!(copied_objects(disk.path()), [] as [PathBuf; 0], "nothing half made is left");
    let by_hand = ["-q", "backup", "--policy", "policy.yaml", "--out", "disk/copy"];
    let output = sandbox.client.run(by_hand);
    assert_without_copy(&sandbox, &output, disk.path());
    assert_eq!(copied_objects(disk.path()), [] as [PathBuf; 0], "nothing half made is left");
}

#[test]
fn a_folder_that_cannot_be_made_costs_the_copy_and_not_the_backup() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    fs::write(sandbox.at("a file"), "no folder").unwrap();
    for out in ["a file", "a file/copy", "missing/folder/copy"] {
        let output = run_with_copy(&sandbox, out);
        assert_without_copy(&sandbox, &output, Path::new(out));
        let output = sandbox.client.run(["-q", "backup", "--policy", "policy.yaml", "--out", out]);
        assert_without_copy(&sandbox, &output, Path::new(out));
    }
}

#[test]
fn a_copy_that_fails_when_the_job_is_resumed_costs_the_copy_and_not_the_backup() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until_with("part_recorded", 3, &["--out", "copy"]));
    fs::remove_dir_all(sandbox.at("copy")).unwrap();
    fs::write(sandbox.at("copy"), "no folder any more").unwrap();
    let output = sandbox.run();
    assert_without_copy(&sandbox, &output, &sandbox.at("copy"));
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    // The next backup is copied again.
    fs::remove_file(sandbox.at("copy")).unwrap();
    let output = run_with_copy(&sandbox, "copy").expect(0);
    assert_copied(&sandbox, "copy", &output);
}
