//! Nightly backups of a year, made in a moment: real archives and manifests with the names that they would have, each on the
//! one of the night before, and a full one every thirtieth night.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use intellistor::{BackupName, Entry, EntryKind, Identity, Recipients, UserKey, VerifiedManifest};
use intellistor_storage::archive::{Header, SegmentSealer};
use intellistor_storage::catalog::layout::TIMESTAMP;
use intellistor_storage::keys::DataKey;
use intellistor_storage::manifest::{
    BackupFacts, Base, Extent, ManifestDraft, Origin, PartEntries, put_manifest,
};
use intellistor_storage::objects::{MemoryStore, ObjectStore as _, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

use crate::hostile_backup::{entry, members};

pub const POLICY: &str = "nightly";
/// A full backup that often.
const FULL_EVERY: usize = 30;
/// Nights whose new files a backup still has.
const NIGHTS_KEPT: usize = 3;

#[derive(Debug)]
pub struct NightlyBackups {
    /// The store, as it is before anything is forgotten.
    pub memory: MemoryStore,
    pub key: UserKey,
    /// Oldest first.
    pub nights: Vec<DateTime<Utc>>,
}

/// A file of a backup, and where its content is.
struct Placed {
    night: usize,
    path: String,
    content: String,
    offset: u64,
}

impl NightlyBackups {
    /// `count` nights, up to yesterday's, at two o'clock.
    pub async fn make(count: usize) -> Self {
        let yesterday = (Utc::now() - Duration::days(1)).date_naive().and_hms_opt(2, 0, 0).unwrap().and_utc();
        let nights: Vec<_> =
            (0..count).map(|night| yesterday - Duration::days((count - 1 - night) as i64)).collect();
        let made = Self { memory: MemoryStore::default(), key: UserKey::generate(), nights };
        let mut archives: Vec<Vec<usize>> = Vec::new();
        for night in 0..count {
            made.back_up(night, &mut archives).await;
        }
        made
    }

    pub fn name(&self, night: usize) -> BackupName {
        BackupName {
            policy_id: POLICY.to_owned(),
            timestamp: self.nights[night].format(TIMESTAMP).to_string(),
            backup_id: format!("0196{night:04x}-0000-7000-8000-000000000000"),
        }
    }

    /// What a restore of the backup gives: paths and contents.
    pub fn files(&self, night: usize) -> BTreeMap<String, String> {
        placed(night).into_iter().map(|file| (file.path, file.content)).collect()
    }

    /// Makes one, whose manifest names the archives that it needs, and no others.
    async fn back_up(&self, night: usize, archives: &mut Vec<Vec<usize>>) {
        let (name, data_key) = (self.name(night), DataKey::generate());
        let keys = Recipients::from(self.key.clone());
        let header = Header::new(&name, keys.wrap(&data_key, &name.backup_id));
        let files = placed(night);
        let mut named = vec![night];
        let base = if night.is_multiple_of(FULL_EVERY) {
            None
        } else {
            let identity = Identity::from(self.key.clone());
            let base = VerifiedManifest::fetch(&self.memory, &self.name(night - 1), &identity).await.unwrap();
            let usable: Vec<_> = archives[night - 1]
                .iter()
                .map(|archive| files.iter().any(|file| file.night == *archive))
                .collect();
            let kept = archives[night - 1].iter().zip(&usable).filter(|(_, usable)| **usable);
            named.extend(kept.map(|(archive, _)| *archive));
            Some(Arc::new(Base::new(base, Base::numbers_of(usable)).unwrap()))
        };
        let mut tar = Vec::new();
        for file in files.iter().filter(|file| file.night == night) {
            assert_eq!(tar.len() as u64 + 512, file.offset);
            let mut header = tar::Header::new_ustar();
            header.set_size(file.content.len() as u64);
            header.set_path(&file.path).unwrap();
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(file.content.as_bytes());
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        let mut sealer = SegmentSealer::new(header.clone(), data_key.clone());
        let frames = members(&tar);
        let (mut archive, mut segments) = (Vec::new(), Vec::new());
        for (at, (gzip, tar_bytes)) in frames.iter().enumerate() {
            if let Some(sealed) = sealer.seal(gzip, *tar_bytes, at + 1 == frames.len()).unwrap() {
                archive.extend_from_slice(&sealed.body);
                segments.push(sealed.record);
            }
        }
        let entries = files.iter().map(|file| {
            let number = named.iter().position(|archive| *archive == file.night).unwrap() as u32;
            let length = file.content.len() as u64;
            Entry {
                size: length,
                sha256: Some(Sha256::digest(&file.content).into()),
                extents: vec![Extent { archive: number, offset: file.offset, length, at: None }],
                ..entry(&file.path, EntryKind::File)
            }
        });
        let entries = entries.collect::<Vec<_>>();
        let mut draft = ManifestDraft::new(base);
        let mut listed = Some(PartEntries::of_new(&entries, &[]).unwrap());
        for segment in segments {
            draft.commit(segment, listed.take().unwrap_or_default()).unwrap();
        }
        let origin = Origin { host: "h".into(), os: "linux".into(), tool: "t".into(), ..Origin::default() };
        let facts = BackupFacts { origin, sealed: night % 2 == 1, ..BackupFacts::default() };
        let manifest = draft.finish(&header, &data_key, facts).unwrap();
        self.memory.put(&name.archive_key(), archive.into()).await.unwrap();
        put_manifest(&self.memory, &name, manifest.documents()).await.unwrap();
        archives.push(named);
    }

    /// Writes the store into a folder.
    pub async fn write(&self, folder: &Path) {
        for key in self.memory.keys() {
            let path = folder.join(&key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, self.memory.get_range(&key, 0..u64::MAX).await.unwrap()).unwrap();
        }
    }
}

/// Files of a backup: one that only full backups store, and those of the last nights.
fn placed(night: usize) -> Vec<Placed> {
    let full = night - night % FULL_EVERY;
    let mut files = vec![Placed {
        night: full,
        path: "constant.txt".to_owned(),
        content: format!("what never changes, as stored in night {full}"),
        offset: 512,
    }];
    for new in full.max((night + 1).saturating_sub(NIGHTS_KEPT))..=night {
        // In the archive of a full backup it is the second member.
        let offset = if new == full { 1536 } else { 512 };
        let (path, content) = (format!("night-{new:04}.txt"), format!("what was new in night {new}"));
        files.push(Placed { night: new, path, content, offset });
    }
    files
}
