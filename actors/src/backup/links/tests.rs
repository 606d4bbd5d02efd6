#![allow(clippy::unwrap_used)]

use super::*;
use intellistor_storage::manifest::{Change, Problem, ProblemKind};

use crate::source::{SourcePath, Walked};

/// A step of a walk: a name of file `inode`, which has `links` names.
fn name(path: &str, inode: u64, links: u64) -> Step {
    let metadata = FileMetadata {
        kind: SourceKind::File,
        size: inode * 10,
        mtime_ns: inode.into(),
        ctime_ns: Some(0),
        unix: None,
        windows: None,
        identity: Some(FileId { device: 1, inode }),
        links,
        allocated: 0,
        in_cloud: false,
        stored: Default::default(),
    };
    let source = SourcePath::of_root(path.into());
    Step::without_base(Walked::Entry(ScannedEntry { relative_path: path.into(), source, metadata }))
}

fn entry(path: &[u8], kind: EntryKind, metadata: &FileMetadata) -> Entry {
    let (relative_path, path_bytes) = Entry::text_and_bytes(path.to_vec());
    Entry {
        relative_path,
        path_bytes,
        kind,
        size: metadata.size,
        mtime_ns: metadata.mtime_ns,
        sha256: Some([1; 32]),
        ..Entry::default()
    }
}

/// What a run archives of a walk, and the table that it then has; those of `unreadable` are skipped.
fn first_run(walked: &[Step], unreadable: &[&str]) -> (Vec<Entry>, LinkTable) {
    let (mut committed, mut table) = (Vec::new(), LinkTable::default());
    for step in walked {
        let (scanned, base) = match step {
            Step::Read { scanned, .. } => (scanned, None),
            Step::Known { scanned, entry } => (scanned, Some(entry)),
            _ => continue,
        };
        let ScannedEntry { relative_path, metadata, .. } = scanned;
        if let Some(first) = table.take(metadata).unwrap() {
            let link_target = Some(first.relative_path);
            committed.push(Entry { link_target, ..entry(relative_path, EntryKind::Hardlink, metadata) });
        } else if !unreadable.iter().any(|path| path.as_bytes() == relative_path) {
            let made =
                base.map_or_else(|| entry(relative_path, EntryKind::File, metadata), |base| *base.clone());
            table.add(metadata, &made).unwrap();
            committed.push(made);
        }
    }
    (committed, table)
}

fn listed(entries: &[Entry]) -> Vec<Listed> {
    let of = |entry: &Entry| Listed::Entry { entry: entry.clone(), change: Change::New };
    entries.iter().map(of).collect()
}

fn contents(table: &mut LinkTable) -> Vec<(u64, String, u64)> {
    let LinkTable { links, entries } = table;
    let one = |(identity, linked): (&FileId, &Linked)| {
        (identity.inode, entries.get(linked.first).unwrap().relative_path, linked.names_left)
    };
    let mut all: Vec<_> = links.iter().map(one).collect();
    all.sort_by_key(|(inode, ..)| *inode);
    all
}

#[track_caller]
fn assert_rebuilt(walked: &[Step]) {
    for next in 0..=walked.len() {
        let (committed, mut expected) = first_run(&walked[..next], &[]);
        // In batches, as the queue gives them.
        let scanned = walked.chunks(3).map(|batch| Ok(batch.to_vec()));
        let committed = committed.chunks(2).map(|part| Ok(listed(part)));
        let mut rebuilt = LinkTable::rebuild(scanned, next as u64, committed).unwrap();
        assert_eq!(contents(&mut rebuilt), contents(&mut expected), "before step {next}");
    }
}

#[test]
fn a_table_is_rebuilt_as_the_first_run_had_it() {
    let problem = Step::Problem(Problem {
        relative_path: "fifo".to_owned(),
        kind: ProblemKind::Skipped,
        reason: "no file".to_owned(),
    });
    let walked = [
        name("a", 1, 3),
        name("b", 2, 2),
        name("single", 9, 1),
        problem,
        name("c", 1, 3),
        name("d", 2, 2),
        // Its other names lie outside of what is backed up.
        name("e", 3, 5),
        name("f", 1, 3),
        name("g", 3, 5),
    ];
    assert_rebuilt(&walked);
}

#[test]
fn names_that_the_base_has_and_names_that_are_read_are_one_file() {
    let known = |path: &str, inode: u64, links: u64| {
        let Step::Read { scanned, .. } = name(path, inode, links) else { unreachable!() };
        let base =
            Entry { sha256: Some([9; 32]), ..entry(path.as_bytes(), EntryKind::File, &scanned.metadata) };
        Step::Known { scanned, entry: Box::new(base) }
    };
    let walked = [
        Step::Unchanged { first: 0, count: 1_000, bytes: 5 },
        known("a", 1, 3),
        name("b", 2, 2),
        name("c", 1, 3),
        Step::Unchanged { first: 1_004, count: 1, bytes: 5 },
        known("d", 2, 2),
        known("e", 1, 3),
    ];
    assert_rebuilt(&walked);
    let (committed, _) = first_run(&walked, &[]);
    let kinds = committed.iter().map(|entry| (entry.kind, entry.sha256.unwrap()[0], &entry.link_target));
    let kinds: Vec<_> = kinds.map(|(kind, sha256, target)| (kind, sha256, target.as_deref())).collect();
    let link = |target| (EntryKind::Hardlink, 1, Some(target));
    let expected = [(EntryKind::File, 9, None), (EntryKind::File, 1, None), link("a"), link("b"), link("a")];
    assert_eq!(kinds, expected);
}

#[test]
fn a_number_that_another_file_got_amid_the_walk_is_that_files() {
    let walked = [name("a", 1, 2), name("b", 1, 2), name("c", 1, 3), name("d", 1, 3), name("e", 1, 3)];
    assert_rebuilt(&walked);
}

#[test]
fn a_file_whose_first_name_was_skipped_is_known_by_its_second() {
    let walked = [name("a", 1, 4), name("b", 1, 4), name("c", 1, 4), name("d", 1, 4)];
    let (committed, mut expected) = first_run(&walked[..3], &["a"]);
    let scanned = std::iter::once(Ok(walked.to_vec()));
    let mut rebuilt = LinkTable::rebuild(scanned, 3, std::iter::once(Ok(listed(&committed)))).unwrap();
    let first =
        |table: &mut LinkTable| contents(table).into_iter().map(|(_, first, ..)| first).collect::<Vec<_>>();
    assert_eq!(first(&mut expected), ["b"]);
    assert_eq!(first(&mut rebuilt), ["b"]);
}

#[test]
fn errors_of_both_sources_come_through() {
    let broken = || intellistor_storage::Error::integrity("the queue", "on purpose");
    let none = || std::iter::empty::<Result<Vec<Listed>>>();
    assert!(LinkTable::rebuild(std::iter::once(Err(broken())), 9, none()).is_err());
    let empty = std::iter::empty::<Result<Vec<Step>>>();
    assert!(LinkTable::rebuild(empty, 9, std::iter::once(Err(broken()))).is_err());
}
