//! A real `moto_server` on 127.0.0.1, a process of its own: buckets with versions and Object Lock, which the server
//! of [`s3_server`](crate::s3_server) does not have. It checks no signatures. `verifiers/moto_server.py` adds what moto
//! lacks of S3, and a clock that can be turned.
//!
//! It takes about a second to start. nextest runs each test in a process of its own, so a test starts one, and makes
//! as many buckets as it needs.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use chrono::{DateTime, Utc};
use intellistor_storage::objects::{Retry, RetryPolicy, S3Store, SharedStore};
use tempfile::NamedTempFile;

const ACCESS_KEY: &str = "AKIAMOTOMOTOMOTOMOTO";
const SECRET_KEY: &str = "secret/of+the+moto/server+0123456789abcd";
/// On a busy machine it has taken five seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Keys, or versions, in a page of a listing.
pub const PAGE: usize = 100;
/// What it says once it listens, before the address.
const LISTENING: &str = "Running on ";

/// A running server; dropping it kills the process.
#[derive(Debug)]
pub struct Moto {
    process: Child,
    endpoint: String,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
    clock: NamedTempFile,
}

/// What a bucket keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The last object of each key.
    Latest,
    /// All versions.
    Versions,
    /// All versions, and locks on them.
    Locks,
}

/// A bucket of a server.
#[derive(Debug, Clone)]
pub struct MotoBucket {
    endpoint: String,
    name: String,
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub key: String,
    pub id: String,
    pub is_latest: bool,
    /// `None` for a delete marker.
    pub bytes: Option<u64>,
}

impl Moto {
    /// Starts the moto of the Python beside `INTELLISTOR_TEST_MOTO`, or of the one in `PATH`.
    ///
    /// # Panics
    /// When it does not start: that a lock holds must not go untested unseen.
    pub fn start() -> Self {
        let moto = std::env::var_os("INTELLISTOR_TEST_MOTO").map(PathBuf::from);
        let program = moto.map_or("python3".into(), |moto| moto.with_file_name("python3"));
        let how = "set INTELLISTOR_TEST_MOTO to a moto_server, as .ci/test does: pip install 'moto[server,s3]>=5.1,<6'";
        let clock = NamedTempFile::new().unwrap();
        let mut command = Command::new(&program);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("verifiers/moto_server.py"));
        // Port 0: the system chooses, and no other test can have the same.
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("INTELLISTOR_TEST_MOTO_CLOCK", clock.path());
        // Listings then have several pages without a thousand objects.
        command.env("MOTO_S3_DEFAULT_MAX_KEYS", PAGE.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.spawn();
        let mut process = process.unwrap_or_else(|e| panic!("{} cannot run: {e}; {how}", program.display()));
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (ready, listens) = mpsc::channel();
        let kept = said.clone();
        // It reads on to the end: with a full pipe the server would stop.
        let listener = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once(LISTENING) {
                    // No one waits any more where the deadline has passed.
                    let _ = ready.send(url.trim().to_owned());
                }
                kept.lock().unwrap().push(line);
            }
        });
        let mut moto = Self { process, endpoint: String::new(), said, listener: Some(listener), clock };
        match listens.recv_timeout(STARTS_WITHIN) {
            Ok(url) => moto.endpoint = url,
            Err(_) => panic!("{} does not listen; {how}\n{}", program.display(), moto.said()),
        }
        moto
    }

    /// What it has said: a line for each request that was answered, and the errors of its own.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Sets its clock, which continues from there: what `Date` says, when an object was put, when a lock ends.
    pub fn set_time(&self, now: DateTime<Utc>) {
        let ahead = now - Utc::now();
        // In the place of the old one at once: a request may be reading it.
        let new = NamedTempFile::new_in(self.clock.path().parent().unwrap()).unwrap();
        std::fs::write(new.path(), format!("{:.3}", ahead.num_milliseconds() as f64 / 1e3)).unwrap();
        std::fs::rename(new.path(), self.clock.path()).unwrap();
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str, keeps: Keeps) -> MotoBucket {
        let bucket = MotoBucket { endpoint: self.endpoint.clone(), name: name.to_owned() };
        let client = bucket.client();
        wait(async {
            let create = client.create_bucket().bucket(name);
            create.object_lock_enabled_for_bucket(keeps == Keeps::Locks).send().await.unwrap();
            if keeps == Keeps::Versions {
                let enabled =
                    VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                let versions = client.put_bucket_versioning().bucket(name);
                versions.versioning_configuration(enabled).send().await.unwrap();
            }
        });
        bucket
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl MotoBucket {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variables that a child process needs to use the bucket.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_S3_BUCKET", self.name.clone()),
        ]
    }

    /// The bucket as a store, with retries.
    pub fn store(&self) -> SharedStore {
        let policy = RetryPolicy { first_delay: Duration::from_millis(5), ..RetryPolicy::default() };
        Arc::new(Retry::new(Arc::new(self.bare_store()), policy))
    }

    /// The bucket without retries.
    pub fn bare_store(&self) -> S3Store {
        self.store_under("")
    }

    /// What is under a prefix of the bucket, without retries.
    pub fn store_under(&self, prefix: &str) -> S3Store {
        S3Store::new(self.config(), &self.name, prefix)
    }

    /// For what no store does.
    pub fn client(&self) -> Client {
        Client::from_conf(self.config())
    }

    /// All versions and delete markers under a prefix: by key, the newest first.
    pub fn versions(&self, prefix: &str) -> Vec<Version> {
        let client = self.client();
        let mut found = Vec::new();
        wait(async {
            let (mut key, mut id) = (None, None);
            loop {
                let request = client.list_object_versions().bucket(&self.name).prefix(prefix);
                let request = request.set_key_marker(key).set_version_id_marker(id);
                let page = request.send().await.unwrap();
                let versions = page.versions().iter().map(|version| Version {
                    key: version.key().unwrap().to_owned(),
                    id: version.version_id().unwrap().to_owned(),
                    is_latest: version.is_latest().unwrap(),
                    bytes: Some(version.size().unwrap() as u64),
                });
                found.extend(versions);
                let markers = page.delete_markers().iter().map(|marker| Version {
                    key: marker.key().unwrap().to_owned(),
                    id: marker.version_id().unwrap().to_owned(),
                    is_latest: marker.is_latest().unwrap(),
                    bytes: None,
                });
                found.extend(markers);
                if !page.is_truncated().unwrap_or(false) {
                    break;
                }
                key = page.next_key_marker().map(str::to_owned);
                id = page.next_version_id_marker().map(str::to_owned);
            }
        });
        found.sort_by(|a, b| (&a.key, !a.is_latest).cmp(&(&b.key, !b.is_latest)));
        found
    }

    fn config(&self) -> aws_sdk_s3::Config {
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
            .force_path_style(true)
            .build()
    }
}

/// Waits for calls of the SDK, also in a test that is a future itself.
fn wait<T: Send>(calls: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(calls)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
