//! What is restored of files besides their content.

use super::*;
use std::ffi::OsStr;

#[test]
fn folders_keep_time_and_mode_whatever_the_order() {
    let (_temp, out, mut target) = sandbox();
    let folder = |path: &str, mode: u32, mtime_ns: i128| Entry { mtime_ns, ..dir(path, mode) };
    target.directory(&folder(".", 0o711, 1)).unwrap();
    target.directory(&folder("ro", 0o555, 2)).unwrap();
    put(&mut target, &file("ro/file"), b"x").unwrap();
    target.directory(&folder("ro/none", 0o000, 3)).unwrap();
    put(&mut target, &file("ro/none/file"), b"x").unwrap();
    target.directory(&folder("open", 0o2775, 4)).unwrap();
    put(&mut target, &file("open/file"), b"x").unwrap();
    // Out of order: back into folders that were left, and a folder after what it holds.
    put(&mut target, &file("ro/none/late"), b"x").unwrap();
    put(&mut target, &file("ro/late"), b"x").unwrap();
    put(&mut target, &file("open/late"), b"x").unwrap();
    put(&mut target, &file("after/file"), b"x").unwrap();
    put(&mut target, &file("z"), b"x").unwrap();
    let warnings = target.directory(&folder("after", 0o700, 5)).unwrap();
    let warnings = [warnings, target.finish().unwrap()].concat();
    let set_id = if own_uid() == 0 { 0o2000 } else { 0 };
    assert_eq!(warnings.len(), usize::from(set_id == 0), "{warnings:?}");
    for (path, mode_wanted, time) in
        [("after", 0o700, 5), ("open", 0o775 | set_id, 4), ("ro", 0o555, 2), (".", 0o711, 1)]
    {
        assert_eq!(mode(&out.join(path)), mode_wanted, "{path}");
        assert_eq!(mtime_ns(&out.join(path)), time, "{path}");
    }
    assert_eq!((mode(&out.join("ro/none")), mtime_ns(&out.join("ro/none"))), (0, 3));

    // A second restore over the first goes through, too.
    let mut target = Target::open(&out).unwrap();
    target.directory(&folder(".", 0o700, 9)).unwrap();
    target.directory(&folder("ro", 0o555, 6)).unwrap();
    put(&mut target, &file("ro/file"), b"y").unwrap();
    assert_eq!(target.finish().unwrap(), Vec::<String>::new());
    assert_eq!((mode(&out.join("ro")), mtime_ns(&out.join("ro"))), (0o555, 6));
    assert_eq!(mode(&out), 0o711, "the root is not ours this time");
    make_accessible(&out);
}

#[test]
fn a_folder_that_locks_its_owner_out_is_restored_again() {
    let (_temp, out, mut target) = sandbox();
    for content in [&b"first"[..], b"second"] {
        for mode in [0o000, 0o444, 0o222, 0o100] {
            let folder = format!("{mode:o}");
            target.directory(&dir(&folder, mode)).unwrap();
            put(&mut target, &file(&format!("{folder}/file")), content).unwrap();
        }
        assert_eq!(target.finish().unwrap(), Vec::<String>::new());
        target = Target::open(&out).unwrap();
    }
    for wanted in [0o000, 0o444, 0o222, 0o100] {
        let folder = out.join(format!("{wanted:o}"));
        assert_eq!((mode(&folder), mtime_ns(&folder)), (wanted, MTIME));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"second");
    }
}

#[test]
fn a_place_gets_its_own_attributes_back_unless_nothing_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().canonicalize().unwrap().join("place");
    fs::create_dir(&place).unwrap();
    let restored = |target: Target| {
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        let mut target = target;
        target.directory(&dir(".", 0o750)).unwrap();
        assert_eq!(target.finish().unwrap(), Vec::<String>::new());
        mode(&place)
    };
    let open = || Target::open_place(&place).unwrap();
    assert_eq!(restored(open().overwriting(Overwrite::Never)) & 0o777, 0o777);
    assert_eq!(restored(Target::open(&place).unwrap()) & 0o777, 0o777, "a folder that a person names");
    assert_eq!(restored(open()) & 0o777, 0o750);
    assert_eq!(mtime_ns(&place), MTIME);
}

#[test]
fn attributes_are_applied_to_the_nanosecond() {
    let (_temp, out, mut target) = sandbox();
    let note = || vec![Xattr { name: b"user.note".to_vec(), value: vec![0, 255, b'a'] }];
    // Read-only: attributes go on before the mode does.
    let mut ro = Entry { xattrs: note(), ..file("ro") };
    ro.unix.as_mut().unwrap().mode = 0o444;
    put(&mut target, &ro, b"x").unwrap();
    target.directory(&Entry { xattrs: note(), ..dir("dir", 0o750) }).unwrap();
    let early = Entry { mtime_ns: -1, ..file("early") };
    put(&mut target, &early, b"").unwrap();
    target.symlink(&entry(b"dir/soft", EntryKind::Symlink, Some(b"../../outside/sentinel"))).unwrap();
    let plain = Entry { unix: None, ..file("plain") };
    put(&mut target, &plain, b"").unwrap();
    assert_eq!(target.finish().unwrap(), Vec::<String>::new());

    assert_eq!(mtime_ns(&out.join("ro")), MTIME);
    assert_eq!(mode(&out.join("ro")), 0o444);
    assert_eq!(mtime_ns(&out.join("early")), -1);
    assert_eq!(mtime_ns(&out.join("dir/soft")), MTIME);
    for path in ["ro", "dir"] {
        assert_eq!(xattr::get(out.join(path), "user.note").unwrap().unwrap(), [0, 255, b'a'], "{path}");
    }
    let default = out.join("default");
    fs::write(&default, "").unwrap();
    assert_eq!(mode(&out.join("plain")), mode(&default));
}

#[test]
fn attributes_that_cannot_be_applied_are_reported() {
    let (_temp, out, mut target) = sandbox();
    let never = Entry { mtime_ns: i128::MAX, ..file("never") };
    let warnings = put(&mut target, &never, b"x").unwrap();
    assert!(warnings[0].starts_with("never: its time was not applied"), "{warnings:?}");
    let odd = Entry { xattrs: vec![Xattr { name: b"nonsense".to_vec(), value: vec![1] }], ..file("odd") };
    let warnings = put(&mut target, &odd, b"x").unwrap();
    assert!(warnings[0].starts_with("odd: its extended attribute nonsense was not applied"), "{warnings:?}");
    target.directory(&Entry { mtime_ns: i128::MIN, ..dir("dir", 0o755) }).unwrap();
    let warnings = target.finish().unwrap();
    assert!(warnings[0].starts_with("dir: its time was not applied"), "{warnings:?}");
    assert!(out.join("never").exists() && out.join("odd").exists());
}

#[test]
fn a_file_is_not_readable_for_others_before_it_is_whole() {
    let (_temp, out, mut target) = sandbox();
    let note = Xattr { name: b"user.note".to_vec(), value: b"x".to_vec() };
    for (mode, xattrs, first) in [
        (0o644, vec![], 0o644),
        (0o600, vec![], 0o600),
        (0o4755, vec![], 0o755),
        (0o640, vec![], 0o600),
        (0o604, vec![], 0o600),
        (0o444, vec![], 0o600),
        // It may be an access list.
        (0o644, vec![note], 0o600),
    ] {
        let unix = Some(UnixAttributes { mode, uid: own_uid(), gid: own_gid() });
        let writer = target.file(&Entry { unix, xattrs, ..file("a") }).unwrap().create().unwrap();
        let found = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        let umask = 0o777 & !self::mode(&found) & first;
        assert!(self::mode(&found) & !first == 0 && umask & 0o700 == 0, "{mode:o}: {:o}", self::mode(&found));
        drop(writer);
        assert!(!found.exists());
    }
}

#[test]
fn set_id_bits_need_the_owner() {
    let (_temp, out, mut target) = sandbox();
    let mut tool = file("tool");
    *tool.unix.as_mut().unwrap() = UnixAttributes { mode: 0o6755, uid: 12_345, gid: 54_321 };
    let warnings = put(&mut target, &tool, b"x").unwrap();
    let found = fs::metadata(out.join("tool")).unwrap();
    if own_uid() == 0 && warnings.is_empty() {
        assert_eq!((mode(&out.join("tool")), found.uid(), found.gid()), (0o6755, 12_345, 54_321));
    } else {
        assert_eq!(mode(&out.join("tool")), 0o755);
        assert!(warnings.iter().any(|w| w.contains("set-user-ID")), "{warnings:?}");
    }
}

#[test]
fn what_took_a_links_place_gets_none_of_its_attributes() {
    let temp = tempfile::tempdir().unwrap();
    let folder = std::sync::Arc::new(Folder::root(temp.path()).unwrap());
    let mut link = entry(b"link", EntryKind::Symlink, Some(b"anywhere"));
    if rustix::process::geteuid().is_root() {
        (link.unix.as_mut().unwrap().uid, link.unix.as_mut().unwrap().gid) = (54_321, 54_321);
    }
    let attributes = Attributes::from(&link);
    let planted = temp.path().join("planted");
    fs::write(&planted, "precious").unwrap();
    fs::hard_link(&planted, temp.path().join("temporary")).unwrap();
    let before = (mtime_ns(&planted), fs::metadata(&planted).unwrap().uid());
    let problems = attributes.apply_to_symlink(&folder, OsStr::new("temporary"));
    if cfg!(target_os = "linux") {
        assert_eq!((mtime_ns(&planted), fs::metadata(&planted).unwrap().uid()), before);
        assert!(problems[0].contains("another file was put in its place"), "{problems:?}");
    }

    symlink("anywhere", temp.path().join("made")).unwrap();
    assert_eq!(attributes.apply_to_symlink(&folder, OsStr::new("made")), [""; 0]);
    assert_eq!(mtime_ns(&temp.path().join("made")), MTIME);
    let owner = fs::symlink_metadata(temp.path().join("made")).unwrap().uid();
    assert_eq!(owner, link.unix.unwrap().uid);
}

#[test]
fn a_set_id_file_is_not_writable_for_others_before_it_has_its_owner() {
    let mut setuid = file("a");
    for (mode, first) in [(0o666, 0o666), (0o4755, 0o755), (0o4777, 0o600), (0o2666, 0o600), (0o640, 0o600)] {
        setuid.unix.as_mut().unwrap().mode = mode;
        assert_eq!(attributes::first_mode(&setuid), Some(first), "{mode:o}");
    }
}
