//! What the agent remembers of manifests, beside the policy's queue: a sweep reads only those that are new.
//!
//! ```text
//! <queue>/references.json       a line with the SHA-256 of the rest, and a line of JSON
//! ```
//! Manifests never change, so what was read once stays true; one of another size is another one. Nothing of a
//! manifest that is not in the store is used. **After a crash:** the old file or the new. One that is missing, damaged, of another
//! policy or of another version costs reading, and nothing else.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::disk::whole_file;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::references::References;

const FILE: &str = "references.json";
const VERSION: u32 = 1;
/// A hundred thousand backups.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone)]
pub(crate) struct KnownReferences {
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    policy_id: String,
    /// Timestamp and id of each backup that is named below.
    backups: Vec<(String, String)>,
    /// Of each manifest its size, and its archives by their place in `backups`, its own first.
    manifests: Vec<(u64, Vec<u32>)>,
}

impl KnownReferences {
    /// The file in a queue's folder, whether there is one or not.
    pub(crate) fn new(queue: &Path) -> Self {
        Self { file: queue.join(FILE) }
    }

    pub(super) fn load(&self, policy_id: &str) -> References {
        match self.read(policy_id) {
            Ok(references) => references,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::info!(%error, "what this machine remembers of manifests is not usable; reading the store's");
                }
                References::default()
            }
        }
    }

    fn read(&self, policy_id: &str) -> io::Result<References> {
        let mut text = String::new();
        File::open(&self.file)?.take(MOST_BYTES).read_to_string(&mut text)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        let (digest, json) = text.split_once('\n').ok_or_else(damaged)?;
        // What it says decides what is deleted.
        if digest != hex::encode(Sha256::digest(json)) {
            return Err(damaged());
        }
        let document: Document = serde_json::from_str(json)?;
        if document.version != VERSION || document.policy_id != policy_id {
            return Err(io::Error::other("it has another version, or is of another policy"));
        }
        let mut references = References::default();
        for (bytes, archives) in document.manifests {
            let archive = |at: u32| {
                let (timestamp, backup_id) = document.backups.get(at as usize).ok_or_else(damaged)?.clone();
                Ok(BackupName { policy_id: policy_id.to_owned(), timestamp, backup_id })
            };
            let archives = archives.into_iter().map(archive).collect::<io::Result<Vec<_>>>()?;
            let name = archives.first().ok_or_else(damaged)?.clone();
            references.insert(name, bytes, archives);
        }
        Ok(references)
    }

    /// Replaces the file. Where that fails the next sweep reads more.
    pub(super) fn save(&self, policy_id: &str, references: &References) {
        if let Err(error) = self.write(policy_id, references) {
            tracing::info!(%error, file = %self.file.display(), "what was read of manifests could not be kept on this machine");
        }
    }

    fn write(&self, policy_id: &str, references: &References) -> io::Result<()> {
        let mut backups = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        let manifests = references
            .iter()
            .map(|(_, bytes, archives)| {
                let place = |archive: &BackupName| {
                    *places.entry(archive.clone()).or_insert_with(|| {
                        backups.push((archive.timestamp.clone(), archive.backup_id.clone()));
                        backups.len() as u32 - 1
                    })
                };
                (bytes, archives.iter().map(|archive| &**archive).map(place).collect())
            })
            .collect();
        let json = serde_json::to_string(&Document {
            version: VERSION,
            policy_id: policy_id.to_owned(),
            manifests,
            backups,
        })?;
        let text = format!("{}\n{json}", hex::encode(Sha256::digest(&json)));
        whole_file::replace(&self.file, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(day: u32) -> BackupName {
        let (policy_id, timestamp) = ("p".to_owned(), format!("202611{day:02}T020000Z"));
        BackupName { policy_id, timestamp, backup_id: format!("b{day}") }
    }

    fn all(references: &References) -> Vec<(BackupName, u64, Vec<BackupName>)> {
        let owned =
            |archives: &[std::sync::Arc<BackupName>]| archives.iter().map(|a| (**a).clone()).collect();
        references.iter().map(|(name, bytes, archives)| (name.clone(), bytes, owned(archives))).collect()
    }

    #[test]
    fn it_reads_back_and_what_is_damaged_or_of_another_policy_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownReferences::new(dir.path());
        assert_eq!(all(&known.load("p")), []);
        let mut references = References::default();
        references.insert(name(2), 700, vec![name(2), name(1)]);
        references.insert(name(1), 600, vec![name(1)]);
        known.save("p", &references);
        assert_eq!(all(&known.load("p")), all(&references));
        assert_eq!(all(&known.load("q")), []);
        let file = dir.path().join(FILE);
        let written = std::fs::read(&file).unwrap();
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(all(&known.load("p")), [], "byte {at}");
        }
        std::fs::write(&file, &written[..written.len() - 3]).unwrap();
        assert_eq!(all(&known.load("p")), []);
    }
}
