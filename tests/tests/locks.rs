//! `lock:` and `storage_class:` through every path of a backup, in buckets that keep locks; what is locked, the bucket itself
//! says.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::types::{ObjectLockMode, StorageClass};
use chrono::{DateTime, TimeDelta, Utc};
use intellistor::{Agent, AgentOptions, Catalog, Policy, UserKey};
use intellistor_storage::forward;
use intellistor_storage::objects::{Attributes, ObjectStore, Retention, SharedStore, Upload};
use intellistor_tests::moto::{Keeps, Moto, MotoBucket};
use intellistor_tests::program::{Client, Output};
use intellistor_tests::tree;
use serde_json::Value;
use tempfile::TempDir;

const DAYS: i64 = 30;
const LOCK: &str = "lock: { mode: governance, days: 30 }\n";
const SEALED: &str = "manifest: sealed\n";
/// Between what a program and a test take for now.
const SLACK: TimeDelta = TimeDelta::minutes(5);

/// A source, a bucket, and both programs.
struct Sandbox {
    dir: TempDir,
    moto: Moto,
    bucket: MotoBucket,
    client: Client,
    agent: Client,
}

/// A version of an object, as the bucket describes it.
#[derive(Debug, Clone)]
struct StoredVersion {
    key: String,
    version: String,
    lock: Option<(ObjectLockMode, DateTime<Utc>)>,
    class: Option<StorageClass>,
}

impl StoredVersion {
    /// The last part of its key.
    fn file(&self) -> &str {
        self.key.rsplit('/').next().unwrap()
    }

    /// What the contract puts under lock.
    fn must_be_locked(&self) -> bool {
        matches!(self.file(), "backup.tar.gz.enc" | "manifest.json" | "entries.enc")
            || self.file().starts_with("run_")
    }

    #[track_caller]
    fn assert_locked(&self, mode: ObjectLockMode, at_least: DateTime<Utc>) {
        let (kept, until) = self.lock.clone().unwrap_or_else(|| panic!("not locked: {self:?}"));
        assert!(kept == mode && until >= at_least - SLACK, "{at_least}: {self:?}");
        assert!(until <= at_least + TimeDelta::hours(2), "{at_least}: {self:?}");
    }
}

impl Sandbox {
    fn new(keeps: Keeps) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let moto = Moto::start();
        let bucket = moto.bucket("backups", keeps);
        let client = Client::new(dir.path())
            .vars(bucket.env())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", dir.path().join("home"));
        let agent = client.agent();
        let this = Self { dir, moto, bucket, client, agent };
        this.write("a.txt", 1, 3000);
        this.write("image", 2, 3 << 20);
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, seed: u64, bytes: u64) {
        tree::write_noise(&self.at("source").join(name), seed, bytes);
    }

    fn policy(&self, more: &str) {
        let source = self.at("source");
        fs::write(self.at("policy.yaml"), format!("policy_id: p\npaths: ['{}']\n{more}", source.display()))
            .unwrap();
    }

    fn backup(&self) -> Output {
        self.client.run(["-q", "backup", "--policy", "policy.yaml"])
    }

    fn run(&self) -> Output {
        self.agent.run(["-q", "run", "--policy", "policy.yaml"])
    }

    /// A run that dies at a point.
    fn run_until(&self, point: &str) {
        let marker = self.at(point);
        let agent =
            self.agent.clone().var("INTELLISTOR_FAILPOINT", format!("{point}:1:{}", marker.display()));
        let output = agent.run(["-q", "run", "--policy", "policy.yaml"]);
        assert!(marker.exists() && output.code == -1, "{point}: {} {}", output.code, output.stderr);
    }

    fn list(&self) -> Vec<Value> {
        let list = self.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        list["backups"].as_array().unwrap().clone()
    }

    fn verify(&self) -> Value {
        self.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0).json
    }

    /// Every version in the bucket that is no delete marker.
    fn kept(&self) -> Vec<StoredVersion> {
        let versions = self.bucket.versions("");
        let client = self.bucket.client();
        let look = async {
            let mut kept = Vec::new();
            for version in versions.into_iter().filter(|version| version.bytes.is_some()) {
                let head = client.head_object().bucket(self.bucket.name());
                let head = head.key(&version.key).version_id(&version.id).send().await.unwrap();
                let until = head.object_lock_retain_until_date();
                let until = until.map(|until| DateTime::from_timestamp(until.secs(), 0).unwrap());
                let lock = head.object_lock_mode().cloned().zip(until);
                let class = head.storage_class().cloned();
                kept.push(StoredVersion { key: version.key, version: version.id, lock, class });
            }
            kept
        };
        tokio::runtime::Runtime::new().unwrap().block_on(look)
    }

    /// Checks that exactly what must be locked is, and that none of it can be deleted.
    #[track_caller]
    fn assert_all_locked(&self) -> Vec<StoredVersion> {
        let kept = self.kept();
        for object in &kept {
            assert_eq!(object.lock.is_some(), object.must_be_locked(), "{object:?}");
        }
        let client = self.bucket.client();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            for object in kept.iter().filter(|object| object.must_be_locked()) {
                let delete = client.delete_object().bucket(self.bucket.name()).key(&object.key);
                let deleted = delete.version_id(&object.version).send().await;
                assert!(deleted.is_err(), "deleted: {object:?}");
            }
        });
        kept
    }

    fn open_uploads(&self) -> usize {
        let client = self.bucket.client();
        let list = async { client.list_multipart_uploads().bucket(self.bucket.name()).send().await.unwrap() };
        tokio::runtime::Runtime::new().unwrap().block_on(list).uploads().len()
    }
}

fn until(of: &Value) -> DateTime<Utc> {
    let text = of["locked_until"].as_str().unwrap_or_else(|| panic!("no locked_until in {of:#}"));
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn of_key<'k>(kept: &'k [StoredVersion], key: &str) -> &'k StoredVersion {
    kept.iter().find(|object| object.key == key).unwrap_or_else(|| panic!("no {key}"))
}

#[test]
fn backups_and_logs_are_locked_and_what_a_later_one_needs_is_prolonged() {
    let sandbox = Sandbox::new(Keeps::Locks);
    sandbox.policy(&[LOCK, SEALED].concat());
    let began = Utc::now();
    let full = sandbox.backup().expect(0);
    let end = began + TimeDelta::days(DAYS);
    assert!(until(&full.json) >= end - SLACK && until(&full.json) <= end + SLACK, "{:#}", full.json);
    let kept = sandbox.assert_all_locked();
    let files: Vec<_> = kept.iter().map(StoredVersion::file).collect();
    assert_eq!(files, ["backup.tar.gz.enc", "entries.enc", "manifest.json", "machine.json"]);
    for object in kept.iter().filter(|object| object.must_be_locked()) {
        object.assert_locked(ObjectLockMode::Governance, end);
    }

    // Six hours later, by the clock that counts.
    let later = began + TimeDelta::hours(6);
    sandbox.moto.set_time(later);
    sandbox.write("new.txt", 3, 5000);
    let increment = sandbox.run().expect(0);
    assert!(increment.json["base"].is_string(), "{:#}", increment.json);
    let end = later + TimeDelta::days(DAYS);
    let kept = sandbox.assert_all_locked();
    of_key(&kept, full.key_backup()).assert_locked(ObjectLockMode::Governance, end);
    of_key(&kept, increment.key_backup()).assert_locked(ObjectLockMode::Governance, end);
    let log = increment.json["log"]["s3"].as_str().unwrap();
    of_key(&kept, log).assert_locked(ObjectLockMode::Governance, end);
    assert!(kept.iter().any(|object| object.file() == "last.log"), "{kept:?}");

    let listed = sandbox.list();
    // Its objects were put one after the other.
    let agree =
        |one: &Value, other: &Value| assert!((until(one) - until(other)).abs() <= SLACK, "{one:#} {other:#}");
    agree(&listed[0], &full.json);
    agree(&listed[1], &increment.json);
    agree(&sandbox.verify(), &increment.json);
    let shown = fs::read_to_string(increment.json["log"]["local"].as_str().unwrap()).unwrap();
    assert!(shown.contains("locked_until"), "{shown}");

    // Its lock has ended, and the bucket's clock says so.
    sandbox.moto.set_time(end + TimeDelta::days(1));
    assert!(sandbox.verify()["locked_until"].is_null());
}

#[test]
fn a_job_that_was_killed_and_resumed_days_later_is_locked_from_then_on() {
    for point in ["before_complete", "before_manifest", "manifest_put"] {
        let sandbox = Sandbox::new(Keeps::Locks);
        sandbox.policy(&[LOCK, SEALED].concat());
        sandbox.run_until(point);
        let later = Utc::now() + TimeDelta::hours(9);
        sandbox.moto.set_time(later);
        let resumed = sandbox.run().expect(0);
        assert_eq!(resumed.json["resumed"], true, "{:#}", resumed.json);
        let end = later + TimeDelta::days(DAYS);
        for object in sandbox.assert_all_locked().iter().filter(|object| object.must_be_locked()) {
            object.assert_locked(ObjectLockMode::Governance, end);
        }
        assert!(until(&resumed.json) >= end - SLACK, "{point}: {:#}", resumed.json);
        assert_eq!(sandbox.open_uploads(), 0);
    }
}

#[test]
fn the_log_of_a_run_that_failed_is_locked() {
    let sandbox = Sandbox::new(Keeps::Locks);
    sandbox.policy(LOCK);
    fs::remove_dir_all(sandbox.at("source")).unwrap();
    let failed = sandbox.run().expect(2);
    let log = failed.json["log"]["s3"].as_str().unwrap_or_else(|| panic!("{:#}", failed.json)).to_owned();
    let kept = sandbox.assert_all_locked();
    of_key(&kept, &log).assert_locked(ObjectLockMode::Governance, Utc::now() + TimeDelta::days(DAYS));
}

#[test]
fn a_lock_that_was_added_or_made_strict_later_reaches_the_archives_that_are_needed() {
    let sandbox = Sandbox::new(Keeps::Locks);
    sandbox.policy("");
    let full = sandbox.backup().expect(0);
    assert!(sandbox.kept().iter().all(|object| object.lock.is_none()));
    assert!(full.json.get("locked_until").is_none() && sandbox.list()[0].get("locked_until").is_none());
    sandbox.policy(LOCK);
    sandbox.write("new.txt", 3, 5000);
    sandbox.backup().expect(0);
    let end = Utc::now() + TimeDelta::days(DAYS);
    of_key(&sandbox.kept(), full.key_backup()).assert_locked(ObjectLockMode::Governance, end);

    sandbox.policy("lock: { mode: compliance, days: 40 }\n");
    sandbox.write("newer.txt", 4, 5000);
    let strict = sandbox.backup().expect(0);
    let end = Utc::now() + TimeDelta::days(40);
    let kept = sandbox.kept();
    for key in [full.key_backup(), strict.key_backup(), strict.json["s3"]["key_manifest"].as_str().unwrap()] {
        of_key(&kept, key).assert_locked(ObjectLockMode::Compliance, end);
    }

    // Less is asked for now; what is strict stays so, and as long.
    sandbox.policy("lock: { mode: governance, days: 1 }\n");
    sandbox.write("newest.txt", 5, 5000);
    let loose = sandbox.backup().expect(0);
    let kept = sandbox.kept();
    of_key(&kept, full.key_backup()).assert_locked(ObjectLockMode::Compliance, end);
    let day = Utc::now() + TimeDelta::days(1);
    of_key(&kept, loose.key_backup()).assert_locked(ObjectLockMode::Governance, day);
    assert!(until(&loose.json) <= day + SLACK);
}

/// A store that takes locks and keeps none, until it is mended.
#[derive(Debug)]
struct Ignoring {
    store: SharedStore,
    is_mended: AtomicBool,
}

#[async_trait]
impl ObjectStore for Ignoring {
    forward!(store: url folders capabilities now_ms prepare put_with get_range head list delete put_part list_parts);
    forward!(store: last_part_ms complete_with composite list_uploads abort_upload);
    forward!(store: erase attributes set_legal_hold check_object_lock);

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> intellistor_storage::Result<Upload> {
        let retention = attributes.retention.filter(|_| self.is_mended.load(Ordering::SeqCst));
        self.store.begin_with(key, &Attributes { retention, ..attributes.clone() }).await
    }

    async fn retain(&self, key: &str, retention: Retention) -> intellistor_storage::Result<()> {
        if self.is_mended.load(Ordering::SeqCst) { self.store.retain(key, retention).await } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_store_that_ignores_locks_gets_no_manifest_and_nothing_is_sent_again_once_it_keeps_them() {
    let sandbox = Sandbox::new(Keeps::Locks);
    sandbox.policy(LOCK);
    let policy = Policy::load(&sandbox.at("policy.yaml")).unwrap();
    let store = Arc::new(Ignoring { store: sandbox.bucket.store(), is_mended: AtomicBool::default() });
    let catalog = Catalog::new(store.clone());
    let agent = Agent::new(sandbox.at("home"));
    let recipients = UserKey::generate().into();
    let run = async || agent.run(&catalog, &recipients, &policy, AgentOptions::default()).await.unwrap();
    let refused = run().await;
    let error = refused.outcome.as_ref().unwrap_err().to_string();
    assert!(error.contains("ignored") && error.contains("backup.tar.gz.enc"), "{error}");
    let manifests = || {
        let keys = sandbox.bucket.versions("backups/");
        keys.iter().filter(|version| version.key.ends_with("manifest.json")).count()
    };
    assert_eq!((manifests(), refused.will_resume()), (0, true));
    store.is_mended.store(true, Ordering::SeqCst);
    let made = run().await;
    assert!(made.outcome.as_ref().unwrap().locked_until.is_some(), "{:?}", made.outcome);
    assert_eq!((manifests(), made.parts_sent, made.resumed.is_some()), (1, 0, true));
}

#[test]
fn a_bucket_without_lock_is_refused_before_anything_is_written() {
    for keeps in [Keeps::Latest, Keeps::Versions] {
        let sandbox = Sandbox::new(keeps);
        sandbox.policy(LOCK);
        for output in [sandbox.backup().expect(2), sandbox.run().expect(2)] {
            let message = output.json["error"]["message"].as_str().unwrap();
            assert!(message.contains("`lock`") && message.contains("docs/RETENTION.md"), "{message}");
        }
        assert_eq!((sandbox.bucket.versions(""), sandbox.open_uploads()), (Vec::new(), 0));
        sandbox.policy("");
        let made = sandbox.run().expect(0);
        let log = fs::read_to_string(made.json["log"]["local"].as_str().unwrap()).unwrap();
        assert!(log.contains("the policy has `lock`"), "the job's log has the refusal, too: {log}");
    }
}

#[test]
fn a_folder_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::new(Keeps::Latest);
    fs::create_dir(sandbox.at("nas")).unwrap();
    let store = format!("store: 'file://{}'\n", sandbox.at("nas").display());
    for field in [LOCK, "storage_class: STANDARD_IA\n"] {
        sandbox.policy(&[&store, field].concat());
        for output in [sandbox.backup().expect(2), sandbox.run().expect(2)] {
            let message = output.json["error"]["message"].as_str().unwrap();
            let field = format!("`{}`", field.split(':').next().unwrap());
            assert!(message.contains(&field) && message.contains("Nothing was written"), "{message}");
        }
        assert_eq!(fs::read_dir(sandbox.at("nas")).unwrap().count(), 0);
    }
}

#[test]
fn a_cold_class_is_for_archives_alone_and_no_backup_reads_one() {
    let sandbox = Sandbox::new(Keeps::Versions);
    sandbox.policy("storage_class: GLACIER\n");
    let full = sandbox.backup().expect(0);
    let client = fs::OpenOptions::new().append(true).open(sandbox.at("source/image")).unwrap();
    std::io::Write::write_all(&mut &client, b"and a little more").unwrap();
    sandbox.write("new.txt", 3, 5000);
    let increment = sandbox.run().expect(0);
    assert_eq!(increment.json["base"], full.json["backup_id"], "{:#}", increment.json);
    assert!(increment.warnings().contains("stored whole"), "{}", increment.warnings());
    let changes = &increment.json["changes"];
    assert_eq!(
        (&changes["unchanged"], &changes["changed"], &changes["new"]),
        (&1.into(), &1.into(), &1.into())
    );

    // A run that is killed once its archive is complete does not read it back either.
    sandbox.write("newer.txt", 4, 5000);
    sandbox.run_until("before_manifest");
    let resumed = sandbox.run().expect(0);
    assert_eq!(resumed.json["resumed"], true, "{:#}", resumed.json);

    let mut classes = BTreeMap::<String, Vec<_>>::new();
    for object in sandbox.kept() {
        classes.entry(object.file().to_owned()).or_default().push(object.class);
    }
    assert_eq!(classes.remove("backup.tar.gz.enc").unwrap(), vec![Some(StorageClass::Glacier); 3]);
    let is_warm = |class: &Option<StorageClass>| matches!(class, None | Some(StorageClass::Standard));
    assert!(classes.values().flatten().all(is_warm), "{classes:?}");

    // Nor does what comes after.
    assert_eq!(sandbox.list().len(), 3);
    let forget = ["-q", "forget", "--policy", "policy.yaml", "--key", increment.key_backup()];
    sandbox.client.run(forget).expect(0);
    assert_eq!(sandbox.list().len(), 2);
    sandbox.moto.set_time(Utc::now() + TimeDelta::days(12));
    sandbox.client.run(["-q", "prune", "--policy", "policy.yaml"]).expect(0);
    let versions = |key: &str| sandbox.bucket.versions(key).len();
    let manifest = increment.json["s3"]["key_manifest"].as_str().unwrap();
    assert_eq!((versions(manifest), versions(increment.key_backup())), (0, 1), "its archive is still needed");
    let restore = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"];
    for output in [
        sandbox.client.run(restore).expect(1),
        sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(1),
    ] {
        let message = output.json["error"]["message"].as_str().unwrap();
        assert!(message.contains("GLACIER"), "{message}");
        for key in [full.key_backup(), increment.key_backup(), resumed.key_backup()] {
            let command = format!("aws s3api restore-object --bucket backups --key {key} ");
            assert!(message.contains(&command), "{key}: {message}");
        }
    }
    assert!(!sandbox.at("out").join("a.txt").exists());
}
