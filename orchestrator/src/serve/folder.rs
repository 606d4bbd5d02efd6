//! The policies of a folder, read again when their files change.
//!
//! What is wrong with a file is told once, and again when it changes; the others are served.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use intellistor_storage::disk::trust;

use crate::cron::Cron;
use crate::error::{Error, Result};
use crate::policy::Policy;

/// A file, as it was when it was read.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// None where it is no policy to be served.
    policy: Option<(Policy, Cron)>,
    /// Whether it was told that another file has this policy_id.
    is_twin: bool,
}

type Stamp = (u64, Option<SystemTime>);

/// A folder of policies.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, Known>,
    is_readable: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new(), is_readable: true }
    }

    /// Whether it can be read.
    pub(super) fn check(&self) -> Result<()> {
        let listed = fs::read_dir(&self.path);
        listed.map(drop).map_err(intellistor_storage::Error::io("read the policies in", &self.path))?;
        // Whoever can add a policy decides what is read, and where it goes.
        trust::check_folder(&self.path)
            .map_err(|others| Error::Untrusted { what: "the folder of policies", others })
    }

    /// Its policies, as they are now. While it cannot be read they are as they were.
    pub(super) fn look(&mut self) -> Vec<(Policy, Cron)> {
        match list(&self.path) {
            Ok(found) => {
                self.is_readable = true;
                self.files.retain(|path, _| found.contains_key(path));
                for (path, stamp) in found {
                    if self.files.get(&path).is_none_or(|known| known.stamp != stamp) {
                        let policy = read(&path);
                        self.files.insert(path, Known { stamp, policy, is_twin: false });
                    }
                }
            }
            Err(error) => {
                if std::mem::take(&mut self.is_readable) {
                    tracing::warn!(%error, folder = %self.path.display(), "cannot be read; its policies stay as they were");
                }
            }
        }
        let mut policies: Vec<(Policy, Cron)> = Vec::new();
        for (path, known) in &mut self.files {
            let Some((policy, cron)) = &known.policy else { continue };
            let id = &policy.policy_id;
            let is_twin = policies.iter().any(|(other, _)| other.policy_id == *id);
            if !is_twin {
                policies.push((policy.clone(), cron.clone()));
            } else if !known.is_twin {
                tracing::warn!(id, file = %path.display(), "is not served: another file has this policy_id");
            }
            known.is_twin = is_twin;
        }
        policies
    }
}

fn list(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_policy = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // One that vanished since it was listed is not there.
        if let Some(metadata) = is_policy.then(|| fs::metadata(&path).ok()).flatten() {
            found.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Option<(Policy, Cron)> {
    let file = path.display();
    if let Err(others) = trust::check(path) {
        tracing::warn!(%file, %others, "is not served: others can write it");
        return None;
    }
    let policy = match Policy::load(path) {
        Ok(policy) => policy,
        Err(error) => {
            tracing::warn!(%file, %error, "is not served");
            return None;
        }
    };
    let Some(schedule) = &policy.schedule else {
        tracing::warn!(%file, "is not served: it has no `schedule`");
        return None;
    };
    match Cron::parse(schedule) {
        Ok(cron) => Some((policy, cron)),
        Err(error) => {
            tracing::warn!(%file, %error, "is not served");
            None
        }
    }
}
