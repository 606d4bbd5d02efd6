//! The stage, with files on a disk and a base that is a manifest.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;

use intellistor_storage::archive::{FrameRecord, Header, SegmentRecord};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use intellistor_storage::manifest::{
    BackupFacts, EntryKind, Extent, ManifestDraft, PartEntries, Problem, ProblemKind, VerifiedManifest,
};

use super::*;
use crate::source::{Excludes, ScannedEntry, SourceKind, Walk, make_roots};
use crate::threaded::Threaded;

/// Remembers what came.
struct Collector(Arc<Mutex<Vec<FilesCompared>>>);

impl Actor for Collector {
    type Context = Context<Self>;
}

impl Handler<FilesCompared> for Collector {
    type Result = Reply;

    fn handle(&mut self, compared: FilesCompared, _: &mut Self::Context) -> Reply {
        self.0.lock().unwrap().push(compared);
        Ok(())
    }
}

fn walk(root: &Path) -> Vec<Walked> {
    let walk = Walk::new(make_roots(&[root.to_owned()]), Excludes::new(&[]).unwrap());
    walk.map(intellistor_storage::Result::unwrap).collect()
}

/// What an archiver makes of the walk.
fn entry(scanned: &ScannedEntry) -> Entry {
    let ScannedEntry { relative_path, metadata, .. } = scanned;
    let (relative_path, path_bytes) = Entry::text_and_bytes(relative_path.clone());
    let kind = match metadata.kind {
        SourceKind::Directory => EntryKind::Directory,
        SourceKind::Symlink => EntryKind::Symlink,
        _ => EntryKind::File,
    };
    let size = if kind == EntryKind::File { metadata.size } else { 0 };
    let extent = Extent { archive: 0, offset: 512, length: size, at: None };
    Entry {
        relative_path,
        path_bytes,
        kind,
        size,
        mtime_ns: metadata.mtime_ns,
        ctime_ns: metadata.ctime_ns,
        inode: metadata.identity.map(|identity| identity.inode),
        unix: metadata.unix.clone(),
        extents: Vec::from_iter((size > 0).then_some(extent)),
        ..Entry::default()
    }
}

/// A base with what `root` has now; `began_ms` is when it began.
fn base(root: &Path, began_ms: i64, usable: bool, changed: &[&str]) -> Arc<Base> {
    let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
    let name =
        BackupName { policy_id: "p".into(), timestamp: "20260101T000000Z".into(), backup_id: "b".into() };
    let header = Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, "b"));
    let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9000 }];
    let bytes = header.encoded().len() as u64 + 36 + 4 + 40;
    let segment = SegmentRecord { number: 1, offset: 0, bytes, salt: [1; 32], sha256: [2; 32], frames };
    let entries: Vec<_> = walk(root)
        .iter()
        .map(|walked| match walked {
            Walked::Entry(scanned) => entry(scanned),
            other => panic!("{other:?}"),
        })
        .collect();
    let problem = |path: &&str| Problem {
        relative_path: (*path).into(),
        kind: ProblemKind::Changed,
        reason: "on purpose".into(),
    };
    let problems: Vec<_> = changed.iter().map(problem).collect();
    let mut draft = ManifestDraft::default();
    draft.commit(segment, PartEntries::of_new(&entries, &problems).unwrap()).unwrap();
    let facts = BackupFacts { began_ms, ..BackupFacts::default() };
    let manifest = draft.finish(&header, &data_key, facts).unwrap();
    let (document, _) = manifest.into_documents().into_parts();
    let manifest = VerifiedManifest::verify(document, &name, &user_key.into()).unwrap();
    Arc::new(Base::new(manifest, Base::numbers_of([usable])).unwrap())
}

/// Walks a folder, and compares it in batches of `batch`.
fn compare(
    root: &Path,
    base: Option<Arc<Base>>,
    detect: DetectChanges,
    batch: usize,
) -> (Vec<FilesCompared>, Option<Compared>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let roots = make_roots(&[root.to_owned()]);
    let config = ChangesConfig { base, detect, roots, compared: Arc::default() };
    let compared = config.compared.clone();
    System::new().block_on(async {
        let next = Collector(came.clone()).start().recipient();
        let changes = Threaded::start(Failures::channel().0, move || Changes::new(config, next));
        let mut first = 0;
        for walked in walk(root).chunks(batch) {
            let walked = walked.to_vec();
            let next = first + walked.len() as u64;
            changes.send(FilesScanned { first, walked, last: false }).await.unwrap().unwrap();
            first = next;
        }
        changes.send(FilesScanned { first, walked: Vec::new(), last: true }).await.unwrap().unwrap();
    });
    let came = std::mem::take(&mut *came.lock().unwrap());
    let mut next = 0;
    for (i, batch) in came.iter().enumerate() {
        assert_eq!((batch.first, batch.last), (next, i + 1 == came.len()));
        next += batch.steps.len() as u64;
    }
    (came, compared.get().copied())
}

/// What is done about each file that is not unchanged.
fn reasons(batches: &[FilesCompared]) -> Vec<(String, Option<Reason>)> {
    let steps = batches.iter().flat_map(|batch| &batch.steps).filter_map(|step| match step {
        Step::Known { scanned, .. } => Some((scanned, None)),
        Step::Read { scanned, reason, .. } => Some((scanned, Some(*reason))),
        _ => None,
    });
    let files = steps.filter(|(scanned, _)| scanned.metadata.kind != SourceKind::Directory);
    let path = |scanned: &ScannedEntry| String::from_utf8_lossy(&scanned.relative_path).into_owned();
    files.map(|(scanned, reason)| (path(scanned), reason)).collect()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir(at("d")).unwrap();
    for path in ["d/a", "d/b", "d-", "grown", "same", "gone", "linked"] {
        fs::write(at(path), "content").unwrap();
    }
    fs::write(dir.path().join(OsStr::from_bytes(b"n\xff\n")), "content").unwrap();
    fs::hard_link(at("linked"), at("linked again")).unwrap();
    std::os::unix::fs::symlink("d", at("soft")).unwrap();
    dir
}

/// In a minute: what was written just now is older than that.
fn later_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() + 60_000
}

#[test]
fn a_folder_without_changes_is_few_steps_however_many_batches_it_comes_in() {
    let dir = tree();
    let base = base(dir.path(), later_ms(), true, &[]);
    for batch in [1, 3, 100] {
        let (batches, compared) = compare(dir.path(), Some(base.clone()), DetectChanges::Ctime, batch);
        assert_eq!(reasons(&batches), [("linked".into(), None), ("linked again".into(), None)]);
        let steps: Vec<_> = batches.iter().flat_map(|batch| &batch.steps).collect();
        assert!(
            matches!(
                steps[..],
                [
                    Step::Unchanged { first: 0, count: 7, bytes: 35 },
                    Step::Known { .. },
                    Step::Known { .. },
                    Step::Unchanged { first: 9, count: 3, bytes: 14 },
                ]
            ),
            "{steps:?}"
        );
        let expected = Compared { base_files: 10, unchanged: 10, ..Compared::default() };
        assert_eq!(compared, Some(expected));
    }
}

#[test]
fn changes_on_a_disk_are_found() {
    let dir = tree();
    let at = |path: &str| dir.path().join(path);
    let base = base(dir.path(), later_ms(), true, &["d/b"]);
    fs::write(at("grown"), "longer content").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::rename(at("d-"), at("d.")).unwrap();
    // Same size, same time of modification.
    let modified = fs::metadata(at("same")).unwrap().modified().unwrap();
    fs::write(at("same"), "CONTENT").unwrap();
    fs::File::options().write(true).open(at("same")).unwrap().set_modified(modified).unwrap();
    fs::remove_file(at("soft")).unwrap();
    fs::create_dir(at("soft")).unwrap();
    let (batches, compared) = compare(dir.path(), Some(base.clone()), DetectChanges::Ctime, 100);
    let named = |found: &[(&str, Option<Reason>)]| -> Vec<_> {
        found.iter().map(|(path, reason)| ((*path).to_owned(), *reason)).collect()
    };
    let expected = named(&[
        ("d/b", Some(Reason::ReadWhileChanging)),
        ("d.", Some(Reason::New)),
        ("grown", Some(Reason::Size)),
        ("linked", None),
        ("linked again", None),
        ("same", Some(Reason::Ctime)),
    ]);
    assert_eq!(reasons(&batches), expected);
    let expected =
        Compared { base_files: 10, unchanged: 4, read_again: 3, new: 1, deleted: 2, ..Compared::default() };
    assert_eq!(compared, Some(expected));

    // The time of modification alone does not tell that `same` is another.
    let (batches, _) = compare(dir.path(), Some(base.clone()), DetectChanges::Mtime, 100);
    assert!(!reasons(&batches).iter().any(|(path, _)| path == "same"));
    let (batches, _) = compare(dir.path(), Some(base), DetectChanges::Content, 100);
    assert!(reasons(&batches).contains(&("d/a".to_owned(), Some(Reason::Asked))));
}

#[test]
fn what_is_young_or_in_an_archive_that_is_gone_is_read() {
    let dir = tree();
    let all = |base: Arc<Base>| {
        let (batches, compared) = compare(dir.path(), Some(base), DetectChanges::Ctime, 100);
        let mut found: Vec<_> = reasons(&batches).into_iter().map(|(_, reason)| reason.unwrap()).collect();
        found.dedup();
        (found, compared.unwrap())
    };
    let (racy, _) = all(base(dir.path(), 0, true, &[]));
    assert_eq!(racy, [Reason::Racy]);
    let (repacked, counts) = all(base(dir.path(), later_ms(), false, &[]));
    assert_eq!(repacked, [Reason::Repack]);
    assert_eq!((counts.read_again, counts.unchanged), (9, 1), "a link has no content");
}

#[test]
fn without_a_base_everything_is_new() {
    let dir = tree();
    let (batches, compared) = compare(dir.path(), None, DetectChanges::Ctime, 5);
    assert!(reasons(&batches).iter().all(|(_, reason)| *reason == Some(Reason::New)));
    let steps: usize = batches.iter().map(|batch| batch.steps.len()).sum();
    assert_eq!((steps, compared), (walk(dir.path()).len(), None));
}
