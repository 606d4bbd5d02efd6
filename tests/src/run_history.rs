//! Runs of the agent over a source that changes between them, checked against every version of the source since the
//! job began.

use std::fs;
use std::path::PathBuf;

use crate::agent_sandbox::AgentSandbox;
use crate::program::Output;
use crate::s3_server::{BUCKET, Done};
use crate::tree::{self, Ignore, Tree};

#[derive(Debug)]
pub struct RunHistory {
    pub sandbox: AgentSandbox,
    /// The tree at the begin of each run since the oldest that may have begun the present job.
    versions: Vec<Tree>,
    /// An archive that a later backup may need is gone from the store.
    lacks_archive: bool,
    /// The backup that was restored last.
    restored: Option<String>,
}

/// How a restored tree compares with the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The tree, byte for byte, which was the same since the job began.
    Identical,
    /// Each file in a version that it had since the job began.
    Sound,
}

impl RunHistory {
    /// With an empty source.
    pub fn new(policy_id: &str) -> Self {
        Self {
            sandbox: AgentSandbox::new(policy_id),
            versions: Vec::new(),
            lacks_archive: false,
            restored: None,
        }
    }

    /// Records the source as it is when a run begins.
    pub fn begin(&mut self) {
        self.versions.push(tree::snapshot(&self.sandbox.source()));
    }

    /// Runs to the end, and asserts that no recorded part is sent again.
    pub fn run(&mut self) -> Output {
        self.begin();
        let stored_before = self.sandbox.server.traffic().log().len();
        let output = self.sandbox.run();
        let warnings = output.json["warnings"].to_string();
        assert!(!warnings.contains("moved"), "a kill alone damages no queue: {warnings}");
        let reused = output.json["parts_reused"].as_u64().unwrap();
        for done in &self.sandbox.server.traffic().log()[stored_before..] {
            if let Done::PartStored { number, .. } = done {
                assert!(
                    u64::from(*number) > reused,
                    "part {number} was sent although {reused} were recorded"
                );
            }
        }
        if output.json["resumed"] == false {
            // The job is this run's own.
            self.versions.drain(..self.versions.len() - 1);
        }
        self.sandbox.assert_order();
        output
    }

    /// Removes the manifest of a backup, counted from the oldest.
    pub fn remove_manifest(&mut self, nth: usize) {
        if let Some(archive) = self.removable(nth) {
            fs::remove_file(archive.with_file_name("manifest.json")).unwrap();
        }
    }

    /// Removes the archive of a backup, counted from the oldest. Its manifest stays.
    pub fn remove_archive(&mut self, nth: usize) {
        if let Some(archive) = self.removable(nth) {
            self.lacks_archive |= fs::remove_file(archive).is_ok();
        }
    }

    /// The archive of a backup. `None` also while a crashed run has published one that no later run has reported: that one may
    /// need it, and is restored yet.
    fn removable(&self, nth: usize) -> Option<PathBuf> {
        let keys = self.sandbox.backups();
        let key = keys.get(nth % keys.len().max(1))?;
        let is_reported = keys.last() == self.restored.as_ref();
        is_reported.then(|| self.sandbox.at("s3").join(BUCKET).join(key))
    }

    /// Verifies and restores what a run has made.
    pub fn assert_restores(&mut self, output: &Output) -> Found {
        assert!(matches!(output.code, 0 | 3), "{}\n{:#}", output.stderr, output.json);
        self.sandbox.assert_no_open_upload();
        let key = output.json["s3"]["key_backup"].as_str().unwrap();
        self.sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0);
        assert_eq!(self.sandbox.backups().last().map(String::as_str), Some(key), "the latest is this one");
        self.restored = Some(key.to_owned());
        let out = self.sandbox.restore(key);
        let restored = tree::snapshot(&out);
        fs::remove_dir_all(out).unwrap();
        tree::assert_is_of(&restored, &self.versions);
        let versions = std::mem::take(&mut self.versions);
        if versions.iter().all(|version| *version == versions[0]) {
            assert!(output.code == 0 || self.lacks_archive, "nothing changed: {:#}", output.json);
            tree::assert_same(&versions[0], &restored, &[Ignore::Allocation]);
            Found::Identical
        } else {
            Found::Sound
        }
    }
}
