//! Backups by short names and times, every policy of a store, a file in all backups, two backups, what they take.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::Utc;
use intellistor::UserKey;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output, finish};
use intellistor_tests::s3_server::BUCKET;
use serde_json::Value;
use tempfile::TempDir;

/// A source, a folder store, and the program between them.
struct Sandbox {
    dir: TempDir,
    client: Client,
}

impl Sandbox {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let key = UserKey::generate().to_base64().unwrap();
        let client = Client::new(dir.path()).var("INTELLISTOR_KEY", key.as_str()).var("TZ", "UTC");
        let this = Self { dir, client };
        this.write_policy("documentos", more);
        this
    }

    fn write_policy(&self, policy_id: &str, more: &str) {
        let (source, store) = (self.at("source"), self.at("store"));
        let policy = format!(
            "policy_id: {policy_id}\npaths: ['{}']\nstore: file://{}\n{more}",
            source.display(),
            store.display()
        );
        fs::write(self.at("policy.yaml"), policy).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.at("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Backs up in full, and gives the key. No later backup has its timestamp.
    fn back_up(&self) -> String {
        self.back_up_as(&["--full"])
    }

    fn back_up_as(&self, args: &[&str]) -> String {
        let key = self.run("backup", args).expect(0).key_backup().to_owned();
        while Utc::now().format("%Y%m%dT%H%M%SZ").to_string().as_str() <= timestamp(&key) {
            std::thread::sleep(Duration::from_millis(20));
        }
        key
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        self.client.run([&[command, "--policy", "policy.yaml"], args].concat())
    }

    fn object(&self, key: &str) -> PathBuf {
        self.at("store").join(key)
    }
}

fn id(key: &str) -> &str {
    key.split('/').nth(3).unwrap()
}

fn timestamp(key: &str) -> &str {
    key.split('/').nth(2).unwrap()
}

fn manifest(key: &str) -> String {
    key.replace("backup.tar.gz.enc", "manifest.json")
}

/// Pastes a command into a shell.
fn paste(dir: &Path, client: &Client, line: &str) -> Output {
    let command = client.command(["--version"]);
    let variables: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line).current_dir(dir).env_clear();
    shell.envs(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
    finish(shell)
}

#[test]
fn a_backup_is_named_by_what_a_person_types() {
    let sandbox = Sandbox::new("");
    let keys: Vec<_> = (0..3)
        .map(|number| {
            sandbox.write("a.txt", &format!("version {number}"));
            sandbox.back_up()
        })
        .collect();
    let shown = |args: &[&str]| {
        let shown = sandbox.run("show", args).expect(0);
        shown.json["key"].as_str().unwrap().to_owned()
    };
    for (word, expected) in [
        (keys[0].as_str(), 0),
        (id(&keys[1]), 1),
        (&id(&keys[1])[..18], 1),
        (timestamp(&keys[2]), 2),
        (&timestamp(&keys[0]).to_lowercase(), 0),
        ("latest", 2),
        ("latest~2", 0),
    ] {
        assert_eq!(shown(&["--key", word]), keys[expected], "{word}");
    }
    assert_eq!(shown(&["--at", timestamp(&keys[1])]), keys[1]);
    assert_eq!(shown(&["--at", "2999-01-01"]), keys[2]);

    let refused = |args: &[&str]| sandbox.run("show", args).expect(2).stderr;
    let ambiguous = refused(&["--key", &timestamp(&keys[0])[..8]]);
    assert!(keys.iter().all(|key| ambiguous.contains(key)), "{ambiguous}");
    assert!(refused(&["--key", "latest~3"]).contains("has 3"));
    assert!(refused(&["--at", "2020-01-01 10:00"]).contains(&keys[0]), "the oldest is named");
    assert!(refused(&["--at", "ontem"]).contains("2026-11-01 14:00"));
    assert!(refused(&["--key", "abc"]).contains("too short"));
    assert!(refused(&["--key", &manifest(&keys[0])]).contains(&keys[0]));
    assert!(refused(&["--key", "zzzz"]).contains("backup-client list"));
    assert!(refused(&["--key", "latest", "--at", "2026-11-01"]).contains("cannot be used with"));

    // What changes something takes the same words, and refuses what may be another one.
    let forgotten = sandbox.run("forget", &["--key", id(&keys[1])]).expect(0).json;
    assert_eq!(forgotten["forgotten"][0]["key"], keys[1].as_str(), "{forgotten:#}");
    sandbox.run("hold", &["--key", &timestamp(&keys[0])[..8], "--reason", "x"]).expect(2);
    assert_eq!(shown(&["--key", "latest~1"]), keys[0], "forgotten ones do not count");
    assert_eq!(shown(&["--at", timestamp(&keys[1])]), keys[0]);
    let named = sandbox.run("show", &["--key", id(&keys[1])]).expect(0);
    assert!(named.stderr.contains("forgotten"), "{}", named.stderr);
    sandbox.run("unforget", &["--key", timestamp(&keys[1])]).expect(0);
    sandbox.run("hold", &["--key", "latest~1", "--reason", "caso 7"]).expect(0);
    let listed = sandbox.run("list", &[]).expect(0).json;
    assert_eq!(listed["backups"][1]["held"], true, "{listed:#}");
    let copied = sandbox
        .run("copy", &["--to", &format!("file://{}", sandbox.at("usb").display()), "--key", "latest~2"]);
    assert_eq!(copied.expect(0).json["copied"][0]["key"], keys[0].as_str());
    let restored = sandbox.run("restore", &["--at", timestamp(&keys[1]), "--out", "then"]).expect(0).json;
    assert_eq!(restored["backup_id"], id(&keys[1]));
    assert_eq!(fs::read_to_string(sandbox.at("then/a.txt")).unwrap(), "version 1");

    // Archives alone.
    fs::remove_file(sandbox.object(&manifest(&keys[0]))).unwrap();
    let lost = sandbox.run("restore", &["--key", id(&keys[0]), "--out", "x"]).expect(2);
    assert!(lost.stderr.contains("--without-manifest"), "{}", lost.stderr);
    let salvaged = ["--key", "latest~2", "--without-manifest", "--out", "alone"];
    sandbox.run("restore", &salvaged).expect(0);
    assert_eq!(fs::read_to_string(sandbox.at("alone/a.txt")).unwrap(), "version 0");
}

#[test]
fn a_store_that_does_not_exist_is_an_error_for_what_reads() {
    let sandbox = Sandbox::new("");
    sandbox.write("a.txt", "a");
    for (command, args) in [
        ("list", &[][..]),
        ("find", &["*"]),
        ("diff", &[]),
        ("stats", &[]),
        ("show", &["--latest"]),
        ("prune", &[]),
        ("forget", &["--key", "latest"]),
        ("restore", &["--latest", "--out", "x"]),
    ] {
        let refused = sandbox.run(command, args).expect(1);
        assert!(refused.stderr.contains("does not exist"), "{command}: {}", refused.stderr);
        assert!(!sandbox.at("store").exists(), "{command} has made it");
    }
    let store = format!("file://{}", sandbox.at("stroe").display());
    let refused = sandbox.client.run(["list", "--store", &store]).expect(1);
    assert!(refused.stderr.contains("stroe"), "{}", refused.stderr);
    // A folder without backups is noted; a backup makes a new one.
    fs::create_dir(sandbox.at("stroe")).unwrap();
    let empty = sandbox.client.run(["list", "--store", &store]).expect(0);
    assert_eq!(empty.json["policies"], serde_json::json!([]));
    assert!(empty.stderr.contains("has no backups"), "{}", empty.stderr);
    sandbox.back_up();
    assert!(sandbox.at("store").exists());
}

#[test]
fn every_policy_of_a_store_is_listed_without_a_key() {
    let sandbox = Sandbox::new("");
    sandbox.write("a.txt", "a");
    let first = sandbox.back_up();
    let second = sandbox.back_up();
    sandbox.run("hold", &["--key", &first, "--reason", "x"]).expect(0);
    sandbox.write_policy("documentos-2", "");
    let other = sandbox.back_up();
    let lost = sandbox.back_up();
    fs::remove_file(sandbox.object(&manifest(&lost))).unwrap();
    sandbox.back_up();
    sandbox.run("forget", &["--key", &other]).expect(0);
    for junk in ["backups/leia-me.txt", "backups/fotos/a/b.jpg", "outros/c"] {
        fs::create_dir_all(sandbox.object(junk).parent().unwrap()).unwrap();
        fs::write(sandbox.object(junk), "junk").unwrap();
    }
    let store = format!("file://{}", sandbox.at("store").display());
    let keyless = Client::new(sandbox.dir.path()).var("AWS_S3_BUCKET", &store);
    let listed = keyless.run(["list"]).expect(0).json;
    let rows: Vec<_> = listed["policies"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = rows.iter().map(|row| row["policy"].as_str().unwrap()).collect();
    assert_eq!(ids, ["documentos", "documentos-2"], "{listed:#}");
    assert_eq!(
        (&rows[0]["backups"], &rows[0]["held"], &rows[0]["orphans"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert_eq!(rows[0]["newest"], timestamp(&second));
    assert_eq!(rows[0]["oldest"], timestamp(&first));
    assert!(rows[0]["machine"]["host"].is_string());
    assert_eq!(
        (&rows[1]["backups"], &rows[1]["forgotten"], &rows[1]["orphans"]),
        (&1.into(), &1.into(), &1.into())
    );
    let size = |key: &str| fs::metadata(sandbox.object(key)).unwrap().len();
    let hold = sandbox.object(&first).with_file_name("hold.json");
    let of_first = size(&first) + size(&manifest(&first)) + fs::metadata(hold).unwrap().len();
    let of_second = size(&second) + size(&manifest(&second));
    assert_eq!(rows[0]["stored_bytes"], of_first + of_second);

    let orphans = sandbox.client.run(["list", "--orphans", "--store", &store]).expect(0).json;
    let orphan = &orphans["orphans"][0];
    assert_eq!((orphan["key"].as_str(), orphan["policy"].as_str()), (Some(&*lost), Some("documentos-2")));
    let line = orphan["cli_restore"].as_str().unwrap();
    let pasted = paste(sandbox.dir.path(), &sandbox.client, line).expect(0);
    // The folder and its file.
    assert_eq!(pasted.json["restored"], 2, "{line}");

    let table = String::from_utf8(keyless.run(["list", "--format", "table"]).expect(0).stdout).unwrap();
    assert!(table.starts_with("POLICY") && table.contains("2 policies in"), "{table}");
    let by_id = sandbox.client.run(["list", "--policy-id", "documentos", "--store", &store]).expect(0).json;
    assert_eq!(by_id["backups"].as_array().unwrap().len(), 2);
    keyless.run(["list", "--forgotten"]).expect(2);
}

#[test]
fn a_bucket_is_listed_below_its_prefix_alone() {
    let sandbox = AgentSandbox::new("perto");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    sandbox.run().expect(0);
    let bucket = sandbox.at("s3").join(BUCKET);
    for foreign in
        ["fotos/1.jpg", "backups/perto/leia-me.txt", "backups/x y/z", "other/backups/longe/machine.json"]
    {
        fs::create_dir_all(bucket.join(foreign).parent().unwrap()).unwrap();
        fs::write(bucket.join(foreign), "foreign").unwrap();
    }
    let policies = |store: &str| {
        let listed = sandbox.client.run(["list", "--store", store]).expect(0).json;
        let rows = listed["policies"].as_array().unwrap().clone();
        rows.iter().map(|row| row["policy"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(policies(&format!("s3://{BUCKET}")), ["perto"]);
    assert_eq!(policies(&format!("s3://{BUCKET}/other")), ["longe"]);
    assert!(policies(&format!("s3://{BUCKET}/none")).is_empty());
}

#[test]
fn a_file_is_found_in_all_backups_newest_first() {
    for more in ["", "manifest: sealed\n"] {
        let sandbox = Sandbox::new(more);
        let odd = ["[2026] relat\u{f3}rio*.txt", "ac\u{327}a\u{303}o.txt", "-x.txt"];
        odd.iter().for_each(|name| sandbox.write(name, "always the same"));
        let latin = sandbox.at("source").join(OsStr::from_bytes(b"caf\xe9.txt"));
        fs::write(&latin, "latin").unwrap();
        let keys: Vec<_> = ["one", "one", "two", "one"]
            .iter()
            .map(|content| {
                sandbox.write("pasta/notas.md", content);
                sandbox.back_up()
            })
            .collect();
        let found = sandbox.run("find", &["*notas.md"]).expect(0).json;
        assert_eq!((&found["searched"], &found["matches"]), (&4.into(), &4.into()), "{found:#}");
        let versions = found["files"][0]["versions"].as_array().unwrap();
        let shown: Vec<_> = versions
            .iter()
            .map(|v| {
                let key = |end: &str| v[end]["key"].as_str().unwrap();
                (
                    v["content"].as_u64(),
                    v["changed"].as_bool(),
                    key("newest"),
                    key("oldest"),
                    v["backups"].as_u64(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (Some(1), Some(true), &*keys[3], &*keys[3], Some(1)),
                (Some(2), Some(true), &*keys[2], &*keys[2], Some(1)),
                (Some(1), Some(false), &*keys[1], &*keys[0], Some(2)),
            ]
        );
        // The command restores what it says, whatever the name has in it.
        for (glob, path) in [
            ("[2026]*", odd[0]),
            ("a\u{e7}\u{e3}o.txt", odd[1]),
            ("?x.txt", odd[2]),
            ("caf*", "caf\u{fffd}.txt"),
            ("pasta/*", "pasta/notas.md"),
        ] {
            let found = sandbox.run("find", &[glob]).expect(0).json;
            let file = &found["files"][0];
            assert_eq!(file["relative_path"], path, "{glob}: {found:#}");
            let _ = fs::remove_dir_all(sandbox.at("restore"));
            let line = found["cli_restore"].as_str().unwrap();
            let pasted = paste(sandbox.dir.path(), &sandbox.client, line).expect(0);
            assert_eq!(pasted.json["restored"], pasted.json["found"], "{line}");
            assert!(sandbox.at("restore").is_dir(), "{line}");
        }
        let newest = sandbox.run("find", &["*notas.md", "--newest", "2"]).expect(0).json;
        assert_eq!((&newest["searched"], &newest["matches"]), (&2.into(), &2.into()));
        let limited = sandbox.run("find", &["*.txt", "--limit", "1"]).expect(0).json;
        assert_eq!((limited["files"].as_array().unwrap().len(), &limited["left_out"]), (1, &12.into()));
        let nothing = sandbox.run("find", &["*.NADA"]).expect(1);
        assert_eq!(nothing.json["matches"], 0);
        let table = sandbox.run("find", &["*notas.md", "--format", "table"]).expect(0);
        let table = String::from_utf8(table.stdout).unwrap();
        assert!(table.contains("2 backups") && table.contains("the newest: "), "{table}");
        sandbox.run("forget", &["--key", &keys[2]]).expect(0);
        let without = sandbox.run("find", &["*notas.md"]).expect(0).json;
        assert_eq!(without["files"][0]["versions"].as_array().unwrap().len(), 1, "{without:#}");
    }
}

#[test]
fn what_cannot_be_searched_is_named_and_the_rest_is() {
    let sandbox = Sandbox::new("");
    sandbox.write("a.txt", "a");
    let keys: Vec<_> = (0..3).map(|_| sandbox.back_up()).collect();
    let other_key = UserKey::generate().to_base64().unwrap();
    let stranger = sandbox.client.clone().var("INTELLISTOR_KEY", other_key.as_str());
    let find = ["find", "--policy", "policy.yaml", "a*"];
    let refused = stranger.run(find).expect(2);
    assert!(refused.stderr.contains("INTELLISTOR_KEY"), "{}", refused.stderr);
    // One of another key among ours.
    let theirs = stranger.run(["backup", "--policy", "policy.yaml", "--full"]).json;
    let theirs = theirs["s3"]["key_backup"].as_str().unwrap();
    let found = sandbox.client.run(find).expect(3).json;
    assert_eq!(found["unread"][0]["key"], theirs, "{found:#}");
    assert_eq!((&found["searched"], &found["unread"][0]["damaged"]), (&3.into(), &false.into()));
    // One that is damaged.
    let path = sandbox.object(&manifest(&keys[1]));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = sandbox.client.run(find).expect(4);
    assert!(found.stderr.contains(&keys[1]), "{}", found.stderr);
    assert_eq!(found.json["matches"], 2, "{:#}", found.json);
    assert_eq!(found.json["files"][0]["versions"][0]["newest"]["key"], keys[2].as_str());
}

#[test]
fn two_backups_are_compared_path_by_path() {
    for more in ["", "manifest: sealed\n"] {
        let sandbox = Sandbox::new(more);
        for (name, content) in [
            ("a/fica.txt", "the same"),
            ("a/muda.txt", "before"),
            ("a-b/some.txt", "gone soon"),
            ("a/velho nome.txt", "moves, and keeps its content"),
            ("modo.txt", "chmod"),
            ("tempo.txt", "touched"),
            ("z/\u{e7}.txt", "x"),
        ] {
            sandbox.write(name, content);
        }
        let first = sandbox.back_up();
        let source = sandbox.at("source");
        sandbox.write("a/muda.txt", "after, longer");
        fs::remove_dir_all(source.join("a-b")).unwrap();
        fs::create_dir(source.join("novo")).unwrap();
        fs::rename(source.join("a/velho nome.txt"), source.join("novo/nome.txt")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(source.join("modo.txt"), mode).unwrap();
        let touched = fs::File::options().write(true).open(source.join("tempo.txt")).unwrap();
        touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        sandbox.write("[novo]/x.txt", "new");
        let second = sandbox.back_up();
        let paths = |document: &Value, list: &str| {
            let list = document[list].as_array().unwrap_or_else(|| panic!("{list}: {document:#}")).clone();
            list.iter().map(|entry| entry["relative_path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let differ = sandbox.run("diff", &[]).expect(0).json;
        assert_eq!((&differ["from"]["key"], &differ["to"]["key"]), (&first.into(), &second.into()));
        assert_eq!(paths(&differ, "added"), ["[novo]", "[novo]/x.txt", "novo"]);
        assert_eq!(paths(&differ, "removed"), ["a-b", "a-b/some.txt"]);
        assert_eq!(paths(&differ, "changed"), ["a/muda.txt"]);
        assert_eq!(paths(&differ, "moved"), ["novo/nome.txt"]);
        assert_eq!(differ["moved"][0]["from"], "a/velho nome.txt");
        assert_eq!(paths(&differ, "metadata"), ["modo.txt", "tempo.txt"]);
        assert_eq!(differ["metadata"][0]["differs"], serde_json::json!(["mode"]));
        assert_eq!(
            (&differ["changed"][0]["size"], &differ["changed"][0]["size_before"]),
            (&13.into(), &6.into())
        );
        assert_eq!(differ["totals"]["removed"], serde_json::json!({ "entries": 2, "bytes": 9 }));
        // The other way round, everything is the other way round.
        let back = sandbox.run("diff", &["latest", "latest~1"]).expect(0).json;
        assert_eq!(paths(&back, "removed"), paths(&differ, "added"));
        assert_eq!(paths(&back, "moved"), ["a/velho nome.txt"]);
        let same = sandbox.run("diff", &["latest", "latest"]).expect(0).json;
        assert_eq!((paths(&same, "changed").len(), &same["left_out"]), (0, &0.into()));
        let only = sandbox.run("diff", &["--only", "a/*"]).expect(0).json;
        assert_eq!((paths(&only, "changed").len(), paths(&only, "added").len()), (1, 0), "{only:#}");
        let bounded = sandbox.run("diff", &["--limit", "1"]).expect(0).json;
        assert_eq!((paths(&bounded, "added").len(), &bounded["left_out"]), (1, &4.into()));
        assert_eq!(bounded["totals"], differ["totals"]);
        let table = sandbox.run("diff", &["--format", "table"]).expect(0);
        let table = String::from_utf8(table.stdout).unwrap();
        assert!(table.contains("moved from a/velho nome.txt") && table.contains("changed, was"), "{table}");
    }
}

#[test]
fn folders_that_a_policy_names_otherwise_are_compared_by_their_path() {
    let sandbox = Sandbox::new("");
    let policy = |folders: &[&str]| {
        let paths: Vec<_> =
            folders.iter().map(|folder| format!("'{}'", sandbox.at(folder).display())).collect();
        let (paths, store) = (paths.join(", "), sandbox.at("store"));
        fs::write(
            sandbox.at("policy.yaml"),
            format!("policy_id: p\npaths: [{paths}]\nstore: file://{}\n", store.display()),
        )
        .unwrap();
    };
    for folder in ["um", "dois", "tres"] {
        fs::create_dir(sandbox.at(folder)).unwrap();
        fs::write(sandbox.at(folder).join("x.txt"), folder).unwrap();
    }
    policy(&["um", "dois"]);
    sandbox.back_up();
    policy(&["dois", "tres", "um"]);
    fs::write(sandbox.at("um/x.txt"), "other").unwrap();
    sandbox.back_up();
    let differ = sandbox.run("diff", &[]).expect(0).json;
    assert_eq!(differ["totals"]["changed"]["entries"], 1, "{differ:#}");
    assert_eq!(differ["changed"][0]["relative_path"], "um/x.txt");
    assert_eq!(
        (&differ["totals"]["removed"]["entries"], &differ["totals"]["added"]["entries"]),
        (&0.into(), &2.into())
    );
}

#[test]
fn a_policys_bytes_are_those_of_its_objects() {
    let sandbox = Sandbox::new("");
    for n in 0..2000 {
        sandbox.write(&format!("muitos/{:02}/{n}.txt", n % 20), &format!("{n:0100}"));
    }
    sandbox.write("grande/um.bin", &"y".repeat(1 << 20));
    let full = sandbox.back_up();
    intellistor_tests::tree::let_age(&sandbox.at("source"));
    sandbox.write("novo.txt", "new");
    let next = sandbox.back_up_as(&[]);
    let alone = sandbox.back_up();
    let stats = sandbox.run("stats", &["--depth", "1"]).expect(0).json;
    let size = |key: &str| fs::metadata(sandbox.object(key)).unwrap().len();
    let both = |key: &str| size(key) + size(&manifest(key));
    let backups = stats["backups"].as_array().unwrap();
    let unique: Vec<_> = backups.iter().map(|backup| backup["unique_bytes"].as_u64().unwrap()).collect();
    // The archive of the first one is needed by the second, which has its own, too.
    assert_eq!(unique, [size(&manifest(&full)), both(&next), both(&alone)], "{stats:#}");
    assert_eq!(backups[1]["shared_bytes"], size(&full));
    assert_eq!((&backups[0]["full"], &backups[1]["full"]), (&true.into(), &false.into()));
    assert_eq!(stats["totals"]["stored_bytes"], both(&full) + both(&next) + both(&alone));
    let folders: BTreeMap<_, _> = stats["folders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|folder| (folder["folder"].as_str().unwrap(), folder["bytes"].as_u64().unwrap()))
        .collect();
    assert_eq!(folders, BTreeMap::from([("grande", 1 << 20), ("muitos", 2000 * 100)]));
    assert_eq!(stats["folders"][0]["folder"], "grande");
    assert_eq!(stats["months"].as_array().unwrap().len(), 1);
    // What `unique_bytes` promises is what a sweep frees.
    sandbox.run("forget", &["--key", &alone, "--confirm"]).expect(0);
    let after = sandbox.run("stats", &[]).expect(0).json;
    let before = stats["totals"]["stored_bytes"].as_u64().unwrap();
    assert_eq!(after["totals"]["stored_bytes"], before - unique[2]);
    let table = String::from_utf8(sandbox.run("stats", &["--format", "table"]).expect(0).stdout).unwrap();
    assert!(table.contains("by month:") && table.contains("largest folders"), "{table}");
}

#[test]
fn what_a_backup_contains_is_a_table_too() {
    let sandbox = Sandbox::new("");
    sandbox.write("pasta/a\u{1b}[2Jb.txt", "x");
    sandbox.back_up();
    let shown = sandbox.run("show", &["--latest", "--format", "table"]).expect(0);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("MODIFIED") && text.contains("pasta/a\\u{1b}[2Jb.txt"), "{text}");
}
