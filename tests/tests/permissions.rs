//! Backups with fewer permissions than all: one that only helps is a warning; one that is needed is named before the first
//! byte, and nothing is left behind, however often it is tried.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;

use intellistor_storage::objects::Operation::{
    self, AbortUpload, BeginUpload, CompleteUpload, GetRange, Head, List, ListParts, ListUploads, Put,
    PutPart,
};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::{BUCKET, Done};

/// What `s3:PutObject` covers.
const PUT_OBJECT: [Operation; 4] = [Put, BeginUpload, PutPart, CompleteUpload];
/// What `s3:GetObject` covers.
const GET_OBJECT: [Operation; 2] = [GetRange, Head];

fn deny<const N: usize>(sandbox: &AgentSandbox, operations: [Operation; N]) {
    sandbox.server.traffic().deny(operations);
}

fn client(sandbox: &AgentSandbox) -> Output {
    sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"])
}

/// The backup exists and can be restored; all is permitted again.
#[track_caller]
fn assert_whole(sandbox: &AgentSandbox, output: &Output) {
    deny(sandbox, []);
    let key = output.key_backup();
    assert!(sandbox.backups().iter().any(|backup| backup == key), "{key}");
    sandbox.assert_restores(key);
}

#[track_caller]
fn assert_refused(output: &Output, permission: &str) {
    let message = output.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(permission), "no {permission} in: {message}");
    assert!(message.contains(&format!("arn:aws:s3:::{BUCKET}")), "{message}");
}

/// Archives and manifests in the bucket, and uploads that were begun.
fn left(sandbox: &AgentSandbox) -> Vec<Done> {
    let is_backup = |done: &Done| match done {
        Done::Put { key } | Done::Completed { key, .. } => {
            key.ends_with("manifest.json") || key.ends_with("backup.tar.gz.enc")
        }
        Done::Begun { .. } | Done::PartStored { .. } => true,
        Done::Aborted { .. } => false,
    };
    sandbox.server.traffic().log().into_iter().filter(is_backup).collect()
}

#[test]
fn without_listing_uploads_backups_are_made_and_the_permission_is_named_once() {
    let sandbox = AgentSandbox::filled("rights", 1);
    deny(&sandbox, [ListUploads]);
    let output = sandbox.run().expect(0);
    let warnings = output.warnings();
    assert_eq!(warnings.matches("s3:ListBucketMultipartUploads").count(), 1, "{warnings}");
    assert_whole(&sandbox, &output);
    deny(&sandbox, [ListUploads]);
    assert_whole(&sandbox, &client(&sandbox).expect(0));
}

#[test]
fn a_job_that_was_refused_at_its_beginning_is_resumed_without_listing_uploads() {
    let sandbox = AgentSandbox::filled("rights", 1);
    sandbox.run().expect(0);
    deny(&sandbox, [BeginUpload, ListUploads]);
    for _ in 0..2 {
        let refused = sandbox.run().expect(1);
        assert_refused(&refused, "s3:PutObject");
        assert_eq!(refused.json["state"], "transferring", "{:#}", refused.json);
    }
    deny(&sandbox, [ListUploads]);
    let output = sandbox.run().expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    assert_whole(&sandbox, &output);
}

#[test]
fn without_listing_the_bucket_a_job_is_resumed_from_every_step() {
    for point in [
        "upload_begun",
        "upload_recorded",
        "part_recorded",
        "before_complete",
        "archive_completed",
        "before_manifest",
        "manifest_put",
    ] {
        let sandbox = AgentSandbox::filled("rights", 12);
        deny(&sandbox, [List, ListUploads]);
        assert!(sandbox.run_until(point, 1), "{point} was not reached");
        let output = sandbox.run().expect(0);
        assert_eq!(output.json["resumed"], true, "{point}: {:#}", output.json);
        assert_whole(&sandbox, &output);
        assert_eq!(sandbox.backups().len(), 1, "{point}");
        sandbox.assert_order();
    }
    let sandbox = AgentSandbox::filled("rights", 1);
    deny(&sandbox, [List, ListUploads]);
    assert_whole(&sandbox, &client(&sandbox).expect(0));
}

#[test]
fn without_reading_nothing_is_sent_however_often_it_is_tried() {
    for first in [false, true] {
        let sandbox = AgentSandbox::filled("rights", 12);
        if first {
            sandbox.run().expect(0);
        }
        let before = left(&sandbox);
        for denied in [&[GetRange, Head][..], &[GetRange, Head, List, ListUploads], &[Head]] {
            sandbox.server.traffic().deny(denied.iter().copied());
            for _ in 0..2 {
                assert_refused(&sandbox.run().expect(1), "s3:GetObject");
                assert_refused(&client(&sandbox).expect(1), "s3:GetObject");
            }
        }
        assert_eq!(left(&sandbox), before, "after a first backup: {first}");
        deny(&sandbox, []);
        assert_whole(&sandbox, &sandbox.run().expect(0));
    }
}

#[test]
fn without_writing_nothing_is_sent() {
    for first in [false, true] {
        let sandbox = AgentSandbox::filled("rights", 1);
        if first {
            sandbox.run().expect(0);
        }
        let before = left(&sandbox);
        deny(&sandbox, PUT_OBJECT);
        assert_refused(&sandbox.run().expect(1), "s3:PutObject");
        assert_refused(&client(&sandbox).expect(1), "s3:PutObject");
        assert_eq!(left(&sandbox), before, "after a first backup: {first}");
        deny(&sandbox, []);
        assert_whole(&sandbox, &sandbox.run().expect(0));
    }
}

#[test]
fn without_listing_parts_what_was_recorded_is_resumed() {
    let sandbox = AgentSandbox::filled("rights", 50);
    assert!(sandbox.run_until("part_recorded", 2));
    deny(&sandbox, [ListParts]);
    let output = sandbox.run().expect(0);
    assert!(output.json["parts_reused"].as_u64().unwrap() >= 2, "{:#}", output.json);
    assert_whole(&sandbox, &output);
}

#[test]
fn without_aborting_a_job_can_be_given_up() {
    let sandbox = AgentSandbox::filled("rights", 50);
    assert!(sandbox.run_until("part_recorded", 2));
    deny(&sandbox, [AbortUpload]);
    let cancelled = sandbox.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3).json;
    assert_eq!(cancelled["cancelled"], "done", "{cancelled:#}");
    assert!(cancelled["leftover"].as_str().unwrap().contains("s3:AbortMultipartUpload"), "{cancelled:#}");
    assert_whole(&sandbox, &sandbox.run().expect(0));
}

#[test]
fn with_reading_alone_backups_are_restored_by_their_key() {
    let sandbox = AgentSandbox::filled("rights", 1);
    let key = sandbox.run().expect(0).key_backup().to_owned();
    let all = [AbortUpload, List, ListParts, ListUploads];
    sandbox.server.traffic().deny(PUT_OBJECT.into_iter().chain(all));
    sandbox.assert_restores(&key);
    for command in [&["list"][..], &["restore", "--latest", "--out", "x"]] {
        let refused =
            sandbox.client.run(command.iter().copied().chain(["--policy", "policy.yaml"])).expect(1);
        assert_refused(&refused, "s3:ListBucket");
    }
    assert!(!fs::exists(sandbox.at("x")).unwrap());
    sandbox.server.traffic().deny(GET_OBJECT);
    let refused =
        sandbox.client.run(["restore", "--policy", "policy.yaml", "--key", &key, "--out", "x"]).expect(1);
    assert_refused(&refused, "s3:GetObject");
}
