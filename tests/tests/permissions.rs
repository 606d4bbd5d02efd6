//! Backups with fewer permissions than all: one that only helps is a warning; one that is needed is named before the first
//! byte, and nothing is left behind, however often it is tried.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs;

use intellistor_storage::objects::Operation::{
    self, AbortUpload, BeginUpload, CompleteUpload, GetRange, Head, List, ListParts, ListUploads, Put,
    PutPart,
};
use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::{BUCKET, Done};

/// What `s3:PutObject` covers.
const PUT_OBJECT: [Operation; 4] = [Put, BeginUpload, PutPart, CompleteUpload];
/// What `s3:GetObject` covers.
const GET_OBJECT: [Operation; 2] = [GetRange, Head];

fn place(mib: u64) -> Governed {
    let place = Governed::new("rights");
    place.fill(mib);
    place
}

fn deny<const N: usize>(place: &Governed, operations: [Operation; N]) {
    place.server.traffic().deny(operations);
}

fn client(place: &Governed) -> Output {
    place.client.run(["-q", "backup", "--policy", "policy.yaml"])
}

/// The backup exists and can be restored; all is permitted again.
#[track_caller]
fn assert_whole(place: &Governed, output: &Output) {
    deny(place, []);
    let key = output.key_backup();
    assert!(place.backups().iter().any(|backup| backup == key), "{key}");
    place.assert_restores(key);
}

#[track_caller]
fn assert_refused(output: &Output, permission: &str) {
    let message = output.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(permission), "no {permission} in: {message}");
    assert!(message.contains(&format!("arn:aws:s3:::{BUCKET}")), "{message}");
}

/// Archives and manifests in the bucket, and uploads that were begun.
fn left(place: &Governed) -> Vec<Done> {
    let is_backup = |done: &Done| match done {
        Done::Put { key } | Done::Completed { key, .. } => {
            key.ends_with("manifest.json") || key.ends_with("backup.tar.gz.enc")
        }
        Done::Begun { .. } | Done::PartStored { .. } => true,
        Done::Aborted { .. } => false,
    };
    place.server.traffic().log().into_iter().filter(is_backup).collect()
}

#[test]
fn without_listing_uploads_backups_are_made_and_the_permission_is_named_once() {
    let place = place(1);
    deny(&place, [ListUploads]);
    let output = place.run().expect(0);
    let warnings = output.warnings();
    assert_eq!(warnings.matches("s3:ListBucketMultipartUploads").count(), 1, "{warnings}");
    assert_whole(&place, &output);
    deny(&place, [ListUploads]);
    assert_whole(&place, &client(&place).expect(0));
}

#[test]
fn a_job_that_was_refused_at_its_beginning_is_resumed_without_listing_uploads() {
    let place = place(1);
    place.run().expect(0);
    deny(&place, [BeginUpload, ListUploads]);
    for _ in 0..2 {
        let refused = place.run().expect(1);
        assert_refused(&refused, "s3:PutObject");
        assert_eq!(refused.json["state"], "transferring", "{:#}", refused.json);
    }
    deny(&place, [ListUploads]);
    let output = place.run().expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    assert_whole(&place, &output);
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
        let place = place(12);
        deny(&place, [List, ListUploads]);
        assert!(place.run_until(point, 1), "{point} was not reached");
        let output = place.run().expect(0);
        assert_eq!(output.json["resumed"], true, "{point}: {:#}", output.json);
        assert_whole(&place, &output);
        assert_eq!(place.backups().len(), 1, "{point}");
        place.assert_order();
    }
    let place = place(1);
    deny(&place, [List, ListUploads]);
    assert_whole(&place, &client(&place).expect(0));
}

#[test]
fn without_reading_nothing_is_sent_however_often_it_is_tried() {
    for first in [false, true] {
        let place = place(12);
        if first {
            place.run().expect(0);
        }
        let before = left(&place);
        for denied in [&[GetRange, Head][..], &[GetRange, Head, List, ListUploads], &[Head]] {
            place.server.traffic().deny(denied.iter().copied());
            for _ in 0..2 {
                assert_refused(&place.run().expect(1), "s3:GetObject");
                assert_refused(&client(&place).expect(1), "s3:GetObject");
            }
        }
        assert_eq!(left(&place), before, "after a first backup: {first}");
        deny(&place, []);
        assert_whole(&place, &place.run().expect(0));
    }
}

#[test]
fn without_writing_nothing_is_sent() {
    for first in [false, true] {
        let place = place(1);
        if first {
            place.run().expect(0);
        }
        let before = left(&place);
        deny(&place, PUT_OBJECT);
        assert_refused(&place.run().expect(1), "s3:PutObject");
        assert_refused(&client(&place).expect(1), "s3:PutObject");
        assert_eq!(left(&place), before, "after a first backup: {first}");
        deny(&place, []);
        assert_whole(&place, &place.run().expect(0));
    }
}

#[test]
fn without_listing_parts_what_was_recorded_is_resumed() {
    let place = place(50);
    assert!(place.run_until("part_recorded", 2));
    deny(&place, [ListParts]);
    let output = place.run().expect(0);
    assert!(output.json["parts_reused"].as_u64().unwrap() >= 2, "{:#}", output.json);
    assert_whole(&place, &output);
}

#[test]
fn without_aborting_a_job_can_be_given_up() {
    let place = place(50);
    assert!(place.run_until("part_recorded", 2));
    deny(&place, [AbortUpload]);
    let cancelled = place.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(3).json;
    assert_eq!(cancelled["cancelled"], "done", "{cancelled:#}");
    assert!(cancelled["leftover"].as_str().unwrap().contains("s3:AbortMultipartUpload"), "{cancelled:#}");
    assert_whole(&place, &place.run().expect(0));
}

#[test]
fn with_reading_alone_backups_are_restored_by_their_key() {
    let place = place(1);
    let key = place.run().expect(0).key_backup().to_owned();
    let all = [AbortUpload, List, ListParts, ListUploads];
    place.server.traffic().deny(PUT_OBJECT.into_iter().chain(all));
    place.assert_restores(&key);
    for command in [&["list"][..], &["restore", "--latest", "--out", "x"]] {
        let refused = place.client.run(command.iter().copied().chain(["--policy", "policy.yaml"])).expect(1);
        assert_refused(&refused, "s3:ListBucket");
    }
    assert!(!fs::exists(place.at("x")).unwrap());
    place.server.traffic().deny(GET_OBJECT);
    let refused =
        place.client.run(["restore", "--policy", "policy.yaml", "--key", &key, "--out", "x"]).expect(1);
    assert_refused(&refused, "s3:GetObject");
}
