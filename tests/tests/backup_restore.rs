//! Backups and their restores through the library: what comes back is what was there.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use intellistor::{BackupOptions, Note, Policy, RestoreOptions, RunOptions, StoreUrl, UserKey};
use intellistor_storage::objects::{ObjectStore, STORE_MARK, SharedStore};
use intellistor_tests::folders::files_below;
use intellistor_tests::memory_sandbox::{MemorySandbox, POLICY, assert_clean, leaves, names, write};
use intellistor_tests::s3_server::S3Server;
use intellistor_tests::sample_tree;
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;

async fn a_whole_tree_comes_back(store: SharedStore) {
    let sandbox = MemorySandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let vault = Vault::new(store, UserKey::generate());
    let backup = vault.backup(&sandbox.policy(), BackupOptions::default()).await.unwrap();
    assert_eq!(backup.problems, []);
    assert_eq!((backup.totals.skipped, backup.totals.changed, backup.totals.notes), (0, 0, 2));
    let mut noted = Vec::new();
    let note = |note: Note| {
        noted.push(note.relative_path);
        ControlFlow::Continue(())
    };
    vault.show(&backup.name).await.unwrap().for_each_note(note).unwrap();
    assert_eq!(noted, sample_tree::SPECIAL);
    assert_eq!(backup.totals.entries, before.len() as u64 - 2);

    let out = sandbox.at("restored");
    let restored = vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    assert_eq!(restored.restored, backup.totals.entries);
    tree::assert_same(&before, &tree::snapshot(&out), &[Ignore::Special]);
    tree::assert_same(&before, &tree::snapshot(&sandbox.source()), &[]);

    let verified = vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    assert_eq!(verified.entries, backup.totals.entries);
    assert_eq!(verified.archive_sha256, backup.archive_sha256);
    assert_eq!(verified.archive_bytes, backup.archive_bytes);
    let listed = vault.catalog.list(POLICY).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].name, listed[0].archive_bytes), (&backup.name, backup.archive_bytes));
    assert_eq!(listed[0].manifest_bytes, backup.manifest_bytes);
}

#[tokio::test]
async fn a_whole_tree_comes_back_from_s3() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path());
    a_whole_tree_comes_back(server.store()).await;
}

#[tokio::test]
async fn a_whole_tree_comes_back_from_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    a_whole_tree_comes_back(StoreUrl::local(dir.path()).open().await.unwrap()).await;
}

#[tokio::test]
async fn the_archive_alone_restores_the_same_tree() {
    let sandbox = MemorySandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let alone = sandbox.restore(&backup, RestoreOptions::without_manifest).await;
    tree::assert_same(&before, &alone, &[Ignore::Special]);
    let some = |options: RestoreOptions| options.only(["tempos/*", "esparso/*"]);
    let part = sandbox.restore(&backup, |options| some(options).without_manifest()).await;
    // Folders that were not asked for are made as needed, without their recorded metadata.
    tree::assert_same(&sandbox.restore(&backup, some).await, &part, &[Ignore::Times]);
    assert_eq!(leaves(&part).len(), 6, "{:?}", names(&part));
    assert_eq!(part[sample_tree::SPARSE.as_bytes()], before[sample_tree::SPARSE.as_bytes()]);
}

#[tokio::test]
async fn the_archive_alone_restores_when_the_manifest_is_lost() {
    let sandbox = MemorySandbox::with_odd_files();
    let store = sandbox.at("store");
    let vault = Vault::open(&StoreUrl::local(&store), UserKey::generate()).await.unwrap();
    let backup = vault.backup(&sandbox.policy(), BackupOptions::default()).await.unwrap();
    fs::remove_file(store.join(&backup.key_manifest)).unwrap();
    vault.restore(&backup.name, RestoreOptions::to(sandbox.at("no"))).await.unwrap_err();
    assert!(!sandbox.at("no").exists(), "nothing is written before the manifest was verified");
    assert_eq!(vault.catalog.list(POLICY).await.unwrap(), [], "without a manifest there is no backup");
    let options = RestoreOptions::to(sandbox.at("out")).without_manifest();
    assert_clean(&vault.restore(&backup.name, options).await.unwrap());
    tree::assert_same(
        &tree::snapshot(&sandbox.source()),
        &tree::snapshot(&sandbox.at("out")),
        &[Ignore::Special],
    );
}

#[tokio::test]
async fn roots_of_one_name_stay_apart() {
    let sandbox = MemorySandbox::create();
    write(&sandbox.at("a/docs/x.txt"), "a");
    write(&sandbox.at("b/docs/x.txt"), "b");
    write(&sandbox.at("nota.txt"), "nota");
    let paths = ["a/docs", "b/docs", "nota.txt"].map(|path| sandbox.at(path));
    let policy = Policy::new(POLICY, paths).unwrap();
    let backup = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let found = sandbox.restore(&backup, |options| options).await;
    assert_eq!(
        names(&found),
        [".", "docs", "docs-2", "docs-2/x.txt", "docs/x.txt", "nota.txt", "nota.txt/nota.txt"]
    );
    assert_eq!(found[&b"docs/x.txt"[..]], tree::snapshot(&sandbox.at("a/docs"))[&b"x.txt"[..]]);
    assert_eq!(found[&b"docs-2/x.txt"[..]], tree::snapshot(&sandbox.at("b/docs"))[&b"x.txt"[..]]);
    let one = sandbox.restore(&backup, |options| options.only(["docs-2/*"])).await;
    assert_eq!(leaves(&one), ["docs-2/x.txt"]);
    let manifest = sandbox.vault.show(&backup.name).await.unwrap();
    let prefixes: Vec<_> = manifest.head().roots.iter().map(|root| root.prefix.as_str()).collect();
    assert_eq!(prefixes, ["docs", "docs-2", "nota.txt"]);
}

#[tokio::test]
async fn what_is_excluded_is_not_there() {
    let sandbox = MemorySandbox::create();
    for name in
        ["fica.txt", "sai.tmp", "pasta/sai.tmp", "cache/a/b.txt", "Co\u{301}pia/x", "pasta/fica.tmp.txt"]
    {
        write(&sandbox.source().join(name), name);
    }
    let policy =
        Policy { exclude: ["*.tmp", "cache", "C\u{f3}pia"].map(str::to_owned).into(), ..sandbox.policy() };
    let backup = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let found = sandbox.restore(&backup, |options| options).await;
    assert_eq!(names(&found), [".", "fica.txt", "pasta", "pasta/fica.tmp.txt"]);
    assert_eq!(backup.totals.skipped, 0, "what was not wanted is not missing");
}

#[tokio::test]
async fn a_root_may_be_a_file_or_an_empty_folder() {
    let sandbox = MemorySandbox::create();
    write(&sandbox.at("só este.txt"), "um");
    for (root, expected) in [("só este.txt", &[".", "só este.txt"][..]), ("source", &["."])] {
        let policy = Policy::new(POLICY, [sandbox.at(root)]).unwrap();
        let backup = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
        assert_eq!(names(&sandbox.restore(&backup, |options| options).await), expected);
        assert_eq!(names(&sandbox.restore(&backup, RestoreOptions::without_manifest).await), expected);
        sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
    let sandbox = MemorySandbox::with_odd_files();
    let store: SharedStore = Arc::new(sandbox.memory.clone());
    let with = |passphrase: &str| {
        Vault::new(store.clone(), UserKey::from_passphrase("test", passphrase.to_owned()).unwrap())
    };
    let backup = with("maçã verde").backup(&sandbox.policy(), BackupOptions::default()).await.unwrap();
    let out = sandbox.at("out");
    for stranger in [with("maca verde"), sandbox.vault.clone()] {
        for options in [RestoreOptions::to(&out), RestoreOptions::to(&out).without_manifest()] {
            let error = stranger.restore(&backup.name, options).await.unwrap_err();
            assert_eq!(error.category(), intellistor::Category::Configuration, "{error}");
            assert!(!out.exists());
        }
    }
    assert_clean(&with("maçã verde").restore(&backup.name, RestoreOptions::to(&out)).await.unwrap());
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Special]);
}

#[tokio::test]
async fn the_latest_backup_is_the_newest() {
    let sandbox = MemorySandbox::create();
    // Several within one second, so that their timestamps alone do not tell.
    for i in 0..6 {
        write(&sandbox.source().join("contador"), i.to_string());
        let backup = sandbox.back_up().await;
        assert_eq!(
            sandbox.vault.catalog.latest(POLICY, &sandbox.vault.identity).await.unwrap(),
            backup.name,
            "backup {i}"
        );
    }
    let all = sandbox.vault.catalog.list(POLICY).await.unwrap();
    assert_eq!(all.len(), 6);
    for (i, listing) in all.iter().enumerate() {
        let out = tempfile::tempdir().unwrap();
        sandbox.vault.restore(&listing.name, RestoreOptions::to(out.path())).await.unwrap();
        assert_eq!(fs::read_to_string(out.path().join("contador")).unwrap(), i.to_string(), "oldest first");
    }
}

#[tokio::test]
async fn a_copy_restores_by_itself() {
    let sandbox = MemorySandbox::with_odd_files();
    let copy = sandbox.at("copy");
    let options = BackupOptions { copy_to: Some(copy.clone()), ..BackupOptions::default() };
    let key = UserKey::generate();
    let backup = {
        let vault = Vault::new(Arc::new(sandbox.memory.clone()), key.clone());
        vault.backup(&sandbox.policy(), options).await.unwrap()
    };
    for object in [&backup.key_backup, &backup.key_manifest] {
        let in_store = sandbox.memory.get_range(object, 0..u64::MAX).await.unwrap();
        assert!(in_store == fs::read(copy.join(object)).unwrap(), "{object} differs in the copy");
    }
    let objects =
        files_below(&copy).into_iter().filter(|path| path.is_file() && !path.ends_with(STORE_MARK)).count();
    assert_eq!(objects, 2, "nothing else is left in the copy: {:?}", files_below(&copy));
    let vault = Vault::open(&StoreUrl::local(&copy), key).await.unwrap();
    assert_eq!(vault.catalog.latest(POLICY, &vault.identity).await.unwrap(), backup.name);
    assert_clean(&vault.restore(&backup.name, RestoreOptions::to(sandbox.at("out"))).await.unwrap());
    tree::assert_same(
        &tree::snapshot(&sandbox.source()),
        &tree::snapshot(&sandbox.at("out")),
        &[Ignore::Special],
    );
}

#[tokio::test]
async fn a_decrypted_backup_is_a_tar_gz_like_any_other() {
    let sandbox = MemorySandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    let plain = sandbox.at("backup.tar.gz");
    let out = Box::new(fs::File::create(&plain).unwrap());
    let report = sandbox.vault.decrypt(&backup.name, out, RunOptions::default()).await.unwrap();
    assert_eq!(report.bytes_written, fs::metadata(&plain).unwrap().len());
    let listed = Command::new("tar")
        .args(["--quoting-style=literal", "--warning=no-unknown-keyword", "-tzf"])
        .arg(&plain)
        .output()
        .unwrap();
    assert!(
        listed.status.success() && listed.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let before = tree::snapshot(&sandbox.source());
    let lines = || listed.stdout.split_inclusive(|byte| *byte == b'\n');
    // Each large file is followed by its chunk list.
    let large = before.values().filter(|entry| entry.size > 1 << 20).count();
    let lists = lines().filter(|line| line.starts_with(b".intellistor/chunks/")).count();
    assert_eq!(lists, large);
    // A name with a newline takes two lines.
    assert_eq!(lines().count(), before.len() - sample_tree::SPECIAL.len() + 1 + lists);
    assert!(listed.stdout.windows(sample_tree::NOT_UTF8.len()).any(|window| window == sample_tree::NOT_UTF8));
}

#[tokio::test]
async fn restoring_again_over_a_tree_gives_the_same_tree() {
    let sandbox = MemorySandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    fs::write(out.join("vazio.txt"), "no longer").unwrap();
    fs::remove_file(out.join(sample_tree::SPARSE)).unwrap();
    fs::remove_file(out.join("pendurada")).unwrap();
    fs::set_permissions(out.join("modos/0400"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_clean(&sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap());
    // A folder that was there before keeps what it is.
    tree::assert_same(&before, &tree::snapshot(&out), &[Ignore::Special, Ignore::Root]);
}
