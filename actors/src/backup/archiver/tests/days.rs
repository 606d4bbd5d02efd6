//! Backups of several days in a store in memory: each with the one before as its base.

use intellistor_storage::archive::{Compression, FrameCompressor, Header, SegmentRecord, SegmentSealer};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Identity, Recipients, UserKey};
use intellistor_storage::manifest::{BackupFacts, Base, ManifestDraft, PartEntries, VerifiedManifest};
use intellistor_storage::memory::packed::Packed;
use intellistor_storage::objects::{MemoryStore, ObjectStoreExt as _};

use super::*;
use crate::backup::changes::{Changes, ChangesConfig};
use crate::backup::scanner::FilesScanned;
use crate::source::Walked;

/// A store, and the last backup in it.
pub(super) struct Days {
    pub(super) dir: TempDir,
    pub(super) store: MemoryStore,
    user_key: UserKey,
    day: u32,
    pub(super) base: Option<Arc<Base>>,
    /// The tar streams of the base's archives, by their numbers in the next manifest; its own comes first.
    pub(super) tars: Vec<Vec<u8>>,
}

/// Takes every batch over.
struct Steps(Arc<Mutex<Vec<Step>>>);

impl Actor for Steps {
    type Context = Context<Self>;
}

impl Handler<FilesCompared> for Steps {
    type Result = Reply;

    fn handle(&mut self, batch: FilesCompared, _: &mut Self::Context) -> Reply {
        self.0.lock().unwrap().extend(batch.steps);
        Ok(())
    }
}

impl Days {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            store: MemoryStore::default(),
            user_key: UserKey::generate(),
            day: 0,
            base: None,
            tars: vec![Vec::new()],
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// What is to be done about the folder as it is now.
    pub(super) fn steps(&self) -> Vec<Step> {
        let roots = make_roots(&[self.dir.path().to_owned()]);
        let walk = Walk::new(roots.clone(), Excludes::new(&[]).unwrap());
        let walked: Vec<Walked> = walk.map(Result::unwrap).collect();
        let config = ChangesConfig { base: self.base.clone(), roots, ..ChangesConfig::default() };
        let steps = Arc::new(Mutex::new(Vec::new()));
        System::new().block_on(async {
            let next = Steps(steps.clone()).start().recipient();
            let changes = Threaded::start(Failures::channel().0, move || Changes::new(config, next));
            changes.send(FilesScanned { first: 0, walked, last: true }).await.unwrap().unwrap();
        });
        std::mem::take(&mut *steps.lock().unwrap())
    }

    pub(super) fn config(&self) -> Option<BaseConfig> {
        // The handle is that of the system of the run.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap().handle().clone();
        let store = Arc::new(self.store.clone());
        Some(BaseConfig { base: self.base.clone()?, store, runtime, remarks: Arc::default() })
    }

    /// What the archiver makes of the folder as it is now.
    pub(super) fn archive(&self) -> Stream {
        resume_with(&self.steps(), &[], self.config())
    }

    /// The entries that a run records; those that are taken over come from the base.
    pub(super) fn listed(&self, frames: &[Arc<FrameArchived>]) -> Vec<(Entry, Change)> {
        let mut all = Vec::new();
        for listed in frames.iter().flat_map(|frame| &frame.recorded.entries) {
            match listed {
                Listed::Entry { entry, change } => all.push((entry.clone(), *change)),
                Listed::Unchanged { first, count } => {
                    let base = self.base.as_ref().unwrap();
                    for entry in base.entries(*first).take(*count as usize) {
                        let mut entry = entry.unwrap();
                        assert!(base.renumber(&mut entry));
                        all.push((entry, Change::Unchanged));
                    }
                }
                Listed::Pieces(_) => {}
            }
        }
        all
    }

    /// Checks that what a run recorded is the folder as it is now, whatever archives the content is in.
    #[track_caller]
    pub(super) fn assert_sound(&self, frames: &[Arc<FrameArchived>], what: &str) {
        let tar = tar_of(frames);
        read_tar(&tar);
        let tars: Vec<&[u8]> =
            std::iter::once(&tar[..]).chain(self.tars[1..].iter().map(Vec::as_slice)).collect();
        let mut paths = Vec::new();
        for (entry, _) in self.listed(frames) {
            let what = format!("{what}: {}", entry.relative_path);
            if matches!(entry.kind, EntryKind::File | EntryKind::Hardlink) {
                let content = content_of(&entry, &tars);
                assert!(
                    content == fs::read(self.path(&entry.relative_path)).unwrap(),
                    "{what} has other bytes"
                );
                let digest: [u8; 32] = Sha256::digest(&content).into();
                assert_eq!(entry.sha256, Some(digest), "{what}");
                assert_list(&entry, &content, &tars, &what);
            }
            if entry.kind == EntryKind::Hardlink {
                assert!(paths.contains(entry.link_target.as_ref().unwrap()), "{what}: its first name");
            }
            paths.push(entry.relative_path);
        }
        let walked: Vec<_> =
            Walk::new(make_roots(&[self.dir.path().to_owned()]), Excludes::new(&[]).unwrap())
                .map(|walked| match walked.unwrap() {
                    Walked::Entry(scanned) => String::from_utf8(scanned.relative_path).unwrap(),
                    other => panic!("{other:?}"),
                })
                .collect();
        assert_eq!(paths, walked, "{what}");
    }

    /// Publishes what a run made: the base of the next day. `usable`: of the archives, by their numbers here.
    pub(super) fn publish(&mut self, frames: &[Arc<FrameArchived>]) {
        self.day += 1;
        let data_key = DataKey::generate();
        let name = BackupName {
            policy_id: "p".into(),
            timestamp: format!("202601{:02}T000000Z", self.day),
            backup_id: format!("b{}", self.day),
        };
        let header =
            Header::new(&name, Recipients::from(self.user_key.clone()).wrap(&data_key, &name.backup_id));
        let mut sealer = SegmentSealer::new(header.clone(), data_key.clone());
        let mut compressor = FrameCompressor::new(Compression::Fast);
        let (mut archive, mut segments) = (Vec::new(), Vec::<SegmentRecord>::new());
        for frame in frames.iter().filter(|frame| !frame.tar.is_empty()) {
            let gzip = compressor.compress(&frame.tar);
            if let Some(sealed) = sealer.seal(&gzip, frame.tar.len() as u32, frame.last).unwrap() {
                archive.extend_from_slice(sealed.body.bytes());
                segments.push(sealed.record);
            }
        }
        futures::executor::block_on(self.store.put(&name.archive_key(), archive.into())).unwrap();
        let mut draft = ManifestDraft::new(self.base.clone());
        let listed: Vec<_> = frames.iter().flat_map(|frame| frame.recorded.entries.clone()).collect();
        let mut listed = PartEntries {
            entries: Packed::of(&listed).unwrap(),
            problems: Packed::of(&problems_of(frames)).unwrap(),
        };
        for segment in segments {
            draft.commit(segment, std::mem::take(&mut listed)).unwrap();
        }
        // So long after the files were written that their times tell a change.
        let facts = BackupFacts {
            content_key: Some(content_key()),
            began_ms: i64::from(u32::MAX) * 1000,
            ..BackupFacts::default()
        };
        let mut made = draft.finish(&header, &data_key, facts).unwrap();
        futures::executor::block_on(made.put(&self.store, &header, &data_key)).unwrap();
        let identity = Identity::from(self.user_key.clone());
        let fetched = VerifiedManifest::fetch(&self.store, &name, &identity);
        let manifest = futures::executor::block_on(fetched).unwrap();
        let archives = manifest.head().archives.len();
        self.base = Some(Arc::new(Base::new(manifest, Base::numbers_of(vec![true; archives])).unwrap()));
        self.tars.insert(1, tar_of(frames));
        assert_eq!(self.tars.len(), archives + 1);
    }

    /// Archives and publishes the folder as it is now; the tar, and how each path changed.
    #[track_caller]
    pub(super) fn backup(&mut self, what: &str) -> (Vec<u8>, BTreeMap<String, Change>) {
        let frames = self.archive();
        self.assert_sound(&frames, what);
        let changes = self.listed(&frames).into_iter().map(|(entry, change)| (entry.relative_path, change));
        let changes = changes.collect();
        let tar = tar_of(&frames);
        self.publish(&frames);
        (tar, changes)
    }
}

/// The members of ours in a tar: how many bytes are in pieces, and how many lists there are.
pub(super) fn own_members(tar: &[u8]) -> (u64, usize) {
    let (mut pieces, mut lists) = (0, 0);
    for (path, member) in read_tar(tar) {
        if path.starts_with(b".intellistor/pieces/") {
            assert!(member.content.end - member.content.start <= 1 << 20);
            pieces += member.content.end - member.content.start;
        }
        lists += usize::from(path.starts_with(b".intellistor/chunks/"));
    }
    (pieces, lists)
}
