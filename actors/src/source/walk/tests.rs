use super::*;
use crate::source::Extended;
use crate::source::excludes::ExcludedFolder;
use crate::source::roots::make_roots;
use crate::source::system_files::{OF_EVERY_VOLUME, SystemFiles};
use intellistor_storage::manifest::ProblemKind;
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn start(paths: &[PathBuf], exclude: &[&str]) -> Walk {
    let exclude: Vec<_> = exclude.iter().map(|e| (*e).to_owned()).collect();
    Walk::new(make_roots(paths), Excludes::new(&exclude).unwrap())
}

fn shown(walked: &Walked) -> String {
    match walked {
        Walked::Entry(entry) => String::from_utf8_lossy(&entry.relative_path).into_owned(),
        Walked::InCloud(entry) => format!("cloud {}", String::from_utf8_lossy(&entry.relative_path)),
        Walked::LeftOut { problem, .. } => {
            let mark = if problem.kind == ProblemKind::Note { "note" } else { "!" };
            format!("{mark} {}: {}", problem.relative_path, problem.reason)
        }
    }
}

fn walk(paths: &[PathBuf], exclude: &[&str]) -> Vec<String> {
    start(paths, exclude).map(|walked| shown(&walked.unwrap())).collect()
}

fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

#[test]
fn folders_come_before_their_content_in_the_order_of_bytes() {
    let dir = tree(&["b/z", "b/a/x", "a", "b.txt", "Ç"]);
    assert_eq!(walk(&[dir.path().into()], &[]), [".", "a", "b", "b/a", "b/a/x", "b/z", "b.txt", "Ç"]);
}

#[test]
fn an_excluded_folder_is_left_out_whole() {
    let dir = tree(&["keep/a", "Co\u{301}pia de b/b", "x.tmp", "d/x.tmp", "d/out/y", "out/y"]);
    let found = walk(&[dir.path().into()], &["C\u{f3}pia*", "*.tmp", "d/out"]);
    assert_eq!(found, [".", "d", "keep", "keep/a", "out", "out/y"]);
    assert_eq!(walk(&[dir.path().into()], &["*"]), ["."]);
}

/// The paths of Windows stand for folders here, as for those of a snapshot: rules are matched on real paths.
#[test]
fn files_of_the_system_are_left_out_and_counted_by_rule() {
    let dir = tree(&[
        "c/pagefile.sys",
        "c/System Volume Information/x/y",
        "c/Windows/Temp/a/b",
        "c/Windows/Temp/c.tmp",
        "c/Windows/keep.txt",
        "d/Temp/pagefile.sys",
        "d/$RECYCLE.BIN/S-1-5-18/f",
    ]);
    let mut rules = SystemFiles::default();
    for rule in OF_EVERY_VOLUME.into_iter().chain([r"%TEMP%\* /s"]) {
        rules.add(rule, &|_| Some(r"C:\Windows\Temp".to_owned())).unwrap();
    }
    let root = |letter: &str, path: &str| Root {
        path: path.into(),
        prefix: letter.to_uppercase(),
        snapshot: Some(dir.path().join(letter)),
    };
    let excludes = Excludes::new(&[]).unwrap().and_system_files(rules);
    let roots = vec![root("c", r"C:\"), root("d", r"D:\")];
    let found: Vec<_> = Walk::new(roots, excludes.clone()).map(|walked| shown(&walked.unwrap())).collect();
    let kept =
        ["C", "C/Windows", "C/Windows/Temp", "C/Windows/keep.txt", "D", "D/Temp", "D/Temp/pagefile.sys"];
    assert_eq!(found, kept);
    let counted = [
        (r"%TEMP%\* /s", 2),
        (r"\$Recycle.Bin", 1),
        (r"\System Volume Information", 1),
        (r"\pagefile.sys", 1),
    ];
    assert_eq!(excludes.met_system_files(), counted.map(|(rule, count)| (rule.to_owned(), count)));
}

#[test]
fn what_is_excluded_below_one_root_is_excluded_below_each_of_several() {
    let dir = tree(&["a/cache/x", "a/src/node_modules/m", "a/f", "b/cache/y", "b/node_modules/n", "b/g"]);
    let at = |p: &str| dir.path().join(p);
    let exclude = ["cache/*", "*node_modules"];
    assert_eq!(walk(&[at("a")], &exclude), [".", "cache", "f", "src"]);
    let both = ["a", "a/cache", "a/f", "a/src", "b", "b/cache", "b/g"];
    assert_eq!(walk(&[at("a"), at("b")], &exclude), both);
    // A pattern is not matched on the root's own name: a new root of that name is not left out.
    assert_eq!(walk(&[at("a"), at("b")], &["b", "b/*", "*/cache", "src"])[..2], ["a", "a/cache"]);
    assert!(walk(&[at("a"), at("b")], &["b", "b/*"]).contains(&"b/g".to_owned()));
}

#[test]
fn patterns_that_matched_nothing_and_files_below_roots_are_known_after_the_walk() {
    let dir = tree(&["a/x.tmp", "a/f", "b/g", "b/h"]);
    let roots = [dir.path().join("a"), dir.path().join("b"), dir.path().join("none")];
    let excludes = Excludes::new(&["*.tmp", "cache\\*", "h"].map(str::to_owned)).unwrap();
    Walk::new(make_roots(&roots), excludes.clone()).for_each(|walked| drop(walked.unwrap()));
    assert_eq!(excludes.unmatched(), ["cache\\*"]);
    assert_eq!(roots.each_ref().map(|root| excludes.files_below(root)), [Some(1), Some(1), None]);
}

#[test]
fn a_folder_that_a_walk_is_kept_out_of_is_known_by_any_name() {
    let dir = tree(&["data/f", "data/store/backups/b", "data/store/x"]);
    let at = |p: &str| dir.path().join(p);
    symlink(at("data/store"), at("link")).unwrap();
    for spelling in ["data/store", "data/./store/", "data/store/../store", "link"] {
        let folders = ExcludedFolder::new(at(spelling), "the backup is written there");
        let excludes = Excludes::new(&[]).unwrap().and_folders([folders.clone()]);
        let found = Walk::new(make_roots(&[at("data")]), excludes.clone());
        assert_eq!(found.map(|walked| shown(&walked.unwrap())).collect::<Vec<_>>(), [".", "f"], "{spelling}");
        let met = excludes.met_folders();
        assert_eq!(met.len(), 1, "{met:?}");
        assert!(met[0].0.ends_with("data/store") && met[0].1.contains("written there"), "{met:?}");
        assert!(folders.contains(&at("data/store/backups")) && folders.contains(&at("link")));
        assert!(!folders.contains(&at("data")) && !folders.contains(&at("none")));
        // One that is a root was named on purpose.
        let root = Walk::new(make_roots(&[at("link")]), excludes);
        assert_eq!(root.count(), 4);
    }
}

#[test]
fn a_folder_that_is_made_later_is_kept_out_of_too() {
    let dir = tree(&["f"]);
    let store = dir.path().join("store");
    let excludes = Excludes::new(&[]).unwrap().and_folders([ExcludedFolder::new(&store, "ours")]);
    fs::create_dir(&store).unwrap();
    let found = Walk::new(make_roots(&[dir.path().into()]), excludes);
    assert_eq!(found.map(|walked| shown(&walked.unwrap())).collect::<Vec<_>>(), [".", "f"]);
}

#[test]
fn of_a_folder_that_is_marked_as_a_cache_the_mark_alone_is_found() {
    const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";
    let dir = tree(&["a/x", "a/sub/y", "b/x", "b/CACHEDIR.TAG", "c/x", "f"]);
    fs::write(dir.path().join("a/CACHEDIR.TAG"), format!("{SIGNATURE}\n# made by a test\n")).unwrap();
    symlink("../a/CACHEDIR.TAG", dir.path().join("c/CACHEDIR.TAG")).unwrap();
    let found = |root: &str, caches| {
        let excludes = Excludes::new(&[]).unwrap().and_caches(caches);
        let walk = Walk::new(make_roots(&[dir.path().join(root)]), excludes);
        walk.map(|walked| shown(&walked.unwrap())).collect::<Vec<_>>()
    };
    let all = [".", "a", "a/CACHEDIR.TAG", "b", "b/CACHEDIR.TAG", "b/x", "c", "c/CACHEDIR.TAG", "c/x", "f"];
    assert_eq!(found("", true), all);
    assert_eq!(found("", false).len(), all.len() + 3);
    assert_eq!(found("a", true).len(), 5, "a root was named on purpose");
}

#[test]
fn what_to_open_would_fetch_is_not_looked_at_unless_it_may_be_fetched() {
    let dir = tree(&["f"]);
    for may_fetch in [false, true] {
        let excludes = Excludes::new(&[]).unwrap().fetch_from_cloud(may_fetch);
        let mut walk = Walk::new(make_roots(&[dir.path().into()]), excludes.clone());
        assert_eq!(shown(&walk.next().unwrap().unwrap()), ".");
        let mut visit = |name: &str, kind| {
            let found = metadata_at(&dir.path().join("f")).unwrap();
            walk.position.descend(name.as_ref());
            let walked = walk.visit(Some(FileMetadata { kind, in_cloud: true, ..found })).unwrap().unwrap();
            shown(&walked)
        };
        // Only what is looked at is known to be gone.
        let expected = if may_fetch { "! gone: vanished during the scan" } else { "cloud gone" };
        assert_eq!(visit("gone", SourceKind::File), expected);
        assert_eq!(visit("gone", SourceKind::Directory), expected);
        assert_eq!(visit("f", SourceKind::File), if may_fetch { "f" } else { "cloud f" });
        assert_eq!(walk.map(|walked| shown(&walked.unwrap())).collect::<Vec<_>>(), ["f"]);
        let root = excludes.files_below(dir.path());
        assert_eq!((excludes.counts().in_cloud, root), if may_fetch { (0, Some(2)) } else { (3, Some(3)) });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_mounted_below_is_an_empty_folder_where_the_walk_stays_on_its_file_system() {
    // Every Linux mounts /dev/shm or /dev/pts below /dev.
    let mounted = ["shm", "pts"].map(|name| Path::new("/dev").join(name));
    let device = |path: &Path| metadata_at(path).unwrap().identity.unwrap().device;
    let mounted =
        mounted.iter().find(|path| path.is_dir() && device(path) != device(Path::new("/dev"))).unwrap();
    let name = mounted.file_name().unwrap().to_str().unwrap();
    let file = tempfile::NamedTempFile::new_in("/dev/shm").ok();
    let found = |root: &Path, stays| {
        let excludes = Excludes::new(&[]).unwrap().one_file_system(stays);
        let walk = Walk::new(make_roots(&[root.to_owned()]), excludes);
        walk.map(|walked| shown(&walked.unwrap())).collect::<Vec<_>>()
    };
    let within = |found: &[String]| found.iter().filter(|path| path.contains(&format!("{name}/"))).count();
    let stayed = found(Path::new("/dev"), true);
    assert!(stayed.contains(&name.to_owned()) && within(&stayed) == 0, "{stayed:?}");
    assert!(within(&found(Path::new("/dev"), false)) > 0);
    assert!(found(mounted, true).len() > 1, "each root is on a file system of its own");
    // What is mounted there is not in the snapshot of the root's volume.
    let root = Root { path: "/volume".into(), prefix: String::new(), snapshot: Some("/dev".into()) };
    let left_out =
        Walk::new(vec![root], Excludes::new(&[]).unwrap()).filter_map(|walked| match walked.unwrap() {
            Walked::LeftOut { relative_path, problem } if relative_path == name.as_bytes() => Some(problem),
            _ => None,
        });
    let left_out: Vec<_> = left_out.collect();
    assert!(left_out.len() == 1 && left_out[0].kind == ProblemKind::Skipped, "{left_out:?}");
    assert!(left_out[0].reason.contains("another volume"), "{left_out:?}");
    drop(file);
}

#[test]
fn what_is_excluded_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s.sock")).unwrap();
    assert_eq!(walk(&[dir.path().into()], &["*.sock"]), ["."]);
}

#[test]
fn several_roots_have_prefixes_and_a_file_can_be_a_root() {
    let dir = tree(&["a/docs/x", "b/docs/y", "c.txt"]);
    let at = |p: &str| dir.path().join(p);
    let roots = [at("a/docs"), at("b/docs"), at("c.txt")];
    let expected = ["docs", "docs/x", "docs-2", "docs-2/y", "c.txt/c.txt"];
    assert_eq!(walk(&roots, &[]), expected);
    assert_eq!(walk(&roots, &["y", "*.txt"]), ["docs", "docs/x", "docs-2"]);
    assert_eq!(walk(&[at("c.txt")], &[]), ["c.txt"]);
}

#[test]
fn a_missing_root_is_reported_and_the_others_are_walked() {
    let dir = tree(&["docs/x"]);
    let at = |p: &str| dir.path().join(p);
    let found = walk(&[at("none"), at("docs")], &[]);
    assert!(found[0].starts_with("! none: cannot find ") && found[0].contains("No such file"), "{found:?}");
    assert_eq!(found[1..], ["docs", "docs/x"]);
    assert!(walk(&[at("none")], &[])[0].starts_with("! .: cannot find "));
}

#[test]
fn a_root_that_is_a_link_is_followed_and_no_other_link_is() {
    let dir = tree(&["real/f"]);
    let at = |p: &str| dir.path().join(p);
    symlink("..", at("real/up")).unwrap();
    symlink("real", at("folder")).unwrap();
    symlink("real/f", at("file")).unwrap();
    symlink("none", at("dangling")).unwrap();
    assert_eq!(walk(&[at("folder")], &[]), [".", "f", "up"]);
    let file: Vec<_> = start(&[at("file")], &[]).map(Result::unwrap).collect();
    let [Walked::Entry(file)] = file.as_slice() else { panic!("{file:?}") };
    assert_eq!((file.relative_path.as_slice(), file.metadata.kind), (&b"file"[..], SourceKind::File));
    assert!(Beneath::default().open_file(&file.source).is_ok());
    assert!(walk(&[at("dangling")], &[])[0].starts_with("! .: cannot find "));
}

#[test]
fn sockets_and_fifos_are_noted_and_odd_names_survive() {
    let dir = tree(&["f"]);
    fs::write(dir.path().join(OsStr::from_bytes(b"n\xff\xfe\n")), b"").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("p"), 0o600.into()).unwrap();
    symlink("/", dir.path().join("l")).unwrap();
    let walked: Vec<_> = start(&[dir.path().into()], &[]).map(Result::unwrap).collect();
    let found: Vec<_> = walked.iter().map(shown).collect();
    assert_eq!(
        found,
        [
            ".",
            "f",
            "l",
            "n\u{fffd}\u{fffd}\n",
            "note p: fifo: it has no content to back up",
            "note s: socket: it has no content to back up"
        ]
    );
    assert!(
        matches!(&walked[3], Walked::Entry(e) if e.relative_path == b"n\xff\xfe\n" && Beneath::default().open_file(&e.source).is_ok())
    );
}

#[test]
fn what_vanishes_or_is_replaced_meanwhile_is_reported() {
    let dir = tree(&["a", "b", "c/x", "d"]);
    let mut walk = start(&[dir.path().into()], &[]);
    let mut next = || walk.next().map(|walked| shown(&walked.unwrap()));
    assert_eq!(next().unwrap(), ".");
    assert_eq!(next().unwrap(), "a");
    fs::remove_file(dir.path().join("b")).unwrap();
    fs::remove_dir_all(dir.path().join("c")).unwrap();
    symlink("/etc", dir.path().join("c")).unwrap();
    assert_eq!(next().unwrap(), "! b: vanished during the scan");
    assert_eq!(next().unwrap(), "c", "now a link, and not followed");
    assert_eq!(next().unwrap(), "d");
    assert_eq!(next(), None);
}

#[test]
fn a_folder_that_vanishes_before_it_is_listed_is_reported_once() {
    let dir = tree(&["a/x", "b"]);
    let mut walk = start(&[dir.path().into()], &[]);
    walk.next().unwrap().unwrap();
    let metadata = metadata_at(&dir.path().join("a")).unwrap();
    walk.position.descend(OsStr::new("a"));
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    assert_eq!(shown(&walk.enter(metadata.clone(), Vec::new()).unwrap()), "! a: vanished during the scan");
    symlink("/etc", dir.path().join("a")).unwrap();
    walk.position.descend(OsStr::new("a"));
    assert_eq!(
        shown(&walk.enter(metadata, Vec::new()).unwrap()),
        "! a: replaced by something else during the scan"
    );
    assert_eq!(walk.position.relative_path(), b".");
}

/// Root may read every folder, so root runs this test again as somebody else.
#[test]
fn a_folder_that_cannot_be_read_is_reported_and_the_walk_continues() {
    if rustix::process::geteuid().is_root() {
        return run_as_nobody("a_folder_that_cannot_be_read_is_reported_and_the_walk_continues");
    }
    let dir = tree(&["closed/x", "open/y"]);
    let closed = dir.path().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o300)).unwrap();
    let found = walk(&[dir.path().into()], &[]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let problem = "! closed: cannot list the folder: Permission denied (os error 13)";
    assert_eq!(found, [".", "closed", problem, "open", "open/y"]);
}

fn run_as_nobody(test: &str) {
    use std::os::unix::process::CommandExt;
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tmp = room.path().join("tmp");
    fs::DirBuilder::new().mode(0o777).create(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    // That user may not be able to reach the folder that this program was built in.
    let program = room.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let name = format!("source::walk::tests::{test}");
    let mut again = std::process::Command::new(program);
    again.args(["--exact", &name]).env("TMPDIR", &tmp).current_dir(&tmp).uid(65_534).gid(65_534);
    let out = again.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_tree_deeper_than_the_longest_path_is_walked_to_its_ground() {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    const LEVELS: usize = 3_000;
    // In memory where that can be had: a disk takes seconds to make so many folders.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut here = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        mkdirat(&here, "dd", 0o700.into()).unwrap();
        here = openat(&here, "dd", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    fs::File::from(openat(&here, "f", OFlags::CREATE | OFlags::WRONLY, 0o600.into()).unwrap())
        .set_len(7)
        .unwrap();
    rustix::fs::symlinkat("f", &here, "l").unwrap();
    let walked: Vec<_> = start(&[dir.path().into()], &[]).map(Result::unwrap).collect();
    assert_eq!(walked.len(), LEVELS + 3);
    let [.., Walked::Entry(file), Walked::Entry(link)] = walked.as_slice() else {
        panic!("{:?}", walked.last())
    };
    assert_eq!(file.relative_path.len(), LEVELS * 3 + 1);
    assert_eq!(Beneath::default().open_file(&file.source).unwrap().1.size, 7);
    assert_eq!(Beneath::default().extended(&file.source).unwrap(), Extended::default());
    assert_eq!(Beneath::default().read_link(&link.source).unwrap(), b"f");
    // The temporary folder's own removal may not reach that deep.
    std::process::Command::new("rm").arg("-rf").arg(dir.path()).status().unwrap();
}

/// What a tree holds, in the order that the walk promises.
fn naive(folder: &Path, relative: &[u8], found: &mut Vec<(Vec<u8>, SourceKind, u64)>) {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for name in names {
        let path = folder.join(&name);
        let below = [relative, name.as_bytes()].concat();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.push((below.clone(), SourceKind::Directory, metadata.len()));
            naive(&path, &[&below, &b"/"[..]].concat(), found);
        } else {
            let kind = if metadata.is_symlink() { SourceKind::Symlink } else { SourceKind::File };
            found.push((below, kind, metadata.len()));
        }
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![Just(b'a'), Just(b'b'), Just(b'.'), Just(b'-'), Just(b' '), Just(0xff), Just(0xc3)];
    let name = proptest::collection::vec(byte, 1..3);
    name.prop_filter("a folder's own names", |name| name != b"." && name != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_finds_what_a_naive_listing_finds(
        made in proptest::collection::vec((proptest::collection::vec(name(), 1..5), 0..3), 0..16)
    ) {
        let dir = tempfile::tempdir().unwrap();
        for (names, kind) in made {
            let mut path = dir.path().to_path_buf();
            path.extend(names.iter().map(|name| OsStr::from_bytes(name)));
            // What is in the way stays: the tree is whatever could be made.
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = match kind {
                0 => fs::create_dir(&path),
                1 if path.symlink_metadata().is_err() => fs::write(&path, &names[0]),
                _ => symlink(dir.path(), &path),
            };
        }
        let root = fs::metadata(dir.path()).unwrap().len();
        let mut expected = vec![(b".".to_vec(), SourceKind::Directory, root)];
        naive(dir.path(), b"", &mut expected);
        let found: Vec<_> = start(&[dir.path().into()], &[])

            .map(|walked| match walked.unwrap() {
                Walked::Entry(entry) => (entry.relative_path, entry.metadata.kind, entry.metadata.size),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(found, expected);
    }
}
