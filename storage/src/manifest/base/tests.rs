//! A base gives its entries as its manifest has them, from any of them on, and numbers their archives anew.

use super::*;
use crate::archive::{FrameRecord, Header, SegmentRecord};
use crate::catalog::layout::BackupName;
use crate::keys::{DataKey, Recipients, UserKey};
use crate::manifest::{BackupFacts, ManifestDraft, PartEntries, Problem, ProblemKind};

pub(in crate::manifest) fn name(timestamp: &str, backup_id: &str) -> BackupName {
    BackupName { policy_id: "p".into(), timestamp: timestamp.into(), backup_id: backup_id.into() }
}

/// The only segment of an archive, with one frame.
pub(in crate::manifest) fn segment(header: &Header) -> SegmentRecord {
    let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9000 }];
    let bytes = header.encoded().len() as u64 + 36 + 4 + 40;
    SegmentRecord { number: 1, offset: 0, bytes, salt: [1; 32], sha256: [2; 32], frames }
}

fn entry(i: u64) -> Entry {
    let extent = |archive, at| Extent { archive, offset: 512 * i, length: 5, at };
    Entry {
        relative_path: format!("pasta/Relatório {i}.txt"),
        size: 5,
        extents: vec![extent(0, None), extent(1, Some(100)), extent(0, None)],
        ..Entry::default()
    }
}

fn base(entries: u64, usable: &[bool]) -> Result<Arc<Base>> {
    let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
    let name = name("20260101T000000Z", "b");
    let header = Header::new(&name, Recipients::from(user_key.clone()).wrap(&data_key, "b"));
    let mut draft = ManifestDraft::default();
    let problem = |path: &str, kind| Problem { relative_path: path.into(), kind, reason: "r".into() };
    let problems = [problem("x", ProblemKind::Skipped), problem("y", ProblemKind::Changed)];
    let entries: Vec<_> = (0..entries).map(entry).collect();
    draft.commit(segment(&header), PartEntries::of_new(&entries, &problems).unwrap()).unwrap();
    let manifest = draft.finish(&header, &data_key, BackupFacts::default()).unwrap();
    let manifest =
        VerifiedManifest::verify(manifest.into_documents().document, &name, &user_key.into()).unwrap();
    Base::new(manifest, Base::numbers_of(usable.iter().copied())).map(Arc::new)
}

#[test]
fn entries_come_from_any_of_them_on_and_at_their_places() {
    for count in [0, 1, 2, 700] {
        let base = base(count, &[true]).unwrap();
        let all: Vec<_> = (0..count).map(entry).collect();
        assert_eq!(base.entries(0).map(Result::unwrap).collect::<Vec<_>>(), all);
        for from in [0, 1, 2, 3, 350, 699, 700, 701] {
            let expected = all.get(from as usize..).unwrap_or_default();
            assert_eq!(
                base.entries(from).map(Result::unwrap).collect::<Vec<_>>(),
                expected,
                "{count} {from}"
            );
        }
        let mut entries = base.entries(0);
        let mut at = 0;
        while at < count {
            entries.skip_to(at);
            let (index, offset) = entries.next_at().unwrap();
            assert_eq!((index, base.entry_at(offset).unwrap()), (at, all[at as usize].clone()));
            assert!(base.entry_at(offset + 1).is_err() && base.entry_at(offset - 1).is_err());
            assert_eq!(entries.next().unwrap().unwrap(), all[at as usize]);
            at += 1 + at / 3;
        }
        entries.skip_to(u64::MAX);
        assert!(entries.next().is_none() && entries.next().is_none());
        assert!(base.entry_at(u64::MAX).is_err() && base.entry_at(0).is_err());
    }
}

#[test]
fn archives_are_numbered_behind_the_new_one() {
    assert_eq!(Base::numbers_of([true, false, true]), [Some(1), None, Some(2)]);
    let base = base(1, &[true]).unwrap();
    let mut usable =
        Entry { extents: vec![Extent { archive: 0, offset: 1, length: 2, at: None }], ..entry(0) };
    assert!(base.renumber(&mut usable));
    assert_eq!(usable.extents[0].archive, 1);
    assert_eq!(base.archives().unwrap().numbers(), 0..2);

    let mut partly = entry(3);
    assert!(!base.renumber(&mut partly), "the base names no archive 1");
    let kept = |place| (place, Extent { archive: 1, ..entry(3).extents[0] });
    assert_eq!(base.usable_extents(&partly), [kept(0), kept(105)]);

    let mut listed =
        Entry { chunks: Some(Extent { archive: 7, ..usable.extents[0] }), extents: Vec::new(), ..usable };
    assert!(!base.renumber(&mut listed), "its chunk list is lost");
    assert_eq!(listed.chunks.unwrap().archive, UNUSABLE_ARCHIVE);
}

#[test]
fn numbers_of_another_manifest_are_refused() {
    assert!(super::tests::base(1, &[true, true]).is_err());
    assert!(super::tests::base(1, &[]).is_err());
    let base = Arc::into_inner(base(1, &[false]).unwrap()).unwrap();
    assert_eq!(base.numbers(), [None]);
    assert!(Base::new(Arc::into_inner(base.manifest).unwrap(), vec![Some(2)]).is_err());
}

#[test]
fn what_changed_while_it_was_read_is_known_by_its_path() {
    let changed = base(0, &[true]).unwrap().changed_while_read().unwrap();
    assert!(changed.contains("y") && !changed.contains("x") && !changed.contains(""));
}

#[test]
fn the_record_names_the_full_that_the_chain_began_with() {
    let base = base(0, &[true]).unwrap();
    let record = base.record();
    assert_eq!((record.backup_id.as_str(), record.full.as_str()), ("b", "20260101T000000Z"));
    let mut document = Vec::new();
    std::io::Read::read_to_end(&mut base.manifest().document().reader(), &mut document).unwrap();
    assert_eq!(record.manifest_sha256, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(document)));
}
