//! Backups and their restores through the library: what comes back is what was there.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use intellistor::{
    BackupOptions, BackupReport, Error, Note, Policy, ProblemKind, Progress, RestoreOptions, RestoreReport,
    RunOptions, StoreUrl, UserKey,
};
use intellistor_storage::objects::{Faulty, MemoryStore, ObjectStore, STORE_MARK, SharedStore};
use intellistor_tests::events::{until, until_at_rest};
use intellistor_tests::s3_server::S3Server;
use intellistor_tests::tree::{self, Ignore, Tree};
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const POLICY: &str = "everything";

/// A folder for a test, with a source in it, and a vault in memory.
struct Sandbox {
    dir: TempDir,
    memory: MemoryStore,
    key: UserKey,
    vault: Vault,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let (memory, key) = (MemoryStore::default(), UserKey::generate());
        let vault = Vault::new(Arc::new(memory.clone()), key.clone());
        Self { dir, memory, key, vault }
    }

    fn with_odd_files() -> Self {
        let sandbox = Self::new();
        tree::make(&sandbox.source());
        sandbox
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.at("source")
    }

    fn policy(&self) -> Policy {
        Policy::new(POLICY, [self.source()]).unwrap()
    }

    async fn back_up(&self) -> BackupReport {
        self.vault.backup(&self.policy(), BackupOptions::default()).await.unwrap()
    }

    /// Restores into a new folder and reads it.
    async fn restore(
        &self,
        backup: &BackupReport,
        options: impl FnOnce(RestoreOptions) -> RestoreOptions,
    ) -> Tree {
        self.restore_with_report(backup, options).await.0
    }

    async fn restore_with_report(
        &self,
        backup: &BackupReport,
        options: impl FnOnce(RestoreOptions) -> RestoreOptions,
    ) -> (Tree, RestoreReport) {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let options = options(RestoreOptions::to(out.path().join("out")));
        let report = self.vault.restore(&backup.name, options).await.unwrap();
        assert_clean(&report);
        assert_eq!(report.found, report.restored);
        (tree::snapshot(&out.path().join("out")), report)
    }
}

#[track_caller]
fn assert_clean(report: &RestoreReport) {
    assert_eq!(
        (report.warning_count, report.damaged_count),
        (0, 0),
        "{:?} {:?}",
        report.warnings,
        report.damaged
    );
}

fn write(path: &Path, body: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
}

fn names(tree: &Tree) -> Vec<String> {
    tree.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

/// The names of files and links, without the folders that they are in.
fn leaves(tree: &Tree) -> Vec<String> {
    let mut tree = tree.clone();
    tree.retain(|_, facts| facts.kind != tree::Kind::Folder);
    names(&tree)
}

async fn a_whole_tree_comes_back(store: SharedStore) {
    let sandbox = Sandbox::with_odd_files();
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
    assert_eq!(noted, tree::SPECIAL);
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
    let sandbox = Sandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let alone = sandbox.restore(&backup, RestoreOptions::without_manifest).await;
    tree::assert_same(&before, &alone, &[Ignore::Special]);
    let some = |options: RestoreOptions| options.only(["tempos/*", "esparso/*"]);
    let part = sandbox.restore(&backup, |options| some(options).without_manifest()).await;
    // Folders that were not asked for are made as needed, without their recorded metadata.
    tree::assert_same(&sandbox.restore(&backup, some).await, &part, &[Ignore::Times]);
    assert_eq!(leaves(&part).len(), 6, "{:?}", names(&part));
    assert_eq!(part[tree::SPARSE.as_bytes()], before[tree::SPARSE.as_bytes()]);
}

#[tokio::test]
async fn the_archive_alone_restores_when_the_manifest_is_lost() {
    let sandbox = Sandbox::with_odd_files();
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
async fn only_what_is_asked_for_comes_back() {
    let sandbox = Sandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let (nfc_as_nfd, nfd_as_nfc) =
        ("Relato\u{301}rio de func\u{327}a\u{303}o.txt", "C\u{f3}pia de relat\u{f3}rio.txt");
    for (globs, expected) in [
        (&["vazio.txt"][..], &["vazio.txt"][..]),
        (&["tamanhos/1 MiB", "vazio.txt"], &["tamanhos/1 MiB", "vazio.txt"]),
        (&["no*txt"], &["nomes/a/primeiro.txt", "nomes/b/segundo.txt"]),
        (&["*/primeiro.???"], &["nomes/a/primeiro.txt"]),
        (&["tempos/{com ns,em 19*}"], &["tempos/com ns", "tempos/em 1970"]),
        (
            &["modos/*dentro.txt"],
            &["modos/grupo/dentro.txt", "modos/pegajosa/dentro.txt", "modos/r-x/dentro.txt"],
        ),
        (&["controlo/*\\*\\?\\[x\\]\\{y\\} "], &["controlo/ espacos \"aspas\" \\barra\\ *?[x]{y} "]),
        (&["pendurada", "absoluta"], &["absoluta", "pendurada"]),
        (&["latin1-*"], &["latin1-a\u{fffd}\u{fffd}o.txt"]),
        (&[tree::NFC], &[tree::NFC]),
        (&[nfc_as_nfd], &[tree::NFC]),
        (&[tree::NFD], &[tree::NFD]),
        (&[nfd_as_nfc], &[tree::NFD]),
        (&["esparso/*"], &["esparso/ilhas.img", "esparso/so buraco.img"]),
    ] {
        let (found, report) =
            sandbox.restore_with_report(&backup, |options| options.only(globs.iter().copied())).await;
        assert_eq!(leaves(&found), expected, "{globs:?}");
        for (path, facts) in found.iter().filter(|(_, facts)| facts.kind != tree::Kind::Folder) {
            let (expected, actual) =
                ([(path.clone(), before[path].clone())], [(path.clone(), facts.clone())]);
            tree::assert_same(&expected.into(), &actual.into(), &[Ignore::HardLinks]);
        }
        assert!(report.found >= expected.len() as u64, "{globs:?}");
    }
}

#[tokio::test]
async fn a_folder_that_is_asked_for_keeps_its_own_facts() {
    let sandbox = Sandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let found = sandbox.restore(&backup, |options| options.only(["modos"])).await;
    let mut expected = before;
    expected.retain(|path, _| path == b"." || path.starts_with(b"modos"));
    tree::assert_same(&expected, &found, &[Ignore::Root]);
}

#[tokio::test]
async fn what_matches_nothing_is_an_error_that_writes_nothing() {
    let sandbox = Sandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    let asked = RestoreOptions::to(&out).only(["*.png", "nada"]);
    for options in [asked.clone(), asked.without_manifest()] {
        let error = sandbox.vault.restore(&backup.name, options).await.unwrap_err();
        assert!(matches!(error, Error::NothingMatches { .. }), "{error}");
        assert!(error.to_string().contains("\"*.png\" or \"nada\""), "{error}");
        let written = fs::read_dir(&out).map_or(0, Iterator::count);
        assert_eq!(written, 0);
    }
    let error = sandbox.vault.restore(&backup.name, RestoreOptions::to(&out).only(["a["])).await.unwrap_err();
    assert!(matches!(error, Error::Pattern(_)), "{error}");
}

#[tokio::test]
async fn a_hard_link_that_is_asked_for_alone_is_a_file() {
    let sandbox = Sandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    for name in tree::LINKED {
        let out = tempfile::tempdir().unwrap();
        let report =
            sandbox.vault.restore(&backup.name, RestoreOptions::to(out.path()).only([name])).await.unwrap();
        assert_clean(&report);
        assert_eq!(fs::read_to_string(out.path().join(name)).unwrap(), tree::LINKED_TEXT, "{name}");
        assert_eq!(leaves(&tree::snapshot(out.path())), [name]);
    }
    let both = sandbox.restore(&backup, |options| options.only(["nomes/*"])).await;
    assert_eq!(both[tree::LINKED[1].as_bytes()].same_file_as.as_deref(), Some(tree::LINKED[0].as_bytes()));
}

#[tokio::test]
async fn roots_of_one_name_stay_apart() {
    let sandbox = Sandbox::new();
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
    let sandbox = Sandbox::new();
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
    let sandbox = Sandbox::new();
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
    let sandbox = Sandbox::with_odd_files();
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
    let sandbox = Sandbox::new();
    // Several within one second, so that their timestamps alone do not tell.
    for i in 0..6 {
        write(&sandbox.source().join("contador"), i.to_string());
        let backup = sandbox.back_up().await;
        assert_eq!(sandbox.vault.catalog.latest(POLICY).await.unwrap(), backup.name, "backup {i}");
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
    let sandbox = Sandbox::with_odd_files();
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
        walk(&copy).into_iter().filter(|path| path.is_file() && !path.ends_with(STORE_MARK)).count();
    assert_eq!(objects, 2, "nothing else is left in the copy: {:?}", walk(&copy));
    let vault = Vault::open(&StoreUrl::local(&copy), key).await.unwrap();
    assert_eq!(vault.catalog.latest(POLICY).await.unwrap(), backup.name);
    assert_clean(&vault.restore(&backup.name, RestoreOptions::to(sandbox.at("out"))).await.unwrap());
    tree::assert_same(
        &tree::snapshot(&sandbox.source()),
        &tree::snapshot(&sandbox.at("out")),
        &[Ignore::Special],
    );
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let below = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let mut all = if path.is_dir() { walk(&path) } else { Vec::new() };
        all.push(path);
        all
    };
    fs::read_dir(folder).unwrap().flat_map(below).collect()
}

#[tokio::test]
async fn a_decrypted_backup_is_a_tar_gz_like_any_other() {
    let sandbox = Sandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    let plain = sandbox.at("backup.tar.gz");
    let out = Box::new(fs::File::create(&plain).unwrap());
    let report = sandbox.vault.decrypt(&backup.name, out, RunOptions::default()).await.unwrap();
    assert_eq!(report.bytes_written, fs::metadata(&plain).unwrap().len());
    let listed = Command::new("tar").args(["--quoting-style=literal", "-tzf"]).arg(&plain).output().unwrap();
    assert!(
        listed.status.success() && listed.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let before = tree::snapshot(&sandbox.source());
    // A name with a newline takes two lines.
    let lines = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, before.len() - tree::SPECIAL.len() + 1);
    assert!(listed.stdout.windows(tree::NOT_UTF8.len()).any(|window| window == tree::NOT_UTF8));
}

/// Backs up while the store holds every part back, and changes the source once the archiver cannot go on.
async fn back_up_while(sandbox: &Sandbox, change: impl FnOnce()) -> (BackupReport, u64) {
    let faulty = Arc::new(Faulty::new(Arc::new(sandbox.memory.clone())));
    faulty.stall_parts();
    let progress = Arc::new(Progress::default());
    let run = RunOptions { progress: progress.clone(), ..RunOptions::default() };
    let options = BackupOptions { run, ..BackupOptions::default() };
    let vault = Vault::new(faulty.clone(), sandbox.key.clone());
    let policy = sandbox.policy();
    let meanwhile = async {
        until("all slots are taken", || faulty.most_parts_in_flight() >= 3).await;
        let read = until_at_rest("the archiver is blocked", || progress.bytes.get()).await;
        change();
        faulty.release_parts();
        read
    };
    let (backup, read) = tokio::join!(vault.backup(&policy, options), meanwhile);
    (backup.unwrap(), read)
}

/// What GNU tar makes of a backup.
async fn untarred(sandbox: &Sandbox, backup: &BackupReport) -> PathBuf {
    let (plain, out) = (sandbox.at("plain.tar.gz"), sandbox.at("untarred"));
    let file = Box::new(fs::File::create(&plain).unwrap());
    sandbox.vault.decrypt(&backup.name, file, RunOptions::default()).await.unwrap();
    fs::create_dir(&out).unwrap();
    let done = Command::new("tar")
        .arg("-xzf")
        .arg(&plain)
        .arg("-C")
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_one_that_vanishes_is_told() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.source().join(name);
    tree::write_noise(&at("a antes"), 1, 24 * MIB);
    tree::write_noise(&at("b cresce"), 2, 60 * MIB);
    // A smaller one would be open already, and in the backup.
    tree::write_noise(&at("c some"), 3, 2 * MIB);
    write(&at("d fica"), "y");
    let (backup, read) = back_up_while(&sandbox, || {
        append(&at("b cresce"), b"mais");
        fs::remove_file(at("c some")).unwrap();
    })
    .await;
    assert!((25 * MIB..84 * MIB).contains(&read), "the file was being read when it grew: {read}");
    let problems: Vec<_> = backup.problems.iter().map(|p| (p.relative_path.as_str(), p.kind)).collect();
    assert_eq!(problems, [("c some", ProblemKind::Skipped)]);
    assert!(backup.problems[0].reason.contains("vanished"), "{}", backup.problems[0].reason);
    assert_eq!((backup.totals.skipped, backup.totals.changed, backup.totals.entries), (1, 0, 4));

    let now = tree::snapshot(&sandbox.source());
    // The folder's own time was read before the file was removed from it.
    let ignoring = [Ignore::Root];
    tree::assert_same(&now, &sandbox.restore(&backup, |options| options).await, &ignoring);
    let (alone, _) = salvage(&sandbox, &backup).await;
    tree::assert_same(&now, &alone, &ignoring);
    tree::assert_same(&now, &tree::snapshot(&untarred(&sandbox, &backup).await), &ignoring);
    sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
}

async fn salvage(sandbox: &Sandbox, backup: &BackupReport) -> (Tree, RestoreReport) {
    let out = tempfile::tempdir_in(sandbox.dir.path()).unwrap();
    let options = RestoreOptions::to(out.path()).without_manifest();
    let report = sandbox.vault.restore(&backup.name, options).await.unwrap();
    assert_clean(&report);
    (tree::snapshot(out.path()), report)
}

#[tokio::test]
async fn a_large_file_that_changes_is_kept_as_it_was_read_and_told() {
    for grows in [true, false] {
        let sandbox = Sandbox::new();
        let large = sandbox.source().join("grande");
        tree::write_noise(&large, 3, 96 * MIB);
        write(&sandbox.source().join("depois"), "z");
        write(&sandbox.source().join("zzz"), "z");
        let original = fs::read(&large).unwrap();
        let (backup, read) = back_up_while(&sandbox, || {
            if grows {
                append(&large, b"mais");
            } else {
                OpenOptions::new().write(true).open(&large).unwrap().set_len(MIB).unwrap();
            }
        })
        .await;
        assert!((MIB..96 * MIB).contains(&read), "it was being read: {read}");
        assert_eq!(backup.problems.len(), 1, "{:?}", backup.problems);
        assert_eq!(
            (backup.problems[0].relative_path.as_str(), backup.problems[0].kind),
            ("grande", ProblemKind::Changed)
        );
        let verb = if grows { "grew" } else { "shrank" };
        assert!(backup.problems[0].reason.contains(verb), "{}", backup.problems[0].reason);
        assert_eq!((backup.totals.changed, backup.totals.skipped), (1, 0));

        let found = sandbox.restore(&backup, |options| options).await;
        assert_eq!(names(&found), [".", "depois", "grande", "zzz"]);
        let out = untarred(&sandbox, &backup).await;
        let held = fs::read(out.join("grande")).unwrap();
        let kept = found[&b"grande"[..]].size as usize;
        assert_eq!(held.len(), original.len(), "tar has what its header announced");
        assert!(held[..kept] == original[..kept] && held[kept..].iter().all(|byte| *byte == 0));
        assert!(if grows { kept == original.len() } else { kept < original.len() && kept as u64 >= MIB });
        assert_eq!(fs::read_to_string(out.join("zzz")).unwrap(), "z");
        assert_eq!(names(&salvage(&sandbox, &backup).await.0), names(&found));
        sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_whose_size_is_a_lie_does_not_break_the_archive() {
    let sandbox = Sandbox::new();
    write(&sandbox.source().join("a"), "a");
    // Files of /proc have content, and a size of 0.
    let policy = Policy::new(POLICY, ["/proc/self/status".into(), sandbox.source()]).unwrap();
    let backup = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
    assert_eq!((backup.totals.skipped, backup.totals.changed), (0, 1));
    assert!(backup.problems[0].reason.contains("0 bytes"), "{:?}", backup.problems);
    let found = sandbox.restore(&backup, |options| options).await;
    assert_eq!(names(&found), [".", "source", "source/a", "status", "status/status"]);
    assert!(found[&b"status/status"[..]].size > 100, "its content came along");
    sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    untarred(&sandbox, &backup).await;
}

#[tokio::test]
async fn a_restore_fetches_what_it_needs_and_nothing_twice() {
    let sandbox = Sandbox::new();
    for i in 0..208 {
        tree::write_noise(&sandbox.source().join(format!("{i:03}.bin")), i, MIB);
    }
    let backup = sandbox.back_up().await;
    assert!(backup.archive_bytes > 200 * MIB);

    for name in ["000.bin", "100.bin", "207.bin"] {
        let before = sandbox.memory.bytes_read();
        let (found, report) = sandbox.restore_with_report(&backup, |options| options.only([name])).await;
        let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
        assert_eq!(
            found[name.as_bytes()].sha256.as_deref(),
            Some(&*tree::sha256(&sandbox.source().join(name)))
        );
        assert!(read <= 3 * MIB, "{name}: {read} bytes of archive were read for 1 MiB");
        assert_eq!(report.fetched_bytes, read, "the report tells what was read");
    }

    let before = sandbox.memory.bytes_read();
    let (found, report) = sandbox.restore_with_report(&backup, |options| options).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert!(read <= backup.archive_bytes + backup.archive_bytes / 50, "{read} of {}", backup.archive_bytes);
    assert_eq!(report.fetched_bytes, read);
    tree::assert_same(&tree::snapshot(&sandbox.source()), &found, &[]);

    // Every other file: what is between them may be fetched too, but only once.
    let before = sandbox.memory.bytes_read();
    sandbox.restore(&backup, |options| options.only(["*[02468].bin"])).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert!(read <= backup.archive_bytes + backup.archive_bytes / 50, "{read} of {}", backup.archive_bytes);
}

#[tokio::test]
async fn a_restore_of_two_far_files_does_not_read_what_is_between() {
    let sandbox = Sandbox::new();
    for i in 0..64 {
        tree::write_noise(&sandbox.source().join(format!("{i:03}.bin")), i, MIB);
    }
    let backup = sandbox.back_up().await;
    let before = sandbox.memory.bytes_read();
    let found = sandbox.restore(&backup, |options| options.only(["000.bin", "063.bin"])).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert_eq!(leaves(&found), ["000.bin", "063.bin"]);
    assert!(read <= 6 * MIB, "{read} bytes were read for 2 MiB");
}

#[tokio::test]
async fn restoring_again_over_a_tree_gives_the_same_tree() {
    let sandbox = Sandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    fs::write(out.join("vazio.txt"), "no longer").unwrap();
    fs::remove_file(out.join(tree::SPARSE)).unwrap();
    fs::remove_file(out.join("pendurada")).unwrap();
    fs::set_permissions(out.join("modos/0400"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_clean(&sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap());
    // A folder that was there before keeps what it is.
    tree::assert_same(&before, &tree::snapshot(&out), &[Ignore::Special, Ignore::Root]);
}
