#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use intellistor_storage::manifest::security::SecurityDescriptor;
use intellistor_storage::manifest::{Extent, Problem, WindowsAttributes};
use proptest::prelude::*;

use super::*;
use crate::backup::changes::detect::DetectChanges;
use crate::source::{FileId, FileMetadata, Root, SourcePath};

/// An archive that may not be used.
const GONE: u32 = 9;
const PREFIXES: [&str; 3] = ["b", "a", "a-"];
const NAMES: [&[u8]; 9] = [b"a", b"a-", b"a.", b"a!", b"a b", b"b", "\u{e9}".as_bytes(), b"\xff", b"\xff-"];

/// What is under a path.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Folder { version: u8, listed: bool, content: BTreeMap<Vec<u8>, Node> },
    File { version: u8, links: u64 },
    Symlink { version: u8 },
}

/// A root: what a walk over it gives, in its order, folders first.
fn walk(path: Vec<u8>, node: &Node, out: &mut Vec<Found>) {
    out.push((path.clone(), node.clone()));
    if let Node::Folder { listed: true, content, .. } = node {
        for (name, node) in content {
            let path = if path == b"." { name.clone() } else { [&path[..], b"/", name].concat() };
            walk(path, node, out);
        }
    }
}

/// Puts something into a folder, and folders on the way to it.
fn put(folder: &mut Node, names: &[u8], node: Node) {
    let Node::Folder { content, .. } = folder else { return };
    let name = NAMES[names[0] as usize % NAMES.len()].to_vec();
    if names.len() == 1 {
        content.insert(name, node);
    } else {
        let empty = Node::Folder { version: 0, listed: true, content: BTreeMap::new() };
        put(content.entry(name).or_insert(empty), &names[1..], node);
    }
}

/// A path, and what is there.
type Found = (Vec<u8>, Node);

type Edit = (u8, Vec<u8>, Node);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let node = prop_oneof![
        6 => (0_u8..3, 1_u64..3).prop_map(|(version, links)| Node::File { version, links }),
        1 => (0_u8..3).prop_map(|version| Node::Symlink { version }),
        1 => (0_u8..2, any::<bool>()).prop_map(|(version, listed)| {
            Node::Folder { version, listed, content: BTreeMap::new() }
        }),
    ];
    prop::collection::vec((any::<u8>(), prop::collection::vec(0_u8..9, 1..4), node), 0..40)
}

/// Makes the roots of a backup; `listed` makes every folder one that can be listed.
fn roots(count: usize, edits: &[Edit], listed: bool) -> Vec<Found> {
    let mut walked = Vec::new();
    for (number, prefix) in PREFIXES.iter().enumerate().take(count) {
        let mut root = Node::Folder { version: 0, listed: true, content: BTreeMap::new() };
        for (_, names, node) in edits.iter().filter(|(of, ..)| *of as usize % count == number) {
            let mut node = node.clone();
            if let Node::Folder { listed: can_be, .. } = &mut node {
                *can_be |= listed;
            }
            put(&mut root, names, node);
        }
        let path = if count == 1 { "." } else { *prefix };
        walk(path.into(), &root, &mut walked);
    }
    walked
}

fn metadata(node: &Node) -> FileMetadata {
    let (kind, version, links) = match node {
        Node::Folder { version, .. } => (SourceKind::Directory, version, 3),
        Node::File { version, links } => (SourceKind::File, version, *links),
        Node::Symlink { version } => (SourceKind::Symlink, version, 1),
    };
    FileMetadata {
        kind,
        size: 10,
        mtime_ns: i128::from(*version),
        ctime_ns: Some(1),
        unix: None,
        windows: None,
        identity: Some(FileId { device: 1, inode: 1 }),
        links,
        allocated: 0,
        in_cloud: false,
        stored: Default::default(),
    }
}

fn scanned(path: &[u8], metadata: FileMetadata) -> ScannedEntry {
    ScannedEntry { relative_path: path.to_vec(), source: SourcePath::of_root("/".into()), metadata }
}

/// As a backup has it; version 2 of a file is in an archive that is gone by now.
fn entry(path: &[u8], node: &Node) -> Entry {
    let FileMetadata { kind, mtime_ns, ctime_ns, .. } = metadata(node);
    let (relative_path, path_bytes) = Entry::text_and_bytes(path.to_vec());
    let archive = if mtime_ns == 2 { GONE } else { 0 };
    let extent = Extent { archive, offset: 0, length: 10, at: None };
    let (kind, size, extents) = match kind {
        SourceKind::Directory => (EntryKind::Directory, 0, vec![]),
        SourceKind::Symlink => (EntryKind::Symlink, 0, vec![]),
        _ => (EntryKind::File, 10, vec![extent]),
    };
    Entry {
        relative_path,
        path_bytes,
        kind,
        size,
        mtime_ns,
        ctime_ns,
        inode: Some(1),
        extents,
        ..Entry::default()
    }
}

fn take_over(entry: &mut Entry) -> Result<(), Reason> {
    let usable = entry.extents.iter().all(|extent| extent.archive != GONE);
    entry.extents.iter_mut().for_each(|extent| extent.archive += 1);
    if usable { Ok(()) } else { Err(Reason::Repack) }
}

fn compare(base: Vec<Entry>, roots: &[&str], walked: Vec<Walked>) -> (Vec<Step>, Compared) {
    let roots: Vec<_> = roots
        .iter()
        .map(|prefix| Root { path: prefix.into(), prefix: (*prefix).to_owned(), ..Root::default() })
        .collect();
    let rules = Rules::new(DetectChanges::Ctime, 1_000_000);
    let mut comparison = Comparison::new(
        base.into_iter().map(intellistor_storage::Result::Ok),
        WalkOrder::of(&roots),
        Box::new(take_over),
        rules,
        // As where every volume keeps access lists.
        Box::new(|_| true),
        0,
    )
    .unwrap();
    let mut steps = Vec::new();
    for walked in walked {
        comparison.step(walked, |step| steps.push(step)).unwrap();
    }
    let counts = comparison.finish(|step| steps.push(step)).unwrap();
    (steps, counts)
}

fn walked(found: &[Found]) -> Vec<Walked> {
    let mut walked = Vec::new();
    for (path, node) in found {
        walked.push(Walked::Entry(scanned(path, metadata(node))));
        if matches!(node, Node::Folder { listed: false, .. }) {
            walked.push(left_out(path, ProblemKind::Skipped));
        }
    }
    walked
}

fn left_out(path: &[u8], kind: ProblemKind) -> Walked {
    let relative_path = String::from_utf8_lossy(path).into_owned();
    let problem = Problem { relative_path, kind, reason: "on purpose".to_owned() };
    Walked::LeftOut { relative_path: path.to_vec(), problem }
}

/// What a step says of one path.
#[derive(Debug, PartialEq)]
enum Said {
    Unchanged,
    Known,
    Read(Reason),
    LeftOut,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_merge_says_what_a_search_for_each_path_says(
        count in 1_usize..4,
        before in edits(),
        after in edits(),
        twice in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let old = roots(count, &before, true);
        let now = roots(count, &[before, after].concat(), false);
        let mut base = Vec::new();
        for (i, (path, node)) in old.iter().enumerate() {
            if twice.get(i) == Some(&true) {
                base.push(Entry { mtime_ns: 77, ..entry(path, node) });
            }
            base.push(entry(path, node));
        }
        let of_path: BTreeMap<_, _> = base.iter().map(|entry| (entry.raw_path().to_vec(), entry)).collect();

        let mut expected = Vec::new();
        let mut counts = Compared::default();
        let mut unlisted: Vec<&[u8]> = Vec::new();
        for (path, node) in &now {
            let said = match (of_path.get(path), metadata(node)) {
                (None, _) => Said::Read(Reason::New),
                (Some(entry), metadata) => {
                    let reason = decide(&metadata, entry, Rules::new(DetectChanges::Ctime, 1_000_000))
                        .and_then(|()| take_over(&mut (*entry).clone()));
                    match (reason, node) {
                        (Err(reason), _) => Said::Read(reason),
                        (Ok(()), Node::File { links: 2, .. }) => Said::Known,
                        (Ok(()), _) => Said::Unchanged,
                    }
                }
            };
            if !matches!(node, Node::Folder { .. }) {
                match said {
                    Said::Unchanged | Said::Known => counts.unchanged += 1,
                    Said::Read(Reason::New) => counts.new += 1,
                    _ => counts.read_again += 1,
                }
            }
            expected.push((path.clone(), said));
            if matches!(node, Node::Folder { listed: false, .. }) {
                unlisted.push(path);
                expected.push((path.clone(), Said::LeftOut));
            }
        }
        for (path, entry) in &of_path {
            if entry.kind != EntryKind::Directory && !now.iter().any(|(now, _)| now == path) {
                let below = |folder: &&[u8]| path.starts_with(&[folder, &b"/"[..]].concat());
                let unknown = unlisted.iter().any(below);
                *(if unknown { &mut counts.not_reached } else { &mut counts.deleted }) += 1;
            }
        }

        let (steps, compared) = compare(base.clone(), &PREFIXES[..count], walked(&now));
        let mut said = Vec::new();
        let mut runs_end = None;
        for step in steps {
            if let Step::Unchanged { first, .. } = step {
                prop_assert_ne!(runs_end, Some(first), "two runs that are one");
            }
            runs_end = None;
            match step {
                Step::Unchanged { first, count, bytes } => {
                    let run = &base[first as usize..(first + count) as usize];
                    prop_assert_eq!(bytes, run.iter().map(|entry| entry.size).sum::<u64>());
                    said.extend(run.iter().map(|entry| (entry.raw_path().to_vec(), Said::Unchanged)));
                    runs_end = Some(first + count);
                }
                Step::Known { scanned, entry } => {
                    prop_assert_eq!(entry.raw_path(), &scanned.relative_path[..]);
                    prop_assert_eq!(entry.extents[0].archive, 1);
                    said.push((scanned.relative_path, Said::Known));
                }
                Step::Read { scanned, reason, before } => {
                    let of_path = of_path.get(&scanned.relative_path).filter(|_| reason != Reason::Kind);
                    prop_assert_eq!(before.is_some(), of_path.is_some());
                    said.push((scanned.relative_path, Said::Read(reason)));
                }
                Step::Problem(_) => {
                    let (folder, _) = said.last().unwrap();
                    said.push((folder.clone(), Said::LeftOut));
                }
            }
        }
        prop_assert_eq!(said, expected);
        prop_assert_eq!(compared, counts);
    }
}

/// A file with this many bytes.
fn file(path: &str, size: u64, links: u64) -> (ScannedEntry, Entry) {
    let node = Node::File { version: 1, links };
    let metadata = FileMetadata { size, ..metadata(&node) };
    let entry = Entry { size, sha256: Some([size as u8; 32]), ..entry(path.as_bytes(), &node) };
    (scanned(path.as_bytes(), metadata), entry)
}

#[test]
fn an_empty_base_and_an_empty_walk_have_nothing_in_common() {
    assert_eq!(compare(vec![], &["r"], vec![]), (vec![], Compared::default()));
    let (scanned, entry) = file("f", 3, 1);
    let new = Step::Read { scanned: scanned.clone(), reason: Reason::New, before: None };
    let counts = Compared { new: 1, ..Compared::default() };
    assert_eq!(compare(vec![], &["r"], vec![Walked::Entry(scanned)]), (vec![new], counts));
    let counts = Compared { deleted: 1, ..Compared::default() };
    assert_eq!(compare(vec![entry], &["r"], vec![]), (vec![], counts));
}

#[test]
fn names_of_a_file_are_known_one_by_one_and_as_files() {
    let (first, kept) = file("a", 5, 2);
    let (second, other) = file("b", 5, 2);
    let (alone, of_alone) = file("c", 5, 1);
    let linked = |entry: &Entry| Entry {
        kind: EntryKind::Hardlink,
        link_target: Some("a\u{fffd}".into()),
        link_target_bytes: Some(b"a\xff".to_vec()),
        ..entry.clone()
    };
    let base = vec![kept.clone(), linked(&other), linked(&of_alone)];
    let walk = [&first, &second, &alone].map(|scanned| Walked::Entry(scanned.clone())).to_vec();
    let (steps, counts) = compare(base, &["r"], walk);
    let known = |scanned: ScannedEntry, mut entry: Entry| {
        entry.extents[0].archive = 1;
        Step::Known { scanned, entry: Box::new(entry) }
    };
    assert_eq!(steps, [known(first, kept), known(second, other), known(alone, of_alone)]);
    assert_eq!(counts.unchanged, 3);
}

#[test]
fn one_name_of_a_file_that_another_file_took_is_read_and_the_others_are_known() {
    let (kept, base) = file("a", 5, 2);
    let (replaced, link) = file("b", 6, 1);
    let base =
        vec![base, Entry { kind: EntryKind::Hardlink, size: 5, link_target: Some("a".into()), ..link }];
    let walk = vec![Walked::Entry(kept), Walked::Entry(replaced)];
    let (steps, _) = compare(base, &["r"], walk);
    assert!(
        matches!(&steps[..], [Step::Known { .. }, Step::Read { reason: Reason::Size, before: Some(_), .. }]),
        "{steps:?}"
    );
}

#[test]
fn what_the_base_has_of_a_file_that_is_read_comes_with_it() {
    let (_, base) = file("f", 5, 1);
    let (scanned, _) = file("f", 6, 1);
    let (steps, _) = compare(vec![base.clone()], &["r"], vec![Walked::Entry(scanned)]);
    let [Step::Read { reason: Reason::Size, before: Some(before), .. }] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(before.extents[0].archive, 1, "it is renumbered");
    assert_eq!((before.size, before.sha256), (5, base.sha256));
}

#[test]
fn a_file_that_became_something_else_and_back_is_read_each_time() {
    let nodes = [
        Node::File { version: 1, links: 1 },
        Node::Symlink { version: 1 },
        Node::Folder { version: 1, listed: true, content: BTreeMap::new() },
    ];
    for then in &nodes {
        for now in nodes.iter().filter(|now| *now != then) {
            let walk = vec![Walked::Entry(scanned(b"x", metadata(now)))];
            let (steps, counts) = compare(vec![entry(b"x", then)], &["r"], walk);
            assert!(matches!(steps[..], [Step::Read { reason: Reason::Kind, .. }]), "{then:?} {now:?}");
            assert_eq!(counts.deleted, 0);
        }
    }
}

#[test]
fn a_root_that_is_missing_loses_nothing_and_a_socket_takes_the_place_of_a_file() {
    let base = ["b/f", "b/g", "a/f", "a-/f"].map(|path| file(path, 5, 1).1).to_vec();
    let (kept, _) = file("a-/f", 5, 1);
    let walk =
        vec![left_out(b"b", ProblemKind::Skipped), left_out(b"a/f", ProblemKind::Note), Walked::Entry(kept)];
    let (steps, counts) = compare(base, &PREFIXES, walk);
    assert!(matches!(
        steps[..],
        [Step::Problem(_), Step::Problem(_), Step::Unchanged { first: 3, count: 1, bytes: 5 }]
    ));
    let expected = Compared { unchanged: 1, deleted: 1, not_reached: 2, ..Compared::default() };
    assert_eq!(counts, expected);
}

#[test]
fn a_file_that_cannot_be_looked_at_is_not_deleted() {
    let base = ["a", "a/f", "b"].map(|path| file(path, 5, 1).1).to_vec();
    let (_, counts) = compare(base, &["r"], vec![left_out(b"a", ProblemKind::Skipped)]);
    assert_eq!(counts, Compared { not_reached: 2, deleted: 1, ..Compared::default() });
}

/// A file that is in the cloud, with another time of change than the base's.
fn in_cloud(scanned: ScannedEntry) -> ScannedEntry {
    let metadata = FileMetadata { ctime_ns: Some(i128::MAX / 2), in_cloud: true, ..scanned.metadata };
    ScannedEntry { metadata, ..scanned }
}

#[test]
fn what_the_cloud_took_from_here_is_taken_over_and_what_is_not_known_is_noted_and_not_deleted() {
    let (a, base_a) = file("a", 5, 1);
    let (b, base_b) = file("b", 5, 1);
    let (c, base_c) = file("c", 5, 1);
    let (new, _) = file("d", 5, 1);
    let changed = ScannedEntry { metadata: FileMetadata { size: 6, ..b.metadata.clone() }, ..b };
    let unusable =
        Entry { extents: vec![Extent { archive: GONE, offset: 0, length: 5, at: None }], ..base_c };
    let walk = [a, changed, c, new].map(|scanned| Walked::InCloud(in_cloud(scanned))).to_vec();
    let (steps, counts) = compare(vec![base_a, base_b, unusable], &["r"], walk);
    let note = |path: &str| {
        let (relative_path, reason) = (path.to_owned(), "in the cloud, not here".to_owned());
        Step::Problem(Problem { relative_path, kind: ProblemKind::Note, reason })
    };
    let taken_over = Step::Unchanged { first: 0, count: 1, bytes: 5 };
    assert_eq!(steps, [taken_over, note("b"), note("c"), note("d")]);
    assert_eq!(counts, Compared { unchanged: 1, not_reached: 2, ..Compared::default() });
}

#[test]
fn what_is_in_a_folder_of_the_cloud_is_not_deleted() {
    let base = ["a", "a/f", "a/g", "b"].map(|path| file(path, 5, 1).1);
    let [mut folder, f, g, b] = base;
    folder.kind = EntryKind::Directory;
    let metadata = FileMetadata {
        in_cloud: true,
        ..metadata(&Node::Folder { version: 1, listed: true, content: BTreeMap::new() })
    };
    let walk = vec![Walked::InCloud(scanned(b"a", metadata)), Walked::Entry(file("a/g", 5, 1).0)];
    let (steps, counts) = compare(vec![folder, f, g, b], &["r"], walk);
    assert!(
        matches!(
            &steps[..],
            [Step::Problem(problem), Step::Unchanged { first: 2, count: 1, .. }]
                if problem.reason == "in the cloud, not here, all or part of what it contains"
        ),
        "{steps:?}"
    );
    assert_eq!(counts, Compared { unchanged: 1, not_reached: 1, deleted: 1, ..Compared::default() });
}

#[test]
fn a_file_that_may_be_fetched_is_fetched_once() {
    let (old, base) = file("a", 5, 1);
    let (new, _) = file("b", 5, 1);
    let walk = [old, new].map(|scanned| Walked::Entry(in_cloud(scanned))).to_vec();
    let (steps, counts) = compare(vec![base], &["r"], walk);
    assert!(matches!(
        steps[..],
        [Step::Unchanged { first: 0, count: 1, .. }, Step::Read { reason: Reason::New, .. }]
    ));
    assert_eq!((counts.unchanged, counts.new), (1, 1));
}

#[test]
fn a_base_in_another_order_is_read_again_from_there_on() {
    let base = ["a", "c", "b", "d"].map(|path| file(path, 5, 1).1).to_vec();
    let walk: Vec<_> = ["a", "b", "c", "d"].map(|path| Walked::Entry(file(path, 5, 1).0)).into();
    let (steps, counts) = compare(base, &["r"], walk);
    assert_eq!((counts.unchanged, counts.new, counts.deleted), (2, 2, 0));
    assert!(matches!(steps[0], Step::Unchanged { first: 0, count: 1, .. }));
}

#[test]
fn a_run_has_an_end() {
    let paths: Vec<_> = (0..MOST_IN_RUN + 1).map(|i| format!("{i:08}")).collect();
    let (walk, base): (Vec<_>, Vec<_>) = paths.iter().map(|path| file(path, 5, 1)).unzip();
    let walk = walk.into_iter().map(Walked::Entry).collect();
    let (steps, _) = compare(base, &["r"], walk);
    let of = |first, count| Step::Unchanged { first, count, bytes: 5 * count };
    assert_eq!(steps, [of(0, MOST_IN_RUN), of(MOST_IN_RUN, 1)]);
}

#[test]
fn what_the_base_has_without_its_access_list_is_read_again_once_and_only_where_there_are_lists() {
    let windows = Some(WindowsAttributes { attributes: 32, created_ns: 1, ..Default::default() });
    let (mut found, mut before) = file("f", 5, 1);
    let of_unix = compare(vec![before.clone()], &["r"], vec![Walked::Entry(found.clone())]);
    assert_eq!(of_unix.1.unchanged, 1, "no backup of another system has lists");
    (found.metadata.windows, before.windows) = (windows, windows);
    let again = |base: &Entry| compare(vec![base.clone()], &["r"], vec![Walked::Entry(found.clone())]).0;
    let mut taken = before.clone();
    take_over(&mut taken).unwrap();
    let asked =
        Step::Read { scanned: found.clone(), reason: Reason::Attributes, before: Some(Box::new(taken)) };
    assert_eq!(again(&before), [asked]);
    let with_list = Entry { security: Some(SecurityDescriptor::private().into()), ..before.clone() };
    assert_eq!(again(&with_list), [Step::Unchanged { first: 0, count: 1, bytes: 5 }]);

    let mut asked = 0;
    let mut kept_nowhere = Comparison::new(
        [Ok(before)].into_iter(),
        WalkOrder::default(),
        Box::new(take_over),
        Rules::new(DetectChanges::Ctime, 1_000_000),
        Box::new(move |_| {
            asked += 1;
            assert_eq!(asked, 1);
            false
        }),
        1,
    )
    .unwrap();
    kept_nowhere.step(Walked::Entry(found), |step| panic!("{step:?}")).unwrap();
    assert_eq!(kept_nowhere.finish(|_| {}).unwrap().unchanged, 1, "as on FAT");
}

#[test]
fn a_file_that_may_have_been_written_to_is_read_though_nothing_says_so() {
    let (at_rest, base_at_rest) = file("a", 5, 1);
    let (in_use, base_in_use) = file("b", 5, 1);
    let mut before = base_in_use.clone();
    take_over(&mut before).unwrap();
    let mut comparison = Comparison::new(
        [Ok(base_at_rest), Ok(base_in_use)].into_iter(),
        WalkOrder::default(),
        Box::new(take_over),
        Rules::new(DetectChanges::Ctime, 1_000_000),
        Box::new(|_| false),
        2,
    )
    .unwrap()
    .asking(Box::new(|scanned| scanned.relative_path == b"b"));
    let mut steps = Vec::new();
    for found in [at_rest, in_use.clone()] {
        comparison.step(Walked::Entry(found), |step| steps.push(step)).unwrap();
    }
    let counts = comparison.finish(|step| steps.push(step)).unwrap();
    let read = Step::Read { scanned: in_use, reason: Reason::InUse, before: Some(Box::new(before)) };
    assert_eq!(steps, [Step::Unchanged { first: 0, count: 1, bytes: 5 }, read]);
    assert_eq!((counts.unchanged, counts.read_again), (1, 1));
}

#[test]
fn a_million_unchanged_entries_are_few_steps() {
    let count = 1_000_000_u64;
    let rules = Rules::new(DetectChanges::Ctime, 1_000_000);
    let path = |i: u64| format!("folder {:04}/file {i:07}", i / 1_000);
    let entries = (0..count).map(|i| Ok(file(&path(i), 5, 1).1));
    let mut comparison =
        Comparison::new(entries, WalkOrder::default(), Box::new(take_over), rules, Box::new(|_| true), count)
            .unwrap();
    let (mut steps, mut unchanged) = (0, 0);
    let mut out = |step| {
        let Step::Unchanged { count, .. } = step else { panic!("{step:?}") };
        (steps, unchanged) = (steps + 1, unchanged + count);
    };
    for i in 0..count {
        comparison.step(Walked::Entry(file(&path(i), 5, 1).0), &mut out).unwrap();
    }
    let counts = comparison.finish(out).unwrap();
    assert_eq!((counts.unchanged, unchanged, steps), (count, count, count.div_ceil(MOST_IN_RUN)));
}
