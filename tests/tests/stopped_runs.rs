//! A run is stopped, with SIGSTOP, between its last look at what it depends on and the manifest, for nine days of the store's
//! clock. Its base is forgotten and swept meanwhile. What is listed after that is whole.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use intellistor::UserKey;
use intellistor_storage::failpoint::Failpoint;
use intellistor_tests::events::wait_until;
use intellistor_tests::memory_sandbox::write;
use intellistor_tests::moto::{Keeps, Moto, MotoBucket};
use intellistor_tests::program::{Client, Output};
use intellistor_tests::running::Running;
use intellistor_tests::tree;
use rustix::process::Signal;

struct Sandbox {
    dir: tempfile::TempDir,
    moto: Moto,
    bucket: MotoBucket,
    client: Client,
}

impl Sandbox {
    /// With a full backup, which is the base of the next.
    fn create() -> (Self, Output) {
        let dir = tempfile::tempdir().unwrap();
        let moto = Moto::start();
        let bucket = moto.bucket("stopped", Keeps::Latest);
        let client = Client::new(dir.path())
            .vars(bucket.env())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", dir.path().join("home"));
        write(&dir.path().join("source/old"), tree::noise(1, 20_000));
        let policy = ["policy-create", "--out", "policy.yaml", "--policy-id", "stopped", "--paths", "source"];
        client.run(policy).expect(0);
        let sandbox = Self { dir, moto, bucket, client };
        let base = sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        write(&sandbox.at("source/new"), tree::noise(2, 20_000));
        (sandbox, base)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a program that stops itself at a point, waits until it has, and lets its base be forgotten and swept.
    fn stop_and_sweep(&self, program: &Client, args: &[&str], base: &Output) -> Running {
        let marker = self.at("stopped-here");
        let armed = format!("stop:{}:1:{}", Failpoint::BeforeManifest.name(), marker.display());
        let running = Running::start(program.clone().var("INTELLISTOR_FAILPOINT", armed).command(args));
        wait_until("the run has stopped", || marker.exists());
        let forget = ["-q", "forget", "--policy", "policy.yaml", "--confirm", "--key", base.key_backup()];
        self.client.run(forget).expect(0);
        self.moto.set_time(Utc::now() + TimeDelta::days(9));
        let swept = self.client.run(["-q", "prune", "--policy", "policy.yaml"]).expect(0);
        assert_eq!(swept.json["deleted"].as_array().unwrap().len(), 1, "{:#}", swept.json);
        running
    }

    /// The one backup that is listed is whole.
    fn assert_whole(&self, key: &str) {
        let list = self.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        let keys: Vec<_> = list["backups"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
        assert_eq!(keys, [key], "{list:#}");
        self.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
        let out = self.at("out");
        let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", "out"];
        self.client.run(restore).expect(0);
        let same =
            |name: &str| fs::read(out.join(name)).unwrap() == fs::read(self.at("source").join(name)).unwrap();
        assert!(same("old") && same("new"));
    }

    /// What was put too late is there, and forgotten, which says why.
    fn assert_withdrawn(&self) {
        let list = self
            .client
            .run(["-q", "list", "--forgotten", "--policy", "policy.yaml"])
            .expect(0)
            .json
            .to_string();
        assert!(list.contains("what it depends on may be gone"), "{list}");
    }
}

#[test]
fn a_client_that_was_stopped_for_days_makes_another_backup() {
    let (sandbox, base) = Sandbox::create();
    let args = ["backup", "--policy", "policy.yaml"];
    let running = sandbox.stop_and_sweep(&sandbox.client, &args, &base);
    running.signal(Signal::CONT);
    // This machine's clock is nine days behind the store's, which is worth exit code 3.
    let made = running.end().expect(3);
    assert!(made.stderr.contains("more than an hour passed"), "{}", made.stderr);
    assert_eq!(made.json["base"], serde_json::Value::Null, "{:#}", made.json);
    sandbox.assert_whole(made.key_backup());
    sandbox.assert_withdrawn();
}

#[test]
fn an_agent_that_was_stopped_for_days_makes_another_backup() {
    let (sandbox, base) = Sandbox::create();
    let args = ["run", "--policy", "policy.yaml"];
    let running = sandbox.stop_and_sweep(&sandbox.client.agent(), &args, &base);
    running.signal(Signal::CONT);
    let made = running.end().expect(3);
    assert!(made.warnings().contains("was lost and restarted"), "{}", made.warnings());
    sandbox.assert_whole(made.key_backup());
    sandbox.assert_withdrawn();
}

#[test]
fn an_agent_that_is_killed_where_it_was_stopped_makes_another_backup_next_time() {
    let (sandbox, base) = Sandbox::create();
    let args = ["run", "--policy", "policy.yaml"];
    let running = sandbox.stop_and_sweep(&sandbox.client.agent(), &args, &base);
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, -1);
    let made = sandbox.client.agent().run(["-q", "run", "--policy", "policy.yaml"]).expect(3);
    sandbox.assert_whole(made.key_backup());
    // Nothing was put.
    let objects = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(sandbox.bucket.store().list("backups/", None))
        .unwrap();
    let manifests = objects.objects.iter().filter(|object| object.key.ends_with("manifest.json")).count();
    assert_eq!(manifests, 1);
}
