//! A source, an S3 server, and both programs set up to back up one to the other: what tests of the agent share.

use std::fs;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Client, Output};
use crate::running::Running;
use crate::s3_server::{Done, S3Server, SeenUpload, UploadState};
use crate::tree::{self, Ignore};

#[derive(Debug)]
pub struct AgentSandbox {
    dir: TempDir,
    pub server: S3Server,
    /// `backup-client`.
    pub client: Client,
    /// `intellistor-agent`.
    pub agent: Client,
    policy_id: String,
}

impl AgentSandbox {
    /// An empty source.
    pub fn new(policy_id: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let server = S3Server::start(&dir.path().join("s3"));
        let client = Client::new(dir.path())
            .vars(server.env())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", dir.path().join("home"));
        let agent = client.agent();
        let this = Self { dir, server, client, agent, policy_id: policy_id.to_owned() };
        this.write_policy("");
        this
    }

    /// With a source that was [filled](Self::fill).
    pub fn filled(policy_id: &str, mib: u64) -> Self {
        let this = Self::new(policy_id);
        this.fill(mib);
        this
    }

    /// Writes the policy, with `more` lines.
    pub fn write_policy(&self, more: &str) {
        let policy = format!("policy_id: {}\npaths: ['{}']\n{more}", self.policy_id, self.source().display());
        fs::write(self.at("policy.yaml"), policy).unwrap();
    }

    /// The policy's id.
    pub fn policy_id(&self) -> &str {
        &self.policy_id
    }

    /// A path in the sandbox.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is backed up.
    pub fn source(&self) -> PathBuf {
        self.at("source")
    }

    /// The policy's queue.
    pub fn queue(&self) -> PathBuf {
        self.at("home/queue").join(&self.policy_id)
    }

    /// The policy's logs.
    pub fn logs(&self) -> PathBuf {
        self.at("home/logs").join(&self.policy_id)
    }

    /// Fills the source with `mib` MiB that do not compress in one file, and with some hundred small files.
    pub fn fill(&self, mib: u64) {
        tree::write_noise(&self.source().join("grande.bin"), 7, mib << 20);
        for folder in 0..5 {
            let folder = self.source().join(format!("pasta número {folder}"));
            fs::create_dir(&folder).unwrap();
            for file in 0..120 {
                fs::write(folder.join(format!("relatório {file}.txt")), format!("conteúdo {file}")).unwrap();
            }
        }
        fs::hard_link(self.source().join("grande.bin"), self.source().join("pasta número 4/ligação"))
            .unwrap();
    }

    /// Makes the policy this machine's, as its first run does before anything else.
    pub fn claim(&self) {
        let store = self.server.store();
        let machine = intellistor::this_machine();
        let claim =
            intellistor_storage::catalog::ownership::claim(&*store, &self.policy_id, &machine, "test", false);
        tokio::runtime::Runtime::new().unwrap().block_on(claim).unwrap();
    }

    /// `intellistor-agent run`.
    pub fn run(&self) -> Output {
        self.agent.run(["-q", "run", "--policy", "policy.yaml"])
    }

    /// `intellistor-agent run`, started.
    pub fn start(&self) -> Running {
        Running::start(self.agent.command(["run", "--policy", "policy.yaml"]))
    }

    /// `intellistor-agent cancel`, and what it says it did.
    pub fn cancel(&self) -> String {
        let cancelled = self.agent.run(["-q", "cancel", "--policy", "policy.yaml"]).expect(0).json;
        cancelled["cancelled"].as_str().unwrap().to_owned()
    }

    /// What `intellistor-agent status` says of the policy.
    pub fn status(&self) -> Value {
        let status = self.agent.run(["-q", "status", "--json"]).expect(0).json;
        let rows = status["policies"].as_array().unwrap();
        rows.iter().find(|row| row["policy"] == self.policy_id.as_str()).cloned().unwrap_or_default()
    }

    /// The upload that was begun `nth`, from 0.
    pub fn upload(&self, nth: usize) -> SeenUpload {
        self.server.traffic().uploads()[nth].clone()
    }

    /// No part that an earlier run had recorded was stored again; nothing is left open; the one backup is whole.
    #[track_caller]
    pub fn assert_resumed(&self, output: &Output, at_least: u64) {
        let result = &output.json;
        assert_eq!(result["resumed"], true, "{result:#}");
        assert_eq!(result["state"], "completed", "{result:#}");
        let key = result["s3"]["key_backup"].as_str().unwrap();
        let reused = result["parts_reused"].as_u64().unwrap();
        assert!(reused >= at_least, "{reused} parts were reused, {at_least} were there");
        for (number, times) in self.parts_of(key) {
            assert!(u64::from(number) > reused || times == 1, "part {number} was stored {times} times");
        }
        assert_eq!(self.backups(), [key]);
        self.assert_no_open_upload();
        self.assert_order();
        self.assert_restores(key);
    }

    /// The job was restarted in the same run, which says why; nothing is left of the old one.
    #[track_caller]
    pub fn assert_anew(&self, output: &Output, why: &str) {
        let message = output.warnings();
        assert!(message.contains(why), "no {why:?} in: {message}");
        assert_eq!(output.json["resumed"], false, "{:#}", output.json);
        assert_eq!(output.json["parts_reused"], 0, "{:#}", output.json);
        assert_eq!(self.backups(), [output.key_backup()]);
        assert_ne!(self.upload(0).state, UploadState::Open);
        self.assert_no_open_upload();
        self.assert_order();
    }

    /// `intellistor-agent run` that dies at the `nth` time it reaches a point; whether it did.
    pub fn run_until(&self, point: &str, nth: u32) -> bool {
        self.run_until_with(point, nth, &[])
    }

    /// As [`run_until`](Self::run_until), with more arguments.
    pub fn run_until_with(&self, point: &str, nth: u32, args: &[&str]) -> bool {
        let marker = self.at(&format!("fired-{point}-{nth}"));
        let _ = fs::remove_file(&marker);
        let armed = format!("{point}:{nth}:{}", marker.display());
        let agent = self.agent.clone().var("INTELLISTOR_FAILPOINT", armed);
        let output = agent.run([&["-q", "run", "--policy", "policy.yaml"], args].concat());
        let fired = marker.exists();
        assert_eq!(fired, output.code == -1, "{point} {nth}: {} {}", output.code, output.stderr);
        fired
    }

    /// Keys of all backups, oldest first.
    pub fn backups(&self) -> Vec<String> {
        let listed = self.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        let key = |backup: &Value| backup["key"].as_str().unwrap().to_owned();
        listed["backups"].as_array().unwrap().iter().map(key).collect()
    }

    /// Restores a backup, and compares it with the source.
    pub fn assert_restores(&self, key: &str) {
        self.assert_restores_but(key, &[]);
    }

    /// As [`assert_restores`](Self::assert_restores), but for what `ignoring` leaves out.
    pub fn assert_restores_but(&self, key: &str, ignoring: &[Ignore<'_>]) {
        let out = self.restore(key);
        let ignoring = [ignoring, &[Ignore::Allocation]].concat();
        tree::assert_same(&tree::snapshot(&self.source()), &tree::snapshot(&out), &ignoring);
        fs::remove_dir_all(out).unwrap();
    }

    /// Restores a backup into a folder that did not exist.
    pub fn restore(&self, key: &str) -> PathBuf {
        let out = self.at("restored");
        let _ = fs::remove_dir_all(&out);
        self.client
            .run(["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", "restored"])
            .expect(0);
        out
    }

    /// How often each part of the archive `key` was stored.
    pub fn parts_of(&self, key: &str) -> std::collections::BTreeMap<u32, u32> {
        let uploads = self.server.traffic().uploads();
        let of = |id: &String| self.server.traffic().parts_of(id);
        let mut all = std::collections::BTreeMap::new();
        for id in uploads.iter().filter(|upload| upload.key == key).map(|upload| &upload.id) {
            for (number, times) in of(id) {
                *all.entry(number).or_default() += times;
            }
        }
        all
    }

    /// No upload was left open.
    #[track_caller]
    pub fn assert_no_open_upload(&self) {
        let open: Vec<_> = self
            .server
            .traffic()
            .uploads()
            .into_iter()
            .filter(|upload| upload.state == UploadState::Open)
            .collect();
        assert!(open.is_empty(), "{open:?}");
    }

    /// The ordering law as the store saw it: archive completed, then its manifest.
    #[track_caller]
    pub fn assert_order(&self) {
        let log = self.server.traffic().log();
        for (at, done) in log.iter().enumerate() {
            let Done::Put { key } = done else { continue };
            if let Some(folder) = key.strip_suffix("manifest.json") {
                let archive = format!("{folder}backup.tar.gz.enc");
                let before =
                    log[..at].iter().any(|d| matches!(d, Done::Completed { key, .. } if *key == archive));
                assert!(before, "{key} was put before {archive} was complete");
            }
        }
    }

    /// The text of an object in the store.
    pub fn object(&self, key: &str) -> Option<String> {
        fs::read_to_string(self.at("s3").join(crate::s3_server::BUCKET).join(key)).ok()
    }

    /// Reads a file of the logs folder.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs().join(name)).unwrap_or_default()
    }

    /// The folder that holds it all.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
