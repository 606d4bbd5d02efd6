//! A document reads back as it was written, and not at all once a byte of it was altered.

use super::*;
use crate::archive::{FrameRecord, SegmentRecord};
use crate::keys::{Recipients, UserKey};
use crate::manifest::head::{SnapshotRecord, WriterRecord};
use crate::manifest::{
    BackupFacts, EntryKind, Extent, ManifestDraft, Origin, PartEntries, ProblemKind, UnixAttributes, Xattr,
};
use crate::objects::memory::MemoryStore;
use crate::objects::store::ObjectStoreExt as _;
use proptest::prelude::*;

fn entry(i: u32) -> Entry {
    Entry {
        relative_path: format!("pasta/Relatório {i}.txt"),
        path_bytes: None,
        kind: EntryKind::File,
        size: 5,
        mtime_ns: -1_700_000_000_123_456_789,
        unix: Some(UnixAttributes { mode: 0o640, uid: 1, gid: 2 }),
        windows: None,
        xattrs: vec![Xattr { name: b"user.a".to_vec(), value: vec![0, 255] }],
        link_target: None,
        link_target_bytes: None,
        sha256: Some([i as u8; 32]),
        extents: vec![Extent { archive: 0, offset: 512, length: 5, at: None }],
        ..Entry::default()
    }
}

fn document(entries: u32) -> (Vec<u8>, Head, Identity) {
    document_with(entries, Vec::new())
}

fn document_with(entries: u32, snapshots: Vec<SnapshotRecord>) -> (Vec<u8>, Head, Identity) {
    let name = BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() };
    let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
    let header = Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, "b"));
    let mut draft = ManifestDraft::default();
    let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9 }];
    let segment = SegmentRecord { number: 1, offset: 0, bytes: 1000, salt: [1; 32], sha256: [2; 32], frames };
    let problem = Problem { relative_path: "x".into(), kind: ProblemKind::Skipped, reason: "socket".into() };
    let entries: Vec<_> = (0..entries).map(entry).collect();
    let note = Problem { relative_path: "y".into(), kind: ProblemKind::Note, reason: "fifo".into() };
    draft.commit(segment, PartEntries::of_new(&entries, &[note, problem]).unwrap()).unwrap();
    let origin =
        Origin { host: "h".into(), machine: None, os: "linux".into(), tool: "t 1".into(), trace_id: None };
    let facts = BackupFacts { origin, snapshots, ..BackupFacts::default() };
    let manifest = draft.finish(&header, &data_key, facts).unwrap();
    let mut bytes = Vec::new();
    manifest.documents().document().reader().read_to_end(&mut bytes).unwrap();
    (bytes, manifest.head().clone(), user_key.into())
}

fn verify(bytes: &[u8], name: &BackupName, key: &Identity) -> Result<VerifiedManifest> {
    let mut spool = Spool::default();
    spool.write_all(bytes).unwrap();
    VerifiedManifest::verify(spool, name, key)
}

#[test]
fn it_reads_back_as_plain_json_and_as_a_stream() {
    for entries in [0, 1, 3] {
        let (bytes, head, key) = document(entries);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["entries"].as_array().unwrap().len(), entries as usize);
        let manifest = verify(&bytes, &head.name, &key).unwrap();
        assert_eq!(*manifest.head(), head);
        let mut read = Vec::new();
        manifest
            .for_each_entry(|e| {
                read.push(e);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(read, (0..entries).map(entry).collect::<Vec<_>>());
        let mut found = Vec::new();
        let wanted = |path: &str| path.ends_with("o 1.txt");
        let found_one = |e: Entry| {
            found.push(e);
            ControlFlow::Continue(())
        };
        manifest.for_each_entry_at(wanted, found_one).unwrap();
        assert_eq!(found, (1..entries.min(2)).map(entry).collect::<Vec<_>>());
        let mut problems = 0;
        manifest
            .for_each_problem(|_| {
                problems += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(problems, 1);
        let mut notes = Vec::new();
        manifest
            .for_each_note(|note| {
                notes.push(note);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(notes, [Note { relative_path: "y".into(), reason: "fifo".into() }]);
        assert_eq!((head.totals.skipped, head.totals.changed, head.totals.notes), (1, 0, 1));
        let mut first = 0;
        manifest
            .for_each_entry(|_| {
                first += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(first, entries.min(1));
    }
}

#[test]
fn what_was_read_in_a_snapshot_reads_back_and_is_not_said_where_there_is_none() {
    let used = SnapshotRecord {
        volume: r"C:\".into(),
        used: true,
        snapshot: Some("1e2d".into()),
        set: Some("5a69".into()),
        created: Some("2026-11-27T02:00:00Z".into()),
        writers: vec![WriterRecord {
            name: "SqlServerWriter".into(),
            state: "failed at the freeze".into(),
            code: "0x800423F3".into(),
        }],
        ..SnapshotRecord::default()
    };
    let unused = SnapshotRecord {
        volume: r"D:\".into(),
        reason: Some("there is no room for the snapshot".into()),
        call: Some("DoSnapshotSet".into()),
        code: Some("0x8004231F".into()),
        ..SnapshotRecord::default()
    };
    let (bytes, head, key) = document_with(2, vec![used.clone(), unused.clone()]);
    let manifest = verify(&bytes, &head.name, &key).unwrap();
    assert_eq!(manifest.head().snapshots, [used, unused]);
    let mut read = 0;
    let count = |_| {
        read += 1;
        ControlFlow::Continue(())
    };
    manifest.for_each_entry(count).unwrap();
    assert_eq!(read, 2);

    let (bytes, ..) = document(2);
    assert!(!String::from_utf8(bytes).unwrap().contains("snapshots"));
}

#[test]
fn any_altered_byte_is_refused() {
    let (bytes, head, key) = document(2);
    for i in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[i] ^= 1;
        assert!(verify(&altered, &head.name, &key).is_err(), "byte {i}: {:?}", bytes[i] as char);
    }
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(verify(&bytes[..cut], &head.name, &key).is_err(), "cut at {cut}");
    }
    assert!(verify(&[&bytes[..], b"\n"].concat(), &head.name, &key).is_err());
}

#[tokio::test]
async fn a_large_manifest_is_authenticated_before_it_is_kept() {
    let (bytes, head, key) = document(20);
    let how = Fetching { range_bytes: 512, unseen_bytes: 1024, most_bytes: 1 << 20 };
    let size = bytes.len() as u64;
    assert!(size > 4 * how.unseen_bytes && !size.is_multiple_of(how.range_bytes));
    let object = head.name.manifest_key();
    let fetched = async |store: &MemoryStore, how| {
        let before = store.bytes_read();
        let fetched = VerifiedManifest::fetch_as(how, store, &head.name, |header| {
            key.unwrap(header.keys(), header.backup_id())
        })
        .await;
        (fetched, store.bytes_read() - before)
    };
    let store = MemoryStore::default();
    store.put(&object, bytes.into()).await.unwrap();
    let (manifest, read) = fetched(&store, how).await;
    assert_eq!(
        (*manifest.unwrap().head() == head, read),
        (true, 2 * size - 512),
        "twice, but for the first range"
    );
    let (manifest, read) = fetched(&store, Fetching { unseen_bytes: size, ..how }).await;
    assert_eq!((manifest.is_ok(), read), (true, size), "a small one is read once");

    store.alter(&object, |bytes| bytes[4000] ^= 1);
    let (refused, read) = fetched(&store, how).await;
    assert!(matches!(refused, Err(Error::Integrity { .. })), "{refused:?}");
    assert_eq!(read, size, "it was refused before a byte of it was kept");
    let (refused, read) = fetched(&store, Fetching { most_bytes: size - 1, ..how }).await;
    assert!(refused.unwrap_err().to_string().contains("at most"));
    assert_eq!(read, 512, "its size is known beforehand");

    store.alter(&object, |bytes| bytes[20] ^= 1);
    let (refused, read) = fetched(&store, how).await;
    assert!(matches!(refused, Err(Error::Integrity { .. })), "{refused:?}");
    assert_eq!(read, 512, "what does not begin as a manifest is not read on");
}

#[test]
fn no_line_is_longer_than_memory_allows() {
    let mut spool = Spool::default();
    spool.write_all(&[b'x'; 5000]).unwrap();
    spool.write_all(b"\n").unwrap();
    assert_eq!(Lines::of(&spool).next(5001).unwrap().len(), 5000);
    assert!(Lines::of(&spool).next(5000).is_err());
    let mut lines = Lines::of(&spool);
    assert!(lines.next(100).is_err());
    assert!(lines.line.capacity() < 1000);
}

#[test]
fn another_backups_manifest_is_refused() {
    let (bytes, head, key) = document(1);
    let other = BackupName { backup_id: "c".into(), ..head.name };
    let message = verify(&bytes, &other, &key).unwrap_err().to_string();
    assert!(message.contains("backup b") && message.contains('c'), "{message}");
    assert!(matches!(verify(&bytes, &head_name(), &UserKey::generate().into()), Err(Error::WrongKey { .. })));
}

fn head_name() -> BackupName {
    BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(noise: Vec<u8>, start in 0usize..400) {
        let _ = verify(&noise, &head_name(), &UserKey::generate().into());
        let (mut bytes, ..) = document(0);
        bytes.truncate(start.min(bytes.len()));
        bytes.extend(noise);
        let _ = verify(&bytes, &head_name(), &UserKey::generate().into());
    }
}
