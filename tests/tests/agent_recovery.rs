//! What the agent resumes after a crash when the store, the policy, the key or the disk changed meanwhile.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;

use intellistor::{Agent, AgentOptions, Policy, RetryPolicy, UserKey};
use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::events::wait_until;
use intellistor_tests::s3_server::{Failure, UploadState};
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;
use serde_json::Value;

const POLICY: &str = "recovery";

/// Seven parts.
const MIB: u64 = 50;

/// A run has died after it recorded `parts` parts.
fn crashed(parts: u32) -> AgentSandbox {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until("part_recorded", parts));
    sandbox
}

#[test]
fn an_upload_that_the_store_forgot_is_begun_anew() {
    let sandbox = crashed(3);
    sandbox.server.traffic().forget_upload(&sandbox.upload(0).id);
    let output = sandbox.run().expect(0);
    sandbox.assert_anew(&output, "restarted");
    assert_eq!(output.json["parts"], output.json["parts_sent"], "{:#}", output.json);
    sandbox.assert_restores(output.key_backup());
    let status = sandbox.status();
    assert_eq!(status["last"]["state"], "completed", "{status:#}");
}

#[test]
fn a_part_that_the_store_lost_is_made_again() {
    let sandbox = crashed(4);
    sandbox.server.traffic().drop_part(&sandbox.upload(0).id, 2);
    let output = sandbox.run().expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    let (parts, total) = (sandbox.parts_of(output.key_backup()), output.json["parts"].as_u64().unwrap());
    assert_eq!(parts.len() as u64, total);
    assert_eq!(parts[&1], 1, "the part before it is kept: {parts:?}");
    assert_eq!((parts[&2], parts[&3], parts[&4]), (2, 2, 2), "what follows is made again: {parts:?}");
    assert_eq!(sandbox.backups(), [output.key_backup()]);
    sandbox.assert_no_open_upload();
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn a_lost_part_is_told_and_counted() {
    let sandbox = crashed(4);
    sandbox.server.wait_until_alone();
    sandbox.server.traffic().drop_part(&sandbox.upload(0).id, 2);
    let before: u32 = sandbox.server.traffic().parts().values().sum();
    let output = sandbox.run().expect(0);
    let sent = sandbox.server.traffic().parts().values().sum::<u32>() - before;
    let timestamp = output.json["timestamp"].as_str().unwrap();
    assert!(sandbox.log(&format!("run_{timestamp}.log")).contains("the store has 1 of 4 recorded parts"));
    let total = output.json["parts"].as_u64().unwrap();
    assert_eq!(output.json["parts_sent"], total - 1, "{:#}", output.json);
    assert_eq!(u64::from(sent), total - 1, "{:#}", output.json);
    assert_eq!(output.json["parts_reused"], 1, "{:#}", output.json);
    let message = output.warnings();
    assert!(message.contains("part"), "the warning names the part: {message:?}");
}

#[test]
fn a_last_part_that_the_store_lost_while_sealing_is_made_again() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    assert!(sandbox.run_until("before_complete", 1));
    let upload = sandbox.upload(0);
    let last = *sandbox.server.traffic().parts().keys().max().unwrap();
    sandbox.server.traffic().drop_part(&upload.id, last);
    let output = sandbox.run().expect(0);
    assert_eq!(sandbox.parts_of(output.key_backup())[&last], 2);
    assert_eq!(sandbox.backups(), [output.key_backup()]);
    sandbox.assert_no_open_upload();
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn a_policy_that_was_changed_begins_anew() {
    let sandbox = crashed(2);
    sandbox.write_policy("exclude: ['*.txt']\n");
    let output = sandbox.run().expect(0);
    sandbox.assert_anew(&output, "the policy was changed");
    assert_eq!(sandbox.upload(0).state, UploadState::Aborted);
    let restored = tree::snapshot(&sandbox.restore(output.key_backup()));
    let mut expected = tree::snapshot(&sandbox.source());
    expected.retain(|path, _| !path.ends_with(b".txt"));
    tree::assert_same(&expected, &restored, &[Ignore::Allocation]);
}

#[test]
fn what_does_not_change_the_archive_does_not_begin_anew() {
    let sandbox = crashed(2);
    sandbox.write_policy("schedule: '0 3 * * *'\nlogs: { keep_days: 3 }\nresume: { fresh_after: 2h }\n");
    sandbox.assert_resumed(&sandbox.run().expect(0), 2);
}

#[test]
fn another_key_begins_anew() {
    let mut sandbox = crashed(2);
    let other = UserKey::generate().to_base64().unwrap();
    sandbox.agent = sandbox.agent.clone().var("INTELLISTOR_KEY", other.as_str());
    let output = sandbox.run().expect(0);
    sandbox.assert_anew(&output, "sealed with key");
    assert_eq!(sandbox.upload(0).state, UploadState::Aborted);
    sandbox.client = sandbox.client.clone().var("INTELLISTOR_KEY", other.as_str());
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn another_store_begins_anew_and_frees_what_the_old_one_has() {
    let sandbox = crashed(2);
    sandbox.write_policy("store: s3://backups-test/elsewhere\n");
    let output = sandbox.run().expect(0);
    let message = output.warnings();
    assert!(message.contains("another store"), "{message}");
    assert_eq!(sandbox.backups(), [output.key_backup()]);
    sandbox.assert_restores(output.key_backup());
    assert_eq!(
        sandbox.upload(0).state,
        UploadState::Aborted,
        "the old store is paid for what no run resumes"
    );
}

#[test]
fn a_job_whose_copy_is_gone_does_not_keep_a_changed_policy_from_running() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    let armed = format!("part_recorded:2:{}", sandbox.at("fired").display());
    let agent = sandbox.agent.clone().var("INTELLISTOR_FAILPOINT", armed);
    agent.run(["-q", "run", "--policy", "policy.yaml", "--out", "copy"]);
    assert!(sandbox.at("fired").exists());
    fs::remove_dir_all(sandbox.at("copy")).unwrap();
    fs::write(sandbox.at("copy"), "no folder any more").unwrap();
    sandbox.write_policy("exclude: ['*.tmp']\n");
    let output = sandbox.run().expect(0);
    sandbox.assert_anew(&output, "the policy was changed");
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn a_key_other_than_the_last_backups_is_told_with_both_ids() {
    let mut sandbox = AgentSandbox::filled(POLICY, 1);
    sandbox.run().expect(0);
    sandbox.run().expect(0);
    let other = UserKey::generate().to_base64().unwrap();
    let (agent, client) = (sandbox.agent.clone(), sandbox.client.clone());
    sandbox.agent = agent.var("INTELLISTOR_KEY", other.as_str());
    sandbox.client = client.clone().var("INTELLISTOR_KEY", other.as_str());
    let output = sandbox.run().expect(3);
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    let message = output.warnings();
    let ids: std::collections::BTreeSet<_> = key_ids(&message);
    assert_eq!(ids.len(), 2, "both ids are named: {message}");
    let log = sandbox.object(output.json["log"]["s3"].as_str().unwrap()).unwrap();
    assert!(log.contains("another key"), "{log}");
    sandbox.assert_restores(output.key_backup());
    // It is the key now.
    let last = sandbox.run().expect(0);
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
fn key_ids(message: &str) -> std::collections::BTreeSet<String> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let is_id = |word: &&str| {
        word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// A job that was stopped between parts, in a store that the policy no longer names.
fn moved(old_store: &str, new_store: &str) -> AgentSandbox {
    let sandbox = AgentSandbox::new(POLICY);
    fs::create_dir(sandbox.at("mnt")).unwrap();
    let here = |line: &str| line.replace('@', sandbox.dir().to_str().unwrap());
    sandbox.write_policy(&here(old_store));
    sandbox.fill(MIB);
    assert!(sandbox.run_until("part_recorded", 2));
    sandbox.write_policy(&here(new_store));
    sandbox
}

#[test]
fn a_job_is_cancelled_in_the_store_that_it_sent_to() {
    let sandbox = moved("", "store: s3://backups-test/elsewhere\n");
    assert_eq!(sandbox.cancel(), "done");
    assert_eq!(sandbox.upload(0).state, UploadState::Aborted);
    let sandbox = moved("store: file://@/old\n", "store: file://@/new\n");
    assert_eq!(sandbox.cancel(), "done");
    let left = uploads_below(&sandbox.at("old"));
    assert_eq!(left, [""; 0], "its parts stay in its store");
}

#[test]
fn what_a_cancelled_job_leaves_is_named_where_it_cannot_be_removed() {
    let sandbox = moved("store: file://@/mnt/old\n", "store: file://@/new\n");
    fs::rename(sandbox.at("mnt"), sandbox.at("away")).unwrap();
    let cancelled = sandbox.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    let message = cancelled.json["leftover"].as_str().unwrap();
    assert!(
        message.contains(sandbox.at("mnt/old").to_str().unwrap()) && message.contains("parts of backups/"),
        "{message}"
    );
    assert!(!uploads_below(&sandbox.at("away")).is_empty());
    assert_eq!(sandbox.status()["last"]["state"], "cancelled");

    // A store that says it knows of no such upload may be another one under the same name.
    let sandbox = crashed(2);
    sandbox.server.traffic().forget_upload(&sandbox.upload(0).id);
    let cancelled = sandbox.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    assert!(
        cancelled.json["leftover"].as_str().unwrap().contains("no longer knows it"),
        "{:#}",
        cancelled.json
    );

    let sandbox = crashed(2);
    sandbox.server.traffic().fail_next(100, Operation::AbortUpload, Failure::AccessDenied);
    let cancelled = sandbox.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3);
    let upload = sandbox.upload(0);
    assert!(cancelled.json["leftover"].as_str().unwrap().contains(&upload.id), "{:#}", cancelled.json);
    assert_eq!(upload.state, UploadState::Open);
}

fn uploads_below(folder: &std::path::Path) -> Vec<String> {
    let found =
        std::process::Command::new("find").arg(folder).args(["-name", "*.upload-*"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_job_that_was_begun_long_ago_is_finished_and_todays_is_made() {
    let sandbox = AgentSandbox::new(POLICY);
    sandbox.write_policy("resume: { fresh_after: 0s }\n");
    sandbox.fill(MIB);
    assert!(sandbox.run_until("part_recorded", 3));
    fs::write(sandbox.source().join("hoje.txt"), "only today's backup has it").unwrap();
    let output = sandbox.run().expect(0);
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
    assert_eq!(sandbox.backups(), [old, output.key_backup()]);
    sandbox.assert_restores(output.key_backup());
    let out = sandbox.restore(old);
    assert!(!out.join("hoje.txt").exists() && out.join("grande.bin").exists());
    sandbox.assert_no_open_upload();
    for run in [first, &output.json] {
        let log = sandbox.object(run["log"]["s3"].as_str().unwrap()).unwrap();
        assert_eq!(log.matches("the backup exists").count(), 1, "{log}");
    }
    assert_eq!(sandbox.run().expect(0).json["finished_first"], Value::Null);
}

#[tokio::test]
async fn a_network_that_stays_away_stops_the_run_and_the_next_goes_on() {
    let sandbox = AgentSandbox::filled(POLICY, MIB);
    let agent = Agent::new(sandbox.at("home")).with_attempts(RetryPolicy {
        attempts: 2,
        first_delay: std::time::Duration::from_millis(10),
        ..RetryPolicy::default()
    });
    let key = UserKey::generate();
    let vault = Vault::new(sandbox.server.store(), key.clone());
    let policy = Policy::load(&sandbox.at("policy.yaml")).unwrap();
    let traffic = sandbox.server.traffic();
    let run = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default());
    let cut = async {
        traffic.until(|traffic| traffic.parts().len() >= 2).await;
        sandbox.server.stop_listening();
    };
    let (stopped, ()) = tokio::join!(run, cut);
    let stopped = stopped.unwrap();
    let message = stopped.outcome.unwrap_err().to_string();
    assert!(message.contains("connection refused"), "{message}");
    assert_eq!((stopped.state, stopped.log_key), ("transferring", None));
    sandbox.server.listen_again();
    let next = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default()).await.unwrap();
    let report = next.outcome.unwrap();
    assert_eq!(next.resumed.unwrap().parts, stopped.parts_sent);
    assert_eq!((&next.name, &next.log), (&stopped.name, &stopped.log));
    for (number, times) in traffic.parts() {
        assert!(number > stopped.parts_sent || times == 1, "part {number} was stored {times} times");
    }
    assert_eq!(vault.catalog.list(POLICY).await.unwrap().len(), 1);
    sandbox.assert_no_open_upload();
    let out = sandbox.at("restored");
    let restored = vault.restore(&report.name, intellistor::RestoreOptions::to(&out)).await.unwrap();
    assert_eq!((restored.warning_count, restored.damaged_count), (0, 0));
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Allocation]);
}
