//! Disks without room, which are real and small: under the agent's home, its logs, a store, a restore and a decryption.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use intellistor::StoreUrl;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::disk::SmallDisk;
use intellistor_tests::folders::files_below;
use intellistor_tests::forgotten;
use intellistor_tests::nightly_backups::{NightlyBackups, POLICY as NIGHTLY};
use intellistor_tests::program::{Client, Output};
use intellistor_tests::tree;

const POLICY: &str = "full";
/// Seven parts.
const MIB: u64 = 50;

#[track_caller]
fn assert_full(output: &Output, disk: &SmallDisk) {
    assert_eq!(output.code, 1, "{}", output.stderr);
    let message = output.json["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(disk.path().to_str().unwrap()), "it names the disk: {message}");
    assert!(message.to_lowercase().contains("free some space"), "{message}");
}

#[test]
fn a_disk_that_is_full_before_the_run_stops_it() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("home"), "24m") else { return };
    sandbox.fill(MIB);
    assert!(sandbox.run_until("part_recorded", 2));
    let filler = disk.fill_up();
    assert_full(&sandbox.run(), &disk);
    fs::remove_file(filler).unwrap();
    sandbox.assert_resumed(&sandbox.run().expect(0), 2);
}

#[test]
fn a_disk_that_fills_up_during_the_run_stops_it() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("home"), "24m") else { return };
    sandbox.fill(MIB);
    sandbox.server.traffic().hold_parts();
    let run = sandbox.start();
    sandbox.server.traffic().wait_until(|traffic| traffic.held() == 4);
    let filler = disk.fill_up();
    sandbox.server.traffic().release();
    let stopped = run.end();
    assert_full(&stopped, &disk);
    fs::remove_file(filler).unwrap();
    sandbox.assert_resumed(&sandbox.run().expect(0), stopped.json["parts_sent"].as_u64().unwrap_or(0));
}

#[test]
fn a_full_disk_under_the_logs_is_only_a_warning() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("home/logs"), "64k") else { return };
    sandbox.fill(1);
    let filler = disk.fill_up();
    let output = sandbox.run().expect(0);
    let message = output.warnings();
    assert!(
        message.contains(disk.path().to_str().unwrap()) && message.contains("free some space"),
        "{message}"
    );
    fs::remove_file(filler).unwrap();
    let next = sandbox.run().expect(0);
    let sent = sandbox.object(next.json["log"]["s3"].as_str().unwrap()).unwrap();
    assert!(sent.contains("the backup exists"), "{sent}");
}

#[test]
fn a_folder_store_on_a_full_disk_has_no_backup_and_takes_the_next_one() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("disk"), "64m") else { return };
    sandbox.write_policy(&format!("store: 'file://{}'\n", disk.path().join("store").display()));
    sandbox.fill(24);
    assert!(sandbox.run_until("part_recorded", 1));
    let filler = disk.fill_up();
    assert_full(&sandbox.run(), &disk);
    assert_full(&sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]), &disk);
    fs::remove_file(filler).unwrap();
    assert_eq!(sandbox.backups(), [""; 0]);
    let output = sandbox.run().expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    assert_eq!(sandbox.backups(), [output.key_backup()]);
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn a_restore_onto_a_full_disk_is_an_error_and_leaves_no_half_file() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("disk"), "12m") else { return };
    sandbox.fill(24);
    sandbox.run().expect(0);
    let out = disk.path().join("restored");
    let restore = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", out.to_str().unwrap()];
    assert_full(&sandbox.client.run(restore), &disk);
    let (source, restored) = (tree::snapshot(&sandbox.source()), tree::snapshot(&out));
    for (path, entry) in restored {
        let name = String::from_utf8_lossy(&path).into_owned();
        let original = source.get(&path).unwrap_or_else(|| panic!("{name} was left behind"));
        assert_eq!(entry.sha256, original.sha256, "{name}");
    }
}

#[test]
fn a_decryption_onto_a_full_disk_is_an_error_and_leaves_nothing() {
    let sandbox = AgentSandbox::new(POLICY);
    let Some(disk) = SmallDisk::mount(sandbox.at("disk"), "12m") else { return };
    sandbox.fill(24);
    sandbox.run().expect(0);
    let decrypt = ["-q", "decrypt", "--policy", "policy.yaml", "--latest", "--out", "disk/plain.tar.gz"];
    let refused = sandbox.client.run(decrypt).expect(1);
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot write the output") && message.contains("Free some space"), "{message}");
    assert_eq!(files_below(disk.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_folder_store_on_a_disk_without_any_room_can_be_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path().join("disk"), "4m") else { return };
    let store = disk.path().join("store");
    let made = NightlyBackups::make(8).await;
    made.write(&store).await;
    let policy = format!("policy_id: {NIGHTLY}\npaths: [source]\nretention: {{ keep_last: 2 }}\n");
    fs::write(dir.path().join("policy.yaml"), policy).unwrap();
    let client = Client::new(dir.path())
        .var("INTELLISTOR_KEY", made.key.to_base64().unwrap().as_str())
        .var("AWS_S3_BUCKET", StoreUrl::local(&store).to_string());
    let forgotten = client.run(["-q", "forget", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(forgotten["forgotten"].as_array().unwrap().len(), 6, "{forgotten:#}");
    forgotten::backdate(&store, &made.key, chrono::Duration::days(9)).await;
    let objects = files_below(&store).len();
    let filler = disk.fill_up();
    let room = disk.path().join("room");
    assert!(fs::write(&room, "x").is_err(), "the disk is not full");
    let pruned = client.run(["-q", "prune", "--policy", "policy.yaml"]).expect(0).json;
    assert!(pruned["deleted"].as_array().unwrap().len() > 2, "{pruned:#}");
    assert!(files_below(&store).len() < objects);
    fs::write(&room, "x").unwrap();
    fs::remove_file(filler).unwrap();
    for night in [6, 7] {
        let (key, out) = (made.name(night).archive_key(), format!("restored-{night}"));
        client.run(["-q", "restore", "--policy", "policy.yaml", "--key", &key, "--out", &out]).expect(0);
        for (file, content) in made.files(night) {
            assert_eq!(fs::read_to_string(dir.path().join(&out).join(file)).unwrap(), content);
        }
    }
}
