//! Alternate data streams of NTFS from the file to the manifest, the next backup, the restore, other programs and the archive alone.
//! This system has none: extended attributes take their place.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use intellistor::{
    BackupOptions, BackupReport, Entry, EntryKind, Overwrite, Policy, RestoreOptions, RunOptions, StoreUrl,
    UserKey,
};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::Extent;
use intellistor_storage::manifest::streams::simulated::{KEPT, PREFIX};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::decrypt_py;
use intellistor_tests::folders::paths_below;
use intellistor_tests::hostile_backup::{HostileBackup, entry, file_header, members};
use intellistor_tests::memory_sandbox::{MemorySandbox, assert_clean, write};
use intellistor_tests::tree::{self, Ignore, TreeEntry};
use intellistor_tests::vault::Vault;
use sha2::{Digest as _, Sha256};

const ZONE: &str = "Zone.Identifier";
const ZONE_TEXT: &[u8] = b"[ZoneTransfer]\r\nZoneId=3\r\n";
const LARGE_BYTES: u64 = 3 << 20;

fn give(path: &Path, name: &str, content: impl AsRef<[u8]>) {
    xattr::set(path, format!("{PREFIX}{name}"), content.as_ref()).unwrap();
}

fn take(path: &Path, name: &str) {
    xattr::remove(path, format!("{PREFIX}{name}")).unwrap();
}

/// A folder that a restore can put streams into.
fn keeping(folder: PathBuf) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    xattr::set(&folder, KEPT, b"1").unwrap();
    folder
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The streams of everything in a folder: `path:name`, and the SHA-256 of each.
fn streams_in(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in [vec![folder.to_owned()], paths_below(folder)].concat() {
        if path.is_symlink() {
            continue;
        }
        for attribute in xattr::list(&path).unwrap() {
            let Some(name) = attribute.to_str().unwrap().strip_prefix(PREFIX).map(str::to_owned) else {
                continue;
            };
            let value = xattr::get(&path, &attribute).unwrap().unwrap();
            let text = String::from_utf8_lossy(&value).into_owned();
            let sha256 = match (text.strip_prefix("file:"), text.strip_prefix("sha256:")) {
                (Some(file), _) => tree::sha256(Path::new(file)),
                (_, Some(sha256)) => sha256.to_owned(),
                _ => hex(&value),
            };
            let below = path.strip_prefix(folder).unwrap().display().to_string();
            found.insert(format!("{below}:{name}"), sha256);
        }
    }
    found
}

/// Both trees are the same, with their streams; these were compared by their digests.
#[track_caller]
fn assert_restored(source: &Path, out: &Path, ignoring: &[Ignore<'_>]) {
    assert_eq!(streams_in(out), streams_in(source));
    let without = |folder: &Path| {
        let mut tree = tree::snapshot(folder);
        let is_simulated = |name: &[u8]| name.starts_with(PREFIX.as_bytes()) || name == KEPT.as_bytes();
        for TreeEntry { xattrs, .. } in tree.values_mut() {
            xattrs.retain(|name, _| !is_simulated(name));
        }
        tree
    };
    let ignoring = [ignoring, &[Ignore::Allocation]].concat();
    tree::assert_same(&without(source), &without(out), &ignoring);
}

/// Files and folders with streams: small and empty ones, a large one, one with a file's content, several of one file.
fn fill(source: &Path, noise: &Path) {
    for path in ["a.txt", "folder/1.txt", "folder/b.txt", "folder/deep/c.bin", "plain.txt"] {
        write(&source.join(path), format!("content of {path}"));
    }
    give(&source.join("a.txt"), ZONE, ZONE_TEXT);
    give(&source.join("a.txt"), "empty", b"");
    give(&source.join("a.txt"), "same as plain", b"content of plain.txt");
    give(&source.join("folder/b.txt"), "large", format!("file:{}", noise.display()));
    give(&source.join("folder/deep/c.bin"), "\u{e7}\u{e3}o", b"x");
    // Its name sorts behind those of the files in the folder.
    give(&source.join("folder"), "of the folder", b"folder's");
    give(source, "of the root", b"root's");
    // A file that is called as the member of a stream is.
    write(&source.join(".intellistor/streams/a.txt:x"), "a file of a person");
    fs::set_permissions(source.join("folder/b.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o444))
        .unwrap();
}

fn sandbox() -> MemorySandbox {
    let sandbox = MemorySandbox::create();
    tree::write_noise(&sandbox.at("noise"), 7, LARGE_BYTES);
    fill(&sandbox.source(), &sandbox.at("noise"));
    tree::let_age(&sandbox.source());
    sandbox
}

fn policy(sandbox: &MemorySandbox) -> Policy {
    Policy { streams: true, ..sandbox.policy() }
}

async fn back_up(sandbox: &MemorySandbox) -> BackupReport {
    let report = sandbox.vault.backup(&policy(sandbox), BackupOptions::default()).await.unwrap();
    assert!(report.is_complete(), "{report:#?}");
    report
}

async fn entries(vault: &Vault, report: &BackupReport) -> Vec<Entry> {
    let mut entries = Vec::new();
    let shown = vault.show(&report.name).await.unwrap();
    let each = |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    };
    shown.for_each_entry(each).unwrap();
    entries
}

#[tokio::test]
async fn streams_are_entries_behind_their_files_and_come_back_with_them() {
    let sandbox = sandbox();
    let report = back_up(&sandbox).await;
    let found = entries(&sandbox.vault, &report).await;
    let paths: Vec<_> = found.iter().map(|entry| entry.relative_path.as_str()).collect();
    let expected = [
        ".",
        ".//:of the root",
        ".intellistor",
        ".intellistor/streams",
        ".intellistor/streams/a.txt:x",
        "a.txt",
        "a.txt//:Zone.Identifier",
        "a.txt//:empty",
        "a.txt//:same as plain",
        "folder",
        "folder//:of the folder",
        "folder/1.txt",
        "folder/b.txt",
        "folder/b.txt//:large",
        "folder/deep",
        "folder/deep/c.bin",
        "folder/deep/c.bin//:\u{e7}\u{e3}o",
        "plain.txt",
    ];
    assert_eq!(paths, expected);
    for stream in found.iter().filter(|entry| entry.relative_path.contains("//:")) {
        assert_eq!(stream.kind, EntryKind::Stream);
        let bare = (&stream.unix, stream.windows, &stream.security, stream.xattrs.len());
        assert_eq!(bare, (&None, None, &None, 0), "{}", stream.relative_path);
        let (owner, _) = stream.relative_path.split_once("//:").unwrap();
        let owner = found.iter().find(|entry| entry.relative_path == owner).unwrap();
        assert_eq!((stream.mtime_ns, stream.inode), (owner.mtime_ns, owner.inode));
    }
    let large = found.iter().find(|entry| entry.relative_path.ends_with("large")).unwrap();
    assert!(large.chunks.is_some() && large.sketch.is_some(), "it is cut as a large file is");
    let (files, content) = (6, "content of ".len() as u64);
    let totals = report.totals;
    assert_eq!((totals.files, totals.streams, totals.directories), (files, 7, 5));
    assert_eq!(report.changes.new, files, "streams are no files");
    assert_eq!(report.roots[0].files, Some(files));
    assert!(totals.bytes > LARGE_BYTES + files * content);
    assert_eq!((report.streams_left_out, report.notes.len()), (0, 0), "{:?}", report.notes);

    sandbox.vault.verify(&report.name, RunOptions::default()).await.unwrap();
    let out = keeping(sandbox.at("out"));
    let restored = sandbox.vault.restore(&report.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    assert_eq!((restored.found, restored.restored), (18, 18));
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
}

#[tokio::test]
async fn a_policy_that_does_not_ask_counts_them_and_says_so_once() {
    let sandbox = sandbox();
    let report = sandbox.back_up().await;
    assert!(report.is_complete());
    assert_eq!((report.totals.streams, report.streams_left_out), (0, 7));
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    assert!(
        report.notes[0].contains("7 alternate data streams were left out, 1 of them only"),
        "{:?}",
        report.notes
    );
    assert!(entries(&sandbox.vault, &report).await.iter().all(|entry| entry.kind != EntryKind::Stream));
    assert!(entries(&sandbox.vault, &report).await.iter().all(|entry| entry.xattrs.is_empty()));

    // A mark of the web is no reason for a note.
    let sandbox = MemorySandbox::create();
    write(&sandbox.source().join("setup.exe"), "x");
    give(&sandbox.source().join("setup.exe"), ZONE, ZONE_TEXT);
    let report = sandbox.back_up().await;
    assert_eq!((report.streams_left_out, report.notes.len()), (1, 0));
    let document = serde_json::to_value(report.document("restore".to_owned())).unwrap();
    assert_eq!((&document["streams_left_out"], document.get("streams")), (&serde_json::json!(1), None));
    let without = MemorySandbox::with_odd_files().back_up().await;
    let document = serde_json::to_string(&without.document("restore".to_owned())).unwrap();
    assert!(!document.contains("streams"), "{document}");
}

#[tokio::test]
async fn where_streams_have_no_place_they_are_left_out_and_counted() {
    let sandbox = sandbox();
    let report = back_up(&sandbox).await;
    for options in
        [RestoreOptions::to(sandbox.at("out")), RestoreOptions::to(sandbox.at("alone")).without_manifest()]
    {
        let restored = sandbox.vault.restore(&report.name, options).await.unwrap();
        assert_clean(&restored);
        assert_eq!((restored.found, restored.restored, restored.streams_left_out), (18, 11, 7));
        assert!(restored.is_complete());
    }
    assert_eq!(fs::read(sandbox.at("out/a.txt")).unwrap(), b"content of a.txt");
    for out in ["out", "alone"] {
        assert!(streams_in(&sandbox.at(out)).is_empty());
        assert_eq!(
            fs::read(sandbox.at(out).join(".intellistor/streams/a.txt:x")).unwrap(),
            b"a file of a person"
        );
    }
    // Nothing of them is fetched.
    let whole = keeping(sandbox.at("whole"));
    let whole = sandbox.vault.restore(&report.name, RestoreOptions::to(&whole)).await.unwrap();
    let without = sandbox.vault.restore(&report.name, RestoreOptions::to(sandbox.at("again"))).await.unwrap();
    assert!(without.fetched_bytes + LARGE_BYTES / 2 < whole.fetched_bytes);
    let plan = RestoreOptions::to(sandbox.at("out"));
    let Vault { catalog, identity, .. } = &sandbox.vault;
    let plan = intellistor::plan_restore(catalog, identity, &report.name, &plan).await.unwrap();
    assert_eq!((plan.streams_left_out, plan.identical, plan.bytes_to_write), (7, 6, 0));
}

#[tokio::test]
async fn a_stream_is_selected_with_its_file() {
    let sandbox = sandbox();
    let report = back_up(&sandbox).await;
    for (i, (glob, expected)) in [
        ("*.txt", vec!["a.txt:Zone.Identifier", "a.txt:empty", "a.txt:same as plain", "folder/b.txt:large"]),
        ("folder/deep/*", vec!["folder/deep/c.bin:\u{e7}\u{e3}o"]),
        ("folder", vec!["folder/b.txt:large", "folder/deep/c.bin:\u{e7}\u{e3}o", "folder:of the folder"]),
        ("plain.txt", vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        for without_manifest in [false, true] {
            let out = keeping(sandbox.at(&format!("out {i} {without_manifest}")));
            let options = RestoreOptions::to(&out).only([glob]);
            let options = if without_manifest { options.without_manifest() } else { options };
            let restored = sandbox.vault.restore(&report.name, options).await.unwrap();
            assert_clean(&restored);
            assert_eq!(streams_in(&out).into_keys().collect::<Vec<_>>(), expected, "{glob}");
        }
    }
    // What a stream is called selects nothing.
    let options = RestoreOptions::to(sandbox.at("none")).only(["*Zone.Identifier"]);
    sandbox.vault.restore(&report.name, options).await.unwrap_err();
}

#[tokio::test]
async fn an_incremental_backup_has_the_streams_as_they_are() {
    let sandbox = sandbox();
    let first = back_up(&sandbox).await;
    let unchanged = back_up(&sandbox).await;
    assert_eq!((unchanged.changes.unchanged, unchanged.changes.bytes_read), (6, 0));
    assert_eq!(unchanged.totals, first.totals);

    let at = |path: &str| sandbox.source().join(path);
    give(&at("a.txt"), ZONE, b"[ZoneTransfer]\r\nZoneId=4\r\n");
    take(&at("a.txt"), "empty");
    give(&at("folder/1.txt"), "added", b"new");
    // In the large one a little changes: what is stored are chunks.
    let mut noise = fs::read(sandbox.at("noise")).unwrap();
    noise[1 << 20] ^= 1;
    fs::write(sandbox.at("noise 2"), &noise).unwrap();
    give(&at("folder/b.txt"), "large", format!("file:{}", sandbox.at("noise 2").display()));
    tree::let_age(&sandbox.source());
    let second = back_up(&sandbox).await;
    assert_eq!((second.totals.streams, second.totals.files), (7, 6));
    let stored = second.changes.bytes_stored;
    assert!(stored < LARGE_BYTES / 2, "{stored}");
    sandbox.vault.verify(&second.name, RunOptions::default()).await.unwrap();
    let out = keeping(sandbox.at("out"));
    let restored = sandbox.vault.restore(&second.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
    let back = keeping(sandbox.at("first"));
    assert_clean(&sandbox.vault.restore(&first.name, RestoreOptions::to(&back)).await.unwrap());
    let streams = streams_in(&back);
    assert_eq!((streams.len(), &streams["a.txt:Zone.Identifier"]), (7, &hex(ZONE_TEXT)));

    // A policy that does not ask for them any more has none, and no file counts as deleted.
    let third = sandbox.vault.backup(&sandbox.policy(), BackupOptions::default()).await.unwrap();
    assert_eq!((third.totals.streams, third.streams_left_out, third.changes.deleted), (0, 7, 0));
    assert_eq!(third.changes.unchanged, 6);
}

#[tokio::test]
async fn what_is_there_already_is_left_alone_with_its_streams_and_what_is_not_is_written() {
    let sandbox = sandbox();
    let report = back_up(&sandbox).await;
    let out = keeping(sandbox.at("out"));
    let restore = async |overwrite| {
        let options = RestoreOptions { overwrite, ..RestoreOptions::to(&out) };
        let restored = sandbox.vault.restore(&report.name, options).await.unwrap();
        assert_clean(&restored);
        restored
    };
    restore(Overwrite::IfDifferent).await;
    let again = restore(Overwrite::IfDifferent).await;
    assert_eq!((again.unchanged, again.fetched_bytes, again.restored), (13, 0, 18));
    // A stream that differs, one that is gone, and one that the backup does not have.
    give(&out.join("a.txt"), ZONE, b"changed");
    take(&out.join("folder"), "of the folder");
    give(&out.join("plain.txt"), "own", b"stays");
    let mended = restore(Overwrite::IfDifferent).await;
    assert_eq!((mended.unchanged, mended.restored), (11, 18));
    assert_eq!(xattr::get(out.join("plain.txt"), format!("{PREFIX}own")).unwrap().unwrap(), b"stays");
    take(&out.join("plain.txt"), "own");
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
    // A file that is replaced loses its streams, and gets them from the backup although they were right.
    fs::write(out.join("a.txt"), "something else").unwrap();
    let replaced = restore(Overwrite::IfDifferent).await;
    assert_eq!(replaced.overwritten, 1);
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
    // No existing file is touched, nor a stream of one.
    give(&out.join("a.txt"), ZONE, b"mine");
    fs::remove_file(out.join("folder/b.txt")).unwrap();
    let never = restore(Overwrite::Never).await;
    assert!(never.is_complete() && never.left.count() > 0);
    assert_eq!(xattr::get(out.join("a.txt"), format!("{PREFIX}{ZONE}")).unwrap().unwrap(), b"mine");
    assert!(streams_in(&out).contains_key("folder/b.txt:large"));
    restore(Overwrite::Always).await;
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
}

#[tokio::test]
async fn other_programs_read_an_archive_with_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (source, store) = (dir.path().join("source"), dir.path().join("store"));
    let noise = dir.path().join("noise");
    tree::write_noise(&noise, 5, LARGE_BYTES);
    fill(&source, &noise);
    tree::let_age(&source);
    let key = UserKey::generate();
    let secret = ("INTELLISTOR_KEY", key.to_base64().unwrap().to_string());
    let secret = (secret.0, secret.1.as_str());
    let vault = Vault::open(&StoreUrl::local(&store), key).await.unwrap();
    let policy = Policy { streams: true, ..Policy::new("streams", [source.clone()]).unwrap() };
    let full = vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let assert_extracted = |folder: &Path, zone: &[u8]| {
        let read = |path: &str| fs::read(folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(read("a.txt"), b"content of a.txt");
        assert_eq!(read(".intellistor/streams/a.txt:Zone.Identifier"), zone);
        assert_eq!(read(".intellistor/streams/a.txt:empty"), b"");
        assert_eq!(read(".intellistor/streams/a.txt:same as plain"), b"content of plain.txt");
        assert_eq!(read(".intellistor/streams/folder/b.txt:large"), fs::read(&noise).unwrap());
        assert_eq!(read(".intellistor/streams/folder:of the folder"), b"folder's");
        assert_eq!(read(".intellistor/streams/.:of the root"), b"root's");
        assert_eq!(read(".intellistor/streams/a.txt:x"), b"a file of a person");
    };
    // `decrypt.py` and GNU tar.
    let alone = dir.path().join("alone");
    decrypt_py::unpack(&store.join(&full.key_backup), &alone, secret);
    assert_extracted(&alone, ZONE_TEXT);
    let changed = b"[ZoneTransfer]\r\nZoneId=4\r\n";
    give(&source.join("a.txt"), ZONE, changed);
    let second = vault.backup(&policy, BackupOptions::default()).await.unwrap();
    assert!(second.base.is_some());
    let whole = dir.path().join("whole");
    decrypt_py::restore(&store.join(&second.key_manifest), &store, &whole, secret);
    assert_extracted(&whole, changed);
    // Our own `decrypt` puts an incremental backup together in the same way.
    let tar = dir.path().join("second.tar.gz");
    let out = Box::new(fs::File::create(&tar).unwrap());
    vault.decrypt(&second.name, out, RunOptions::default()).await.unwrap();
    let ours = dir.path().join("ours");
    fs::create_dir(&ours).unwrap();
    let status =
        std::process::Command::new("tar").arg("xzf").arg(&tar).arg("-C").arg(&ours).status().unwrap();
    assert!(status.success());
    assert_extracted(&ours, changed);
}

#[tokio::test]
async fn the_archive_alone_gives_streams_back_and_knows_them_by_their_record() {
    let sandbox = sandbox();
    let report = back_up(&sandbox).await;
    let out = keeping(sandbox.at("out"));
    let options = RestoreOptions::to(&out).without_manifest();
    let restored = sandbox.vault.restore(&report.name, options).await.unwrap();
    assert_clean(&restored);
    assert_restored(&sandbox.source(), &out, &[Ignore::Root]);

    // A stream that is no path of one ends the reading; one of a file that is not there is said_of_it.
    for (name, said_of_it) in [
        (".intellistor/streams/good:x", None),
        (".intellistor/streams/gone:x", Some("its file was not restored")),
        (".intellistor/streams/good", Some("the name of an alternate data stream")),
        ("good:x", Some("the name of an alternate data stream")),
        (".intellistor/streams/good:a\\b", Some("the name of an alternate data stream")),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str| {
            tar.append(&file_header(path, 1), &b"x"[..]).unwrap();
            tar.append_pax_extensions([("INTELLISTOR.stream", &b"1"[..])]).unwrap();
        };
        add("good");
        add(name);
        add(".intellistor/streams/good:last");
        let hostile = HostileBackup::new();
        hostile.put_archive(&members(&tar.into_inner().unwrap())).await;
        let vault = Vault::new(std::sync::Arc::new(hostile.store.clone()), hostile.key.clone());
        let out = keeping(tempfile::tempdir().unwrap().keep());
        let options = RestoreOptions::to(&out).without_manifest();
        let said = match vault.restore(&hostile.name, options).await {
            Ok(report) => format!("{:?} {:?}", report.warnings, report.damaged),
            Err(error) => format!("{error:?}"),
        };
        match said_of_it {
            Some(said_of_it) => assert!(said.contains(said_of_it), "{name}: {said}"),
            None => assert_eq!(said, "[] []"),
        }
        assert_eq!(streams_in(&out).contains_key("good:x"), said_of_it.is_none(), "{name}");
        assert_eq!(fs::read(out.join("good")).unwrap(), b"x");
        fs::remove_dir_all(&out).unwrap();
    }
}

/// A file with content `abc`, and what else a manifest says.
async fn forged(others: &[Entry]) -> (HostileBackup, Vault) {
    let hostile = HostileBackup::new();
    let mut tar = vec![0; 1024];
    tar[512..515].copy_from_slice(b"abc");
    let extents = vec![Extent { archive: 0, offset: 512, length: 3, at: None }];
    let sha256 = Some(Sha256::digest(b"abc").into());
    let content =
        |entry: Entry| Entry { size: 3, sha256: entry.sha256.or(sha256), extents: extents.clone(), ..entry };
    let file = content(entry("a.txt", EntryKind::File));
    let others = others.iter().cloned().map(content);
    let entries: Vec<_> = std::iter::once(file).chain(others).collect();
    hostile.put(&tar, &entries).await;
    let vault = Vault::new(std::sync::Arc::new(hostile.store.clone()), hostile.key.clone());
    (hostile, vault)
}

fn stream(path: &str) -> Entry {
    entry(path, EntryKind::Stream)
}

#[tokio::test]
async fn a_damaged_stream_is_named_and_nothing_of_it_is_left() {
    let wrong = Entry { sha256: Some([7; 32]), ..stream("a.txt//:wrong") };
    let (hostile, vault) = forged(&[stream("a.txt//:right"), wrong, stream("a.txt//:z")]).await;
    let dir = tempfile::tempdir().unwrap();
    let out = keeping(dir.path().join("out"));
    let restored = vault.restore(&hostile.name, RestoreOptions::to(&out)).await.unwrap();
    assert_eq!(restored.damaged_count, 1);
    assert!(restored.damaged[0].starts_with("a.txt:wrong: "), "{:?}", restored.damaged);
    assert_eq!(streams_in(&out).into_keys().collect::<Vec<_>>(), ["a.txt:right", "a.txt:z"]);
    assert_eq!(fs::read(out.join("a.txt")).unwrap(), b"abc");
    let error = vault.verify(&hostile.name, RunOptions::default()).await.unwrap_err();
    assert!(format!("{error:?}").contains("a.txt:wrong"), "{error:?}");
}

#[tokio::test]
async fn a_stream_of_what_was_not_restored_is_told_and_not_written() {
    let damaged = Entry { sha256: Some([7; 32]), ..entry("b.txt", EntryKind::File) };
    let others =
        [damaged, stream("b.txt//:x"), stream("folder//:x"), stream("gone.txt//:x"), stream("link//:x")];
    let (hostile, vault) = forged(&others).await;
    let dir = tempfile::tempdir().unwrap();
    let out = keeping(dir.path().join("out"));
    // What was there before is not what was restored.
    fs::write(out.join("b.txt"), "mine").unwrap();
    fs::create_dir(out.join("folder")).unwrap();
    fs::write(dir.path().join("outside"), "theirs").unwrap();
    std::os::unix::fs::symlink("../outside", out.join("link")).unwrap();
    let restored = vault.restore(&hostile.name, RestoreOptions::to(&out)).await.unwrap();
    assert_eq!(
        (restored.damaged_count, restored.warning_count, restored.restored),
        (1, 4, 1),
        "{restored:#?}"
    );
    for (warning, path) in restored.warnings.iter().zip(["b.txt:x", "folder:x", "gone.txt:x", "link:x"]) {
        assert_eq!(*warning, format!("{path}: its file was not restored"));
    }
    assert!(streams_in(dir.path()).is_empty(), "{:?}", streams_in(dir.path()));
    assert!(!restored.is_complete());
}

#[tokio::test]
async fn a_manifest_that_would_write_something_else_of_a_file_is_refused() {
    for path in [
        "a.txt//::$DATA",
        "a.txt//:x:$DATA",
        "a.txt//::$INDEX_ALLOCATION",
        "a.txt//:..\\..\\b",
        "a.txt//:b/c",
        "a.txt//:",
        "a.txt//:nul\0",
        "//:x",
        "a.txt/:x",
        "a.txt:x",
        "a.txt",
    ] {
        let (hostile, vault) = forged(&[stream(path)]).await;
        let dir = tempfile::tempdir().unwrap();
        let out = keeping(dir.path().join("out"));
        let refused = vault.restore(&hostile.name, RestoreOptions::to(&out)).await.unwrap_err();
        assert!(format!("{refused:?}").contains("is no path of a stream"), "{path:?}: {refused:?}");
        assert!(vault.verify(&hostile.name, RunOptions::default()).await.is_err(), "{path:?}");
        assert!(streams_in(&out).is_empty(), "{path:?}");
    }
    // What looks like a stream and is not called one is a file's path with an empty name in it.
    let (hostile, vault) = forged(&[entry("a.txt//:x", EntryKind::File)]).await;
    let dir = tempfile::tempdir().unwrap();
    let restored = vault.restore(&hostile.name, RestoreOptions::to(dir.path().join("out"))).await.unwrap();
    assert!(restored.warnings[0].contains("refused"), "{:?}", restored.warnings);
}

#[test]
fn both_programs_keep_streams_over_kills_and_show_them() {
    for point in [Failpoint::ScanEnded, Failpoint::PartRecorded, Failpoint::ArchiveCommitted] {
        let sandbox = AgentSandbox::filled("streams", 20);
        sandbox.write_policy("streams: true\n");
        fill(&sandbox.source(), &sandbox.at("noise"));
        tree::write_noise(&sandbox.at("noise"), 9, 2 * LARGE_BYTES);
        for i in 0..100 {
            let path = sandbox.source().join(format!("pasta n\u{fa}mero 1/relat\u{f3}rio {i}.txt"));
            give(&path, ZONE, format!("zone {i}"));
        }
        assert!(sandbox.run_until(point.name(), 1), "{} was never reached", point.name());
        let run = sandbox.run().expect(0).json;
        assert_eq!((&run["resumed"], &run["streams"]), (&true.into(), &107.into()), "{run:#}");
        let out = keeping(sandbox.at("restored"));
        let args = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "restored"];
        let restored = sandbox.client.run(args).expect(0).json;
        assert_eq!(restored["integrity"], "verified");
        assert_restored(&sandbox.source(), &out, &[Ignore::Root]);
    }
}

#[test]
fn people_see_a_stream_as_windows_writes_it() {
    let sandbox = AgentSandbox::new("streams");
    sandbox.write_policy("streams: true\n");
    let file = sandbox.source().join("a.txt");
    write(&file, "content");
    give(&file, ZONE, ZONE_TEXT);
    let first = sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!((&first["files"], &first["streams"]), (&1.into(), &1.into()), "{first:#}");
    give(&file, ZONE, b"another");
    sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    let table = |args: &[&str]| {
        let policy = ["--policy", "policy.yaml", "--format", "table"];
        let mut command = sandbox.client.command([args, &policy[..]].concat());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let ids: Vec<_> = sandbox.backups().iter().map(|key| key.split('/').nth(3).unwrap().to_owned()).collect();
    for args in [
        &["-q", "show", "--latest"][..],
        &["-q", "show", "--latest", "--tree"],
        &["-q", "find", "*.txt"],
        &["-q", "diff", &ids[0], &ids[1]],
    ] {
        let shown = table(args);
        assert!(shown.contains("a.txt:Zone.Identifier") && !shown.contains("//"), "{args:?}: {shown}");
    }
    // Here there is no place for it, which is said once.
    let args = ["restore", "--policy", "policy.yaml", "--latest", "--out", "plain"];
    let restored = sandbox.client.run(args).expect(0);
    assert_eq!(restored.json["streams_left_out"], 1);
    assert_eq!(
        restored.stderr.matches("1 alternate data stream was left out").count(),
        1,
        "{}",
        restored.stderr
    );
}
