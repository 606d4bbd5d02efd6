//! Backups made by hand, with the real key: what somebody could plant who has it.

use std::io::Read as _;
use std::sync::Arc;

use intellistor::{BackupName, Entry, EntryKind, UserKey};
use intellistor_storage::archive::{Compression, FrameCompressor, Header, SegmentRecord, SegmentSealer};
use intellistor_storage::keys::{DataKey, Recipients};
use intellistor_storage::manifest::{
    BackupFacts, Base, ManifestDraft, Origin, PartEntries, VerifiedManifest,
};
use intellistor_storage::objects::{MemoryStore, ObjectStoreExt as _};

/// A forger with a store and a key.
#[derive(Debug)]
pub struct HostileBackup {
    /// Where the backup goes.
    pub store: MemoryStore,
    /// The key that opens it.
    pub key: UserKey,
    /// What names it.
    pub name: BackupName,
    data_key: DataKey,
    header: Header,
    base: Option<Arc<Base>>,
}

impl HostileBackup {
    /// A forger who has made nothing yet.
    pub fn new() -> Self {
        let name = BackupName {
            policy_id: "forged".into(),
            timestamp: "20260101T000000Z".into(),
            backup_id: "00000000-0000-7000-8000-000000000000".into(),
        };
        Self::with(MemoryStore::default(), UserKey::generate(), name)
    }

    fn with(store: MemoryStore, key: UserKey, name: BackupName) -> Self {
        let data_key = DataKey::generate();
        let header = Header::new(&name, Recipients::from(key.clone()).wrap(&data_key, &name.backup_id));
        Self { store, key, name, data_key, header, base: None }
    }

    /// One in the same store whose manifest names the archives of `base`, from number 1 on.
    pub async fn after(base: &Self) -> Self {
        let identity = base.key.clone().into();
        let manifest = VerifiedManifest::fetch(&base.store, &base.name, &identity).await.unwrap();
        let numbers = Base::numbers_of(manifest.head().archives.iter().map(|_| true));
        let name = BackupName {
            timestamp: "20260102T000000Z".into(),
            backup_id: "11111111-0000-7000-8000-000000000000".into(),
            ..base.name.clone()
        };
        let made = Self::with(base.store.clone(), base.key.clone(), name);
        Self { base: Some(Arc::new(Base::new(manifest, numbers).unwrap())), ..made }
    }

    /// Seals gzip members as they are; the pairs are each member and the number of tar bytes that it claims.
    pub async fn put_archive(&self, members: &[(Vec<u8>, u32)]) -> Vec<SegmentRecord> {
        let mut sealer = SegmentSealer::new(self.header.clone(), self.data_key.clone());
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        for (i, (gzip, tar_bytes)) in members.iter().enumerate() {
            if let Some(sealed) = sealer.seal(gzip, *tar_bytes, i + 1 == members.len()).unwrap() {
                bytes.extend_from_slice(&sealed.body);
                records.push(sealed.record);
            }
        }
        self.store.put(&self.name.archive_key(), bytes.into()).await.unwrap();
        records
    }

    /// Writes and authenticates a manifest.
    pub async fn put_manifest(&self, segments: Vec<SegmentRecord>, entries: &[Entry]) {
        let mut draft = ManifestDraft::new(self.base.clone());
        let last = segments.len() - 1;
        for (i, segment) in segments.into_iter().enumerate() {
            draft
                .commit(segment, PartEntries::of_new(if i == last { entries } else { &[] }, &[]).unwrap())
                .unwrap();
        }
        let origin = Origin { host: "h".into(), os: "o".into(), tool: "t".into(), ..Origin::default() };
        let facts = BackupFacts { origin, ..BackupFacts::default() };
        let manifest = draft.finish(&self.header, &self.data_key, facts).unwrap();
        let mut bytes = Vec::new();
        manifest.documents().document().reader().read_to_end(&mut bytes).unwrap();
        self.store.put(&self.name.manifest_key(), bytes.into()).await.unwrap();
    }

    /// An archive of `tar`, cut into frames, and a manifest with `entries`.
    pub async fn put(&self, tar: &[u8], entries: &[Entry]) {
        let segments = self.put_archive(&members(tar)).await;
        self.put_manifest(segments, entries).await;
    }
}

impl Default for HostileBackup {
    fn default() -> Self {
        Self::new()
    }
}

/// Frames of `tar`, and the one that closes the archive.
pub fn members(tar: &[u8]) -> Vec<(Vec<u8>, u32)> {
    let mut compressor = FrameCompressor::new(Compression::Fast);
    let end = [0; 1024];
    let frames = tar.chunks(1 << 20).chain([&end[..]]);
    frames.map(|frame| (compressor.compress(frame).to_vec(), frame.len() as u32)).collect()
}

/// The header of a file's member in a tar, as programs write it.
pub fn file_header(path: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).unwrap();
    header.set_mode(0o640);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000);
    header.set_size(size);
    header.set_cksum();
    header
}

/// An entry with nothing in it.
pub fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        relative_path: path.to_owned(),
        path_bytes: None,
        kind,
        size: 0,
        mtime_ns: 0,
        unix: None,
        windows: None,
        xattrs: Vec::new(),
        link_target: None,
        link_target_bytes: None,
        sha256: None,
        extents: Vec::new(),
        ..Entry::default()
    }
}
