//! The agent applies a policy's retention after each backup, and deletes what was forgotten long enough ago.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use intellistor::{BackupName, Identity, UserKey};
use intellistor_storage::catalog::layout::ObjectKind;
use intellistor_storage::catalog::statements::{self, Forgotten};
use intellistor_storage::keys::OpensBackups as _;
use intellistor_storage::manifest::Preamble;
use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::BUCKET;
use intellistor_tests::tree;
use rustix::process::Signal;
use serde_json::Value;

const POLICY: &str = "retired";
const TWO: &str = "retention: { keep_last: 2 }\n";

struct Sandbox {
    agent: AgentSandbox,
    identity: Identity,
}

impl Sandbox {
    /// With one file, and `more` lines in its policy.
    fn new(more: &str) -> Self {
        let key = UserKey::generate();
        let mut agent = AgentSandbox::new(POLICY);
        agent.client = agent.client.clone().var("INTELLISTOR_KEY", key.to_base64().unwrap().as_str());
        agent.agent = agent.client.agent();
        agent.write_policy(more);
        tree::write_noise(&agent.source().join("grande.bin"), 7, 1 << 20);
        Self { agent, identity: key.into() }
    }

    /// Makes a backup that depends on no other, with new content.
    fn run(&self) -> Output {
        self.change();
        self.agent.agent.run(["-q", "run", "--policy", "policy.yaml", "--full"])
    }

    /// Makes a backup that is based on the one before, with new content.
    fn run_based(&self) -> Output {
        self.change();
        self.agent.run()
    }

    fn change(&self) {
        let files = fs::read_dir(self.agent.source()).unwrap().count();
        fs::write(self.agent.source().join(format!("novo {files}.txt")), format!("{files}")).unwrap();
    }

    fn object(&self, name: &BackupName, kind: ObjectKind) -> PathBuf {
        self.agent.at("s3").join(BUCKET).join(name.key(kind))
    }

    fn has_anything_of(&self, name: &BackupName) -> bool {
        ObjectKind::ALL.into_iter().any(|kind| self.object(name, kind).exists())
    }

    /// Makes a backup one that was forgotten a month ago.
    fn let_age(&self, name: &BackupName) {
        let (store, time) = (self.agent.server.store(), Utc::now() - TimeDelta::days(30));
        let aged = async {
            let header = Preamble::fetch(&*store, name).await.unwrap().header;
            let data_key = self.identity.data_key(header.keys(), header.backup_id()).unwrap();
            let found = statements::read::<Forgotten>(&*store, name, &self.identity).await.unwrap();
            let forgotten =
                Forgotten { time, prunable_from: time + TimeDelta::days(8), ..found.proven().unwrap() };
            statements::put(&*store, &header, &data_key, &forgotten).await.unwrap();
        };
        tokio::runtime::Runtime::new().unwrap().block_on(aged);
        tree::set_mtime(&self.object(name, ObjectKind::Forgotten), time.timestamp(), 0);
    }
}

fn name(output: &Output) -> BackupName {
    BackupName::from_archive_key(output.key_backup()).unwrap()
}

/// The backups of a list in a result.
fn named(list: &Value) -> Vec<String> {
    let id = |backup: &Value| {
        assert!(backup["timestamp"].as_str().unwrap().ends_with('Z'), "{backup}");
        backup["backup_id"].as_str().unwrap().to_owned()
    };
    list.as_array().unwrap_or_else(|| panic!("{list} is no list")).iter().map(id).collect()
}

#[track_caller]
fn assert_retired(output: &Output, forgotten: &[&BackupName], swept: &[&BackupName]) {
    let ids = |names: &[&BackupName]| names.iter().map(|name| name.backup_id.clone()).collect::<Vec<_>>();
    assert_eq!(named(&output.json["forgotten"]), ids(forgotten), "{:#}", output.json);
    assert_eq!(named(&output.json["swept"]), ids(swept), "{:#}", output.json);
}

#[test]
fn a_run_forgets_what_no_rule_keeps_and_a_later_one_deletes_it() {
    let sandbox = Sandbox::new(TWO);
    let made = [(); 3].map(|()| sandbox.run().expect(0));
    let [first, second, third] = [0, 1, 2].map(|nth| name(&made[nth]));
    assert_retired(&made[0], &[], &[]);
    assert_retired(&made[1], &[], &[]);
    assert_retired(&made[2], &[&first], &[]);
    assert_eq!(made[2].warnings(), "");
    // The log in the store says what went, what stays, and why.
    let log = sandbox.agent.object(made[2].json["log"]["s3"].as_str().unwrap()).unwrap();
    let line = |has: &[&str]| log.lines().any(|line| has.iter().all(|text| line.contains(text)));
    assert!(line(&["forgotten", &first.archive_key(), "no rule keeps it"]), "{log}");
    assert!(line(&["kept", &second.archive_key(), "last 2 of 2"]), "{log}");
    assert!(
        line(&["kept", &third.archive_key(), "the newest; the newest without problems; last 1 of 2"]),
        "{log}"
    );
    let status = sandbox.agent.status();
    assert_eq!(status["retention"]["kept"], 2, "{status:#}");
    assert_eq!(named(&status["retention"]["next_to_go"]), [second.backup_id.as_str()]);
    let table = sandbox.agent.agent.run(["-q", "status", "--format", "table"]);
    let table = String::from_utf8_lossy(&table.stdout);
    let says = format!("2 backups; the next run forgets {}", second.timestamp);
    assert!(table.contains(&says), "{table}");

    sandbox.let_age(&first);
    let fourth = sandbox.run().expect(0);
    assert_retired(&fourth, &[&second], &[&first]);
    assert!(!sandbox.has_anything_of(&first));
    let log = sandbox.agent.log("last.log");
    assert!(log.contains("deleted a forgotten backup") && log.contains(&first.archive_key()), "{log}");
    assert_eq!(sandbox.agent.backups().len(), 2);
    assert!(sandbox.object(&second, ObjectKind::Archive).exists(), "what is forgotten is not gone yet");
    sandbox.agent.assert_restores(fourth.key_backup());
}

#[test]
fn what_a_later_backup_needs_outlives_its_own() {
    let sandbox = Sandbox::new("retention: { keep_last: 1 }\n");
    let first = name(&sandbox.run_based().expect(0));
    let second = sandbox.run_based().expect(0);
    assert_retired(&second, &[&first], &[]);
    sandbox.let_age(&first);
    let third = sandbox.run_based().expect(0);
    // It cannot be restored any more.
    assert_retired(&third, &[&name(&second)], &[&first]);
    assert!(sandbox.object(&first, ObjectKind::Archive).exists());
    assert!(sandbox.object(&first, ObjectKind::Forgotten).exists());
    assert!(!sandbox.object(&first, ObjectKind::Manifest).exists());
    sandbox.agent.assert_restores(third.key_backup());
    let fourth = sandbox.run_based().expect(0);
    assert_retired(&fourth, &[&name(&third)], &[]);
    sandbox.agent.assert_restores(fourth.key_backup());
}

#[test]
fn without_rules_nothing_is_forgotten_and_what_was_by_hand_is_deleted() {
    let sandbox = Sandbox::new("");
    let first = sandbox.run().expect(0);
    let second = sandbox.run().expect(0);
    assert_retired(&second, &[], &[]);
    let forget = ["-q", "forget", "--policy", "policy.yaml", "--key", first.key_backup()];
    sandbox.agent.client.run(forget).expect(0);
    sandbox.let_age(&name(&first));
    let third = sandbox.run().expect(0);
    assert_retired(&third, &[], &[&name(&first)]);
    assert!(sandbox.agent.status()["retention"].is_null());
}

#[test]
fn credentials_that_may_not_delete_are_told_once() {
    let sandbox = Sandbox::new(TWO);
    let first = name(&sandbox.run().expect(0));
    sandbox.run().expect(0);
    sandbox.run().expect(0);
    sandbox.let_age(&first);
    sandbox.agent.server.traffic().deny([Operation::Delete, Operation::Erase]);
    let refused = sandbox.run().expect(0);
    assert_eq!(refused.json["state"], "completed");
    assert_eq!(named(&refused.json["swept"]), [""; 0]);
    let warnings = refused.warnings();
    assert_eq!(warnings.lines().filter(|line| line.contains("delete")).count(), 1, "{warnings}");
    assert!(sandbox.object(&first, ObjectKind::Archive).exists());
    // Whoever may deletes it later.
    sandbox.agent.server.traffic().deny([]);
    let later = sandbox.run().expect(0);
    assert!(named(&later.json["swept"]).contains(&first.backup_id), "{:#}", later.json);
    assert!(!sandbox.has_anything_of(&first));
}

#[test]
fn what_needs_a_person_is_told_with_exit_code_3_and_the_backup_is_made() {
    let sandbox = Sandbox::new(TWO);
    let made = [(); 3].map(|()| sandbox.run().expect(0));
    let [first, second] = [0, 1].map(|nth| name(&made[nth]));
    sandbox.let_age(&first);
    // What a manifest that cannot be read needs is not known.
    let manifest = sandbox.object(&second, ObjectKind::Manifest);
    let whole = fs::read(&manifest).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&manifest, &damaged).unwrap();
    let stopped = sandbox.run().expect(3);
    assert_eq!(stopped.json["state"], "completed_with_warnings");
    assert!(stopped.warnings().contains(&second.manifest_key()), "{}", stopped.warnings());
    assert_eq!(named(&stopped.json["swept"]), [""; 0]);
    assert!(sandbox.object(&first, ObjectKind::Manifest).exists());
    sandbox.agent.assert_restores(stopped.key_backup());
    assert_eq!(sandbox.agent.status()["last"]["state"], "completed_with_warnings");
    fs::write(&manifest, whole).unwrap();
    sandbox.run().expect(0);
    // What no one with a key has said hides no backup.
    let newest = sandbox.run().expect(0);
    let forged = sandbox.object(&name(&newest), ObjectKind::Forgotten);
    fs::copy(sandbox.object(&second, ObjectKind::Forgotten), &forged).unwrap();
    let warned = sandbox.run().expect(3);
    assert!(warned.warnings().contains("forgotten.json is not used"), "{}", warned.warnings());
    let listed = sandbox.agent.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(newest.key_backup()), "{listed}");
}

#[test]
fn a_store_that_fails_for_a_while_delays_retention_and_no_backup() {
    let sandbox = Sandbox::new(TWO);
    let first = name(&sandbox.run().expect(0));
    sandbox.run().expect(0);
    sandbox.agent.server.traffic().deny([Operation::List]);
    // It will be refused again and again until a person acts.
    let denied = sandbox.run().expect(3);
    assert!(denied.warnings().contains("retention"), "{}", denied.warnings());
    assert_retired(&denied, &[], &[]);
    sandbox.agent.server.traffic().deny([]);
    let later = sandbox.run().expect(0);
    assert!(named(&later.json["forgotten"]).contains(&first.backup_id), "{:#}", later.json);
}

#[test]
fn a_run_that_was_killed_after_its_backup_applies_retention_later() {
    for point in ["manifest_put", "log_queued"] {
        let sandbox = Sandbox::new(TWO);
        let first = name(&sandbox.run().expect(0));
        sandbox.run().expect(0);
        sandbox.change();
        assert!(sandbox.agent.run_until_with(point, 1, &["--full"]), "{point}");
        let is_done = point == "log_queued";
        assert_eq!(sandbox.object(&first, ObjectKind::Forgotten).exists(), is_done);
        let resumed = sandbox.agent.run().expect(0);
        assert_eq!(resumed.json["resumed"], true);
        let now = if is_done { vec![] } else { vec![&first] };
        assert_retired(&resumed, &now, &[]);
        assert!(sandbox.object(&first, ObjectKind::Forgotten).exists());
    }
}

/// A run whose first deletion the store holds back, with three backups to delete.
fn held_sweep(sandbox: &Sandbox) -> (Running, [BackupName; 3]) {
    let made = [(); 4].map(|()| name(&sandbox.run().expect(0)));
    sandbox.agent.write_policy("retention: { keep_last: 1 }\n");
    sandbox.run().expect(0);
    let [first, second, third, _] = made;
    for name in [&first, &second, &third] {
        sandbox.let_age(name);
    }
    sandbox.change();
    let traffic = sandbox.agent.server.traffic();
    traffic.hold(Operation::Delete);
    let run = ["run", "--policy", "policy.yaml", "--full"];
    let running = Running::start(sandbox.agent.agent.command(run));
    traffic.wait_until(|traffic| traffic.held() > 0);
    running.signal(Signal::INT);
    running.wait_for("interrupted: cleaning up");
    (running, [first, second, third])
}

fn assert_interrupted_sweep(output: &Output) {
    assert_eq!(output.json["state"], "completed", "{:#}", output.json);
    assert!(output.warnings().contains("interrupted before it could delete"), "{}", output.warnings());
}

#[test]
fn ctrl_c_ends_a_sweep_between_two_backups() {
    let sandbox = Sandbox::new("");
    let (running, [first, second, third]) = held_sweep(&sandbox);
    sandbox.agent.server.traffic().release();
    let output = running.end_within(Duration::from_secs(15)).expect(0);
    assert_interrupted_sweep(&output);
    let has_manifest = |name: &BackupName| sandbox.object(name, ObjectKind::Manifest).exists();
    assert_eq!([&first, &second, &third].map(has_manifest), [false, true, true]);
    sandbox.agent.assert_restores(output.key_backup());
    let next = sandbox.run().expect(0);
    assert_eq!(named(&next.json["swept"]), [&first, &second, &third].map(|name| name.backup_id.clone()));
    assert!([first, second, third].iter().all(|name| !sandbox.has_anything_of(name)));
}

#[test]
fn ctrl_c_ends_a_sweep_that_the_store_does_not_answer() {
    let sandbox = Sandbox::new("");
    let (running, backups) = held_sweep(&sandbox);
    let output = running.end_within(Duration::from_secs(20)).expect(0);
    assert_interrupted_sweep(&output);
    sandbox.agent.server.traffic().release();
    sandbox.run().expect(0);
    assert!(backups.iter().all(|name| !sandbox.has_anything_of(name)));
}
