//! What a policy names and leaves out, as the programs find it on the disk: folders that hold the backup itself, that
//! overlap, that are away; patterns that match nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::tree;
use serde_json::Value;
use tempfile::TempDir;

/// A folder `data` with a few files, both programs, and a store in a folder.
struct Sandbox {
    dir: TempDir,
    client: Client,
    agent: Client,
}

impl Sandbox {
    /// With the agent's home in `home`.
    fn new(home: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", dir.path().join(home));
        let agent = client.agent();
        let sandbox = Self { dir, client, agent };
        for file in ["a.txt", "b.txt", "sub/c.txt"] {
            sandbox.write(&format!("data/{file}"), file);
        }
        sandbox
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, body: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), body).unwrap();
    }

    fn policy(&self, paths: &[&str], store: &str, more: &str) {
        let paths: Vec<_> = paths.iter().map(|path| format!("'{}'", self.at(path).display())).collect();
        let (paths, store) = (paths.join(", "), self.at(store));
        let policy = format!("policy_id: p\npaths: [{paths}]\nstore: 'file://{}'\n{more}", store.display());
        self.write("policy.yaml", policy);
    }

    fn back_up(&self, args: &[&str]) -> Output {
        self.client.run([&["backup", "--policy", "policy.yaml"], args].concat())
    }

    fn run(&self, args: &[&str]) -> Output {
        self.agent.run([&["run", "--policy", "policy.yaml"], args].concat())
    }

    /// Relative paths of what a backup holds.
    fn held(&self, made: &Output) -> Vec<String> {
        let key = made.key_backup();
        let shown = self.client.run(["-q", "show", "--policy", "policy.yaml", "--key", key]).expect(0).json;
        let path = |entry: &Value| entry["relative_path"].as_str().unwrap().to_owned();
        shown["entries"].as_array().unwrap().iter().map(path).collect()
    }

    fn restore(&self, args: &[&str]) -> Output {
        let all = [&["restore", "--policy", "policy.yaml", "--latest", "--out", "restored"], args].concat();
        let _ = fs::remove_dir_all(self.at("restored"));
        self.client.run(all)
    }
}

const FILES: [&str; 5] = [".", "a.txt", "b.txt", "sub", "sub/c.txt"];

#[test]
fn the_store_its_copy_and_the_home_inside_the_source_are_left_out_and_told() {
    let sandbox = Sandbox::new("data/.agent");
    symlink(sandbox.at("data/store"), sandbox.at("way-in")).unwrap();
    const STORES: [&str; 3] = ["data/store", "way-in", "data/sub/../store"];
    // The client does not know the agent's home, which would then be missing from the agent's backups: it runs before there
    // is one.
    for store in STORES {
        sandbox.policy(&["data"], store, "");
        let mut bytes = Vec::new();
        for _ in 0..2 {
            let client = sandbox.back_up(&["--out", "data/copy"]).expect(0);
            assert!(client.warnings().contains("data/store was left out"), "{}", client.warnings());
            assert!(client.warnings().contains("data/copy was left out"), "{}", client.warnings());
            bytes.push(client.json["bytes"].as_u64().unwrap());
        }
        assert_eq!(bytes[0], bytes[1], "it grows");
    }
    for store in STORES {
        sandbox.policy(&["data"], store, "");
        for _ in 0..2 {
            let agent = sandbox.run(&["--out", "data/copy"]).expect(0);
            let output = agent.warnings();
            for name in ["data/store", "data/copy", "data/.agent"] {
                assert!(output.contains(&format!("{name} was left out")), "no {name} in {output}");
            }
            assert_eq!(agent.json["state"], "completed", "{:#}", agent.json);
            assert_eq!(sandbox.held(&agent), FILES);
        }
    }
}

#[test]
fn a_copy_of_an_earlier_run_is_left_out_and_the_store_of_another_policy_is_not() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "store", "");
    sandbox.back_up(&["--out", "data/copy"]).expect(0);
    for made in [sandbox.back_up(&[]).expect(0), sandbox.run(&[]).expect(0)] {
        assert!(
            made.warnings().contains("data/copy was left out: it is a store that holds"),
            "{}",
            made.warnings()
        );
        assert!(
            sandbox.held(&made).iter().all(|path| !path.contains("copy/backups")),
            "{:?}",
            sandbox.held(&made)
        );
    }
    std::fs::rename(sandbox.at("data/copy/backups/p"), sandbox.at("data/copy/backups/another")).unwrap();
    let made = sandbox.back_up(&[]).expect(0);
    assert!(
        sandbox.held(&made).iter().any(|path| path.ends_with("manifest.json")),
        "{:?}",
        sandbox.held(&made)
    );
}

#[test]
fn a_store_that_is_the_source_keeps_its_own_objects_out() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "data", "");
    for _ in 0..2 {
        for made in [sandbox.back_up(&[]).expect(0), sandbox.run(&[]).expect(0)] {
            assert_eq!(sandbox.held(&made), FILES);
        }
    }
    // A folder beside the objects is as good as any.
    sandbox.policy(&["data/sub"], "data", "");
    let made = sandbox.back_up(&[]).expect(0);
    assert_eq!(sandbox.held(&made), [".", "c.txt"]);
    for inside in ["data/backups", "data/backups/p"] {
        sandbox.policy(&[inside], "data", "");
        for refused in [sandbox.back_up(&[]).expect(2), sandbox.run(&[]).expect(2)] {
            assert!(refused.stderr.contains("grow with each run"), "{}", refused.stderr);
        }
        sandbox.agent.run(["cancel", "--policy", "policy.yaml"]);
    }
}

#[test]
fn a_copy_that_would_lie_in_the_store_is_refused() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "store", "");
    sandbox.back_up(&[]).expect(0);
    let objects = tree::snapshot(&sandbox.at("store"));
    symlink(sandbox.at("store"), sandbox.at("link")).unwrap();
    for copy in ["store", "./store/", "link", "store/backups", "store/backups/p", "data/../store"] {
        for refused in [sandbox.back_up(&["--out", copy]).expect(2), sandbox.run(&["--out", copy]).expect(2)]
        {
            assert!(refused.stderr.contains("would overwrite"), "{copy}: {}", refused.stderr);
        }
    }
    let backups = |tree: &tree::Tree| tree.keys().filter(|path| path.ends_with(b".enc")).count();
    assert_eq!(backups(&tree::snapshot(&sandbox.at("store"))), backups(&objects));
    sandbox.policy(&["data"], "copy/backups", "");
    fs::create_dir_all(sandbox.at("copy/backups")).unwrap();
    sandbox.back_up(&["--out", "copy"]).expect(2);
    sandbox.policy(&["data"], "store", "");
    sandbox.back_up(&["--out", "store/copy"]).expect(0);
}

#[test]
fn paths_that_overlap_are_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new("home");
    symlink(sandbox.at("data/sub"), sandbox.at("link")).unwrap();
    for paths in [["data", "data/sub"], ["data/sub", "data"], ["data", "link"], ["data", "data/a.txt"]] {
        sandbox.policy(&paths, "store", "");
        for refused in [sandbox.back_up(&[]).expect(2), sandbox.run(&[]).expect(2)] {
            assert!(refused.stderr.contains("stored twice"), "{paths:?}: {}", refused.stderr);
        }
        sandbox.agent.run(["cancel", "--policy", "policy.yaml"]);
    }
    for paths in [["data", "data/"], ["data/sub", "data/../data/sub"], ["link", "data/sub"]] {
        sandbox.policy(&paths, "store", "");
        let refused = sandbox.back_up(&[]).expect(2);
        assert!(refused.stderr.contains("twice"), "{paths:?}: {}", refused.stderr);
    }
    assert!(!sandbox.at("store/backups").exists());
    let made = sandbox.client.run(["policy-create", "--out", "new.yaml", "--paths", "data", "data/sub"]);
    assert!(made.expect(2).stderr.contains("stored twice"));
}

#[test]
fn excludes_hold_below_each_of_several_paths() {
    let sandbox = Sandbox::new("home");
    for file in
        ["data/cache/x", "data/src/node_modules/m.js", "more/cache/y", "more/node_modules/n.js", "more/d"]
    {
        sandbox.write(file, file);
    }
    let exclude = "exclude: ['cache/*', '*node_modules', 'more/d', 'cache\\*', '*.none']\n";
    sandbox.policy(&["data", "more"], "store", exclude);
    let client = sandbox.back_up(&[]).expect(0);
    let held = sandbox.held(&client);
    let left = |path: &str| held.iter().any(|held| held.contains(path));
    assert!(!left("cache/") && !left("node_modules"), "{held:?}");
    assert!(left("more/d") && left("data/a.txt") && left("data/src"), "{held:?}");
    for output in [client.warnings(), sandbox.run(&[]).expect(0).warnings()] {
        for (pattern, hint) in [("more/d", "\"d\""), ("cache\\\\*", "cache/*"), ("*.none", "matched nothing")]
        {
            let line = output.lines().find(|line| line.contains(&format!("\"{pattern}\"")));
            assert!(line.is_some_and(|line| line.contains(hint)), "{pattern}: {output}");
        }
        assert!(!output.contains("node_modules"), "{output}");
    }
}

#[test]
fn patterns_of_only_that_match_nothing_are_named_and_a_literal_name_matches_itself() {
    let sandbox = Sandbox::new("home");
    sandbox.write("data/[2024] report.pdf", "the one that is meant");
    sandbox.write("data/2 report.pdf", "another");
    sandbox.policy(&["data"], "store", "");
    sandbox.back_up(&[]).expect(0);
    let restored = sandbox.restore(&["--only", "[2024] report.pdf"]).expect(0);
    assert_eq!(
        fs::read_to_string(sandbox.at("restored/[2024] report.pdf")).unwrap(),
        "the one that is meant"
    );
    assert!(restored.warnings().is_empty());
    let typo = sandbox.restore(&["--only", "a.txt", "b.txxt", "/sub"]).expect(3);
    assert_eq!(typo.json["restored"], 1, "{:#}", typo.json);
    assert!(
        typo.warnings().contains("\"b.txxt\"") && typo.warnings().contains("\"sub\""),
        "{}",
        typo.warnings()
    );
    let alone = sandbox.restore(&["--only", "./a.txt"]).expect(1);
    assert!(alone.stderr.contains("\"a.txt\""), "{}", alone.stderr);
    let shown =
        sandbox.client.run(["show", "--policy", "policy.yaml", "--latest", "--only", "a.txt", "none"]);
    assert!(shown.expect(0).stderr.contains("\"none\""));
}

#[test]
fn a_path_that_is_missing_is_told_and_the_others_are_backed_up() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data", "away"], "store", "");
    for output in [sandbox.back_up(&[]).expect(3), sandbox.run(&[]).expect(3)] {
        assert!(output.warnings().contains("away"), "{}", output.warnings());
        assert_eq!(output.json["files"], 3, "{:#}", output.json);
    }
    sandbox.policy(&["gone", "away"], "store", "");
    for output in [sandbox.back_up(&[]).expect(2), sandbox.run(&[]).expect(2)] {
        assert!(output.stderr.contains("gone"), "{}", output.stderr);
    }
    let listed = sandbox.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "no backup was made of nothing");
}

#[test]
fn a_folder_that_is_empty_and_was_not_is_told_every_night_until_it_is_filled() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data", "other"], "store", "");
    sandbox.write("other/x", "x");
    sandbox.run(&[]).expect(0);
    fs::rename(sandbox.at("data"), sandbox.at("mounted")).unwrap();
    fs::create_dir(sandbox.at("data")).unwrap();
    let client = sandbox.back_up(&[]).expect(3);
    assert!(client.warnings().contains("contains no files"), "{}", client.warnings());
    for _ in 0..2 {
        let output = sandbox.run(&[]).expect(3);
        assert!(output.warnings().contains("contains no files"), "{}", output.warnings());
        assert_eq!(output.json["state"], "completed_with_warnings");
    }
    fs::remove_dir(sandbox.at("data")).unwrap();
    fs::rename(sandbox.at("mounted"), sandbox.at("data")).unwrap();
    sandbox.run(&[]).expect(0);
    (0..6).for_each(|i| sandbox.write(&format!("data/more {i}"), "x"));
    sandbox.run(&[]).expect(0);
    (0..6).for_each(|i| fs::remove_file(sandbox.at(&format!("data/more {i}"))).unwrap());
    let output = sandbox.run(&[]).expect(3);
    assert!(output.warnings().contains("fewer than half"), "{}", output.warnings());
    sandbox.run(&[]).expect(0);
}

#[test]
fn a_folder_is_compared_with_the_latest_backup_and_not_with_one_of_the_future() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "store", "");
    sandbox.back_up(&[]).expect(0);
    fs::rename(sandbox.at("data"), sandbox.at("mounted")).unwrap();
    fs::create_dir(sandbox.at("data")).unwrap();
    // A backup of the empty folder, as a clock that was years ahead would have named it.
    let empty = sandbox.back_up(&[]).expect(3);
    assert!(empty.warnings().contains("contains no files"), "{}", empty.warnings());
    let made = sandbox.at("store").join(Path::new(empty.key_backup()).parent().unwrap());
    let future = sandbox.at("store/backups/p/20990101T000000Z");
    fs::create_dir(&future).unwrap();
    fs::rename(&made, future.join(made.file_name().unwrap())).unwrap();
    let output = sandbox.back_up(&[]).expect(3);
    assert!(output.warnings().contains("dated in the future"), "{}", output.warnings());
    assert!(output.warnings().contains("contains no files"), "{}", output.warnings());
}

#[test]
fn a_store_whose_disk_is_away_is_missed_by_the_agent() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "disk/backups", "");
    fs::create_dir(sandbox.at("disk")).unwrap();
    let first = sandbox.run(&[]).expect(0);
    assert!(first.stderr.contains("created a new store"), "{}", first.stderr);
    assert!(!sandbox.run(&[]).expect(0).stderr.contains("a new store"));
    // The disk is unmounted: its mount point is an empty folder.
    fs::rename(sandbox.at("disk"), sandbox.at("away")).unwrap();
    fs::create_dir(sandbox.at("disk")).unwrap();
    for _ in 0..2 {
        let refused = sandbox.run(&[]).expect(1);
        assert!(refused.stderr.contains("Mount the disk"), "{}", refused.stderr);
        assert_eq!(fs::read_dir(sandbox.at("disk")).unwrap().count(), 0, "something was written there");
    }
    // The store is the mount point itself, and another store is there.
    fs::create_dir(sandbox.at("disk/backups")).unwrap();
    sandbox.run(&[]).expect(1);
    sandbox.back_up(&[]).expect(0);
    sandbox.run(&[]).expect(1);
    let listed = |sandbox: &Sandbox| {
        let listed = sandbox.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        listed["backups"].as_array().unwrap().len()
    };
    assert_eq!(listed(&sandbox), 1);
    fs::remove_dir_all(sandbox.at("disk")).unwrap();
    fs::rename(sandbox.at("away"), sandbox.at("disk")).unwrap();
    sandbox.run(&[]).expect(0);
    assert_eq!(listed(&sandbox), 3);
    // A disk that was replaced is accepted once, and known from then on.
    fs::remove_dir_all(sandbox.at("disk/backups")).unwrap();
    sandbox.run(&[]).expect(1);
    sandbox.run(&["--new-store"]).expect(0);
    sandbox.run(&[]).expect(0);
}

#[test]
fn a_copy_whose_disk_is_away_is_missed_by_the_agent() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "store", "");
    let with_copy = ["--out", "disk/copy"];
    fs::create_dir(sandbox.at("disk")).unwrap();
    sandbox.run(&with_copy).expect(0);
    fs::rename(sandbox.at("disk"), sandbox.at("away")).unwrap();
    fs::create_dir(sandbox.at("disk")).unwrap();
    let output = sandbox.run(&with_copy).expect(3);
    assert!(output.warnings().contains("not copied to") && output.warnings().contains("Mount the disk"));
    assert_eq!(fs::read_dir(sandbox.at("disk")).unwrap().count(), 0, "something was written there");
    fs::remove_dir(sandbox.at("disk")).unwrap();
    fs::rename(sandbox.at("away"), sandbox.at("disk")).unwrap();
    sandbox.run(&with_copy).expect(0);
    fs::remove_dir_all(sandbox.at("disk/copy")).unwrap();
    sandbox.run(&with_copy).expect(3);
    sandbox.run(&["--out", "disk/copy", "--new-store"]).expect(0);
    sandbox.run(&with_copy).expect(0);
}

#[test]
fn a_store_is_not_made_by_looking_for_backups_in_it() {
    let sandbox = Sandbox::new("home");
    sandbox.policy(&["data"], "stroe", "");
    sandbox.client.run(["list", "--policy", "policy.yaml"]).expect(1);
    sandbox.restore(&[]).expect(1);
    assert!(!sandbox.at("stroe").exists());
    let output = sandbox.back_up(&[]).expect(0).stderr;
    assert!(output.contains("created a new store") && output.contains("stroe"), "{output}");
    assert!(!sandbox.back_up(&[]).expect(0).stderr.contains("a new store"));
    assert!(Path::new(&sandbox.at("stroe/backups/p")).exists());
}
