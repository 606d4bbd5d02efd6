//! Backups and restores by the programs where the network or the store is not what S3 promises.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::time::{Duration, Instant};

use intellistor_storage::objects::Operation;
use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::{Dialect, Failure, Fate};
use rustix::process::Signal;

const POLICY: &str = "dialects";
const MIB: u64 = 30;

fn place() -> Governed {
    let place = Governed::new(POLICY);
    place.fill(MIB);
    place
}

fn verify(place: &Governed) -> Output {
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"])
}

// 1. What answers is no S3 store

#[test]
fn a_login_page_amid_a_job_pauses_it_and_throws_nothing_away() {
    for status in [200, 302, 404] {
        let place = place();
        assert!(place.run_until("part_recorded", 2));
        place.server.traffic().fail_always(Failure::Page(status));
        let stopped = place.run().expect(1);
        assert_eq!(stopped.json["state"], "transferring", "{status}: {:#}", stopped.json);
        let message = stopped.json["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("no S3 store"), "{status}: {message}");
        place.server.traffic().fail_no_more();
        assert_eq!(place.upload(0).fate, Fate::Open, "{status}");
        place.assert_resumed(&place.run().expect(0), 2);
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
        let place = place();
        assert!(place.run_until(point, nth), "{point}");
        place.server.traffic().fail_always(Failure::Page(200));
        let stopped = place.run().expect(1);
        assert_eq!(stopped.json["state"], state, "{point}: {:#}", stopped.json);
        place.server.traffic().fail_no_more();
        let finished = place.run().expect(0);
        assert_eq!(finished.json["resumed"], true, "{point}: {:#}", finished.json);
        assert_eq!(place.backups(), [finished.key_backup()], "{point}");
        assert_eq!(place.server.traffic().uploads().len(), 1, "{point}");
    }
}

#[test]
fn no_command_takes_a_login_page_for_its_answer() {
    let place = place();
    let key = place.run().expect(0).key_backup().to_owned();
    for status in [200, 302, 404] {
        place.server.traffic().fail_always(Failure::Page(status));
        for line in [
            "backup --policy policy.yaml",
            "list --policy policy.yaml",
            "verify --policy policy.yaml --latest",
            &format!("restore --policy policy.yaml --key {key} --out out-{status}"),
            &format!("show --policy policy.yaml --key {key}"),
        ] {
            let output = place.client.run(line.split(' ')).expect(1);
            assert!(output.stderr.contains("no S3 store"), "{line} {status}: {}", output.stderr);
        }
        place.server.traffic().fail_no_more();
    }
    verify(&place).expect(0);
}

// 2. A store with a bad minute

#[test]
fn a_restore_and_a_verify_outlive_what_passes() {
    let place = place();
    let key = place.run().expect(0).key_backup().to_owned();
    for failure in [Failure::SlowDown, Failure::Cut] {
        // More than five calls of each, which took three seconds.
        place.server.traffic().fail_next(1, Operation::Head, failure);
        place.server.traffic().fail_next(7, Operation::GetRange, failure);
        place.server.traffic().fail_next(1, Operation::List, failure);
        verify(&place).expect(0);
        assert_eq!(place.server.traffic().failures_left(Operation::GetRange), 0, "{failure:?}");
    }
    place.server.traffic().fail_next(7, Operation::GetRange, Failure::HalfBody);
    place.assert_restores(&key);
}

#[test]
fn a_backup_by_the_client_outlives_what_passes() {
    let place = place();
    for (operation, failure) in [
        (Operation::PutPart, Failure::SlowDown),
        (Operation::CompleteUpload, Failure::Refused(200, "InternalError")),
        (Operation::Put, Failure::Refused(400, "IncompleteBody")),
    ] {
        place.server.traffic().fail_next(6, operation, failure);
        place.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        assert_eq!(place.server.traffic().failures_left(operation), 0, "{operation:?}");
    }
    verify(&place).expect(0);
}

#[test]
fn ctrl_c_ends_the_pauses_of_every_command_at_once() {
    let place = place();
    place.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    let traffic = place.server.traffic();
    for (line, operation) in [
        ("backup --policy policy.yaml", Operation::BeginUpload),
        ("backup --policy policy.yaml", Operation::CompleteUpload),
        ("restore --policy policy.yaml --latest --out out", Operation::GetRange),
        ("verify --policy policy.yaml --latest", Operation::GetRange),
        ("list --policy policy.yaml", Operation::List),
    ] {
        traffic.fail_next(1_000, operation, Failure::SlowDownFor(100));
        let run = Running::start(place.client.command(line.split(' ')));
        run.wait_for("trying again");
        run.signal(Signal::INT);
        let begun = Instant::now();
        let output = run.end_within(Duration::from_secs(8));
        assert_eq!(output.code, 130, "{line}: {}", output.stderr);
        assert!(begun.elapsed() < Duration::from_secs(5), "{line} took {:?}", begun.elapsed());
        traffic.fail_no_more();
    }
    place.assert_no_open_upload();
}

// 3. Stores without S3's checksums

#[test]
fn a_store_without_checksum_headers_gets_whole_backups_and_one_word_of_it() {
    for dialects in [&[Dialect::NoChecksums][..], &[Dialect::NoChecksums, Dialect::NoContentMd5]] {
        let place = place();
        dialects.iter().for_each(|dialect| place.server.traffic().speak(*dialect));
        assert!(place.run_until("part_recorded", 2));
        let resumed = place.run().expect(0);
        place.assert_resumed(&resumed, 2);
        let log = place.log("last.log");
        // Two runs, of which the first died.
        let said = log.matches("takes no SHA-256 checksums").count();
        assert!((1..=2).contains(&said), "{said} times in {log}");
        verify(&place).expect(0);
    }
}

#[test]
fn who_asks_for_no_checksums_gets_none() {
    let place = place();
    let client = place.client.clone().var("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
    place.server.traffic().speak(Dialect::NoChecksums);
    let made = client.run(["backup", "--policy", "policy.yaml"]).expect(0);
    assert!(!made.stderr.contains("checksum"), "{}", made.stderr);
    place.assert_restores(made.key_backup());
}

// 4. Stores that want parts of one size

/// Sizes of the parts that the one backup's archive is made of.
fn part_sizes(place: &Governed) -> Vec<u64> {
    let shown = place.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
    let key = shown["key_manifest"].as_str().or(shown["s3"]["key_manifest"].as_str()).map(str::to_owned);
    let key = key.unwrap_or_else(|| place.backups()[0].replace("backup.tar.gz.enc", "manifest.json"));
    let manifest: serde_json::Value = serde_json::from_str(&place.object(&key).unwrap()).unwrap();
    let segments = manifest["archives"][0]["segments"].as_array().unwrap();
    segments.iter().map(|segment| segment["bytes"].as_u64().unwrap()).collect()
}

fn assert_equal_parts(place: &Governed) {
    let sizes = part_sizes(place);
    let (last, others) = sizes.split_last().unwrap();
    assert!(others.len() >= 2 && others.iter().all(|size| *size == 8 << 20), "{sizes:?}");
    assert!(*last <= 8 << 20, "{sizes:?}");
    verify(place).expect(0);
}

#[test]
fn a_store_of_equal_parts_gets_them_from_the_start_where_that_is_set() {
    let place = place();
    place.server.traffic().speak(Dialect::EqualParts);
    let agent = place.agent.clone().var("INTELLISTOR_S3_EQUAL_PARTS", "yes");
    let armed = format!("part_recorded:2:{}", place.at("fired").display());
    agent.clone().var("INTELLISTOR_FAILPOINT", armed).run(["-q", "run", "--policy", "policy.yaml"]);
    assert!(place.at("fired").exists());
    let resumed = agent.run(["-q", "run", "--policy", "policy.yaml"]).expect(0);
    place.assert_resumed(&resumed, 2);
    assert_eq!(place.server.traffic().uploads().len(), 1);
    assert_equal_parts(&place);
}

#[test]
fn a_store_of_equal_parts_is_learnt_when_it_refuses_others() {
    let place = place();
    place.server.traffic().speak(Dialect::EqualParts);
    let run = place.run();
    assert_eq!(run.json["state"], "completed", "{:#} {}", run.json, run.stderr);
    place.assert_no_open_upload();
    place.assert_restores(run.key_backup());
    assert_equal_parts(&place);

    let made = place.client.run(["backup", "--policy", "policy.yaml"]).expect(0);
    assert!(made.stderr.contains("INTELLISTOR_S3_EQUAL_PARTS=yes"), "{}", made.stderr);
    place.assert_no_open_upload();
    verify(&place).expect(0);
}
