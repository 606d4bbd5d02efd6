//! Backups that are forgotten, listed again, held and released, with the real programs over a folder store; and the brake that
//! keeps retention from forgetting while much is missing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor_tests::folders::files_below;
use intellistor_tests::forgotten;
use intellistor_tests::program::{Client, Output};
use serde_json::Value;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRo=";

struct Office {
    dir: tempfile::TempDir,
    client: Client,
}

impl Office {
    /// A folder with 30 files, and a policy with these lines besides.
    fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path()).var("INTELLISTOR_KEY", KEY).var("INTELLISTOR_MACHINE", "mine");
        let client = client.var("INTELLISTOR_HOME", dir.path().join("home"));
        let office = Self { dir, client };
        fs::create_dir(office.at("source")).unwrap();
        office.fill();
        let policy = format!(
            "policy_id: p\npaths: ['source']\nstore: 'file://{}'\n{lines}",
            office.at("store").display()
        );
        fs::write(office.at("policy.yaml"), policy).unwrap();
        office
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn fill(&self) {
        for n in 0..30 {
            fs::write(self.at(&format!("source/{n}.txt")), format!("content {n}")).unwrap();
        }
    }

    fn empty(&self) {
        for entry in fs::read_dir(self.at("source")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    fn run(&self, line: &str) -> Output {
        run(&self.client, line)
    }

    /// A backup, which ends so; its key.
    fn backup(&self, code: i32) -> String {
        // Timestamps are to the second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        self.run("backup").expect(code).key_backup().to_owned()
    }

    fn object(&self, key: &str, name: &str) -> PathBuf {
        self.at("store").join(Path::new(key).parent().unwrap()).join(name)
    }

    fn listed(&self) -> Vec<String> {
        keys(&self.run("list").expect(0).json["backups"])
    }
}

/// A command of the client, with the policy; `|` separates arguments that have spaces.
fn run(client: &Client, line: &str) -> Output {
    let mut words: Vec<&str> =
        if line.contains('|') { line.split('|').collect() } else { line.split(' ').collect() };
    words.splice(1..1, ["--policy", "policy.yaml"]);
    client.run(words)
}

fn keys(rows: &Value) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

fn message(output: &Output) -> &str {
    output.json["error"]["message"].as_str().unwrap()
}

#[test]
fn a_forgotten_backup_is_left_out_restored_by_its_key_and_listed_again() {
    let office = Office::new("");
    let (old, new) = (office.backup(0), office.backup(0));
    let dry = office.run(&format!("forget --key {old} --dry-run")).expect(0);
    assert_eq!((&dry.json["dry_run"], keys(&dry.json["forgotten"])), (&true.into(), vec![old.clone()]));
    assert_eq!(office.listed(), [old.clone(), new.clone()]);

    let forgotten = office.run(&format!("forget|--key|{old}|--why|made by mistake")).expect(0);
    assert_eq!(forgotten.json["forgotten"][0]["reason"], "made by mistake");
    assert!(forgotten.json["prunable_from"].as_str().unwrap().ends_with('Z'), "{:#}", forgotten.json);
    assert_eq!(office.listed(), std::slice::from_ref(&new));
    let listed = office.run("list --forgotten").expect(0);
    let row = &listed.json["backups"][0];
    assert_eq!(
        (keys(&listed.json["backups"]), &row["forgotten"]["verified"]),
        (vec![old.clone()], &true.into())
    );
    assert_eq!(row["forgotten"]["why"], "made by mistake");
    assert!(row["forgotten"]["by"].as_str().unwrap().starts_with("mine"), "{row:#}");
    for member in ["time", "prunable_from"] {
        assert!(row["forgotten"][member].is_string(), "{row:#}");
    }
    let again = office.run(&format!("forget --key {old}")).expect(0);
    assert!(
        again.json["forgotten"].as_array().unwrap().is_empty() && again.stderr.contains("already"),
        "{}",
        again.stderr
    );

    for line in [
        format!("restore --key {old} --out restored"),
        format!("verify --key {old}"),
        format!("show --key {old}"),
    ] {
        let used = office.run(&line).expect(0);
        assert!(
            used.stderr.contains("made by mistake") && used.stderr.contains("unforget"),
            "{}",
            used.stderr
        );
    }
    assert_eq!(fs::read_to_string(office.at("restored/7.txt")).unwrap(), "content 7");

    let listed = office.run(&format!("unforget --key {old}")).expect(0);
    assert_eq!((&listed.json["state"], &listed.json["changed"]), (&"listed".into(), &true.into()));
    assert_eq!(office.listed(), [old.clone(), new]);
    let nothing = office.run(&format!("unforget --key {old}")).expect(0);
    assert_eq!(nothing.json["changed"], false);
}

#[test]
fn a_hold_keeps_a_backup_from_being_forgotten() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    let (first, second, _) = (office.backup(0), office.backup(0), office.backup(0));
    let held = office.run(&format!("hold|--key|{first}|--reason|case 2026/118")).expect(0);
    assert_eq!((&held.json["state"], &held.json["reason"]), (&"held".into(), &"case 2026/118".into()));
    let refused = office.run(&format!("forget --key {first} --confirm")).expect(2);
    assert!(
        message(&refused).contains("case 2026/118") && message(&refused).contains("release"),
        "{}",
        message(&refused)
    );
    let applied = office.run("forget").expect(0);
    assert_eq!(keys(&applied.json["forgotten"]), std::slice::from_ref(&second));
    let reasons = applied.json["kept"][1]["reasons"].to_string();
    assert!(reasons.contains("held: case 2026/118"), "{reasons}");
    let rows = office.run("list").expect(0).json["backups"].clone();
    assert_eq!((&rows[0]["held"], &rows[1]["held"]), (&true.into(), &false.into()));
    assert_eq!((&rows[0]["held_verified"], rows[1].get("held_verified")), (&true.into(), None));
    let blind = office.client.clone().var("INTELLISTOR_KEY", "");
    let rows = run(&blind, "list").expect(0).json["backups"].clone();
    assert_eq!((&rows[0]["held"], &rows[0]["held_verified"]), (&true.into(), &false.into()));
    let refused = run(&blind, &format!("release --key {first}")).expect(2);
    assert!(!refused.stderr.contains("key-create"), "a new key opens nothing: {}", refused.stderr);
    // A hold takes a forgetting back for as long as it lasts.
    office.run(&format!("hold --key {second} --reason x")).expect(0);
    assert_eq!(office.listed().len(), 3);
    let released = office.run(&format!("release --key {second}")).expect(0);
    assert_eq!(released.json["state"], "forgotten");
    assert!(released.stderr.contains("it is forgotten since 20"), "{}", released.stderr);
    office.run(&format!("release --key {first}")).expect(0);
    assert_eq!(keys(&office.run("forget").expect(0).json["forgotten"]), [first]);
    office.run("hold --latest --reason x").expect(0);
    let legal = office.run("hold --latest --reason x --legal").expect(2);
    assert!(
        message(&legal).contains("no object lock. Nothing was changed. Leave out --legal"),
        "{}",
        message(&legal)
    );
    let empty = office.run("hold|--latest|--reason| ").expect(2);
    assert!(message(&empty).contains("--reason"), "{}", message(&empty));
}

#[test]
fn the_newest_takes_a_confirmation_and_the_rest_a_policy_with_rules() {
    let office = Office::new("");
    office.backup(0);
    let newest = office.backup(0);
    let refused = office.run(&format!("forget --key {newest}")).expect(2);
    assert!(
        message(&refused).contains("the newest backup") && message(&refused).contains("--confirm"),
        "{}",
        message(&refused)
    );
    let without = office.run("forget").expect(2);
    assert!(message(&without).contains("retention: { keep_daily: 7"), "{}", message(&without));
    assert_eq!(office.listed().len(), 2);
    office.run(&format!("forget --key {newest} --confirm")).expect(0);
    assert_eq!(office.listed().len(), 1);
    // The next backup is based on what is listed, and whole.
    office.backup(0);
    office.run("verify --latest").expect(0);

    let foreign = newest.replacen("backups/p/", "backups/q/", 1);
    for line in ["forget --key", "unforget --key", "release --key", "hold --reason x --key"] {
        let refused = office.run(&format!("{line} {foreign}")).expect(2);
        assert!(message(&refused).contains("policy q"), "{}", message(&refused));
        let missing = format!("backups/p/20200101T000000Z/{}/backup.tar.gz.enc", "0".repeat(36));
        let refused = office.run(&format!("{line} {missing}")).expect(1);
        assert!(message(&refused).contains("never existed, or a sweep"), "{}", message(&refused));
    }
}

#[test]
fn a_forged_statement_is_reported_and_hides_nothing() {
    let office = Office::new("");
    let (old, new) = (office.backup(0), office.backup(0));
    // Proven ones, to be forged from.
    office.run(&format!("forget --key {new} --confirm")).expect(0);
    office.run(&format!("hold --key {old} --reason x")).expect(0);
    let (forgotten, hold) = (
        fs::read(office.object(&new, "forgotten.json")).unwrap(),
        fs::read(office.object(&old, "hold.json")).unwrap(),
    );
    office.run(&format!("unforget --key {new}")).expect(0);
    office.run(&format!("release --key {old}")).expect(0);
    let own = String::from_utf8(hold.clone()).unwrap().replace("\"hold\"", "\"forgotten\"");
    let target = office.object(&old, "forgotten.json");
    for (what, bytes) in [
        ("of another backup", forgotten.clone()),
        ("of another kind", own.into_bytes()),
        ("cut", forgotten[..forgotten.len() - 9].to_owned()),
        ("empty", Vec::new()),
        ("junk", b"{\"time\":1}".to_vec()),
    ] {
        fs::write(&target, bytes).unwrap();
        let listed = office.run("list").expect(0);
        assert_eq!(keys(&listed.json["backups"]), [old.clone(), new.clone()], "{what}");
        assert_eq!(listed.json["backups"][0]["forgotten"]["verified"], false, "{what}");
        assert!(listed.stderr.contains("forgotten.json is not used"), "{what}: {}", listed.stderr);
        assert!(keys(&office.run("list --forgotten").expect(0).json["backups"]).is_empty(), "{what}");
    }
    // A hold that was altered holds nothing.
    fs::remove_file(&target).unwrap();
    let altered = String::from_utf8(hold).unwrap().replace("\"why\":\"x\"", "\"why\":\"y\"");
    fs::write(office.object(&old, "hold.json"), altered).unwrap();
    let listed = office.run("list").expect(0);
    assert!(listed.stderr.contains("hold.json is not used"), "{}", listed.stderr);
    let row = &listed.json["backups"][0];
    assert_eq!((&row["held"], &row["held_verified"]), (&false.into(), &false.into()));
    office.run(&format!("forget --key {old}")).expect(0);
    assert_eq!(office.listed(), [new]);
}

#[test]
fn another_key_forgets_nothing_and_without_a_key_nothing_is_hidden() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    let (old, new) = (office.backup(0), office.backup(0));
    let wrong = office.client.clone().var("INTELLISTOR_KEY", OTHER_KEY);
    for line in [
        format!("forget --key {old} --confirm"),
        format!("hold --key {old} --reason x"),
        format!("unforget --key {old}"),
    ] {
        let refused = run(&wrong, &line).expect(2);
        assert!(message(&refused).contains("sealed with key"), "{line}: {}", message(&refused));
    }
    let rested = run(&wrong, "forget").expect(0);
    assert!(rested.json["resting"].is_string(), "{:#}", rested.json);
    assert_eq!(office.listed().len(), 2);

    office.run(&format!("forget --key {old}")).expect(0);
    let blind = office.client.clone().var("INTELLISTOR_KEY", "");
    let listed = run(&blind, "list").expect(0);
    assert_eq!(keys(&listed.json["backups"]), [old.clone(), new]);
    let row = &listed.json["backups"][0];
    assert_eq!((&row["forgotten"]["verified"], &row["forgotten"]["why"]), (&false.into(), &"by hand".into()));
    assert!(listed.stderr.contains("no key"), "{}", listed.stderr);
    let shown = run(&blind, "list --forgotten").expect(0);
    assert_eq!(keys(&shown.json["backups"]), std::slice::from_ref(&old));
    // With another key the statement proves nothing.
    let shown = run(&wrong, "list").expect(0);
    assert_eq!(keys(&shown.json["backups"]).len(), 2);
    assert!(shown.stderr.contains("is not used"), "{}", shown.stderr);
}

#[test]
fn another_machine_protects_and_forgets_nothing() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    let (old, new) = (office.backup(0), office.backup(0));
    let other = office.client.clone().var("INTELLISTOR_MACHINE", "other");
    run(&other, &format!("hold --key {old} --reason x")).expect(0);
    for line in [format!("forget --key {new} --confirm"), "forget".to_owned(), format!("release --key {old}")]
    {
        let refused = run(&other, &line).expect(2);
        assert!(message(&refused).contains("belongs to the machine mine"), "{line}: {}", message(&refused));
    }
    office.run(&format!("release --key {old}")).expect(0);
    office.run("forget").expect(0);
    run(&other, &format!("unforget --key {old}")).expect(0);
    assert_eq!(office.listed(), [old, new]);
}

#[test]
fn an_emptied_folder_rests_retention_until_it_is_filled_or_a_person_confirms() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    let good = office.backup(0);
    office.empty();
    let empty = office.backup(3);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let note = office.run("backup").expect(0).json["warnings"].to_string();
    assert!(note.contains("no rule forgets"), "{note}");
    let rested = office.run("forget").expect(0);
    assert!(rested.json["forgotten"].as_array().unwrap().is_empty(), "{:#}", rested.json);
    assert!(rested.json["resting"].as_str().unwrap().contains("contains no files"), "{:#}", rested.json);
    assert!(rested.stderr.contains("--confirm"), "{}", rested.stderr);
    // Nor does a full backup end it.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    office.run("backup --full");
    assert!(office.run("forget --dry-run").expect(0).json["resting"].is_string());
    assert!(office.listed().contains(&good));
    office.run(&format!("restore --key {good} --out restored")).expect(0);

    // The disk is mounted again.
    office.fill();
    let newest = office.backup(0);
    let applied = office.run("forget").expect(0);
    assert_eq!((&applied.json["resting"], office.listed()), (&Value::Null, vec![newest.clone()]));
    assert!(keys(&applied.json["forgotten"]).contains(&empty));

    // This time on purpose.
    office.empty();
    let empty = office.backup(3);
    assert!(office.run("forget").expect(0).json["resting"].is_string());
    let dry = office.run("forget --confirm --dry-run").expect(0);
    assert_eq!((keys(&dry.json["forgotten"]), office.listed().len()), (vec![newest], 2));
    office.run("forget --confirm").expect(0);
    assert_eq!(office.listed(), std::slice::from_ref(&empty));
    assert!(office.object(&empty, "confirmed.json").exists());
    let next = office.backup(0);
    assert_eq!(office.run("forget").expect(0).json["resting"], Value::Null);
    assert_eq!(office.listed(), [next]);
}

#[test]
fn the_agents_backups_carry_the_brake_as_well() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    let good = office.backup(0);
    office.empty();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let agent = office.client.agent();
    run(&agent, "run").expect(3);
    assert!(office.run("forget").expect(0).json["resting"].is_string());
    assert!(office.listed().contains(&good));
}

#[test]
fn a_time_that_was_set_everywhere_is_no_alarm_and_another_content_is() {
    let office = Office::new("retention: { keep_last: 1 }\n");
    office.backup(0);
    for n in 0..30 {
        let file = fs::File::options().write(true).open(office.at(&format!("source/{n}.txt"))).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000)).unwrap();
    }
    let touched = office.run("backup").expect(0).json;
    assert_eq!(touched["changes"]["changed"], 30, "{touched:#}");
    for n in 0..30 {
        fs::write(office.at(&format!("source/{n}.txt")), format!("locked {n}")).unwrap();
    }
    let locked = office.run("backup").expect(3);
    assert!(locked.warnings().contains("ransom"), "{}", locked.warnings());
    assert!(office.run("forget").expect(0).json["resting"].as_str().unwrap().contains("ransom"));
}

#[tokio::test]
async fn after_an_exchange_of_keys_each_key_prunes_what_it_has_forgotten() {
    let office = Office::new("");
    let newer = office.client.clone().var("INTELLISTOR_KEY", OTHER_KEY);
    let by = [(&office.client, KEY), (&newer, OTHER_KEY)];
    let mut made = Vec::new();
    for (client, _) in by {
        // The first on none, as none opens with its key; the last on the second.
        for line in ["backup", "backup --full", "backup"] {
            std::thread::sleep(std::time::Duration::from_millis(1100));
            // The first with the new key says that it is another one.
            let done = run(client, line).expect(if made.len() == 3 { 3 } else { 0 });
            made.push(done.key_backup().to_owned());
        }
    }
    for (nth, (client, key)) in by.into_iter().enumerate() {
        for backup in &made[nth * 3..nth * 3 + 2] {
            run(client, &format!("forget --key {backup}")).expect(0);
        }
        let key = UserKey::from_base64("KEY", key).unwrap();
        forgotten::backdate(&office.at("store"), &key, chrono::Duration::days(9)).await;
        // The new key has forgotten nothing yet, and opens the newest: the old one's are left to that.
        if nth == 0 {
            assert_eq!(run(&newer, "prune").expect(0).json["deleted"].as_array().unwrap().len(), 0);
        }
    }
    let stranger =
        office.client.clone().var("INTELLISTOR_KEY", UserKey::generate().to_base64().unwrap().as_str());
    let folder = |backup: &str| office.object(backup, "");
    let objects = |backups: &[String]| -> Vec<(PathBuf, Vec<u8>)> {
        let files = backups.iter().map(|backup| folder(backup)).filter(|folder| folder.exists());
        let files = files.flat_map(|folder| files_below(&folder));
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };
    let all = objects(&made);
    let refused = run(&stranger, "prune").expect(2);
    assert!(!message(&refused).contains("by hand"), "{}", message(&refused));
    assert!(objects(&made) == all, "a key that opens none deletes nothing");
    let mut restored = 0;
    for (nth, (client, _)) in by.into_iter().enumerate().rev() {
        let (own, others) = match nth {
            0 => made.split_at(3),
            _ => (&made[3..], &made[..3]),
        };
        let before = objects(others);
        let pruned = run(client, "prune").expect(0).json;
        assert_eq!(keys(&pruned["deleted"]), own[..1], "{pruned:#}");
        assert!(objects(others) == before, "what the other key has made is as it was");
        assert!(!folder(&own[0]).exists() && !office.object(&own[1], "manifest.json").exists());
        assert!(office.object(&own[1], "backup.tar.gz.enc").exists(), "the last one needs it");
        for (client, left) in [(by[0].0, &made[..3]), (by[1].0, &made[3..])] {
            for backup in left.iter().filter(|backup| office.object(backup, "manifest.json").exists()) {
                restored += 1;
                let out = format!("restored-{restored}");
                run(client, &format!("restore --key {backup} --out {out}")).expect(0);
                for n in 0..30 {
                    let found = fs::read_to_string(office.at(&format!("{out}/{n}.txt"))).unwrap();
                    assert_eq!(found, format!("content {n}"), "{backup}");
                }
            }
        }
    }
    assert_eq!(restored, 4 + 2);
}
