#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use intellistor_storage::manifest::{Entry, EntryKind, UnixAttributes, Xattr};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod restored_attributes;

const MTIME: i128 = 1_234_567_890_123_456_789;

fn entry(path: &[u8], kind: EntryKind, link: Option<&[u8]>) -> Entry {
    let (relative_path, path_bytes) = Entry::text_and_bytes(path.to_vec());
    let (link_target, link_target_bytes) = match link.map(|link| Entry::text_and_bytes(link.to_vec())) {
        Some((text, bytes)) => (Some(text), bytes),
        None => (None, None),
    };
    Entry {
        relative_path,
        path_bytes,
        kind,
        size: 0,
        mtime_ns: MTIME,
        unix: Some(UnixAttributes {
            mode: if kind == EntryKind::Directory { 0o755 } else { 0o640 },
            uid: own_uid(),
            gid: own_gid(),
        }),
        windows: None,
        xattrs: Vec::new(),
        link_target,
        link_target_bytes,
        sha256: None,
        extents: Vec::new(),
        ..Entry::default()
    }
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn own_gid() -> u32 {
    rustix::process::getgid().as_raw()
}

fn file(path: &str) -> Entry {
    entry(path.as_bytes(), EntryKind::File, None)
}

fn dir(path: &str, mode: u32) -> Entry {
    let mut entry = entry(path.as_bytes(), EntryKind::Directory, None);
    entry.unix.as_mut().unwrap().mode = mode;
    entry
}

fn put(target: &mut Target, entry: &Entry, content: &[u8]) -> Result<Vec<String>, TargetError> {
    let mut writer = target.file(entry)?.create()?;
    writer.write_at(0, content).unwrap();
    writer.finish(entry, content.len() as u64)
}

/// A target in `out`, beside a folder `outside` that must never change.
fn sandbox() -> (TempDir, std::path::PathBuf, Target) {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    fs::write(temp.path().join("outside/sentinel"), "untouched").unwrap();
    let out = temp.path().join("out");
    let target = Target::open(&out).unwrap();
    (temp, out, target)
}

fn mtime_ns(path: &Path) -> i128 {
    let found = fs::symlink_metadata(path).unwrap();
    i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every path below, with what a write would change.
fn snapshot(root: &Path) -> BTreeMap<std::path::PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let content = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let facts =
            format!("{:?} {} {:?} {content:?}", found.file_type(), found.mode(), found.modified().unwrap());
        if found.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        seen.insert(path, facts);
    }
    seen
}

#[test]
fn hostile_paths_are_refused_for_every_kind() {
    let (temp, out, mut target) = sandbox();
    let before = snapshot(temp.path());
    for path in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../outside/x",
        "a/../../outside/x",
        "a/..",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "a\0b",
        ".",
    ] {
        let path = path.as_bytes();
        assert!(
            matches!(target.file(&entry(path, EntryKind::File, None)), Err(TargetError::Refused(_))),
            "{path:?}"
        );
        let link = target.symlink(&entry(path, EntryKind::Symlink, Some(b"x")));
        assert!(matches!(link, Err(TargetError::Refused(_))), "{path:?}");
        let link = target.hardlink(&entry(path, EntryKind::Hardlink, Some(b"x")));
        assert!(matches!(link, Err(TargetError::Refused(_))), "{path:?} {link:?}");
        if path != b"." {
            let made = target.directory(&entry(path, EntryKind::Directory, None));
            assert!(matches!(made, Err(TargetError::Refused(_))), "{path:?}");
        }
    }
    assert_eq!(snapshot(temp.path()), before);
    assert_eq!(fs::read_dir(out).unwrap().count(), 0);
}

#[test]
fn nothing_is_written_through_a_planted_link() {
    let (temp, out, mut target) = sandbox();
    symlink("../outside", out.join("before")).unwrap();
    let outside = temp.path().join("outside");
    target
        .symlink(&entry(b"planted", EntryKind::Symlink, Some(outside.as_os_str().as_encoded_bytes())))
        .unwrap();
    target.symlink(&entry(b"loop", EntryKind::Symlink, Some(b"loop"))).unwrap();
    let before = snapshot(&outside);
    for parent in ["before", "planted", "loop"] {
        for path in [format!("{parent}/x"), format!("{parent}/sentinel"), format!("{parent}/a/b")] {
            assert!(matches!(target.file(&file(&path)), Err(TargetError::Refused(_))), "{path}");
            assert!(matches!(target.directory(&dir(&path, 0o777)), Err(TargetError::Refused(_))), "{path}");
            let link = entry(path.as_bytes(), EntryKind::Symlink, Some(b"y"));
            assert!(matches!(target.symlink(&link), Err(TargetError::Refused(_))), "{path}");
        }
        // A folder must not take over the link itself.
        assert!(matches!(target.directory(&dir(parent, 0o777)), Err(TargetError::Refused(_))), "{parent}");
        let link = entry(b"link", EntryKind::Hardlink, Some(format!("{parent}/sentinel").as_bytes()));
        assert!(target.hardlink(&link).is_err(), "{parent}");
    }
    assert_eq!(target.finish().unwrap(), Vec::<String>::new());
    assert_eq!(snapshot(&outside), before);
    assert_eq!(fs::read_link(out.join("planted")).unwrap(), outside);
}

#[test]
fn hard_links_reach_only_what_this_run_restored() {
    let (temp, out, mut target) = sandbox();
    fs::write(out.join("old"), "was here before").unwrap();
    put(&mut target, &file("a/first"), b"content").unwrap();
    target.symlink(&entry(b"soft", EntryKind::Symlink, Some(b"a/first"))).unwrap();
    let outside = temp.path().join("outside/sentinel");
    for to in [
        "../outside/sentinel",
        outside.to_str().unwrap(),
        "old",
        "soft",
        "a",
        "missing",
        "missing/x",
        "a/first/x",
        ".",
    ] {
        assert!(target.hardlink(&entry(b"b", EntryKind::Hardlink, Some(to.as_bytes()))).is_err(), "{to}");
    }
    assert!(target.hardlink(&entry(b"b", EntryKind::Hardlink, None)).is_err());
    assert!(!out.join("b").exists());
    // Twice, and onto itself: a rename between names of one file does nothing, and leaves its source.
    for name in [&b"c/second"[..], b"c/second", b"a/first"] {
        target.hardlink(&entry(name, EntryKind::Hardlink, Some(b"a/first"))).unwrap();
    }
    target.hardlink(&entry(b"third", EntryKind::Hardlink, Some(b"c/second"))).unwrap();
    target.finish().unwrap();
    let inode = fs::metadata(out.join("a/first")).unwrap().ino();
    assert_eq!(fs::metadata(out.join("c/second")).unwrap().ino(), inode);
    assert_eq!(fs::metadata(out.join("third")).unwrap().ino(), inode);
    assert_eq!(snapshot(&out).keys().filter(|p| p.to_string_lossy().contains(".part")).count(), 0);
}

#[test]
fn what_was_there_is_replaced_and_never_written_to() {
    let (temp, out, mut target) = sandbox();
    let sentinel = temp.path().join("outside/sentinel");
    fs::write(out.join("plain"), "old").unwrap();
    fs::hard_link(&sentinel, out.join("linked")).unwrap();
    symlink(&sentinel, out.join("soft")).unwrap();
    fs::create_dir(out.join("folder")).unwrap();
    let old = fs::File::open(out.join("plain")).unwrap();
    for name in ["plain", "linked", "soft"] {
        let entry = file(name);
        let mut writer = target.file(&entry).unwrap().create().unwrap();
        writer.write_at(0, b"new").unwrap();
        assert_ne!(fs::read(out.join(name)).unwrap(), b"new", "{name}: not before it is whole");
        writer.finish(&entry, 3).unwrap();
        assert_eq!(fs::read(out.join(name)).unwrap(), b"new", "{name}");
        assert!(fs::symlink_metadata(out.join(name)).unwrap().is_file(), "{name}");
    }
    assert_eq!(io::read_to_string(old).unwrap(), "old");
    assert_eq!(fs::read(&sentinel).unwrap(), b"untouched");
    target.symlink(&entry(b"plain", EntryKind::Symlink, Some(b"anywhere"))).unwrap();
    assert_eq!(fs::read_link(out.join("plain")).unwrap(), Path::new("anywhere"));
    for in_the_way in [
        put(&mut target, &file("folder"), b"x"),
        target.symlink(&entry(b"folder", EntryKind::Symlink, Some(b"x"))),
    ] {
        assert!(matches!(in_the_way, Err(TargetError::Failed(_))), "{in_the_way:?}");
    }
    assert!(matches!(target.directory(&dir("linked", 0o755)), Err(TargetError::Failed(_))));
    assert!(matches!(target.file(&file("linked/x")), Err(TargetError::Failed(_))));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
}

#[test]
fn an_unfinished_file_leaves_nothing() {
    let (_temp, out, mut target) = sandbox();
    let mut writer = target.file(&file("a")).unwrap().create().unwrap();
    writer.write_at(0, b"half").unwrap();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    drop(writer);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    assert!(target.hardlink(&entry(b"b", EntryKind::Hardlink, Some(b"a"))).is_err());
}

#[test]
fn holes_stay_holes() {
    let (_temp, out, mut target) = sandbox();
    let size = 64 << 20;
    let sparse = file("sparse");
    let mut writer = target.file(&sparse).unwrap().create().unwrap();
    writer.write_at(8 << 20, &[7; 4096]).unwrap();
    writer.write_at(16 << 20, &[8; 4096]).unwrap();
    writer.finish(&sparse, size).unwrap();
    target.finish().unwrap();
    let found = fs::metadata(out.join("sparse")).unwrap();
    assert_eq!(found.len(), size);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let content = fs::read(out.join("sparse")).unwrap();
    assert_eq!(content.iter().filter(|b| **b != 0).count(), 8192);
    assert_eq!(content[(16 << 20) + 4095], 8);
}

#[test]
fn names_need_not_be_text() {
    let (_temp, out, mut target) = sandbox();
    put(&mut target, &entry(b"d\xff/f\xfe", EntryKind::File, None), b"x").unwrap();
    target.symlink(&entry(b"l\xfd", EntryKind::Symlink, Some(b"t\xfc"))).unwrap();
    target.hardlink(&entry(b"h", EntryKind::Hardlink, Some(b"d\xff/f\xfe"))).unwrap();
    let name = |bytes: &[u8]| -> OsString { std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()) };
    assert_eq!(fs::read(out.join(name(b"d\xff/f\xfe"))).unwrap(), b"x");
    assert_eq!(fs::read_link(out.join(name(b"l\xfd"))).unwrap().as_os_str(), name(b"t\xfc"));
    assert!(out.join("h").exists());
}

#[test]
fn no_depth_exhausts_the_handles() {
    let (_temp, out, mut target) = sandbox();
    // Deeper than the system takes in one path, and than a process may have files open.
    let deep = vec!["d"; 1500].join("/");
    put(&mut target, &file(&format!("{deep}/file")), b"x").unwrap();
    for depth in (1..1500).step_by(100) {
        let parent = vec!["d"; depth].join("/");
        target.directory(&Entry { mtime_ns: depth as i128, ..dir(&parent, 0o700) }).unwrap();
        put(&mut target, &file(&format!("{parent}/beside")), b"x").unwrap();
    }
    put(&mut target, &file(&format!("{deep}/again")), b"x").unwrap();
    assert_eq!(target.finish().unwrap(), Vec::<String>::new());
    let path = out.join(vec!["d"; 301].join("/"));
    assert_eq!(mtime_ns(&path), 301);
    assert!(path.join("beside").exists());
}

#[test]
fn a_target_that_cannot_be_written_to_is_seen_at_once() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    assert!(Target::open(&temp.path().join("file")).is_err());
    assert!(Target::open(&temp.path().join("file/below")).is_err());
    let made = temp.path().join("a/b");
    Target::open(&made).unwrap();
    assert_eq!(fs::read_dir(made).unwrap().count(), 0);
}

#[test]
fn temporary_names_are_unpredictable() {
    let names: std::collections::HashSet<_> = (0..100)
        .map(|_| temporary::temporary_name().into_string().unwrap()[".intellistor-".len()..][..16].to_owned())
        .collect();
    assert_eq!(names.len(), 100, "one tells nothing of the next");
}

#[test]
fn a_hard_link_is_made_to_what_was_restored_and_to_nothing_in_its_place() {
    let (_temp, out, mut target) = sandbox();
    put(&mut target, &file("a"), b"restored").unwrap();
    target.hardlink(&entry(b"b", EntryKind::Hardlink, Some(b"a"))).unwrap();
    target.hardlink(&entry(b"c", EntryKind::Hardlink, Some(b"b"))).unwrap();
    fs::write(out.join("other"), "planted").unwrap();
    fs::rename(out.join("other"), out.join("a")).unwrap();
    assert!(target.hardlink(&entry(b"d", EntryKind::Hardlink, Some(b"a"))).is_err());
    assert!(!out.join("d").exists());
    assert_eq!(fs::read(out.join("c")).unwrap(), b"restored");
}

#[test]
fn what_a_restore_that_died_has_left_is_removed_by_the_next_one() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("out/sub")).unwrap();
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3600);
    let make = |name: String, is_old: bool| {
        let made = fs::File::create(temp.path().join("out").join(name)).unwrap();
        if is_old {
            made.set_modified(two_days_ago).unwrap();
        }
        made
    };
    let name = |n: u8| format!(".intellistor-{}.part", format!("{n:02x}").repeat(16));
    make(name(1), true);
    make(format!("sub/{}", name(2)), true);
    make(name(3), false);
    make(".intellistor-mine.part".to_owned(), true);
    make(format!("{}x", name(5)), true);
    let held = make(name(4), true);
    held.lock().unwrap();

    let mut target = Target::open(&temp.path().join("out")).unwrap();
    target.directory(&dir(".", 0o755)).unwrap();
    target.directory(&dir("sub", 0o755)).unwrap();
    put(&mut target, &file("sub/a"), b"a").unwrap();
    target.finish().unwrap();
    let left = |folder: &str| -> std::collections::BTreeSet<String> {
        fs::read_dir(temp.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let expected =
        [name(3), name(4), ".intellistor-mine.part".to_owned(), format!("{}x", name(5)), "sub".to_owned()];
    assert_eq!(left("out"), expected.into());
    assert_eq!(left("out/sub"), ["a".to_owned()].into());
}

/// What was restored may refuse its owner, who can then neither look into it nor delete it.
fn make_accessible(path: &Path) {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if !kind.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    if kind.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| make_accessible(&entry.unwrap().path()));
    }
}

/// Components that clash with each other on purpose.
fn hostile_component() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abc]",
        2 => Just("..".to_owned()),
        1 => Just("outside".to_owned()),
        1 => Just("sentinel".to_owned()),
        1 => Just(String::new()),
        1 => Just(".".to_owned()),
        1 => "\\PC{0,3}",
    ]
}

fn hostile_path() -> impl Strategy<Value = String> {
    prop::collection::vec(hostile_component(), 0..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn nothing_outside_is_ever_touched(
        steps in prop::collection::vec((0u8..4, hostile_path(), hostile_path(), 0u32..0o10000), 1..24),
    ) {
        let (temp, out, mut target) = sandbox();
        let outside = temp.path().join("outside");
        let before = snapshot(&outside);
        for (kind, path, link, mode) in steps {
            let unix = Some(UnixAttributes { mode, uid: own_uid(), gid: own_gid() });
            let made = match kind {
                0 => { let e = Entry { unix, ..file(&path) }; put(&mut target, &e, b"hostile") }
                1 => target.directory(&Entry { unix, ..dir(&path, 0) }),
                2 => target.symlink(&entry(path.as_bytes(), EntryKind::Symlink, Some(link.as_bytes()))),
                _ => target.hardlink(&entry(path.as_bytes(), EntryKind::Hardlink, Some(link.as_bytes()))),
            };
            prop_assert!(!matches!(made, Err(TargetError::Fatal(_))));
        }
        target.finish().unwrap();
        prop_assert_eq!(snapshot(&outside), before);
        let mut beside: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        prop_assert_eq!(beside, ["out", "outside"]);
        make_accessible(&out);
        let left = snapshot(&out).into_keys().filter(|p| p.to_string_lossy().contains(".part")).count();
        prop_assert_eq!(left, 0);
    }
}
