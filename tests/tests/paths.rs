//! What a policy names and leaves out, as the programs find it on the disk: folders that hold the backup itself, that
//! overlap, that are away; patterns that match nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::tree;
use serde_json::Value;
use tempfile::TempDir;

/// A folder `data` with a few files, both programs, and a store in a folder.
struct Place {
    dir: TempDir,
    client: Client,
    agent: Client,
}

impl Place {
    /// With the agent's home in `home`.
    fn new(home: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path())
            .var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str())
            .var("INTELLISTOR_HOME", dir.path().join(home));
        let agent = client.agent();
        let place = Self { dir, client, agent };
        for file in ["a.txt", "b.txt", "sub/c.txt"] {
            place.write(&format!("data/{file}"), file);
        }
        place
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
    let place = Place::new("data/.agent");
    symlink(place.at("data/store"), place.at("way-in")).unwrap();
    for store in ["data/store", "way-in", "data/sub/../store"] {
        place.policy(&["data"], store, "");
        let mut bytes = Vec::new();
        for _ in 0..2 {
            let client = place.back_up(&["--out", "data/copy"]).expect(0);
            assert!(client.warnings().contains("data/store was left out"), "{}", client.warnings());
            assert!(client.warnings().contains("data/copy was left out"), "{}", client.warnings());
            bytes.push(client.json["bytes"].as_u64().unwrap());
        }
        assert_eq!(bytes[0], bytes[1], "it grows");
        for _ in 0..2 {
            let agent = place.run(&["--out", "data/copy"]).expect(0);
            let told = agent.warnings();
            for name in ["data/store", "data/copy", "data/.agent"] {
                assert!(told.contains(&format!("{name} was left out")), "no {name} in {told}");
            }
            assert_eq!(agent.json["state"], "completed", "{:#}", agent.json);
            assert_eq!(place.held(&agent), FILES);
        }
    }
}

#[test]
fn a_copy_of_an_earlier_run_is_left_out_and_the_store_of_another_policy_is_not() {
    let place = Place::new("home");
    place.policy(&["data"], "store", "");
    place.back_up(&["--out", "data/copy"]).expect(0);
    for made in [place.back_up(&[]).expect(0), place.run(&[]).expect(0)] {
        assert!(
            made.warnings().contains("data/copy was left out: it is a store that holds"),
            "{}",
            made.warnings()
        );
        assert!(
            place.held(&made).iter().all(|path| !path.contains("copy/backups")),
            "{:?}",
            place.held(&made)
        );
    }
    std::fs::rename(place.at("data/copy/backups/p"), place.at("data/copy/backups/another")).unwrap();
    let made = place.back_up(&[]).expect(0);
    assert!(place.held(&made).iter().any(|path| path.ends_with("manifest.json")), "{:?}", place.held(&made));
}

#[test]
fn a_store_that_is_the_source_keeps_its_own_objects_out() {
    let place = Place::new("home");
    place.policy(&["data"], "data", "");
    for _ in 0..2 {
        for made in [place.back_up(&[]).expect(0), place.run(&[]).expect(0)] {
            assert_eq!(place.held(&made), FILES);
        }
    }
    // A folder beside the objects is as good as any.
    place.policy(&["data/sub"], "data", "");
    let made = place.back_up(&[]).expect(0);
    assert_eq!(place.held(&made), [".", "c.txt"]);
    for inside in ["data/backups", "data/backups/p"] {
        place.policy(&[inside], "data", "");
        for refused in [place.back_up(&[]).expect(2), place.run(&[]).expect(2)] {
            assert!(refused.stderr.contains("grow with each run"), "{}", refused.stderr);
        }
        place.agent.run(["cancel", "--policy", "policy.yaml"]);
    }
}

#[test]
fn a_copy_that_would_lie_in_the_store_is_refused() {
    let place = Place::new("home");
    place.policy(&["data"], "store", "");
    place.back_up(&[]).expect(0);
    let objects = tree::snapshot(&place.at("store"));
    symlink(place.at("store"), place.at("link")).unwrap();
    for copy in ["store", "./store/", "link", "store/backups", "store/backups/p", "data/../store"] {
        for refused in [place.back_up(&["--out", copy]).expect(2), place.run(&["--out", copy]).expect(2)] {
            assert!(refused.stderr.contains("would overwrite"), "{copy}: {}", refused.stderr);
        }
    }
    let backups = |tree: &tree::Tree| tree.keys().filter(|path| path.ends_with(b".enc")).count();
    assert_eq!(backups(&tree::snapshot(&place.at("store"))), backups(&objects));
    place.policy(&["data"], "copy/backups", "");
    fs::create_dir_all(place.at("copy/backups")).unwrap();
    place.back_up(&["--out", "copy"]).expect(2);
    place.policy(&["data"], "store", "");
    place.back_up(&["--out", "store/copy"]).expect(0);
}

#[test]
fn paths_that_overlap_are_refused_before_anything_is_sent() {
    let place = Place::new("home");
    symlink(place.at("data/sub"), place.at("link")).unwrap();
    for paths in [["data", "data/sub"], ["data/sub", "data"], ["data", "link"], ["data", "data/a.txt"]] {
        place.policy(&paths, "store", "");
        for refused in [place.back_up(&[]).expect(2), place.run(&[]).expect(2)] {
            assert!(refused.stderr.contains("stored twice"), "{paths:?}: {}", refused.stderr);
        }
        place.agent.run(["cancel", "--policy", "policy.yaml"]);
    }
    for paths in [["data", "data/"], ["data/sub", "data/../data/sub"], ["link", "data/sub"]] {
        place.policy(&paths, "store", "");
        let refused = place.back_up(&[]).expect(2);
        assert!(refused.stderr.contains("twice"), "{paths:?}: {}", refused.stderr);
    }
    assert!(!place.at("store/backups").exists());
    let made = place.client.run(["policy-create", "--out", "new.yaml", "--paths", "data", "data/sub"]);
    assert!(made.expect(2).stderr.contains("stored twice"));
}

#[test]
fn excludes_hold_below_each_of_several_paths() {
    let place = Place::new("home");
    for file in
        ["data/cache/x", "data/src/node_modules/m.js", "more/cache/y", "more/node_modules/n.js", "more/d"]
    {
        place.write(file, file);
    }
    let exclude = "exclude: ['cache/*', '*node_modules', 'more/d', 'cache\\*', '*.none']\n";
    place.policy(&["data", "more"], "store", exclude);
    let client = place.back_up(&[]).expect(0);
    let held = place.held(&client);
    let left = |path: &str| held.iter().any(|held| held.contains(path));
    assert!(!left("cache/") && !left("node_modules"), "{held:?}");
    assert!(left("more/d") && left("data/a.txt") && left("data/src"), "{held:?}");
    for told in [client.warnings(), place.run(&[]).expect(0).warnings()] {
        for (pattern, hint) in [("more/d", "\"d\""), ("cache\\\\*", "cache/*"), ("*.none", "matched nothing")]
        {
            let line = told.lines().find(|line| line.contains(&format!("\"{pattern}\"")));
            assert!(line.is_some_and(|line| line.contains(hint)), "{pattern}: {told}");
        }
        assert!(!told.contains("node_modules"), "{told}");
    }
}

#[test]
fn patterns_of_only_that_match_nothing_are_named_and_a_literal_name_matches_itself() {
    let place = Place::new("home");
    place.write("data/[2024] report.pdf", "the one that is meant");
    place.write("data/2 report.pdf", "another");
    place.policy(&["data"], "store", "");
    place.back_up(&[]).expect(0);
    let restored = place.restore(&["--only", "[2024] report.pdf"]).expect(0);
    assert_eq!(fs::read_to_string(place.at("restored/[2024] report.pdf")).unwrap(), "the one that is meant");
    assert!(restored.warnings().is_empty());
    let typo = place.restore(&["--only", "a.txt", "b.txxt", "/sub"]).expect(3);
    assert_eq!(typo.json["restored"], 1, "{:#}", typo.json);
    assert!(
        typo.warnings().contains("\"b.txxt\"") && typo.warnings().contains("\"sub\""),
        "{}",
        typo.warnings()
    );
    let alone = place.restore(&["--only", "./a.txt"]).expect(1);
    assert!(alone.stderr.contains("\"a.txt\""), "{}", alone.stderr);
    let shown = place.client.run(["show", "--policy", "policy.yaml", "--latest", "--only", "a.txt", "none"]);
    assert!(shown.expect(0).stderr.contains("\"none\""));
}

#[test]
fn a_path_that_is_missing_is_told_and_the_others_are_backed_up() {
    let place = Place::new("home");
    place.policy(&["data", "away"], "store", "");
    for output in [place.back_up(&[]).expect(3), place.run(&[]).expect(3)] {
        assert!(output.warnings().contains("away"), "{}", output.warnings());
        assert_eq!(output.json["files"], 3, "{:#}", output.json);
    }
    place.policy(&["gone", "away"], "store", "");
    for output in [place.back_up(&[]).expect(2), place.run(&[]).expect(2)] {
        assert!(output.stderr.contains("gone"), "{}", output.stderr);
    }
    let listed = place.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "no backup was made of nothing");
}

#[test]
fn a_folder_that_is_empty_and_was_not_is_told_every_night_until_it_is_filled() {
    let place = Place::new("home");
    place.policy(&["data", "other"], "store", "");
    place.write("other/x", "x");
    place.run(&[]).expect(0);
    fs::rename(place.at("data"), place.at("mounted")).unwrap();
    fs::create_dir(place.at("data")).unwrap();
    let client = place.back_up(&[]).expect(3);
    assert!(client.warnings().contains("holds no files"), "{}", client.warnings());
    for _ in 0..2 {
        let told = place.run(&[]).expect(3);
        assert!(told.warnings().contains("holds no files"), "{}", told.warnings());
        assert_eq!(told.json["state"], "completed_with_warnings");
    }
    fs::remove_dir(place.at("data")).unwrap();
    fs::rename(place.at("mounted"), place.at("data")).unwrap();
    place.run(&[]).expect(0);
    (0..6).for_each(|i| place.write(&format!("data/more {i}"), "x"));
    place.run(&[]).expect(0);
    (0..6).for_each(|i| fs::remove_file(place.at(&format!("data/more {i}"))).unwrap());
    let told = place.run(&[]).expect(3);
    assert!(told.warnings().contains("less than half"), "{}", told.warnings());
    place.run(&[]).expect(0);
}

#[test]
fn a_folder_is_compared_with_the_latest_backup_and_not_with_one_of_the_future() {
    let place = Place::new("home");
    place.policy(&["data"], "store", "");
    place.back_up(&[]).expect(0);
    fs::rename(place.at("data"), place.at("mounted")).unwrap();
    fs::create_dir(place.at("data")).unwrap();
    // A backup of the empty folder, as a clock that was years ahead would have named it.
    let empty = place.back_up(&[]).expect(3);
    assert!(empty.warnings().contains("holds no files"), "{}", empty.warnings());
    let made = place.at("store").join(Path::new(empty.key_backup()).parent().unwrap());
    let future = place.at("store/backups/p/20990101T000000Z");
    fs::create_dir(&future).unwrap();
    fs::rename(&made, future.join(made.file_name().unwrap())).unwrap();
    let told = place.back_up(&[]).expect(3);
    assert!(told.warnings().contains("dated in the future"), "{}", told.warnings());
    assert!(told.warnings().contains("holds no files"), "{}", told.warnings());
}

#[test]
fn a_store_whose_disk_is_away_is_missed_by_the_agent() {
    let place = Place::new("home");
    place.policy(&["data"], "disk/backups", "");
    fs::create_dir(place.at("disk")).unwrap();
    let first = place.run(&[]).expect(0);
    assert!(first.stderr.contains("created a new store"), "{}", first.stderr);
    assert!(!place.run(&[]).expect(0).stderr.contains("a new store"));
    // The disk is unmounted: its mount point is an empty folder.
    fs::rename(place.at("disk"), place.at("away")).unwrap();
    fs::create_dir(place.at("disk")).unwrap();
    for _ in 0..2 {
        let refused = place.run(&[]).expect(1);
        assert!(refused.stderr.contains("Mount the disk"), "{}", refused.stderr);
        assert_eq!(fs::read_dir(place.at("disk")).unwrap().count(), 0, "something was written there");
    }
    // The store is the mount point itself, and another store lies there.
    fs::create_dir(place.at("disk/backups")).unwrap();
    place.run(&[]).expect(1);
    place.back_up(&[]).expect(0);
    place.run(&[]).expect(1);
    let listed = |place: &Place| {
        let listed = place.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        listed["backups"].as_array().unwrap().len()
    };
    assert_eq!(listed(&place), 1);
    fs::remove_dir_all(place.at("disk")).unwrap();
    fs::rename(place.at("away"), place.at("disk")).unwrap();
    place.run(&[]).expect(0);
    assert_eq!(listed(&place), 3);
    // A disk that was replaced is accepted once, and known from then on.
    fs::remove_dir_all(place.at("disk/backups")).unwrap();
    place.run(&[]).expect(1);
    place.run(&["--new-store"]).expect(0);
    place.run(&[]).expect(0);
}

#[test]
fn a_copy_whose_disk_is_away_is_missed_by_the_agent() {
    let place = Place::new("home");
    place.policy(&["data"], "store", "");
    let with_copy = ["--out", "disk/copy"];
    fs::create_dir(place.at("disk")).unwrap();
    place.run(&with_copy).expect(0);
    fs::rename(place.at("disk"), place.at("away")).unwrap();
    fs::create_dir(place.at("disk")).unwrap();
    let told = place.run(&with_copy).expect(3);
    assert!(told.warnings().contains("not copied to") && told.warnings().contains("Mount the disk"));
    assert_eq!(fs::read_dir(place.at("disk")).unwrap().count(), 0, "something was written there");
    fs::remove_dir(place.at("disk")).unwrap();
    fs::rename(place.at("away"), place.at("disk")).unwrap();
    place.run(&with_copy).expect(0);
    fs::remove_dir_all(place.at("disk/copy")).unwrap();
    place.run(&with_copy).expect(3);
    place.run(&["--out", "disk/copy", "--new-store"]).expect(0);
    place.run(&with_copy).expect(0);
}

#[test]
fn a_store_is_not_made_by_looking_for_backups_in_it() {
    let place = Place::new("home");
    place.policy(&["data"], "stroe", "");
    place.client.run(["list", "--policy", "policy.yaml"]).expect(0);
    place.restore(&[]).expect(1);
    assert!(!place.at("stroe").exists());
    let told = place.back_up(&[]).expect(0).stderr;
    assert!(told.contains("created a new store") && told.contains("stroe"), "{told}");
    assert!(!place.back_up(&[]).expect(0).stderr.contains("a new store"));
    assert!(Path::new(&place.at("stroe/backups/p")).exists());
}
