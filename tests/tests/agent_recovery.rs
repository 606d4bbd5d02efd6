//! What the agent goes on with after a crash when the store, the policy, the key or the disk are not what they were.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs;

use intellistor::{Agent, AgentOptions, Policy, RetryPolicy, UserKey};
use intellistor_storage::objects::Operation;
use intellistor_tests::disk::SmallDisk;
use intellistor_tests::events::wait_until;
use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::{Failure, Fate};
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;
use serde_json::Value;

const POLICY: &str = "recovery";
/// Seven parts.
const MIB: u64 = 50;

/// A run has died after it recorded `parts` parts.
fn crashed(parts: u32) -> Governed {
    let place = Governed::new(POLICY);
    place.fill(MIB);
    assert!(place.run_until("part_recorded", parts));
    place
}

// 6. A store that forgets

#[test]
fn an_upload_that_the_store_forgot_is_begun_anew() {
    let place = crashed(3);
    place.server.traffic().forget_upload(&place.upload(0).id);
    let output = place.run().expect(0);
    place.assert_anew(&output, "restarted");
    assert_eq!(output.json["parts"], output.json["parts_sent"], "{:#}", output.json);
    place.assert_restores(output.key_backup());
    let status = place.status();
    assert_eq!(status["last"]["state"], "completed", "{status:#}");
}

#[test]
fn a_part_that_the_store_lost_is_made_again() {
    let place = crashed(4);
    place.server.traffic().drop_part(&place.upload(0).id, 2);
    let output = place.run().expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    let (parts, total) = (place.parts_of(output.key_backup()), output.json["parts"].as_u64().unwrap());
    assert_eq!(parts.len() as u64, total);
    assert_eq!(parts[&1], 1, "the part before it is kept: {parts:?}");
    assert_eq!((parts[&2], parts[&3], parts[&4]), (2, 2, 2), "what follows is made again: {parts:?}");
    assert_eq!(place.backups(), [output.key_backup()]);
    place.assert_no_open_upload();
    place.assert_restores(output.key_backup());
}

#[test]
fn a_lost_part_is_told_and_counted() {
    let place = crashed(4);
    place.server.wait_until_alone();
    place.server.traffic().drop_part(&place.upload(0).id, 2);
    let before: u32 = place.server.traffic().parts().values().sum();
    let output = place.run().expect(0);
    let sent = place.server.traffic().parts().values().sum::<u32>() - before;
    let timestamp = output.json["timestamp"].as_str().unwrap();
    assert!(place.log(&format!("run_{timestamp}.log")).contains("the store has 1 of 4 recorded parts"));
    let total = output.json["parts"].as_u64().unwrap();
    assert_eq!(output.json["parts_sent"], total - 1, "{:#}", output.json);
    assert_eq!(u64::from(sent), total - 1, "{:#}", output.json);
    assert_eq!(output.json["parts_reused"], 1, "{:#}", output.json);
    let told = output.warnings();
    assert!(told.contains("part"), "a person is told: {told:?}");
}

#[test]
fn a_last_part_that_the_store_lost_while_sealing_is_made_again() {
    let place = Governed::new(POLICY);
    place.fill(MIB);
    assert!(place.run_until("before_complete", 1));
    let upload = place.upload(0);
    let last = *place.server.traffic().parts().keys().max().unwrap();
    place.server.traffic().drop_part(&upload.id, last);
    let output = place.run().expect(0);
    assert_eq!(place.parts_of(output.key_backup())[&last], 2);
    assert_eq!(place.backups(), [output.key_backup()]);
    place.assert_no_open_upload();
    place.assert_restores(output.key_backup());
}

// 7. Another policy, key or store

#[test]
fn a_policy_that_was_changed_begins_anew() {
    let place = crashed(2);
    place.write_policy("exclude: ['*.txt']\n");
    let output = place.run().expect(0);
    place.assert_anew(&output, "the policy was changed");
    assert_eq!(place.upload(0).fate, Fate::Aborted);
    let restored = tree::snapshot(&place.restore(output.key_backup()));
    let mut expected = tree::snapshot(&place.source());
    expected.retain(|path, _| !path.ends_with(b".txt"));
    tree::assert_same(&expected, &restored, &[Ignore::Allocation]);
}

#[test]
fn what_does_not_change_the_archive_does_not_begin_anew() {
    let place = crashed(2);
    place.write_policy("schedule: '0 3 * * *'\nlogs: { keep_days: 3 }\nresume: { fresh_after: 2h }\n");
    place.assert_resumed(&place.run().expect(0), 2);
}

#[test]
fn another_key_begins_anew() {
    let mut place = crashed(2);
    let other = UserKey::generate().to_base64().unwrap();
    place.agent = place.agent.clone().var("INTELLISTOR_KEY", other.as_str());
    let output = place.run().expect(0);
    place.assert_anew(&output, "sealed with key");
    assert_eq!(place.upload(0).fate, Fate::Aborted);
    place.client = place.client.clone().var("INTELLISTOR_KEY", other.as_str());
    place.assert_restores(output.key_backup());
}

#[test]
fn another_store_begins_anew_and_frees_what_the_old_one_has() {
    let place = crashed(2);
    place.write_policy("store: s3://backups-test/elsewhere\n");
    let output = place.run().expect(0);
    let told = output.warnings();
    assert!(told.contains("another store"), "{told}");
    assert_eq!(place.backups(), [output.key_backup()]);
    place.assert_restores(output.key_backup());
    assert_eq!(place.upload(0).fate, Fate::Aborted, "the old store is paid for what no run resumes");
}

#[test]
fn a_job_whose_copy_is_gone_does_not_keep_a_changed_policy_from_running() {
    let place = Governed::new(POLICY);
    place.fill(MIB);
    let armed = format!("part_recorded:2:{}", place.at("fired").display());
    let agent = place.agent.clone().var("INTELLISTOR_FAILPOINT", armed);
    agent.run(["-q", "run", "--policy", "policy.yaml", "--out", "copy"]);
    assert!(place.at("fired").exists());
    fs::remove_dir_all(place.at("copy")).unwrap();
    fs::write(place.at("copy"), "no folder any more").unwrap();
    place.write_policy("exclude: ['*.tmp']\n");
    let output = place.run().expect(0);
    place.assert_anew(&output, "the policy was changed");
    place.assert_restores(output.key_backup());
}

#[test]
fn a_key_other_than_the_last_backups_is_told_with_both_ids() {
    let mut place = Governed::new(POLICY);
    place.fill(1);
    place.run().expect(0);
    place.run().expect(0);
    let other = UserKey::generate().to_base64().unwrap();
    let (agent, client) = (place.agent.clone(), place.client.clone());
    place.agent = agent.var("INTELLISTOR_KEY", other.as_str());
    place.client = client.clone().var("INTELLISTOR_KEY", other.as_str());
    let output = place.run().expect(3);
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    let told = output.warnings();
    let ids: std::collections::BTreeSet<_> = key_ids(&told);
    assert_eq!(ids.len(), 2, "both ids are named: {told}");
    let log = place.object(output.json["log"]["s3"].as_str().unwrap()).unwrap();
    assert!(log.contains("another key"), "{log}");
    place.assert_restores(output.key_backup());
    // It is the key now.
    let last = place.run().expect(0);
    // Runs in quick succession are named ahead of the clock; what is backed up below is to be the newest.
    let named = last.json["timestamp"].as_str().unwrap().to_owned();
    wait_until("the clock has passed the last name", || {
        chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string() > named
    });
    // A client with the old key, and a passphrase where there was a key.
    let back = client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(3);
    assert_eq!(key_ids(&back.warnings()), ids);
    let phrase =
        client.var("INTELLISTOR_KEY", "").var("INTELLISTOR_PASSPHRASE", "correct horse battery staple");
    let backup = ["-q", "backup", "--policy", "policy.yaml"];
    phrase.run(backup).expect(3);
    phrase.run(backup).expect(0);
}

/// Words of 16 hexadecimal digits.
fn key_ids(told: &str) -> std::collections::BTreeSet<String> {
    let words = told.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |word: &&str| {
        word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// A job that was stopped amid its parts, in a store that is not the policy's any more.
fn moved(old_store: &str, new_store: &str) -> Governed {
    let place = Governed::new(POLICY);
    fs::create_dir(place.at("mnt")).unwrap();
    let here = |line: &str| line.replace('@', place.dir().to_str().unwrap());
    place.write_policy(&here(old_store));
    place.fill(MIB);
    assert!(place.run_until("part_recorded", 2));
    place.write_policy(&here(new_store));
    place
}

#[test]
fn a_job_is_cancelled_in_the_store_that_it_sent_to() {
    let place = moved("", "store: s3://backups-test/elsewhere\n");
    assert_eq!(place.cancel(), "done");
    assert_eq!(place.upload(0).fate, Fate::Aborted);
    let place = moved("store: file://@/old\n", "store: file://@/new\n");
    assert_eq!(place.cancel(), "done");
    let left = uploads_below(&place.at("old"));
    assert_eq!(left, [""; 0], "its parts stay in its store");
}

#[test]
fn what_a_cancelled_job_leaves_is_named_where_it_cannot_be_removed() {
    let place = moved("store: file://@/mnt/old\n", "store: file://@/new\n");
    fs::rename(place.at("mnt"), place.at("away")).unwrap();
    let cancelled = place.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    let told = cancelled.json["leftover"].as_str().unwrap();
    assert!(
        told.contains(place.at("mnt/old").to_str().unwrap()) && told.contains("parts of backups/"),
        "{told}"
    );
    assert!(!uploads_below(&place.at("away")).is_empty());
    assert_eq!(place.status()["last"]["state"], "cancelled");

    // A store that says it knows of no such upload may be another one under the same name.
    let place = crashed(2);
    place.server.traffic().forget_upload(&place.upload(0).id);
    let cancelled = place.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    assert!(
        cancelled.json["leftover"].as_str().unwrap().contains("does not know it"),
        "{:#}",
        cancelled.json
    );

    let place = crashed(2);
    place.server.traffic().fail_next(100, Operation::AbortUpload, Failure::AccessDenied);
    let cancelled = place.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    let upload = place.upload(0);
    assert!(cancelled.json["leftover"].as_str().unwrap().contains(&upload.id), "{:#}", cancelled.json);
    assert_eq!(upload.fate, Fate::Open);
}

fn uploads_below(folder: &std::path::Path) -> Vec<String> {
    let found =
        std::process::Command::new("find").arg(folder).args(["-name", "*.upload-*"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

// 9. Full disks

fn disk(place: &Governed, at: &str, size: &str) -> Option<SmallDisk> {
    SmallDisk::mount(place.at(at), size)
}

#[track_caller]
fn assert_full(output: &Output, disk: &SmallDisk) {
    assert_eq!(output.code, 1, "{}", output.stderr);
    let told = output.json["error"]["message"].as_str().unwrap_or_default();
    assert!(told.contains(disk.path().to_str().unwrap()), "it names the disk: {told}");
    assert!(told.to_lowercase().contains("free some space"), "{told}");
}

#[test]
fn a_disk_that_is_full_before_the_run_stops_it() {
    let place = Governed::new(POLICY);
    let Some(disk) = disk(&place, "home", "24m") else { return };
    place.fill(MIB);
    assert!(place.run_until("part_recorded", 2));
    let filler = disk.fill_up();
    assert_full(&place.run(), &disk);
    fs::remove_file(filler).unwrap();
    place.assert_resumed(&place.run().expect(0), 2);
}

#[test]
fn a_disk_that_fills_up_amid_the_run_stops_it() {
    let place = Governed::new(POLICY);
    let Some(disk) = disk(&place, "home", "24m") else { return };
    place.fill(MIB);
    place.server.traffic().hold_parts();
    let run = place.start();
    place.server.traffic().wait_until(|traffic| traffic.held() == 4);
    let filler = disk.fill_up();
    place.server.traffic().release();
    let stopped = run.end();
    assert_full(&stopped, &disk);
    fs::remove_file(filler).unwrap();
    place.assert_resumed(&place.run().expect(0), stopped.json["parts_sent"].as_u64().unwrap_or(0));
}

#[test]
fn a_full_disk_under_the_logs_is_only_a_warning() {
    let place = Governed::new(POLICY);
    let Some(disk) = disk(&place, "home/logs", "64k") else { return };
    place.fill(1);
    let filler = disk.fill_up();
    let output = place.run().expect(0);
    let told = output.warnings();
    assert!(told.contains(disk.path().to_str().unwrap()) && told.contains("room"), "{told}");
    fs::remove_file(filler).unwrap();
    let next = place.run().expect(0);
    let sent = place.object(next.json["log"]["s3"].as_str().unwrap()).unwrap();
    assert!(sent.contains("the backup exists"), "{sent}");
}

// 14. A job of another day

#[test]
fn a_job_that_was_begun_long_ago_is_finished_and_todays_is_made() {
    let place = Governed::new(POLICY);
    place.write_policy("resume: { fresh_after: 0s }\n");
    place.fill(MIB);
    assert!(place.run_until("part_recorded", 3));
    fs::write(place.source().join("hoje.txt"), "only today's backup has it").unwrap();
    let output = place.run().expect(0);
    let first = &output.json["finished_first"];
    assert_eq!(
        (&first["resumed"], &first["state"]),
        (&true.into(), &"completed".into()),
        "{:#}",
        output.json
    );
    assert!(first["parts_reused"].as_u64().unwrap() >= 3, "{first:#}");
    assert_eq!(output.json["resumed"], false);
    assert_eq!(output.json["parts_reused"], 0, "{:#}", output.json);
    let old = first["s3"]["key_backup"].as_str().unwrap();
    assert_eq!(place.backups(), [old, output.key_backup()]);
    place.assert_restores(output.key_backup());
    let out = place.restore(old);
    assert!(!out.join("hoje.txt").exists() && out.join("grande.bin").exists());
    place.assert_no_open_upload();
    for run in [first, &output.json] {
        let log = place.object(run["log"]["s3"].as_str().unwrap()).unwrap();
        assert_eq!(log.matches("the backup exists").count(), 1, "{log}");
    }
    assert_eq!(place.run().expect(0).json["finished_first"], Value::Null);
}

// 4. A network that stays away, with fewer attempts than the program makes

#[tokio::test]
async fn a_network_that_stays_away_stops_the_run_and_the_next_goes_on() {
    let place = Governed::new(POLICY);
    place.fill(MIB);
    let agent = Agent::new(place.at("home")).with_attempts(RetryPolicy {
        attempts: 2,
        first_delay: std::time::Duration::from_millis(10),
        ..RetryPolicy::default()
    });
    let key = UserKey::generate();
    let vault = Vault::new(place.server.store(), key.clone());
    let policy = Policy::load(&place.at("policy.yaml")).unwrap();
    let traffic = place.server.traffic();
    let run = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default());
    let cut = async {
        traffic.until(|traffic| traffic.parts().len() >= 2).await;
        place.server.stop_listening();
    };
    let (stopped, ()) = tokio::join!(run, cut);
    let stopped = stopped.unwrap();
    let told = stopped.outcome.unwrap_err().to_string();
    assert!(told.contains("network"), "{told}");
    assert_eq!((stopped.state, stopped.log_key), ("transferring", None));
    place.server.listen_again();
    let next = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default()).await.unwrap();
    let report = next.outcome.unwrap();
    assert_eq!(next.resumed.unwrap().parts, stopped.parts_sent);
    assert_eq!((&next.name, &next.log), (&stopped.name, &stopped.log));
    for (number, times) in traffic.parts() {
        assert!(number > stopped.parts_sent || times == 1, "part {number} was stored {times} times");
    }
    assert_eq!(vault.catalog.list(POLICY).await.unwrap().len(), 1);
    place.assert_no_open_upload();
    let out = place.at("restored");
    let restored = vault.restore(&report.name, intellistor::RestoreOptions::to(&out)).await.unwrap();
    assert_eq!((restored.warning_count, restored.damaged_count), (0, 0));
    tree::assert_same(&tree::snapshot(&place.source()), &tree::snapshot(&out), &[Ignore::Allocation]);
}
