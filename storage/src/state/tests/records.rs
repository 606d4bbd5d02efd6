//! What was recorded comes back as it was.

use proptest::prelude::*;

use super::*;

fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        Just(EntryKind::Symlink),
        Just(EntryKind::Hardlink)
    ];
    let unix = proptest::option::of(any::<(u32, u32, u32)>())
        .prop_map(|unix| unix.map(|(mode, uid, gid)| UnixAttributes { mode, uid, gid }));
    let xattr = any::<(Vec<u8>, Vec<u8>)>().prop_map(|(name, value)| Xattr { name, value });
    let extent = any::<(u32, u64, u64, Option<u64>)>().prop_map(|(archive, offset, length, at)| Extent {
        archive,
        offset,
        length,
        at,
    });
    let names = any::<(String, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>)>();
    let (xattrs, extents) =
        (proptest::collection::vec(xattr, 0..3), proptest::collection::vec(extent, 0..40));
    let windows = any::<Option<(u32, i128)>>().prop_map(|kept| {
        kept.map(|(attributes, created_ns)| WindowsAttributes { attributes, created_ns, reparse_tag: None })
    });
    (names, kind, any::<(u64, i128, Option<[u8; 32]>)>(), unix, windows, xattrs, extents).prop_map(
        |(names, kind, (size, mtime_ns, sha256), unix, windows, xattrs, extents)| {
            let (relative_path, path_bytes, link_target, link_target_bytes) = names;
            Entry {
                relative_path,
                path_bytes,
                kind,
                size,
                mtime_ns,
                unix,
                windows,
                xattrs,
                link_target,
                link_target_bytes,
                sha256,
                extents,
                ..Entry::default()
            }
        },
    )
}

fn any_part() -> impl Strategy<Value = PartRecord> {
    let numbers = any::<(u64, u64, [u8; 32], [u8; 32])>();
    (numbers, any::<Vec<(u32, u16)>>(), any::<Option<[u8; 32]>>(), any::<String>()).prop_map(
        |((offset, bytes, salt, sha256), frames, receipt_sha256, etag)| {
            let frames = frames.into_iter().map(|(sealed, tar)| FrameRecord::from((sealed, tar.into())));
            PartRecord {
                segment: SegmentRecord { number: 1, offset, bytes, salt, sha256, frames: frames.collect() },
                receipt: PartReceipt { number: 1, bytes, sha256: receipt_sha256, etag },
                last: bytes % 2 == 0,
            }
        },
    )
}

fn any_cursor() -> impl Strategy<Value = Cursor> {
    let half = any::<(u64, Vec<u8>, u64, Option<(u64, u64)>, [u8; 32], u64)>().prop_map(
        |(tar_offset, header, stored_bytes, identity, read_sha256, read_bytes)| PartialEntry {
            tar_offset,
            header,
            stored_bytes,
            identity,
            read_sha256,
            read_bytes,
            internal: read_bytes % 2 == 1,
            finished: None,
        },
    );
    (any::<u64>(), proptest::option::of(half))
        .prop_map(|(entry, partial_entry)| Cursor { entry, partial_entry })
}

fn any_problem() -> impl Strategy<Value = Problem> {
    let kind = prop_oneof![Just(ProblemKind::Skipped), Just(ProblemKind::Changed), Just(ProblemKind::Note)];
    (any::<String>(), kind, any::<String>()).prop_map(|(relative_path, kind, reason)| Problem {
        relative_path,
        kind,
        reason,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_part_and_what_ended_in_it_come_back_as_they_were(
        part in any_part(),
        cursor in any_cursor(),
        entries in proptest::collection::vec(any_entry(), 0..60),
        problems in proptest::collection::vec(any_problem(), 0..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = Queue::open(dir.path()).unwrap();
        queue.begin(job("a")).unwrap().commit(&part, &cursor, &PartEntries::of_new(&entries, &problems).unwrap()).unwrap();
        drop(queue);
        let (_queue, ledger) = reopened(&dir);
        prop_assert_eq!(ledger.last_part().unwrap(), Some((part.clone(), cursor)));
        prop_assert_eq!(committed(&ledger, 1).unwrap(), (entries, problems));
        let tar_bytes = part.segment.frames.iter().map(|f| u64::from(f.tar_bytes)).sum::<u64>();
        prop_assert_eq!((ledger.part_count(), ledger.tar_bytes()), (1, tar_bytes));
    }

    #[test]
    fn a_jobs_record_comes_back_as_it_was(
        texts: [Option<String>; 3],
        header: Vec<u8>,
        upload: Option<(String, String)>,
        numbers: (i64, Option<i64>, u32),
        scanned: Option<(u64, u64, u64)>,
        views: Vec<(String, String)>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let [last_error, trace_id, warning] = texts;
        let summary = warning.map(|text| serde_json::json!({"warnings": [text], "bytes": u64::MAX, "seconds": 1.5}));
        let (began_ms, ended_ms, runs) = numbers;
        let record = Job {
            header,
            upload: upload.map(|(key, id)| Upload { key, id }),
            scanned: scanned.map(|(steps, entries, bytes)| Scanned { steps, entries, bytes }),
            copy_to: Some("/mnt/usb ção".into()),
            views: views.into_iter().map(|(path, at)| RootView { path: path.into(), read_at: at.into() }).collect(),
            began_ms, ended_ms, runs, last_error, trace_id, summary,
            ..job("a")
        };
        let mut queue = Queue::open(dir.path()).unwrap();
        let ledger = queue.begin(record.clone()).unwrap();
        ledger.advance(JobEvent::Started).unwrap();
        drop((ledger, queue));
        let (_queue, ledger) = reopened(&dir);
        let expected = Job { state: JobState::Scanning, ..record };
        prop_assert!(ledger.job() == expected);
    }
}

#[test]
fn a_summary_is_read_as_a_value_and_as_the_text_that_earlier_builds_wrote() {
    let report = serde_json::json!({ "bytes": 7 });
    for summary in [report.clone(), serde_json::Value::String(report.to_string())] {
        let job = Job { summary: Some(summary), ..job("a") };
        assert_eq!(job.summary::<serde_json::Value>(), Some(report.clone()));
    }
}

/// As builds before snapshots wrote it.
#[derive(serde::Serialize)]
struct JobBeforeViews {
    name: BackupName,
    header: serde_bytes::ByteBuf,
    store: String,
    copy_to: Option<std::path::PathBuf>,
    policy_digest: serde_bytes::ByteBuf,
    upload: Option<Upload>,
    state: JobState,
    began_ms: i64,
    ended_ms: Option<i64>,
    runs: u32,
    scanned: Option<Scanned>,
    last_error: Option<String>,
    trace_id: Option<String>,
    run_span: Option<RunSpan>,
    summary: Option<serde_json::Value>,
    findings: Findings,
    base: Option<JobBase>,
    content_key: Option<serde_bytes::ByteBuf>,
}

#[test]
fn a_job_of_a_build_without_snapshots_is_read_as_one_whose_walk_read_every_folder_in_its_place() {
    let expected = job("a");
    let Job { name, header, store, policy_digest, state, began_ms, runs, findings, .. } = expected.clone();
    let record = JobBeforeViews {
        name,
        header: header.into(),
        store,
        copy_to: None,
        policy_digest: policy_digest.to_vec().into(),
        upload: None,
        state,
        began_ms,
        ended_ms: None,
        runs,
        scanned: None,
        last_error: None,
        trace_id: None,
        run_span: None,
        summary: None,
        findings,
        base: None,
        content_key: None,
    };
    let read: Job = rmp_serde::from_slice(&rmp_serde::to_vec_named(&record).unwrap()).unwrap();
    assert!(read == expected && read.views.is_empty());
}
