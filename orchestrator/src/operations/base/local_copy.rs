//! This machine's copy of the last backup's manifest, beside the policy's queue: an incremental run need not fetch it.
//!
//! ```text
//! <queue>/last/name.json        which backup it is of
//! <queue>/last/manifest.json    as it is in the store
//! <queue>/last/entries.enc      if its lists are sealed
//! ```
//! It is trusted as little as the store is: its header must be the one that the store has, and its HMAC must agree. What is
//! missing, damaged or of another backup is not used. **After a crash:** the folder is of one backup, or not there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use intellistor_storage::archive::Header;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::{ManifestDocuments, VerifiedManifest};
use intellistor_storage::{Spool, create_private_folder};

const FOLDER: &str = "last";
const NAME: &str = "name.json";
const MANIFEST: &str = "manifest.json";
const LISTS: &str = "entries.enc";

#[derive(Debug, Clone)]
pub(crate) struct LocalManifest {
    folder: PathBuf,
}

impl LocalManifest {
    /// The copy in a queue's folder, whether there is one or not.
    pub(crate) fn new(queue: &Path) -> Self {
        Self { folder: queue.join(FOLDER) }
    }

    /// The backup that the copy says it is of.
    pub(crate) fn name(&self) -> Option<BackupName> {
        serde_json::from_slice(&fs::read(self.folder.join(NAME)).ok()?).ok()
    }

    /// The manifest of the backup with this header, if the copy is that.
    pub(crate) fn open(&self, header: &Header, data_key: &DataKey) -> Option<VerifiedManifest> {
        if self.name()? != header.name() {
            return None;
        }
        let opened = self.read().map_err(|error| error.to_string()).and_then(|(document, lists)| {
            let verified = VerifiedManifest::verify_own(document, lists, header, data_key);
            verified.map_err(|error| error.to_string())
        });
        match opened {
            Ok(manifest) => Some(manifest),
            Err(error) => {
                tracing::info!(
                    error,
                    "this machine's copy of the last manifest is not usable; reading the store's"
                );
                None
            }
        }
    }

    fn read(&self) -> io::Result<(Spool, Option<Spool>)> {
        let read = |name| {
            let mut spool = Spool::default();
            io::copy(&mut File::open(self.folder.join(name))?, &mut spool)?;
            spool.flush()?;
            Ok::<_, io::Error>(spool)
        };
        match read(LISTS) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok((read(MANIFEST)?, None)),
            lists => Ok((read(MANIFEST)?, Some(lists?))),
        }
    }

    /// Replaces the copy. Where that fails there is none, and the next run reads the store's.
    pub(crate) fn save(&self, name: &BackupName, documents: &ManifestDocuments) {
        if let Err(error) = self.write(name, documents) {
            self.clear();
            tracing::info!(%error, folder = %self.folder.display(), "the manifest could not be kept on this machine");
        }
    }

    fn write(&self, name: &BackupName, documents: &ManifestDocuments) -> io::Result<()> {
        let new = self.folder.with_extension("new");
        remove(&new)?;
        create_private_folder(&new)?;
        let lists = documents.sealed_lists().map(|lists| (LISTS, lists));
        for (file, spool) in [(MANIFEST, documents.document())].into_iter().chain(lists) {
            let mut out = File::create(new.join(file))?;
            io::copy(&mut spool.reader(), &mut out)?;
            out.sync_all()?;
        }
        fs::write(new.join(NAME), serde_json::to_vec(name)?)?;
        remove(&self.folder)?;
        fs::rename(new, &self.folder)
    }

    fn clear(&self) {
        // What stays is compared before it is used.
        let _ = remove(&self.folder).and_then(|()| remove(&self.folder.with_extension("new")));
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
