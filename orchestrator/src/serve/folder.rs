//! The policies of a folder, read again when their files change.
//!
//! A file that cannot be served is logged once, and again when it changes; the others are served.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use intellistor_storage::disk::trust;

use crate::cron::Cron;
use crate::error::{Error, Result};
use crate::policy::Policy;

/// A file's policy, as of one version of the file.
#[derive(Debug)]
struct PolicyFile {
    version: FileVersion,
    /// `None` when it cannot be served.
    policy: Option<(Policy, Cron)>,
    /// Another file has this policy_id, and that was logged.
    is_duplicate: bool,
}

/// Length and time of last change.
type FileVersion = (u64, Option<SystemTime>);

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, PolicyFile>,
    is_readable: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new(), is_readable: true }
    }

    /// # Errors
    /// When the folder cannot be read, or others can write to it.
    pub(super) fn check(&self) -> Result<()> {
        let listed = fs::read_dir(&self.path);
        listed.map(drop).map_err(intellistor_storage::Error::io("read the policies in", &self.path))?;
        // A policy decides what is read and where it is sent.
        trust::check_folder(&self.path)
            .map_err(|others| Error::Untrusted { what: "the folder of policies", others })
    }

    /// The policies, read again where files changed. While the folder cannot be read, those read before.
    pub(super) fn policies(&mut self) -> Vec<(Policy, Cron)> {
        match list(&self.path) {
            Ok(found) => {
                self.is_readable = true;
                self.files.retain(|path, _| found.contains_key(path));
                for (path, version) in found {
                    if self.files.get(&path).is_none_or(|file| file.version != version) {
                        let policy = read(&path);
                        self.files.insert(path, PolicyFile { version, policy, is_duplicate: false });
                    }
                }
            }
            Err(error) => {
                if std::mem::take(&mut self.is_readable) {
                    tracing::warn!(%error, folder = %self.path.display(), "the folder cannot be read; its policies stay as they were");
                }
            }
        }
        let mut policies: Vec<(Policy, Cron)> = Vec::new();
        for (path, file) in &mut self.files {
            let Some((policy, cron)) = &file.policy else { continue };
            let id = &policy.policy_id;
            let is_duplicate = policies.iter().any(|(other, _)| other.policy_id == *id);
            if !is_duplicate {
                policies.push((policy.clone(), cron.clone()));
            } else if !file.is_duplicate {
                tracing::warn!(id, file = %path.display(), "not served: another file has this policy_id");
            }
            file.is_duplicate = is_duplicate;
        }
        policies
    }
}

fn list(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, FileVersion>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_policy = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // It may have been removed since it was listed.
        if let Some(metadata) = is_policy.then(|| fs::metadata(&path).ok()).flatten() {
            found.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Option<(Policy, Cron)> {
    let file = path.display();
    if let Err(others) = trust::check(path) {
        tracing::warn!(%file, %others, "not served: others can write it");
        return None;
    }
    let policy = match Policy::load(path) {
        Ok(policy) => policy,
        Err(error) => {
            tracing::warn!(%file, %error, "not served");
            return None;
        }
    };
    let Some(schedule) = &policy.schedule else {
        tracing::warn!(%file, "not served: it has no `schedule`");
        return None;
    };
    match Cron::parse(schedule) {
        Ok(cron) => Some((policy, cron)),
        Err(error) => {
            tracing::warn!(%file, %error, "not served");
            None
        }
    }
}
