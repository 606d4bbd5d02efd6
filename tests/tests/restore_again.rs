//! Restores into places where something is already: what an earlier restore left, what other people changed, and the paths that
//! the backup came from.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use intellistor::{
    BackupOptions, Error, Machine, Overwrite, Policy, RestoreOptions, UserKey, plan_restore, restore_places,
};
use intellistor_storage::failpoint::Failpoint;
use intellistor_tests::events::wait_until;
use intellistor_tests::folders::paths_below;
use intellistor_tests::memory_sandbox::{MemorySandbox, assert_clean, leaves, write};
use intellistor_tests::program::Client;
use intellistor_tests::pty;
use intellistor_tests::running::Running;
use intellistor_tests::tree::{self, Ignore, set_mtime};
use rustix::process::Signal;

/// Temporary files of restores.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| path.to_string_lossy().ends_with(".part");
    paths_below(folder).into_iter().filter(is_temporary).collect()
}

#[tokio::test]
async fn a_complete_restore_is_repeated_without_fetching_anything() {
    let sandbox = MemorySandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    let first = sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    assert_eq!((first.unchanged, first.overwritten), (0, 0));
    let restored = tree::snapshot(&out);
    let inodes = |path: &Path| -> Vec<u64> {
        let files = paths_below(path).into_iter().filter(|path| path.is_file() && !path.is_symlink());
        files.map(|path| fs::metadata(path).unwrap().ino()).collect()
    };
    let before = inodes(&out);

    let (catalog, identity) = (&sandbox.vault.catalog, &sandbox.vault.identity);
    let plan = plan_restore(catalog, identity, &backup.name, &RestoreOptions::to(&out)).await.unwrap();
    assert_eq!((plan.found, plan.new, plan.bytes_to_fetch, plan.overwrites), (first.found, 0, 0, 0));
    assert_eq!(plan.identical, leaves(&restored).len() as u64);

    let again = sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&again);
    assert_eq!(
        (again.found, again.restored, again.bytes, again.fetched_bytes),
        (first.found, first.restored, 0, 0)
    );
    assert_eq!((again.unchanged, again.overwritten), (leaves(&restored).len() as u64, 0));
    // The folder to restore into is not the restore's where it was there before.
    tree::assert_same(&restored, &tree::snapshot(&out), &[Ignore::Root]);
    assert_eq!(inodes(&out), before, "no file was made again");

    let always = RestoreOptions::to(&out).overwriting(Overwrite::Always);
    let always = sandbox.vault.restore(&backup.name, always).await.unwrap();
    assert_clean(&always);
    assert_eq!((always.unchanged, always.fetched_bytes), (0, first.fetched_bytes));
    assert!(always.overwritten > 0 && always.overwritten_newer.is_empty(), "{always:?}");
    tree::assert_same(&restored, &tree::snapshot(&out), &[Ignore::Root]);
}

/// A backup of small files, restored, and then changed in every way.
struct Changed {
    sandbox: MemorySandbox,
    backup: intellistor::BackupReport,
    out: PathBuf,
}

const TIME: i64 = 1_600_000_000;

async fn changed() -> Changed {
    let sandbox = MemorySandbox::create();
    let source = sandbox.source();
    for name in ["same", "bit", "newer", "older", "gone", "touched", "mode", "d/same", "linked over"] {
        write(&source.join(name), format!("content of {name}"));
        set_mtime(&source.join(name), TIME, 5);
    }
    symlink("same", source.join("link")).unwrap();
    set_mtime(&source.join("link"), TIME, 5);
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();

    // As large and as old as it was: only its bytes tell.
    fs::write(out.join("bit"), "c0ntent of bit").unwrap();
    set_mtime(&out.join("bit"), TIME, 5);
    fs::write(out.join("newer"), "work of today").unwrap();
    fs::write(out.join("older"), "a truncated").unwrap();
    set_mtime(&out.join("older"), TIME - 100, 0);
    fs::remove_file(out.join("gone")).unwrap();
    set_mtime(&out.join("touched"), TIME + 7, 0);
    fs::set_permissions(out.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(sandbox.at("outside"), "precious").unwrap();
    fs::remove_file(out.join("linked over")).unwrap();
    symlink(sandbox.at("outside"), out.join("linked over")).unwrap();
    fs::write(out.join("not in the backup"), "mine").unwrap();
    Changed { sandbox, backup, out }
}

#[tokio::test]
async fn what_differs_is_replaced_and_what_is_newer_is_named() {
    let Changed { sandbox, backup, out } = changed().await;
    let before = tree::snapshot(sandbox.dir.path());
    let vault = &sandbox.vault;
    let options = RestoreOptions::to(&out);
    let plan = plan_restore(&vault.catalog, &vault.identity, &backup.name, &options).await.unwrap();
    tree::assert_same(&before, &tree::snapshot(sandbox.dir.path()), &[]);
    assert_eq!(plan.different.names(), ["bit", "linked over", "mode", "newer", "older", "touched"]);
    assert_eq!(plan.newer.names(), ["linked over", "newer", "touched"]);
    // `same`, `d/same` and `link`; only `gone` is missing.
    assert_eq!((plan.identical, plan.new, plan.overwrites, plan.leaves), (3, 1, 6, 3));

    let report = vault.restore(&backup.name, options).await.unwrap();
    assert_clean(&report);
    assert!(report.is_complete());
    assert_eq!((report.unchanged, report.overwritten), (3, 6));
    assert_eq!(report.overwritten_newer.names(), ["linked over", "newer", "touched"]);
    assert_eq!(plan.bytes_to_write, report.bytes);
    assert_eq!(plan.bytes_to_fetch, report.fetched_bytes);
    assert_eq!(fs::read_to_string(out.join("not in the backup")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(sandbox.at("outside")).unwrap(), "precious");
    fs::remove_file(out.join("not in the backup")).unwrap();
    tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Root]);
}

#[tokio::test]
async fn never_restores_what_is_missing_and_nothing_else() {
    let Changed { sandbox, backup, out } = changed().await;
    set_mtime(&out.join("d"), TIME - 1, 0);
    let before = tree::snapshot(&out);
    let options = RestoreOptions::to(&out).overwriting(Overwrite::Never);
    let vault = &sandbox.vault;
    let plan = plan_restore(&vault.catalog, &vault.identity, &backup.name, &options).await.unwrap();
    assert_eq!((plan.new, plan.overwrites, plan.leaves), (1, 0, 9));
    let report = vault.restore(&backup.name, options).await.unwrap();
    assert_clean(&report);
    assert!(report.is_complete(), "it did what was asked for");
    assert_eq!((report.overwritten, report.left.count(), report.bytes), (0, 9, 15));
    assert_eq!(report.restored + report.left.count(), report.found);
    let mut after = tree::snapshot(&out);
    let gone = after.remove(&b"gone"[..]).unwrap();
    assert_eq!(gone.sha256, Some(tree::sha256(&sandbox.source().join("gone"))));
    tree::assert_same(&before, &after, &[Ignore::Root]);

    // Without the manifest, too.
    fs::remove_file(out.join("gone")).unwrap();
    let alone = RestoreOptions::to(&out).overwriting(Overwrite::Never).without_manifest();
    let report = vault.restore(&backup.name, alone).await.unwrap();
    assert_eq!((report.overwritten, report.left.count()), (0, 9));
    assert!(out.join("gone").exists());
    assert_eq!(fs::read_to_string(out.join("newer")).unwrap(), "work of today");
}

#[tokio::test]
async fn a_dry_run_makes_no_folder_and_names_what_is_in_the_way() {
    let sandbox = MemorySandbox::create();
    write(&sandbox.source().join("d/a"), vec![b'a'; 5000]);
    write(&sandbox.source().join("b"), "b");
    let backup = sandbox.back_up().await;
    let vault = &sandbox.vault;
    let plan = async |out: &Path, only: &[&str]| {
        let options = RestoreOptions::to(out).only(only.iter().copied());
        plan_restore(&vault.catalog, &vault.identity, &backup.name, &options).await
    };
    let missing = sandbox.at("no/such/folder");
    let found = plan(&missing, &[]).await.unwrap();
    assert_eq!((found.found, found.new, found.bytes_to_write), (4, 4, 5001));
    assert!(!sandbox.at("no").exists());
    assert_eq!(found.archives.len(), 1);
    assert!(found.bytes_to_fetch > 0 && !found.archives[0].cold && found.is_possible());
    assert!(matches!(plan(&missing, &["nothing"]).await, Err(Error::NothingMatches { .. })));

    let out = sandbox.at("out");
    fs::create_dir_all(out.join("b")).unwrap();
    symlink("/", out.join("d")).unwrap();
    let found = plan(&out, &[]).await.unwrap();
    let blocked = found.blocked.names().join("\n");
    assert!(blocked.contains("b: a folder of that name") && blocked.contains("d/a: refused"), "{blocked}");
    assert!(!found.is_possible());
    // The restore says the same.
    let report = vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    assert!(!report.is_complete() && report.warnings.len() >= 2, "{:?}", report.warnings);
}

/// Two folders with one name, a file that is a path of its own, names that are no text, and links across.
fn several_roots(sandbox: &MemorySandbox) -> Policy {
    let at = |name: &str| sandbox.at(name);
    write(&at("x/docs/a.txt"), "a of x");
    write(&at("x/docs/sub/ação.txt"), "deep");
    write(&at("y/docs/a.txt"), "a of y");
    fs::hard_link(at("x/docs/a.txt"), at("y/docs/hard")).unwrap();
    fs::hard_link(at("x/docs/a.txt"), at("x/docs/hard")).unwrap();
    write(&at("single/file.txt"), "alone");
    write(&at("single/other.txt"), "not in the backup");
    let odd = std::ffi::OsStr::from_bytes(b"x/docs/\xff\xfe");
    fs::write(sandbox.dir.path().join(odd), "odd").unwrap();
    symlink("../../single/file.txt", at("y/docs/up")).unwrap();
    Policy::new("roots", [at("x/docs"), at("y/docs"), at("single/file.txt")]).unwrap()
}

#[tokio::test]
async fn each_path_is_restored_to_where_it_came_from() {
    let sandbox = MemorySandbox::create();
    let policy = several_roots(&sandbox);
    let vault = &sandbox.vault;
    let backup = vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let before = tree::snapshot(sandbox.dir.path());

    let in_place = RestoreOptions::in_place();
    let places = restore_places(&vault.catalog, &vault.identity, &backup.name, &in_place);
    let places: Vec<_> = places.await.unwrap().into_iter().map(|place| place.path).collect();
    assert_eq!(places, policy.paths);

    fs::remove_dir_all(sandbox.at("x")).unwrap();
    fs::remove_dir_all(sandbox.at("single")).unwrap();
    fs::write(sandbox.at("y/docs/a.txt"), "changed").unwrap();
    fs::remove_file(sandbox.at("y/docs/up")).unwrap();
    let plan = plan_restore(&vault.catalog, &vault.identity, &backup.name, &in_place).await.unwrap();
    assert_eq!(plan.different.names(), ["a.txt"]);
    assert!(!sandbox.at("x").exists());

    let report = vault.restore(&backup.name, RestoreOptions::in_place()).await.unwrap();
    assert_clean(&report);
    assert_eq!((report.out.is_none(), &report.places), (true, &policy.paths));
    assert_eq!((plan.found, plan.bytes_to_write), (report.found, report.bytes));
    let mut expected = before;
    expected.remove(&b"single/other.txt"[..]).unwrap();
    let roots: Vec<_> = ["x/docs", "y/docs", "single/file.txt"].into();
    let below = |tree: tree::Tree| -> tree::Tree {
        let is_below = |path: &[u8]| roots.iter().any(|root| path.starts_with(root.as_bytes()));
        // A link to a file of another path is a file of its own here.
        let of = |(path, entry): (Vec<u8>, tree::TreeEntry)| {
            (path, tree::TreeEntry { same_file_as: None, ..entry })
        };
        tree.into_iter().filter(|(path, _)| is_below(path)).map(of).collect()
    };
    let found = tree::snapshot(sandbox.dir.path());
    assert!(found[&b"x/docs/hard"[..]].same_file_as.is_some(), "within a path it stays a link");
    // A folder that was there is not the restore's.
    tree::assert_same(&below(expected), &below(found), &[Ignore::Path("y/docs"), Ignore::Allocation]);
    assert_eq!(fs::read_to_string(sandbox.at("y/docs/a.txt")).unwrap(), "a of y");
    assert_eq!(fs::read_to_string(sandbox.at("y/docs/hard")).unwrap(), "a of x");
    assert_eq!(fs::read_link(sandbox.at("y/docs/up")).unwrap(), Path::new("../../single/file.txt"));

    // What is selected is all that is looked at.
    fs::remove_dir_all(sandbox.at("x")).unwrap();
    fs::write(sandbox.at("y/docs/a.txt"), "mine").unwrap();
    let one = RestoreOptions::in_place().only(["file.txt/*"]);
    fs::write(sandbox.at("single/file.txt"), "changed").unwrap();
    let report = vault.restore(&backup.name, one).await.unwrap();
    assert_eq!((report.found, report.places.len()), (1, 1));
    assert!(!sandbox.at("x").exists());
    assert_eq!(fs::read_to_string(sandbox.at("y/docs/a.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(sandbox.at("single/file.txt")).unwrap(), "alone");
}

#[tokio::test]
async fn no_link_leads_a_restore_in_place_elsewhere() {
    let sandbox = MemorySandbox::create();
    let root = sandbox.at("home/ana/docs");
    write(&root.join("d/a"), "a");
    let policy = Policy::new("links", [&root]).unwrap();
    let vault = &sandbox.vault;
    let backup = vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let victim = sandbox.at("victim");
    for place in ["home/ana/docs", "home/ana"] {
        fs::remove_dir_all(sandbox.at("home")).unwrap();
        fs::create_dir_all(victim.join("docs")).unwrap();
        fs::create_dir_all(sandbox.at(place).parent().unwrap()).unwrap();
        symlink(&victim, sandbox.at(place)).unwrap();
        let refused = vault.restore(&backup.name, RestoreOptions::in_place()).await.unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        let planned =
            plan_restore(&vault.catalog, &vault.identity, &backup.name, &RestoreOptions::in_place()).await;
        assert!(planned.unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(paths_below(&victim), [victim.join("docs")], "{place}");
        fs::remove_file(sandbox.at(place)).unwrap();
        fs::create_dir_all(sandbox.at("home")).unwrap();
    }
    // A folder of the backup that is a link now.
    fs::create_dir_all(&root).unwrap();
    symlink(&victim, root.join("d")).unwrap();
    let report = vault.restore(&backup.name, RestoreOptions::in_place()).await.unwrap();
    assert!(!report.is_complete() && report.warnings[0].contains("symbolic link"), "{:?}", report.warnings);
    assert_eq!(paths_below(&victim), [victim.join("docs")]);

    let elsewhere = vault.catalog.clone().on_machine(Machine::named("another"));
    let refused =
        intellistor::restore(&elsewhere, &vault.identity, &backup.name, RestoreOptions::in_place()).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::NotInPlace { .. }), "{refused}");
    assert_eq!(refused.category(), intellistor::Category::Configuration);
}

#[tokio::test]
async fn two_restores_into_one_folder_do_not_break_each_other() {
    let sandbox = MemorySandbox::create();
    for i in 0..300 {
        write(&sandbox.source().join(format!("d{}/f{i}", i % 7)), format!("content {i}").repeat(i));
    }
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    for overwrite in [Overwrite::IfDifferent, Overwrite::Always] {
        let one = || sandbox.vault.restore(&backup.name, RestoreOptions::to(&out).overwriting(overwrite));
        let (first, second) = futures::join!(one(), one());
        for report in [first.unwrap(), second.unwrap()] {
            assert_clean(&report);
            assert_eq!(report.found, report.restored);
        }
        tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[Ignore::Root]);
        assert!(temporaries(&out).is_empty());
    }
}

/// A backup in a folder, and the program.
struct Programs {
    dir: tempfile::TempDir,
    client: Client,
}

impl Programs {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for i in 0..300 {
            write(&at("source").join(format!("d{}/f{i}", i % 5)), vec![b'0' + (i % 10) as u8; 3000 + i]);
        }
        fs::create_dir(at("store")).unwrap();
        let policy = format!(
            "policy_id: again\npaths: ['{}']\nstore: 'file://{}'\n",
            at("source").display(),
            at("store").display()
        );
        fs::write(at("policy.yaml"), policy).unwrap();
        let client = Client::new(dir.path())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", at("home"));
        client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
        Self { dir, client }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn armed(&self, text: &str) -> Client {
        self.client.clone().var("INTELLISTOR_FAILPOINT", format!("{text}:{}", self.at("fired").display()))
    }

    fn assert_whole(&self, out: &str) {
        let (source, out) = (tree::snapshot(&self.at("source")), tree::snapshot(&self.at(out)));
        tree::assert_same(&source, &out, &[Ignore::Root]);
    }
}

const RESTORE: [&str; 7] = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"];

#[test]
fn a_killed_restore_goes_on_when_it_is_repeated() {
    let sandbox = Programs::new();
    for point in Failpoint::RESTORE {
        for nth in [1, 150] {
            let _ = fs::remove_dir_all(sandbox.at("out"));
            let _ = fs::remove_file(sandbox.at("fired"));
            let killed = sandbox.armed(&format!("{}:{nth}", point.name())).run(RESTORE);
            assert_eq!((killed.code, sandbox.at("fired").exists()), (-1, true), "{}", killed.stderr);
            if point == Failpoint::RestoreWritten {
                assert!(
                    !temporaries(&sandbox.at("out")).is_empty(),
                    "it was killed with a file in its hands"
                );
            }
            let whole = paths_below(&sandbox.at("out")).into_iter().filter(|path| path.is_file()).count()
                - temporaries(&sandbox.at("out")).len();
            assert!(whole >= nth as usize - 1);
            let again = sandbox.client.run(RESTORE).expect(0).json;
            assert_eq!(again["unchanged"], whole, "{} {nth}: {again:#}", point.name());
            assert_eq!((&again["overwritten"], &again["restored"]), (&0.into(), &again["found"]));
            assert_eq!(temporaries(&sandbox.at("out")), Vec::<PathBuf>::new(), "{} {nth}", point.name());
            sandbox.assert_whole("out");
        }
    }
}

/// Whether every thread is stopped: one that is in a system call completes it first.
fn is_stopped(running: &Running) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap();
    threads.flatten().all(|thread| {
        // One that has ended has none.
        let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
    })
}

#[test]
fn a_restore_that_lives_keeps_its_temporary_files() {
    let sandbox = Programs::new();
    // Another thread may take the signal later than the file takes its name: then none is held, and it is tried again.
    let (living, held) = (1..=20)
        .find_map(|attempt| {
            let _ = fs::remove_dir_all(sandbox.at("out"));
            let _ = fs::remove_file(sandbox.at("fired"));
            let stopped = sandbox.armed(&format!("stop:restore_written:{}", attempt * 7));
            let living = Running::start(stopped.command(RESTORE));
            wait_until("it stops", || sandbox.at("fired").exists() && is_stopped(&living));
            // A file that was made and is not locked yet may be removed: its maker makes another.
            let is_locked = |path: &PathBuf| fs::File::open(path).unwrap().try_lock().is_err();
            let held: Vec<_> = temporaries(&sandbox.at("out")).into_iter().filter(is_locked).collect();
            (!held.is_empty()).then_some((living, held))
        })
        .unwrap();
    sandbox.client.run(RESTORE).expect(0);
    assert_eq!(temporaries(&sandbox.at("out")), held, "another process needs them");
    living.signal(Signal::CONT);
    assert_eq!(living.end().code, 0);
    assert!(temporaries(&sandbox.at("out")).is_empty());
    sandbox.assert_whole("out");
}

#[test]
fn an_interrupted_restore_says_what_is_there_and_how_to_go_on() {
    let sandbox = Programs::new();
    let stopped = sandbox.armed("stop:restore_named:40");
    let running = Running::start(stopped.command(&RESTORE[1..]));
    wait_until("it stops", || sandbox.at("fired").exists() && is_stopped(&running));
    running.signal(Signal::INT);
    running.signal(Signal::CONT);
    let ended = running.end();
    if ended.code == 0 {
        // It was done before it saw the signal; the threads that had not stopped were ahead.
        return sandbox.assert_whole("out");
    }
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert!(ended.json["handled"].as_u64().is_some_and(|handled| handled > 0), "{:#}", ended.json);
    assert!(
        ended.stderr.contains(" to go") && ended.stderr.contains("not fetched again"),
        "{}",
        ended.stderr
    );
    let command = ended.stderr.lines().find_map(|line| line.strip_prefix("try: ")).unwrap();
    assert!(command.contains(" restore --policy ") && command.ends_with("--out out"), "{command}");
    assert!(temporaries(&sandbox.at("out")).is_empty());
    let again = sandbox.client.run(RESTORE).expect(0).json;
    assert!(again["unchanged"].as_u64().unwrap() >= 39, "{again:#}");
    sandbox.assert_whole("out");
}

#[test]
fn a_restore_in_place_asks_first() {
    let sandbox = Programs::new();
    let victim = sandbox.at("source/d0/f0");
    let original = fs::read(&victim).unwrap();
    let restore = ["restore", "--policy", "policy.yaml", "--latest", "--in-place"];
    let change = || fs::write(&victim, "changed").unwrap();
    change();

    let refused = sandbox.client.run(restore).expect(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(refused.json["restored"], 0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "changed");
    let both = [&restore[..], &["--out", "out"]].concat();
    assert!(sandbox.client.run(both).expect(2).stderr.contains("--out"));

    let plan = sandbox.client.run([&restore[..], &["--dry-run"]].concat()).expect(0).json;
    assert_eq!((&plan["dry_run"], &plan["overwrites"]), (&true.into(), &1.into()), "{plan:#}");
    assert_eq!(plan["newer"]["first"][0], "d0/f0");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "changed");

    for (answer, code, is_restored) in [("n", 1, false), ("", 1, false), ("y", 0, true)] {
        change();
        let seen = pty::answering(&sandbox.client.command(restore), "[y/N] ", answer);
        assert_eq!(seen.code, code, "{}", seen.text);
        assert!(seen.text.contains(sandbox.at("source").to_str().unwrap()), "{}", seen.text);
        assert_eq!(fs::read(&victim).unwrap() == original, is_restored, "{answer}");
    }
    change();
    let yes = sandbox.client.run([&restore[..], &["--yes"]].concat()).expect(0);
    assert_eq!(yes.json["overwritten_newer"]["first"][0], "d0/f0");
    assert_eq!(yes.json["places"][0], sandbox.at("source").to_str().unwrap());
    assert!(yes.stderr.contains("modified later"), "{}", yes.stderr);
    assert_eq!(fs::read(&victim).unwrap(), original);
}
