//! A draft with a base makes the manifest that a draft would make that is given each entry.

use hmac::Mac as _;
use proptest::prelude::*;

use super::*;
use crate::keys::ContentKey;
use crate::manifest::entry::EntryKind;
use crate::manifest::fixtures::{Making, bytes, entries, extent, file};
use crate::manifest::reader::VerifiedManifest;
use crate::manifest::security::SecurityDescriptor;
use crate::memory::packed::Packed;

fn new(entry: Entry) -> Listed {
    Listed::Entry { entry, change: Change::New }
}

fn verified(making: &Making, manifest: NewManifest) -> VerifiedManifest {
    let (document, lists) = manifest.into_documents().into_parts();
    making.verify(document, lists).unwrap()
}

/// Whether two data keys are the same.
fn same(a: &DataKey, b: &DataKey) -> bool {
    let tag = |key: &DataKey| key.manifest_mac("x").finalize().into_bytes();
    tag(a) == tag(b)
}

#[test]
fn a_chain_names_each_archive_with_what_opens_it() {
    let [full, first, second, third] = [0, 1, 2, 3].map(Making::new);
    let base =
        full.base(None, &[new(file(0, vec![extent(0, 512, 10)])), new(file(1, vec![extent(0, 1024, 20)]))]);
    let base = first.base(
        Some(base),
        &[
            Listed::Unchanged { first: 0, count: 1 },
            new(file(2, vec![extent(0, 512, 30), extent(1, 1024, 5)])),
        ],
    );
    let base = second.base(Some(base), &[Listed::Unchanged { first: 0, count: 2 }]);
    let content_key = ContentKey::generate();
    let facts = BackupFacts {
        began_ms: 7,
        deleted: 4,
        content_key: Some(content_key.clone()),
        ..BackupFacts::default()
    };
    let moved = Entry { chunks: Some(extent(3, 2048, 100)), ..file(3, vec![extent(2, 512, 30)]) };
    let folder = Entry { relative_path: "d".into(), kind: EntryKind::Directory, ..Entry::default() };
    let link = Entry { kind: EntryKind::Hardlink, relative_path: "z".into(), ..moved.clone() };
    let listed = [
        new(folder),
        Listed::Unchanged { first: 1, count: 1 },
        Listed::Pieces(Vec::new()),
        Listed::Entry { entry: moved.clone(), change: Change::Moved },
        Listed::Entry { entry: link.clone(), change: Change::Changed },
    ];
    let manifest = verified(&third, third.manifest(Some(base.clone()), &listed, facts).unwrap());

    let taken = file(2, vec![extent(2, 512, 30), extent(3, 1024, 5)]);
    assert_eq!(entries(&manifest)[1..], [taken, moved, link]);
    let head = manifest.head();
    assert_eq!((head.totals.files, head.totals.directories, head.totals.bytes), (3, 1, 35 + 30));
    let expected = Changes {
        unchanged: 1,
        moved: 1,
        changed: 1,
        deleted: 4,
        bytes_read: 30,
        bytes_stored: third.segment().bytes,
        bytes_referenced: 35 + 30,
        ..Changes::default()
    };
    assert_eq!((head.changes, head.began_ms), (expected, 7));
    let record = head.base.as_ref().unwrap();
    assert_eq!(record.full, full.name.timestamp, "the chain began there");
    assert_eq!(record.manifest_sha256, base.manifest().document_sha256());
    let archives: Vec<_> = head.archives.iter().map(|a| (a.key.clone(), a.live_bytes)).collect();
    let keys = [&third, &second, &first, &full].map(|making| making.name.archive_key());
    assert_eq!(archives, keys.into_iter().zip([0, 0, 30 + 30, 5 + 100]).collect::<Vec<_>>());

    let set = manifest.archives().unwrap();
    for (number, making) in (0..).zip([&third, &second, &first, &full]) {
        assert_eq!(set.key(number).unwrap(), making.name.archive_key());
        let archive = set.archive(number).unwrap();
        assert_eq!(archive.header, making.header);
        assert!(same(&archive.data_key, &making.data_key));
    }
    assert!(set.frames_holding(3, 1024, 5).is_ok());
    assert!(set.frames_holding(4, 0, 1).is_err(), "an extent in an archive that is not named");
    let found = manifest.content_key().unwrap().unwrap();
    assert_eq!(found.hasher().finalize(), content_key.hasher().finalize());
    assert_eq!(base.archives().unwrap().key(3).unwrap(), full.name.archive_key());
}

#[test]
fn what_the_base_does_not_have_is_not_taken_over() {
    let [full, first] = [0, 1].map(Making::new);
    let base =
        full.base(None, &[new(file(0, vec![extent(0, 512, 10)])), new(file(1, vec![extent(9, 0, 1)]))]);
    let of = |base: Option<&Arc<Base>>, first_entry, count| {
        let listed = [Listed::Unchanged { first: first_entry, count }];
        first.manifest(base.cloned(), &listed, BackupFacts::default()).map(|_| ())
    };
    of(Some(&base), 0, 1).unwrap();
    for refused in [of(None, 0, 1), of(Some(&base), 0, 3), of(Some(&base), 2, 1), of(Some(&base), 1, 1)] {
        assert!(matches!(refused, Err(Error::Integrity { .. })), "{refused:?}");
    }
    let mut entry = file(1, vec![extent(9, 0, 1)]);
    assert!(!base.renumber(&mut entry));
    assert!(first.manifest(Some(base), &[new(entry)], BackupFacts::default()).is_err());
}

#[test]
fn descriptors_are_listed_once_and_come_along_from_the_base() {
    let descriptor = |group: u8| {
        // Revision 1, self-relative, with a group alone: S-1-5-<group>.
        let bytes = [
            &[1, 0, 0, 0x80, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 1, 0, 0, 0, 0, 0, 5, group, 0, 0, 0],
        ];
        SecurityDescriptor::parse(bytes.concat()).unwrap().normalized()
    };
    let with =
        |i, group| Entry { security: Some(descriptor(group).into()), ..file(i, vec![extent(0, i, 1)]) };
    let [full, first] = [0, 1].map(Making::new);
    for sealed in [false, true] {
        let facts = || BackupFacts { sealed, ..BackupFacts::default() };
        let base =
            full.base(None, &[new(with(0, 1)), new(with(1, 2)), new(with(2, 1)), new(file(3, Vec::new()))]);
        let listed = [
            Listed::Unchanged { first: 0, count: 1 },
            Listed::Unchanged { first: 2, count: 2 },
            new(with(4, 3)),
        ];
        let manifest = verified(&first, first.manifest(Some(base), &listed, facts()).unwrap());
        let taken = |i, group| Entry { extents: vec![extent(1, i, 1)], ..with(i, group) };
        assert_eq!(
            entries(&manifest),
            [taken(0, 1), taken(2, 1), file(3, Vec::new()), with(4, 3)],
            "{sealed}"
        );
        let text = String::from_utf8(bytes(manifest.lists().0)).unwrap();
        let rows: Vec<_> = ["S-1-5-1", "S-1-5-2", "S-1-5-3"]
            .map(|sid| text.matches(&format!("\"G:{sid}\"")).count())
            .to_vec();
        assert_eq!(rows, [1, 0, 1], "{text}");
    }
}

/// Three times in a row, a table's worth of new ones comes before all that is taken over.
#[test]
fn a_chain_with_more_descriptors_than_a_table_has_room_for_is_read_again() {
    // The longest list: 64 KiB, an entry of an unknown type.
    let descriptor = |number: u32| {
        let ace = [&[0xF0, 0, 0xF4, 0xFF][..], &number.to_le_bytes(), &vec![7; 0xFFF4 - 8][..]].concat();
        let bytes = [
            &[1, 0, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0][..],
            &[2, 0, 0xFC, 0xFF, 1, 0, 0, 0],
            &ace,
        ];
        SecurityDescriptor::parse(bytes.concat()).unwrap().normalized()
    };
    let with = |i: u32| Entry { security: Some(descriptor(i).into()), ..file(i.into(), Vec::new()) };
    let makings = [0, 1, 2].map(Making::new);
    let mut base = None;
    for (generation, making) in (0..).zip(&makings) {
        let new = (0..140).map(|i| new(with(generation * 140 + i)));
        let taken = Listed::Unchanged { first: 0, count: u64::from(generation) * 140 };
        let listed: Vec<_> = new.chain((generation > 0).then_some(taken)).collect();
        let manifest =
            verified(making, making.manifest(base.clone(), &listed, BackupFacts::default()).unwrap());
        let expected: Vec<_> =
            (0..=generation).rev().flat_map(|g| (0..140).map(move |i| g * 140 + i)).collect();
        assert!(entries(&manifest).into_iter().eq(expected.into_iter().map(with)), "{generation}");
        base = Some(making.base(base, &listed));
    }
}

/// Two hundred thousand entries are one record, one line at a time, and a temporary file.
#[test]
fn many_unchanged_entries_take_no_memory() {
    let [full, first] = [0, 1].map(Making::new);
    let count = 200_000;
    let mut entries = crate::memory::packed::Packer::default();
    for i in 0..count {
        entries.push(&new(file(i, vec![extent(0, i, 1)]))).unwrap();
    }
    let entries = entries.finish().unwrap();
    let mut draft = ManifestDraft::default();
    draft.commit(full.segment(), PartEntries { entries, ..PartEntries::default() }).unwrap();
    let manifest = draft.finish(&full.header, &full.data_key, BackupFacts::default()).unwrap();
    let base = Base::new(verified(&full, manifest), vec![Some(1)]).unwrap();

    let mut draft = ManifestDraft::new(Some(Arc::new(base)));
    let entries = Packed::of(&[Listed::Unchanged { first: 0, count }]).unwrap();
    draft.commit(first.segment(), PartEntries { entries, ..PartEntries::default() }).unwrap();
    assert!(draft.line.capacity() < 4 << 10);
    assert_eq!((draft.totals().files, draft.changes().unchanged), (count, count));
    let manifest = draft.finish(&first.header, &first.data_key, BackupFacts::default()).unwrap();
    assert_eq!(manifest.head().archives[1].live_bytes, count);
    let mut next = 0;
    let each = |entry: Entry| {
        assert_eq!(entry, file(next, vec![extent(1, next, 1)]));
        next += 1;
        std::ops::ControlFlow::Continue(())
    };
    verified(&first, manifest).for_each_entry(each).unwrap();
    assert_eq!(next, count);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let extents = || prop::collection::vec((0u32..3, 0u64..9000, 0u64..99, any::<Option<u16>>()), 0..4);
    (any::<String>(), 0usize..4, any::<u32>(), extents(), extents(), any::<Option<i64>>()).prop_map(
        |(path, kind, size, extents, chunks, ctime)| {
            let extent = |(archive, offset, length, at): (u32, u64, u64, Option<u16>)| super::super::Extent {
                archive,
                offset,
                length,
                at: at.map(u64::from),
            };
            Entry {
                relative_path: path.clone(),
                path_bytes: (size % 3 == 0).then(|| path.into_bytes()),
                kind: [EntryKind::File, EntryKind::Directory, EntryKind::Symlink, EntryKind::Hardlink][kind],
                size: size.into(),
                ctime_ns: ctime.map(i128::from),
                extents: extents.into_iter().map(extent).collect(),
                chunks: chunks.into_iter().next().map(extent),
                ..Entry::default()
            }
        },
    )
}

#[derive(Debug, Clone)]
enum Act {
    Own(Box<Entry>, Change),
    TakeOver(prop::sample::Index, u64),
}

fn any_act() -> impl Strategy<Value = Act> {
    let changes = prop::sample::select(vec![
        Change::New,
        Change::Changed,
        Change::Touched,
        Change::Moved,
        Change::Unchanged,
    ]);
    prop_oneof![
        (any_entry(), changes).prop_map(|(entry, change)| Act::Own(Box::new(entry), change)),
        (any::<prop::sample::Index>(), 1u64..5).prop_map(|(at, count)| Act::TakeOver(at, count)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is taken over, in whatever order, from whichever archives.
    #[test]
    fn ranges_are_as_good_as_entries(
        old in prop::collection::vec(any_entry(), 1..30),
        usable in prop::collection::vec(any::<bool>(), 3),
        parts in prop::collection::vec(prop::collection::vec(any_act(), 0..8), 1..4),
    ) {
        let chain = [0, 1, 2, 3].map(Making::new);
        let [.., last] = &chain;
        let mut base = chain[0].base(None, &[]);
        base = chain[1].base(Some(base), &[]);
        let listed: Vec<_> = old.iter().cloned().map(new).collect();
        base = chain[2].base(Some(base), &listed);
        let numbers = Base::numbers_of(usable);
        let document = crate::manifest::fixtures::bytes(base.manifest().document());
        let mut spool = Spool::default();
        spool.write_all(&document).unwrap();
        let base = Arc::new(Base::new(chain[2].verify(spool, None).unwrap(), numbers).unwrap());
        let taken = |i: u64| {
            let mut entry = old.get(i as usize)?.clone();
            base.renumber(&mut entry).then_some(entry)
        };

        let mut draft = ManifestDraft::new(Some(base.clone()));
        let mut model = ManifestDraft::new(Some(base.clone()));
        for acts in parts {
            let (mut listed, mut each) = (Vec::new(), Vec::new());
            for act in acts {
                match act {
                    Act::Own(entry, change) => {
                        listed.push(Listed::Entry { entry: (*entry).clone(), change });
                        each.push(Listed::Entry { entry: *entry, change });
                    }
                    Act::TakeOver(at, most) => {
                        let first = at.index(old.len()) as u64;
                        let run: Vec<_> = (first..first + most).map_while(taken).collect();
                        listed.push(Listed::Unchanged { first, count: run.len() as u64 });
                        each.extend(run.into_iter().map(|entry| Listed::Entry { entry, change: Change::Unchanged }));
                    }
                }
            }
            for (draft, listed) in [(&mut draft, listed), (&mut model, each)] {
                let entries = Packed::of(&listed).unwrap();
                draft.commit(last.segment(), PartEntries { entries, ..PartEntries::default() }).unwrap();
            }
        }
        // A part is as good as another here: what counts are the entries.
        let finish = |draft: ManifestDraft| {
            let manifest = verified(last, draft.finish(&last.header, &last.data_key, BackupFacts::default()).unwrap());
            let mut head = manifest.head().clone();
            // Each sealing has a nonce of its own.
            head.archives.iter_mut().for_each(|archive| archive.data_key = None);
            (entries(&manifest), head)
        };
        prop_assert_eq!(finish(draft), finish(model));
    }
}
