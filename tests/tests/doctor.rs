//! `doctor` with the real programs: what each fault is called, what is skipped for it, and that nothing is left behind.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor_storage::objects::Operation::{
    self, AbortUpload, BeginUpload, CompleteUpload, GetRange, Head, List, ListParts, ListUploads, Put,
    PutPart,
};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::s3_server::{BUCKET, Failure};
use serde_json::Value;

fn examine(program: &Client) -> Output {
    program.run(["-q", "doctor", "--policy", "policy.yaml"])
}

#[track_caller]
fn row<'o>(output: &'o Output, name: &str) -> &'o Value {
    let all = output.json["checks"].as_array().unwrap_or_else(|| panic!("{} {}", output.json, output.stderr));
    all.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {:#}", output.json))
}

/// The check ended so, and says these words, in its detail or its advice.
#[track_caller]
fn assert_row(output: &Output, name: &str, state: &str, words: &str) {
    let row = row(output, name);
    assert_eq!(row["state"], state, "{row:#}");
    assert!(row.to_string().contains(words), "no {words:?} in {row:#}");
}

/// Keys of all objects in the bucket.
fn objects(sandbox: &AgentSandbox) -> Vec<PathBuf> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, all) } else { all.push(path) }
        }
    }
    let mut all = Vec::new();
    walk(&sandbox.at("s3").join(BUCKET), &mut all);
    all.sort();
    all
}

fn sandbox() -> AgentSandbox {
    let sandbox = AgentSandbox::new("exame");
    fs::write(sandbox.source().join("Relatório.txt"), "olá").unwrap();
    sandbox
}

#[test]
fn what_works_is_ok_and_nothing_is_claimed_or_left() {
    let sandbox = sandbox();
    for program in [&sandbox.client, &sandbox.agent] {
        let output = examine(program).expect(0);
        assert_eq!(output.json["ok"], true, "{:#}", output.json);
        for row in output.json["checks"].as_array().unwrap() {
            let may_warn =
                ["variables", "schedule", "time zone", "resources"].contains(&row["name"].as_str().unwrap());
            assert!(row["state"] == "ok" || may_warn, "{row:#}");
        }
        assert_row(&output, "paths", "ok", "1 file, ");
        assert_row(&output, "owner", "ok", "no one yet");
        assert_row(&output, "credentials", "ok", "AKIA...TEST from AWS_ACCESS_KEY_ID");
        assert!(!output.json.to_string().contains("AKIATESTTESTTESTTEST"), "an access key is shortened");
    }
    assert_eq!(objects(&sandbox), Vec::<PathBuf>::new());
    sandbox.assert_no_open_upload();
    sandbox.run().expect(0);
    let before = objects(&sandbox);
    let output = examine(&sandbox.agent).expect(0);
    assert_row(&output, "newest backup", "ok", "the key opens");
    assert_row(&output, "owner", "ok", "this machine");
    assert_eq!(objects(&sandbox), before);
    sandbox.assert_restores(&sandbox.backups()[0]);
}

#[test]
fn each_permission_is_named_and_nothing_is_left() {
    const PUT: [Operation; 4] = [Put, BeginUpload, PutPart, CompleteUpload];
    let sandbox = sandbox();
    sandbox.run().expect(0);
    let before = objects(&sandbox);
    for (denied, name, state) in [
        (&PUT[..], "s3:PutObject", "failed"),
        (&[GetRange, Head][..], "s3:GetObject", "failed"),
        (&[List][..], "s3:ListBucket", "warning"),
        (&[BeginUpload, PutPart][..], "multipart upload", "failed"),
        (&[ListParts][..], "s3:ListMultipartUploadParts", "warning"),
        (&[ListUploads][..], "s3:ListBucketMultipartUploads", "warning"),
        (&[AbortUpload][..], "s3:AbortMultipartUpload", "warning"),
    ] {
        sandbox.server.traffic().deny(denied.iter().copied());
        let output = examine(&sandbox.client).expect(if state == "failed" { 2 } else { 0 });
        assert_row(&output, name, state, "s3:");
        let advice = row(&output, name)["advice"].as_str().unwrap();
        assert!(advice.contains("docs/STORES.md"), "{advice}");
        assert_eq!(output.json["ok"], state != "failed", "{:#}", output.json);
        assert_eq!(objects(&sandbox), before, "without {name}");
    }
    sandbox.server.traffic().deny([]);
}

#[test]
fn a_wrong_key_bucket_or_policy_is_one_failure_and_the_rest_is_skipped() {
    let sandbox = sandbox();
    sandbox.run().expect(0);
    let other = UserKey::generate().to_base64().unwrap();
    let output = examine(&sandbox.client.clone().var("INTELLISTOR_KEY", other.as_str())).expect(2);
    assert_row(&output, "newest backup", "failed", "sealed with key");
    let output = examine(&sandbox.client.clone().var("INTELLISTOR_KEY", "")).expect(2);
    assert_row(&output, "key", "failed", "no key is configured");
    assert_row(&output, "newest backup", "skipped", "it needs key, which failed");

    let output = examine(&sandbox.client.clone().var("AWS_S3_BUCKET", "no-such-bucket")).expect(2);
    assert_row(&output, "bucket", "failed", "does not exist");
    assert_row(&output, "s3:GetObject", "skipped", "it needs bucket, which failed");
    let output = examine(&sandbox.client.clone().var("AWS_SECRET_ACCESS_KEY", "wrong")).expect(2);
    assert_row(&output, "bucket", "failed", "AWS_SECRET_ACCESS_KEY");
    let without = sandbox.client.clone().var("AWS_ACCESS_KEY_ID", "").var("AWS_SECRET_ACCESS_KEY", "");
    let output = examine(&without.var("AWS_EC2_METADATA_DISABLED", "true")).expect(2);
    assert_row(&output, "credentials", "failed", "there are no credentials");
    assert_row(&output, "endpoint", "skipped", "it needs credentials, which failed");

    fs::write(sandbox.at("policy.yaml"), "policy_id: exame\npaths: ['/x']\nno_such_field: 1\n").unwrap();
    let output = examine(&sandbox.client).expect(2);
    assert_row(&output, "policy", "failed", "no_such_field");
    assert_row(&output, "store", "skipped", "it needs policy, which failed");
}

#[test]
fn what_is_between_this_machine_and_the_store_is_named() {
    let sandbox = sandbox();
    // Bound and closed again: no one listens there.
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let output = examine(&sandbox.client.clone().var("AWS_ENDPOINT_URL", format!("http://{dead}"))).expect(2);
    assert_row(&output, "endpoint", "failed", "connection refused");
    assert_eq!(row(&output, "endpoint")["temporary"], true, "{:#}", output.json);
    assert_row(&output, "clock", "skipped", "it needs endpoint");
    let output = examine(&sandbox.client.clone().var("HTTP_PROXY", format!("http://{dead}"))).expect(2);
    assert_row(&output, "endpoint", "failed", "HTTP_PROXY");
    let secure = sandbox.client.clone().var("AWS_CA_BUNDLE", sandbox.at("no-such.pem"));
    assert_row(&examine(&secure).expect(2), "store", "failed", "AWS_CA_BUNDLE");
    sandbox.server.traffic().fail_next(1, List, Failure::Refused(403, "RequestTimeTooSkewed"));
    assert_row(&examine(&sandbox.client).expect(2), "clock", "failed", "15 min");
    sandbox.server.traffic().fail_next(1, List, Failure::ServerFault);
    assert_row(&examine(&sandbox.client).expect(2), "endpoint", "failed", "InternalError");
    assert_eq!(objects(&sandbox), Vec::<PathBuf>::new());
}

#[test]
fn another_machines_policy_stays_its_own() {
    let sandbox = sandbox();
    sandbox.run().expect(0);
    let before = sandbox.object("backups/exame/machine.json").unwrap();
    let output = examine(&sandbox.client.clone().var("INTELLISTOR_MACHINE", "outra")).expect(2);
    assert_row(&output, "owner", "failed", "--take-over");
    assert_eq!(sandbox.object("backups/exame/machine.json").unwrap(), before);
}

#[test]
fn a_folder_that_holds_no_store_stays_as_it_is() {
    let sandbox = sandbox();
    sandbox.write_policy(&format!("store: 'file://{}'\n", sandbox.at("nas").display()));
    let output = examine(&sandbox.client).expect(0);
    assert_row(&output, "folder", "warning", "holds no store yet");
    assert_row(&output, "write", "skipped", "none was created");
    assert!(!sandbox.at("nas").exists());
    sandbox.run().expect(0);
    let list = || sandbox.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    let before = list();
    let output = examine(&sandbox.client).expect(0);
    for name in ["folder", "write", "read", "list", "upload in parts", "delete", "newest backup"] {
        assert_row(&output, name, "ok", "");
    }
    assert_eq!(list(), before);
    sandbox.write_policy(&format!("store: 'file://{}/nas'\n", sandbox.at("not-mounted").display()));
    let output = examine(&sandbox.client).expect(2);
    assert_row(&output, "store", "failed", "");
    assert_eq!(row(&output, "store")["temporary"], true, "{:#}", output.json);
    sandbox.write_policy(&format!(
        "store: 'file://{}'\nlock: {{ mode: governance, days: 1 }}\n",
        sandbox.at("nas").display()
    ));
    assert_row(&examine(&sandbox.client).expect(2), "lock", "failed", "object lock");
}

#[test]
fn the_agents_folder_and_files_that_others_can_write_are_named() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.at("aberta")).unwrap();
    fs::set_permissions(sandbox.at("aberta"), fs::Permissions::from_mode(0o777)).unwrap();
    let output = examine(&sandbox.agent.clone().var("INTELLISTOR_HOME", sandbox.at("aberta"))).expect(2);
    assert_row(&output, "home", "failed", "can be written by everyone");
    fs::set_permissions(sandbox.at("policy.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_row(&examine(&sandbox.agent).expect(2), "policy", "failed", "other accounts can change");
    assert_row(&examine(&sandbox.client).expect(0), "policy", "warning", "other accounts can change");
}

#[test]
fn the_table_has_a_mark_for_each_check_and_advice_below() {
    let sandbox = sandbox();
    let table = |language: &str, bucket: &str| {
        let client = sandbox.client.clone().var("LC_ALL", language).var("AWS_S3_BUCKET", bucket);
        let output = client.run(["-q", "doctor", "--policy", "policy.yaml", "--format", "table"]);
        (output.code, String::from_utf8(output.stdout).unwrap())
    };
    let (code, good) = table("pt_BR.UTF-8", BUCKET);
    assert_eq!(code, 0, "{good}");
    let (rows, verdict) = good.split_once("\n\n").unwrap();
    assert!(rows.lines().all(|line| ['✓', '!', ' '].iter().any(|start| line.starts_with(*start))), "{good}");
    assert!(verdict.starts_with("all that a run needs works"), "{good}");
    let (code, bad) = table("C", "no-such-bucket");
    assert_eq!(code, 2, "{bad}");
    assert!(bad.is_ascii() && bad.contains("x bucket ") && bad.contains("-> "), "{bad}");
    assert!(bad.ends_with("1 check failed: a run would fail, too\n"), "{bad}");
    assert!(bad.contains("more checks"), "what one failure skips is few lines: {bad}");
}
