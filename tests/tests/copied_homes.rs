//! The agent's home is copied while it holds an unfinished job, as when a machine's snapshot is started twice: both copies
//! resume the job. Every backup that either reports exists, is whole, and is its own.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use intellistor_storage::failpoint::Failpoint;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::Dialect;

/// Two parts.
const MIB: u64 = 10;
const RUN: [&str; 3] = ["run", "--policy", "policy.yaml"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Folder,
    S3,
    /// One that takes no notice of conditions, or refuses them.
    Other(Dialect),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumed {
    OneAfterTheOther,
    AtOnce,
}

/// A home in which a run was killed, and its copy.
struct Twins {
    sandbox: AgentSandbox,
    other: Client,
}

impl Twins {
    fn killed_at(point: Failpoint, nth: u32, store: Store) -> Self {
        let sandbox = AgentSandbox::new("twins");
        match store {
            Store::Folder => {
                let folder = sandbox.at("store");
                sandbox.write_policy(&format!("store: 'file://{}'\n", folder.display()));
            }
            Store::S3 => {}
            Store::Other(dialect) => sandbox.server.traffic().speak(dialect),
        }
        sandbox.fill(MIB);
        assert!(sandbox.run_until(point.name(), nth), "{} {nth} was never reached", point.name());
        sandbox.server.wait_until_alone();
        let other = sandbox.agent.clone().var("INTELLISTOR_HOME", sandbox.at("home of the copy"));
        let this = Self { sandbox, other };
        this.copy_home();
        this
    }

    fn copy_home(&self) {
        let copy = self.sandbox.at("home of the copy");
        let _ = fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-a").arg(self.sandbox.at("home")).arg(&copy).status().unwrap();
        assert!(copied.success());
    }

    /// Every backup that is listed is whole, and each run that says so has made one of them.
    fn assert_sound(&self, outputs: &[Output], what: &str) {
        let listed = self.sandbox.backups();
        for key in &listed {
            let verify = ["-q", "verify", "--policy", "policy.yaml", "--key", key];
            let verified = self.sandbox.client.run(verify);
            assert_eq!(verified.code, 0, "{what}: {key} is not whole: {}", verified.stderr);
            self.sandbox.assert_restores(key);
        }
        for output in outputs {
            assert_eq!(output.code, 0, "{what}: {}\n{:#}", output.stderr, output.json);
            assert!(listed.contains(&output.key_backup().to_owned()), "{what}: {:#}", output.json);
        }
    }
}

fn assert_both_end_well(point: Failpoint, nth: u32, store: Store, resumed: Resumed) {
    let what = format!("{} {nth}, {store:?}, {resumed:?}", point.name());
    let twins = Twins::killed_at(point, nth, store);
    let outputs = match resumed {
        Resumed::OneAfterTheOther => [twins.sandbox.run(), twins.other.run(RUN)],
        Resumed::AtOnce => {
            let both = [twins.sandbox.agent.command(RUN), twins.other.command(RUN)].map(Running::start);
            both.map(|run| run.end_within(Duration::from_secs(120)))
        }
    };
    twins.assert_sound(&outputs, &what);
}

/// Every second point, so that no test takes long.
fn assert_all_end_well(store: Store, resumed: Resumed, first: usize) {
    for point in Failpoint::ALL.into_iter().skip(first).step_by(2) {
        assert_both_end_well(point, 1, store, resumed);
    }
}

#[test]
fn copies_that_were_killed_at_odd_steps_and_resumed_one_after_the_other_end_well_in_a_folder() {
    assert_all_end_well(Store::Folder, Resumed::OneAfterTheOther, 0);
}

#[test]
fn copies_that_were_killed_at_even_steps_and_resumed_one_after_the_other_end_well_in_a_folder() {
    assert_all_end_well(Store::Folder, Resumed::OneAfterTheOther, 1);
}

#[test]
fn copies_that_were_killed_at_odd_steps_and_resumed_at_once_end_well_in_a_folder() {
    assert_all_end_well(Store::Folder, Resumed::AtOnce, 0);
}

#[test]
fn copies_that_were_killed_at_even_steps_and_resumed_at_once_end_well_in_a_folder() {
    assert_all_end_well(Store::Folder, Resumed::AtOnce, 1);
}

#[test]
fn copies_that_were_killed_at_odd_steps_and_resumed_one_after_the_other_end_well_in_s3() {
    assert_all_end_well(Store::S3, Resumed::OneAfterTheOther, 0);
}

#[test]
fn copies_that_were_killed_at_even_steps_and_resumed_one_after_the_other_end_well_in_s3() {
    assert_all_end_well(Store::S3, Resumed::OneAfterTheOther, 1);
}

#[test]
fn copies_that_were_killed_at_odd_steps_and_resumed_at_once_end_well_in_s3() {
    assert_all_end_well(Store::S3, Resumed::AtOnce, 0);
}

#[test]
fn copies_that_were_killed_at_even_steps_and_resumed_at_once_end_well_in_s3() {
    assert_all_end_well(Store::S3, Resumed::AtOnce, 1);
}

#[test]
fn copies_end_well_in_a_store_that_does_not_know_conditions() {
    for point in
        [Failpoint::JobRecorded, Failpoint::UploadBegun, Failpoint::PartRecorded, Failpoint::BeforeManifest]
    {
        for dialect in [Dialect::IgnoresConditions, Dialect::NoConditions] {
            assert_both_end_well(point, 1, Store::Other(dialect), Resumed::OneAfterTheOther);
        }
    }
}

/// One copy is killed again when it has all its parts, the other finishes meanwhile.
#[test]
fn a_copy_that_wakes_up_when_the_other_has_finished_says_so_and_leaves_its_backup_alone() {
    for store in [Store::Folder, Store::S3] {
        for point in [Failpoint::ArchiveCommitted, Failpoint::BeforeComplete] {
            let what = format!("{}, {store:?}", point.name());
            let twins = Twins::killed_at(Failpoint::PartRecorded, 1, store);
            assert!(twins.sandbox.run_until(point.name(), 1), "{what}");
            let finished = twins.other.run(RUN);
            let woken = twins.sandbox.run();
            let message = woken.warnings();
            assert!(message.contains("the agent's home was copied"), "{what}: {message}");
            assert_eq!(woken.json["resumed"], false, "{what}: {:#}", woken.json);
            assert_ne!(finished.key_backup(), woken.key_backup(), "{what}");
            twins.assert_sound(&[finished.clone(), woken], &what);
            // The log of that name tells of the backup that exists under it.
            let timestamp = finished.json["timestamp"].as_str().unwrap();
            if store == Store::S3 {
                let log = twins.sandbox.object(&format!("logs/twins/run_{timestamp}.log")).unwrap();
                assert!(log.contains(finished.key_backup()) && !log.contains("was copied"), "{what}: {log}");
            }
        }
    }
}

/// What a copy has in the store is not removed by the one that gives way.
#[test]
fn a_copy_does_not_abort_the_upload_that_the_other_still_uses() {
    let twins = Twins::killed_at(Failpoint::UploadBegun, 1, Store::S3);
    let marker = twins.sandbox.at("other-fired");
    let armed = format!("part_recorded:1:{}", marker.display());
    let killed = twins.other.clone().var("INTELLISTOR_FAILPOINT", armed).run(RUN);
    assert!(marker.exists(), "{}", killed.stderr);
    let first = twins.sandbox.run();
    let second = twins.other.run(RUN);
    assert_eq!(second.json["resumed"], true, "{:#}", second.json);
    assert!(second.json["parts_reused"].as_u64().unwrap() > 0, "{:#}", second.json);
    twins.assert_sound(&[first, second], "begun by both");
    twins.sandbox.assert_no_open_upload();
}
