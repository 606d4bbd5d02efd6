//! Retention and sweep by the real programs: what is left is what the calendar says, and every backup that is left restores.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration as StdDuration, Instant, SystemTime};

use chrono::{DateTime, Datelike as _, Duration, Utc};
use intellistor::{Identity, Recipients, RestoreOptions, StoreUrl};
use intellistor_storage::catalog::statements::{self, Forgotten};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::objects::{ObjectStore as _, ObjectStoreExt as _};
use intellistor_tests::forgotten;
use intellistor_tests::moto::{Keeps, Moto};
use intellistor_tests::nightly_backups::{NightlyBackups, POLICY};
use intellistor_tests::program::Client;
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const PRUNE: [&str; 4] = ["-q", "prune", "--policy", "policy.yaml"];
/// As long ago as nights are forgotten, for a sweep to be due.
const AGE: Duration = Duration::days(9);

struct Sandbox {
    dir: TempDir,
    made: NightlyBackups,
    client: Client,
}

impl Sandbox {
    async fn new(nights: usize, retention: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = NightlyBackups::make(nights).await;
        let policy = format!("policy_id: {POLICY}\npaths: [source]\nretention: {retention}\n");
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        let key = made.key.to_base64().unwrap();
        let store = StoreUrl::local(&dir.path().join("store")).to_string();
        let client = Client::new(dir.path()).var("INTELLISTOR_KEY", key.as_str()).var("AWS_S3_BUCKET", store);
        made.write(&dir.path().join("store")).await;
        Self { dir, made, client }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Forgets what the rules do not keep, long enough ago.
    async fn forget(&self) {
        self.client.run(["-q", "forget", "--policy", "policy.yaml"]).expect(0);
        forgotten::backdate(&self.store(), &self.made.key, AGE).await;
    }

    /// Nights that have a manifest.
    fn left(&self) -> BTreeSet<usize> {
        let nights = 0..self.made.nights.len();
        nights.filter(|night| self.store().join(self.made.name(*night).manifest_key()).exists()).collect()
    }

    /// Asserts that these nights have manifests, that they restore, and that nothing else is there than what they need.
    async fn assert_left(&self, nights: &BTreeSet<usize>) {
        assert_eq!(self.left(), *nights);
        let vault = Vault::open(&StoreUrl::local(&self.store()), self.made.key.clone()).await.unwrap();
        let mut needed = BTreeSet::new();
        for night in nights {
            let name = self.made.name(*night);
            let out = self.dir.path().join("out");
            vault.restore(&name, RestoreOptions::to(&out)).await.unwrap();
            let found: BTreeMap<_, _> = fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| {
                    (
                        path.file_name().unwrap().to_str().unwrap().to_owned(),
                        fs::read_to_string(path).unwrap(),
                    )
                })
                .collect();
            assert_eq!(found, self.made.files(*night), "night {night}");
            fs::remove_dir_all(out).unwrap();
            needed.extend([name.archive_key(), name.manifest_key(), name.entries_key()]);
            let archives = vault.show(&name).await.unwrap().head().archives.clone();
            for archive in archives {
                // One that outlives its manifest has its tombstone beside it.
                needed.insert(archive.key.replace("backup.tar.gz.enc", "forgotten.json"));
                needed.insert(archive.key);
            }
        }
        let objects = objects(&self.store());
        let spare: Vec<_> =
            objects.keys().filter(|key| !needed.contains(*key) && !key.contains("/.put-")).collect();
        assert!(spare.is_empty(), "{spare:?}");
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let inside =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    inside.flat_map(|folder| [folder.clone()].into_iter().chain(folders(&folder))).collect()
}

/// Every object of a folder store, with its bytes and its time.
fn objects(store: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut all = BTreeMap::new();
    for folder in folders(store) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_file() {
                let key = path.strip_prefix(store).unwrap().to_str().unwrap().to_owned();
                all.insert(key, (fs::read(&path).unwrap(), entry.metadata().unwrap().modified().unwrap()));
            }
        }
    }
    all
}

fn put_back(store: &Path, objects: &BTreeMap<String, (Vec<u8>, SystemTime)>) {
    let _ = fs::remove_dir_all(store.join("backups"));
    for (key, (bytes, time)) in objects {
        let path = store.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(*time).unwrap();
    }
}

/// The newest night of each of the newest `count` periods.
fn newest_of<P: Ord>(
    nights: &[DateTime<Utc>],
    count: usize,
    period: impl Fn(&DateTime<Utc>) -> P,
) -> BTreeSet<usize> {
    let newest: BTreeMap<P, usize> =
        nights.iter().enumerate().map(|(at, night)| (period(night), at)).collect();
    newest.into_values().rev().take(count).collect()
}

fn calendar(nights: &[DateTime<Utc>], daily: usize, weekly: usize, monthly: usize) -> BTreeSet<usize> {
    let days = newest_of(nights, daily, DateTime::date_naive);
    let weeks = newest_of(nights, weekly, |night| (night.iso_week().year(), night.iso_week().week()));
    let months = newest_of(nights, monthly, |night| (night.year(), night.month()));
    days.into_iter().chain(weeks).chain(months).collect()
}

#[tokio::test]
async fn of_a_year_of_nights_is_left_what_the_calendar_says() {
    let sandbox = Sandbox::new(365, "{ keep_daily: 7, keep_weekly: 5, keep_monthly: 12 }").await;
    sandbox.forget().await;
    let expected = calendar(&sandbox.made.nights, 7, 5, 12);
    let before = objects(&sandbox.store());
    let plan = sandbox.client.run([&PRUNE[..], &["--dry-run"]].concat()).expect(0).json;
    assert!(objects(&sandbox.store()) == before, "a plan changes nothing");
    let pruned = sandbox.client.run(PRUNE).expect(0).json;
    for member in ["bytes_freed", "archive_kept", "waiting", "kept", "unknown_objects"] {
        let (planned, done) = (&plan[member], &pruned[member]);
        // A byte less for each that was said to be swept.
        assert!(planned == done || member == "bytes_freed", "{member}: {planned:#} {done:#}");
    }
    let (planned, done) = (plan["deleted"].as_array().unwrap(), pruned["deleted"].as_array().unwrap());
    assert_eq!(planned.len(), done.len());
    let of = |list: &str| pruned[list].as_array().unwrap().len();
    assert_eq!(done.len() + of("kept") + of("archive_kept") + expected.len(), 365);
    sandbox.assert_left(&expected).await;
    let all = folders(&sandbox.store().join("backups"));
    let empty = all.iter().filter(|folder| fs::read_dir(folder).unwrap().next().is_none());
    assert_eq!(empty.count(), 0, "empty folders are left");
    let key = sandbox.made.name(364).archive_key();
    sandbox
        .client
        .run(["-q", "restore", "--policy", "policy.yaml", "--key", &key, "--out", "by-hand"])
        .expect(0);
    let again = sandbox.client.run(PRUNE).expect(0).json;
    assert_eq!((&again["deleted"], &again["bytes_freed"]), (&serde_json::json!([]), &0.into()));
}

#[tokio::test]
async fn killed_a_hundred_times_at_random_a_sweep_ends_as_if_it_never_was() {
    let sandbox = Sandbox::new(24, "{ keep_daily: 3, keep_weekly: 2 }").await;
    sandbox.forget().await;
    let expected = calendar(&sandbox.made.nights, 3, 2, 0);
    let image = objects(&sandbox.store());
    let begun = Instant::now();
    sandbox.client.run(PRUNE).expect(0);
    let takes = begun.elapsed();
    sandbox.assert_left(&expected).await;
    let finished: BTreeSet<_> = objects(&sandbox.store()).into_keys().collect();
    let (mut kills, mut rounds, mut during, mut seed) = (0, 0, 0, 0x9e37_79b9_7f4a_7c15_u64);
    put_back(&sandbox.store(), &image);
    while kills < 100 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut sweep = sandbox.client.command(PRUNE);
        let mut sweep = sweep.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(StdDuration::from_micros(seed % (takes.as_micros() as u64)));
        if sweep.try_wait().unwrap().is_none() {
            sweep.kill().unwrap();
            kills += 1;
        }
        sweep.wait().unwrap();
        let left: BTreeSet<_> =
            objects(&sandbox.store()).into_keys().filter(|key| !key.contains("/.put-")).collect();
        assert!(finished.is_subset(&left), "what is kept lost {:?}", finished.difference(&left));
        during += usize::from(left.len() < image.len() && left != finished);
        if left == finished {
            rounds += 1;
            put_back(&sandbox.store(), &image);
        }
    }
    sandbox.client.run(PRUNE).expect(0);
    // Hidden, and removed hours later: what a put that was killed has left.
    let left = objects(&sandbox.store()).into_keys().filter(|key| !key.contains("/.put-"));
    assert_eq!(left.collect::<BTreeSet<_>>(), finished);
    sandbox.assert_left(&expected).await;
    assert!(during > 5, "{during} kills came during deletions, in {rounds} rounds");
}

#[tokio::test]
async fn killed_at_each_of_its_steps_a_sweep_is_finished_by_the_next() {
    let sandbox = Sandbox::new(12, "{ keep_last: 2 }").await;
    sandbox.forget().await;
    let expected = BTreeSet::from([10, 11]);
    let image = objects(&sandbox.store());
    sandbox.client.run(PRUNE).expect(0);
    let finished: BTreeSet<_> = objects(&sandbox.store()).into_keys().collect();
    for point in Failpoint::SWEEP {
        let hits = if point == Failpoint::SweepListedAgain { &[1][..] } else { &[1, 3] };
        for nth in hits {
            put_back(&sandbox.store(), &image);
            let marker = sandbox.dir.path().join(format!("{}-{nth}", point.name()));
            let armed = format!("{}:{nth}:{}", point.name(), marker.display());
            let killed = sandbox.client.clone().var("INTELLISTOR_FAILPOINT", armed).run(PRUNE);
            assert!(
                marker.exists() && killed.code == -1,
                "{point:?} {nth} was never reached: {}",
                killed.stderr
            );
            let left: BTreeSet<_> = objects(&sandbox.store()).into_keys().collect();
            assert!(finished.is_subset(&left), "{point:?} {nth}");
            sandbox.client.run(PRUNE).expect(0);
            let left: BTreeSet<_> = objects(&sandbox.store()).into_keys().collect();
            assert_eq!(left, finished, "{point:?} {nth}");
        }
    }
    sandbox.assert_left(&expected).await;
}

#[tokio::test]
async fn a_wrong_key_an_unreadable_manifest_and_another_machine_delete_nothing() {
    let sandbox = Sandbox::new(6, "{ keep_last: 2 }").await;
    sandbox.forget().await;
    let before = objects(&sandbox.store());
    let stranger = intellistor::UserKey::generate().to_base64().unwrap();
    let refused = sandbox.client.clone().var("INTELLISTOR_KEY", stranger.as_str()).run(PRUNE).expect(2);
    assert!(
        refused.json["error"]["message"].as_str().unwrap().contains("INTELLISTOR_KEY"),
        "{:#}",
        refused.json
    );
    assert!(objects(&sandbox.store()) == before);
    let key = sandbox.made.name(3).manifest_key();
    let manifest = sandbox.store().join(&key);
    let (bytes, _) = &before[&key];
    fs::write(&manifest, [&bytes[..bytes.len() - 90], b"x", &bytes[bytes.len() - 89..]].concat()).unwrap();
    let stopped = sandbox.client.run(PRUNE).expect(4);
    let message = stopped.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&key) && message.contains("--without-manifest"), "{message}");
    assert_eq!(objects(&sandbox.store()).len(), before.len());
    fs::write(&manifest, bytes).unwrap();
    let owner = br#"{"machine":"00112233445566778899aabbccddeeff","host":"db07","since":"2026-01-01T00:00:00Z","tool":"t"}"#;
    fs::write(sandbox.store().join(format!("backups/{POLICY}/machine.json")), owner).unwrap();
    let refused = sandbox.client.run(PRUNE).expect(2);
    assert!(refused.json["error"]["message"].as_str().unwrap().contains("db07"), "{:#}", refused.json);
    assert_eq!(objects(&sandbox.store()).len(), before.len() + 1);
}

#[test]
fn over_s3_no_version_of_what_was_swept_is_left() {
    let moto = Moto::start();
    let bucket = moto.bucket("nightly", Keeps::Versions);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sandbox = runtime.block_on(Sandbox::new(34, "{ keep_daily: 4 }"));
    let (made, store) = (&sandbox.made, bucket.store());
    let expected: BTreeSet<_> = (30..34).collect();
    let keys = Recipients::from(made.key.clone());
    runtime.block_on(async {
        for key in made.memory.keys() {
            let bytes = made.memory.get_range(&key, 0..u64::MAX).await.unwrap();
            // Some of them twice: an older version is left.
            if key.contains("0000a") {
                store.put(&key, bytes.clone()).await.unwrap();
            }
            store.put(&key, bytes).await.unwrap();
        }
    });
    let client = sandbox.client.clone().vars(bucket.env());
    let forgotten = client.run(["-q", "forget", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(forgotten["forgotten"].as_array().unwrap().len(), 30);
    assert_eq!(client.run(PRUNE).expect(0).json["waiting"].as_array().unwrap().len(), 30);
    moto.set_time(Utc::now() + AGE);
    let pruned = client.run(PRUNE).expect(0).json;
    let mut needed = BTreeSet::new();
    runtime.block_on(async {
        let vault = Vault {
            catalog: intellistor::Catalog::new(store.clone()),
            recipients: keys,
            identity: Identity::from(made.key.clone()),
        };
        for night in &expected {
            let name = made.name(*night);
            let out = sandbox.dir.path().join(format!("out-{night}"));
            let restored = vault.restore(&name, RestoreOptions::to(&out)).await.unwrap();
            assert_eq!(restored.restored, made.files(*night).len() as u64);
            needed.extend([name.archive_key(), name.manifest_key(), name.entries_key()]);
            for archive in &vault.show(&name).await.unwrap().head().archives {
                needed.insert(archive.key.clone());
                needed.insert(archive.key.replace("backup.tar.gz.enc", "forgotten.json"));
            }
        }
    });
    let versions = bucket.versions("backups/");
    let spare: Vec<_> = versions.iter().filter(|version| !needed.contains(&version.key)).collect();
    assert!(spare.is_empty(), "{spare:?}");
    let of = |list: &str| pruned[list].as_array().unwrap().len();
    assert_eq!(of("deleted") + of("archive_kept") + of("kept"), 30, "{pruned:#}");
    runtime.block_on(async {
        let said =
            statements::read::<Forgotten>(&*store, &made.name(0), &Recipients::from(made.key.clone())).await;
        assert_eq!(said.unwrap(), statements::Found::Nothing);
    });
}
