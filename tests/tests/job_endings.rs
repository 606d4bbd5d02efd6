//! Jobs that end in unusual places: cancelled and killed while their log goes out, completed by a process that died,
//! robbed of parts by the store.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use intellistor::{Agent, AgentOptions, Policy, RetryPolicy, RunOptions, UserKey};
use intellistor_storage::objects::{Fault, Faulty, MemoryStore, ObjectStore, Operation, PartReceipt, Upload};
use intellistor_storage::{Result, StoreErrorKind};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;

#[test]
fn the_run_after_a_crash_amid_the_end_of_a_cancelled_job_makes_a_backup() {
    for point in ["log_queued", "log_shipped", "job_ended", "job_in_history"] {
        let sandbox = AgentSandbox::filled("odd", 20);
        assert!(sandbox.run_until("part_recorded", 1));
        let marker = sandbox.at("fired");
        let armed = format!("{point}:1:{}", marker.display());
        let cancel = ["-q", "cancel", "--policy", "policy.yaml"];
        let cancelled = sandbox.agent.clone().var("INTELLISTOR_FAILPOINT", armed).run(cancel);
        assert!(marker.exists() && cancelled.code == -1, "{point}: {}", cancelled.stderr);
        let output = sandbox.run().expect(0);
        assert_eq!(output.json["state"], "completed", "{point}: {:#}", output.json);
        sandbox.assert_restores(output.json["s3"]["key_backup"].as_str().unwrap());
        sandbox.assert_no_open_upload();
    }
}

#[test]
fn parts_that_the_store_lost_do_not_count_as_reused() {
    let sandbox = AgentSandbox::filled("odd", 34);
    assert!(sandbox.run_until("part_recorded", 3));
    sandbox.server.wait_until_alone();
    let upload = sandbox.server.traffic().uploads().remove(0);
    sandbox.server.traffic().drop_part(&upload.id, 2);
    let before = sandbox.server.traffic().log().len();
    let result = sandbox.run().expect(0).json;
    let (reused, sent) = (result["parts_reused"].as_u64().unwrap(), result["parts_sent"].as_u64().unwrap());
    let stored = sandbox.server.traffic().log()[before..]
        .iter()
        .filter(|done| matches!(done, intellistor_tests::s3_server::Done::PartStored { .. }))
        .count() as u64;
    assert_eq!(sent, stored, "parts_sent is what was sent: {result:#}");
    assert_eq!(reused + sent, result["parts"].as_u64().unwrap(), "{result:#}");
    sandbox.assert_restores(result["s3"]["key_backup"].as_str().unwrap());
}

#[test]
fn a_run_that_died_when_all_parts_were_recorded_makes_no_further_part() {
    // Seventeen MiB: two parts, and a last one that is smaller than the store takes anywhere else.
    for (point, nth) in [("part_recorded", 3), ("archive_committed", 1), ("before_complete", 1)] {
        let sandbox = AgentSandbox::new("odd");
        tree::write_noise(&sandbox.source().join("base.bin"), 1, 17 << 20);
        assert!(sandbox.run_until(point, nth), "{point} {nth}");
        let result = sandbox.run().json;
        assert_eq!(result["state"], "completed", "{point} {nth}: {result:#}");
        assert_eq!((&result["parts"], &result["parts_sent"]), (&3.into(), &0.into()), "{point} {nth}");
        sandbox.assert_restores(result["s3"]["key_backup"].as_str().unwrap());
    }
}

/// A store that completes an upload for a process that has died, in the moment in which the next one asks for it.
#[derive(Debug)]
struct Overtaken {
    store: MemoryStore,
    done: AtomicBool,
}

#[async_trait]
impl ObjectStore for Overtaken {
    intellistor_storage::forward!(store: url folders capabilities now_ms prepare put_with get_range head list delete);
    intellistor_storage::forward!(store: begin_with put_part list_parts last_part_ms composite list_uploads abort_upload);
    intellistor_storage::forward!(store: erase attributes retain set_legal_hold check_object_lock);

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()> {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.store.complete_with(upload, parts, if_absent).await?;
        }
        self.store.complete_with(upload, parts, if_absent).await
    }
}

#[tokio::test]
async fn an_archive_that_a_dead_process_has_completed_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    tree::write_noise(&source.join("grande.bin"), 1, 20 << 20);
    let memory = MemoryStore::default();
    let store = Overtaken { store: memory.clone(), done: AtomicBool::new(false) };
    let vault = Vault::new(Arc::new(store), UserKey::generate());
    let policy = Policy::new("odd", [source]).unwrap();
    let report = Agent::new(dir.path().join("home"))
        .run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default())
        .await
        .unwrap();
    let backup = report.outcome.unwrap();
    vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    assert_eq!(report.notices, [""; 0], "the archive was there");
    let twice: Vec<_> = memory.parts_sent().into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(twice, [], "the archive was there");
    let archives = memory.keys().into_iter().filter(|key| key.ends_with(".enc")).count();
    assert_eq!(archives, 1, "an archive without a manifest is only billed");
}

/// Runs of one process follow each other at once: what a run that failed leaves behind must be gone by then.
#[tokio::test]
async fn a_run_right_after_one_that_failed_gets_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    tree::write_noise(&source.join("grande.bin"), 1, 20 << 20);
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
    let vault = Vault::new(faulty.clone(), UserKey::generate());
    let policy = Policy::new("odd", [source]).unwrap();
    let once = RetryPolicy { attempts: 1, first_delay: Duration::ZERO, max_delay: Duration::ZERO };
    let agent = Agent::new(dir.path().join("home")).with_attempts(once);
    for round in 0..12 {
        let next = faulty.calls(Operation::PutPart) + 1 + round % 3;
        faulty.fail(Operation::PutPart, next, Fault::Fails(StoreErrorKind::AccessDenied));
        let report = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default()).await;
        let report = report.unwrap_or_else(|e| panic!("round {round}: {e}"));
        if report.outcome.is_ok() {
            continue;
        }
        let again = agent.run(&vault.catalog, &vault.recipients, &policy, AgentOptions::default()).await;
        let again = again.unwrap_or_else(|e| panic!("round {round}, right after: {e}"));
        assert!(again.resumed.is_some(), "round {round}: {again:?}");
        assert_eq!(again.notices, [""; 0], "round {round}");
    }
}
