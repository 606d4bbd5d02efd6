#![allow(clippy::unwrap_used)]

use super::*;

use intellistor_storage::manifest::{UnixAttributes, WindowsAttributes};

use crate::source::FileId;

const BEGAN_MS: i64 = 1_700_000_000_000;
const BEGAN_NS: i128 = BEGAN_MS as i128 * 1_000_000;

fn metadata() -> FileMetadata {
    FileMetadata {
        kind: SourceKind::File,
        size: 10,
        mtime_ns: 1_000,
        ctime_ns: Some(2_000),
        unix: Some(UnixAttributes { mode: 0o644, uid: 1, gid: 1 }),
        windows: None,
        identity: Some(FileId { device: 1, inode: 7 }),
        links: 1,
        allocated: 4096,
        in_cloud: false,
        stored: Default::default(),
    }
}

/// As a backup has a file with [`metadata`].
fn entry() -> Entry {
    let FileMetadata { size, mtime_ns, ctime_ns, unix, windows, .. } = metadata();
    Entry { size, mtime_ns, ctime_ns, unix, windows, inode: Some(7), ..Entry::default() }
}

/// What is decided of a file after a change to its metadata or its entry, by each rule: ctime, mtime, content.
fn decided(change: impl Fn(&mut FileMetadata, &mut Entry)) -> [Result<(), Reason>; 3] {
    let (mut metadata, mut entry) = (metadata(), entry());
    change(&mut metadata, &mut entry);
    [DetectChanges::Ctime, DetectChanges::Mtime, DetectChanges::Content]
        .map(|detect| decide(&metadata, &entry, Rules::new(detect, BEGAN_MS)))
}

#[test]
fn a_file_that_is_as_it_was_is_read_only_where_all_are() {
    assert_eq!(decided(|_, _| {}), [Ok(()), Ok(()), Err(Reason::Asked)]);
    assert_eq!(decided(|_, entry| entry.kind = EntryKind::Hardlink), decided(|_, _| {}));
}

#[test]
fn each_change_has_its_reason() {
    assert_eq!(decided(|now, _| now.size += 1), [Err(Reason::Size); 3]);
    assert_eq!(decided(|now, _| now.mtime_ns -= 1), [Err(Reason::Mtime); 3]);
    // Content that was changed, with size and time of modification put back: `mtime` does not see it.
    let put_back = [Err(Reason::Ctime), Ok(()), Err(Reason::Ctime)];
    assert_eq!(decided(|now, _| now.ctime_ns = Some(2_001)), put_back);
    let replaced = [Err(Reason::Inode), Ok(()), Err(Reason::Inode)];
    assert_eq!(decided(|now, _| now.identity = Some(FileId { device: 1, inode: 8 })), replaced);
    let other_device = decided(|now, _| now.identity = Some(FileId { device: 2, inode: 7 }));
    assert_eq!(other_device, decided(|_, _| {}), "a disk may have another number after each start");
    let mode = |now: &mut FileMetadata, _: &mut Entry| now.unix.as_mut().unwrap().mode = 0o600;
    assert_eq!(decided(mode), [Err(Reason::Attributes); 3]);
    let owner = |now: &mut FileMetadata, _: &mut Entry| now.unix.as_mut().unwrap().uid = 2;
    assert_eq!(decided(owner), [Err(Reason::Attributes); 3]);
    let hidden =
        WindowsAttributes { attributes: WindowsAttributes::HIDDEN, created_ns: 5, reparse_tag: None };
    let windows = |attributes: u32| {
        decided(move |now, entry| {
            (now.unix, entry.unix, entry.windows) = (None, None, Some(hidden));
            now.windows = Some(WindowsAttributes { attributes, ..hidden });
        })
    };
    assert_eq!(windows(hidden.attributes), decided(|_, _| {}));
    assert_eq!(windows(WindowsAttributes::ARCHIVE), [Err(Reason::Attributes); 3]);
}

#[test]
fn what_became_something_else_is_of_another_kind_whatever_else_is_equal() {
    let kinds = [
        (SourceKind::File, &[EntryKind::File, EntryKind::Hardlink][..]),
        (SourceKind::Directory, &[EntryKind::Directory]),
        (SourceKind::Symlink, &[EntryKind::Symlink]),
    ];
    for (kind, as_before) in kinds {
        for base in [EntryKind::File, EntryKind::Hardlink, EntryKind::Directory, EntryKind::Symlink] {
            let found = decided(|now, entry| (now.kind, entry.kind) = (kind, base));
            let differs = found == [Err(Reason::Kind); 3];
            assert_eq!(differs, !as_before.contains(&base), "{kind:?} {base:?}: {found:?}");
        }
    }
}

#[test]
fn a_folder_or_a_link_is_taken_over_only_where_its_time_of_change_is_compared() {
    for (kind, base) in
        [(SourceKind::Directory, EntryKind::Directory), (SourceKind::Symlink, EntryKind::Symlink)]
    {
        let found = decided(|now, entry| {
            (now.kind, entry.kind) = (kind, base);
            // The file system has a size, the manifest none.
            (now.size, entry.size) = (4096, 0);
        });
        assert_eq!(found, [Ok(()), Err(Reason::Asked), Err(Reason::Asked)]);
    }
}

#[test]
fn what_changed_later_than_two_seconds_before_the_base_began_is_read() {
    let edge = BEGAN_NS - 2_000_000_000;
    let times = |mtime_ns: i128, ctime_ns: Option<i128>| {
        let found = decided(move |now, entry| {
            (now.mtime_ns, now.ctime_ns) = (mtime_ns, ctime_ns);
            (entry.mtime_ns, entry.ctime_ns) = (mtime_ns, ctime_ns);
        });
        [found[0], found[1]]
    };
    assert_eq!(times(edge - 1, Some(edge - 1)), [Ok(()), Ok(())]);
    assert_eq!(times(edge, Some(edge - 1)), [Err(Reason::Racy); 2]);
    assert_eq!(times(edge - 1, Some(edge)), [Err(Reason::Racy), Ok(())]);
    assert_eq!(times(0, Some(i128::MAX)), [Err(Reason::Racy), Ok(())]);
    assert_eq!(times(edge, None), [Err(Reason::Racy); 2]);
    assert_eq!(times(edge - 1, None), [Ok(()), Ok(())]);
}

#[test]
fn what_the_base_or_the_file_system_lacks_is_not_compared() {
    let all = decided(|_, _| {});
    assert_eq!(decided(|now, _| (now.ctime_ns, now.identity) = (None, None)), all);
    assert_eq!(decided(|_, entry| (entry.ctime_ns, entry.inode) = (None, None)), all);
    let both = |now: &mut FileMetadata, entry: &mut Entry| {
        (now.ctime_ns, now.identity, entry.ctime_ns, entry.inode) = (None, None, None, None);
    };
    assert_eq!(decided(both), all);
    let modified = |now: &mut FileMetadata, entry: &mut Entry| {
        both(now, entry);
        now.mtime_ns += 1;
    };
    assert_eq!(decided(modified), [Err(Reason::Mtime); 3]);
}
