//! Backups and restores by the programs where the network or the store is not what S3 promises.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::time::{Duration, Instant};

use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::{Dialect, Failure, UploadState};
use rustix::process::Signal;

const POLICY: &str = "dialects";
const MIB: u64 = 30;

fn sandbox() -> AgentSandbox {
    AgentSandbox::filled(POLICY, MIB)
}

fn verify(sandbox: &AgentSandbox) -> Output {
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"])
}

#[test]
fn a_login_page_amid_a_job_pauses_it_and_throws_nothing_away() {
    for status in [200, 302, 404] {
        let sandbox = sandbox();
        assert!(sandbox.run_until("part_recorded", 2));
        sandbox.server.traffic().fail_always(Failure::Page(status));
        let stopped = sandbox.run().expect(1);
        assert_eq!(stopped.json["state"], "transferring", "{status}: {:#}", stopped.json);
        let message = stopped.json["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("not an S3 store"), "{status}: {message}");
        sandbox.server.traffic().fail_no_more();
        assert_eq!(sandbox.upload(0).state, UploadState::Open, "{status}");
        sandbox.assert_resumed(&sandbox.run().expect(0), 2);
    }
}

#[test]
fn a_login_page_at_each_step_costs_no_part() {
    for (point, nth, state) in [
        ("upload_recorded", 1, "transferring"),
        ("before_complete", 1, "sealing"),
        ("archive_completed", 1, "sealing"),
        ("before_manifest", 1, "publishing"),
    ] {
        let sandbox = sandbox();
        assert!(sandbox.run_until(point, nth), "{point}");
        sandbox.server.traffic().fail_always(Failure::Page(200));
        let stopped = sandbox.run().expect(1);
        assert_eq!(stopped.json["state"], state, "{point}: {:#}", stopped.json);
        sandbox.server.traffic().fail_no_more();
        let finished = sandbox.run().expect(0);
        assert_eq!(finished.json["resumed"], true, "{point}: {:#}", finished.json);
        assert_eq!(sandbox.backups(), [finished.key_backup()], "{point}");
        assert_eq!(sandbox.server.traffic().uploads().len(), 1, "{point}");
    }
}

#[test]
fn no_command_takes_a_login_page_for_its_answer() {
    let sandbox = sandbox();
    let key = sandbox.run().expect(0).key_backup().to_owned();
    for status in [200, 302, 404] {
        sandbox.server.traffic().fail_always(Failure::Page(status));
        for line in [
            "backup --policy policy.yaml",
            "list --policy policy.yaml",
            "verify --policy policy.yaml --latest",
            &format!("restore --policy policy.yaml --key {key} --out out-{status}"),
            &format!("show --policy policy.yaml --key {key}"),
        ] {
            let output = sandbox.client.run(line.split(' ')).expect(1);
            assert!(output.stderr.contains("not an S3 store"), "{line} {status}: {}", output.stderr);
        }
        sandbox.server.traffic().fail_no_more();
    }
    verify(&sandbox).expect(0);
}

#[test]
fn a_restore_and_a_verify_outlive_what_passes() {
    let sandbox = sandbox();
    let key = sandbox.run().expect(0).key_backup().to_owned();
    for failure in [Failure::SlowDown, Failure::Cut] {
        // More than five calls of each, which took three seconds.
        sandbox.server.traffic().fail_next(1, Operation::Head, failure);
        sandbox.server.traffic().fail_next(7, Operation::GetRange, failure);
        sandbox.server.traffic().fail_next(1, Operation::List, failure);
        verify(&sandbox).expect(0);
        assert_eq!(sandbox.server.traffic().failures_left(Operation::GetRange), 0, "{failure:?}");
    }
    sandbox.server.traffic().fail_next(7, Operation::GetRange, Failure::HalfBody);
    sandbox.assert_restores(&key);
}

#[test]
fn a_backup_by_the_client_outlives_what_passes() {
    let sandbox = sandbox();
    for (operation, failure) in [
        (Operation::PutPart, Failure::SlowDown),
        (Operation::CompleteUpload, Failure::Refused(200, "InternalError")),
        (Operation::Put, Failure::Refused(400, "IncompleteBody")),
    ] {
        sandbox.server.traffic().fail_next(6, operation, failure);
        sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        assert_eq!(sandbox.server.traffic().failures_left(operation), 0, "{operation:?}");
    }
    verify(&sandbox).expect(0);
}

#[test]
fn ctrl_c_ends_the_pauses_of_every_command_at_once() {
    let sandbox = sandbox();
    sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    let traffic = sandbox.server.traffic();
    for (line, operation) in [
        ("backup --policy policy.yaml", Operation::BeginUpload),
        ("backup --policy policy.yaml", Operation::CompleteUpload),
        ("restore --policy policy.yaml --latest --out out", Operation::GetRange),
        ("verify --policy policy.yaml --latest", Operation::GetRange),
        ("list --policy policy.yaml", Operation::List),
    ] {
        traffic.fail_next(1_000, operation, Failure::SlowDownFor(100));
        let run = Running::start(sandbox.client.command(line.split(' ')));
        run.wait_for("trying again");
        run.signal(Signal::INT);
        let begun = Instant::now();
        let output = run.end_within(Duration::from_secs(8));
        assert_eq!(output.code, 130, "{line}: {}", output.stderr);
        assert!(begun.elapsed() < Duration::from_secs(5), "{line} took {:?}", begun.elapsed());
        traffic.fail_no_more();
    }
    sandbox.assert_no_open_upload();
}

#[test]
fn a_store_without_checksum_headers_gets_whole_backups_and_one_word_of_it() {
    for dialects in [&[Dialect::NoChecksums][..], &[Dialect::NoChecksums, Dialect::NoContentMd5]] {
        let sandbox = sandbox();
        dialects.iter().for_each(|dialect| sandbox.server.traffic().speak(*dialect));
        assert!(sandbox.run_until("part_recorded", 2));
        let resumed = sandbox.run().expect(0);
        sandbox.assert_resumed(&resumed, 2);
        let log = sandbox.log("last.log");
        // Two runs, of which the first died.
        let said = log.matches("accepts no SHA-256 checksums").count();
        assert!((1..=2).contains(&said), "{said} times in {log}");
        verify(&sandbox).expect(0);
    }
}

#[test]
fn who_asks_for_no_checksums_gets_none() {
    let sandbox = sandbox();
    let client = sandbox.client.clone().var("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
    sandbox.server.traffic().speak(Dialect::NoChecksums);
    let made = client.run(["backup", "--policy", "policy.yaml"]).expect(0);
    assert!(!made.stderr.contains("checksum"), "{}", made.stderr);
    sandbox.assert_restores(made.key_backup());
}

/// Sizes of the parts that the one backup's archive is made of.
fn part_sizes(sandbox: &AgentSandbox) -> Vec<u64> {
    let shown = sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
    let key = shown["key_manifest"].as_str().or(shown["s3"]["key_manifest"].as_str()).map(str::to_owned);
    let key = key.unwrap_or_else(|| sandbox.backups()[0].replace("backup.tar.gz.enc", "manifest.json"));
    let manifest: serde_json::Value = serde_json::from_str(&sandbox.object(&key).unwrap()).unwrap();
    let segments = manifest["archives"][0]["segments"].as_array().unwrap();
    segments.iter().map(|segment| segment["bytes"].as_u64().unwrap()).collect()
}

fn assert_equal_parts(sandbox: &AgentSandbox) {
    let sizes = part_sizes(sandbox);
    let (last, others) = sizes.split_last().unwrap();
    assert!(others.len() >= 2 && others.iter().all(|size| *size == 8 << 20), "{sizes:?}");
    assert!(*last <= 8 << 20, "{sizes:?}");
    verify(sandbox).expect(0);
}

#[test]
fn a_store_of_equal_parts_gets_them_from_the_start_where_that_is_set() {
    let sandbox = sandbox();
    sandbox.server.traffic().speak(Dialect::EqualParts);
    let agent = sandbox.agent.clone().var("INTELLISTOR_S3_EQUAL_PARTS", "yes");
    let armed = format!("part_recorded:2:{}", sandbox.at("fired").display());
    agent.clone().var("INTELLISTOR_FAILPOINT", armed).run(["-q", "run", "--policy", "policy.yaml"]);
    assert!(sandbox.at("fired").exists());
    let resumed = agent.run(["-q", "run", "--policy", "policy.yaml"]).expect(0);
    sandbox.assert_resumed(&resumed, 2);
    assert_eq!(sandbox.server.traffic().uploads().len(), 1);
    assert_equal_parts(&sandbox);
}

#[test]
fn a_store_of_equal_parts_is_learnt_when_it_refuses_others() {
    let sandbox = sandbox();
    sandbox.server.traffic().speak(Dialect::EqualParts);
    let run = sandbox.run();
    assert_eq!(run.json["state"], "completed", "{:#} {}", run.json, run.stderr);
    sandbox.assert_no_open_upload();
    sandbox.assert_restores(run.key_backup());
    assert_equal_parts(&sandbox);

    // An incremental one would have one part.
    let made = sandbox.client.run(["backup", "--policy", "policy.yaml", "--full"]).expect(0);
    assert!(made.stderr.contains("INTELLISTOR_S3_EQUAL_PARTS=yes"), "{}", made.stderr);
    sandbox.assert_no_open_upload();
    verify(&sandbox).expect(0);
}
