//! `docs/RECOVERY.md`, played command by command on another machine than the one that made the backups.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::cannot_run;
use intellistor_tests::played_page::{Block, OtherMachine, blocks};
use intellistor_tests::program::Client;
use intellistor_tests::s3_server::BUCKET;
use intellistor_tests::tree::{self, Ignore, Tree};

const POLICY: &str = "docs";
/// Each has a test below.
const SCENARIOS: [&str; 13] = [
    "settings",
    "new-machine",
    "one-file",
    "replaced",
    "refused",
    "key",
    "two-keys",
    "manifest",
    "damaged",
    "forgotten",
    "moved",
    "alone",
    "quarter",
];

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Backups of a machine, and another one that has nothing but the page, the bucket and the key.
struct Worst {
    sandbox: AgentSandbox,
    /// The trees that were backed up, oldest first.
    trees: Vec<Tree>,
    /// The backups' keys, oldest first.
    keys: Vec<String>,
    machine: OtherMachine,
}

impl Worst {
    /// Two backups, the second incremental.
    fn day() -> Option<Self> {
        if !OtherMachine::is_possible() {
            cannot_run("it needs `unshare` with a host name and mounts of its own");
            return None;
        }
        let sandbox = AgentSandbox::new(POLICY);
        fs::create_dir(sandbox.source().join("reports")).unwrap();
        fs::write(sandbox.source().join("reports/q3.txt"), "as it was before\n").unwrap();
        tree::write_noise(&sandbox.source().join("big.bin"), 5, 3 << 20);
        let machine = OtherMachine::new(sandbox.dir(), "rescue");
        let mut worst = Self { sandbox, trees: Vec::new(), keys: Vec::new(), machine };
        worst.back_up(&worst.sandbox.agent.clone());
        fs::write(worst.sandbox.source().join("reports/q3.txt"), "as it is now\n").unwrap();
        worst.back_up(&worst.sandbox.agent.clone());

        let variables = worst.sandbox.server.env().into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let source = worst.sandbox.source().to_str().unwrap().to_owned();
        for (there, here) in [
            ("my-bucket", BUCKET.to_owned()),
            ("https://s3.sa-east-1.amazonaws.com", variables["AWS_ENDPOINT_URL"].clone()),
            ("AKIAIOSFODNN7EXAMPLE", variables["AWS_ACCESS_KEY_ID"].clone()),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", variables["AWS_SECRET_ACCESS_KEY"].clone()),
            ("m1Vn7…", key_of(&worst.sandbox.client)),
            ("/srv/docs", source),
        ] {
            worst.machine.reads(there, here);
        }
        worst.play("settings");
        Some(worst)
    }

    fn back_up(&mut self, agent: &Client) {
        self.trees.push(tree::snapshot(&self.sandbox.source()));
        let run = agent.run(["-q", "run", "--policy", "policy.yaml"]);
        self.keys.push(run.key_backup().to_owned());
    }

    /// The blocks of a scenario, one after the other, and what they printed.
    #[track_caller]
    fn play(&self, scenario: &str) -> String {
        let all = blocks(&page("RECOVERY.md"));
        let of: Vec<Block> = all.into_iter().filter(|b| b.scenario.as_deref() == Some(scenario)).collect();
        assert!(!of.is_empty(), "the page has no commands for {scenario}");
        of.iter().map(|block| self.machine.play(block)).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.machine.home.join(name)
    }

    #[track_caller]
    fn assert_restored(&self, out: &str, tree: &Tree) {
        tree::assert_same(tree, &tree::snapshot(&self.at(out)), &[Ignore::Allocation]);
    }

    #[track_caller]
    fn newest(&self) -> &Tree {
        self.trees.last().unwrap()
    }

    /// An object of the bucket.
    fn object(&self, key: &str) -> PathBuf {
        self.sandbox.at("s3").join(BUCKET).join(key)
    }

    /// What the page writes for the backup with this key.
    fn timestamp(key: &str) -> &str {
        key.split('/').nth(2).unwrap()
    }
}

/// The key in base64.
fn key_of(client: &Client) -> String {
    let line = client.env_file(&["INTELLISTOR_KEY"]);
    line.trim_start_matches("INTELLISTOR_KEY='").trim_end().trim_end_matches('\'').to_owned()
}

#[test]
fn every_scenario_of_the_page_is_played() {
    let found: BTreeSet<_> = blocks(&page("RECOVERY.md")).into_iter().filter_map(|b| b.scenario).collect();
    assert_eq!(found, SCENARIOS.into_iter().map(str::to_owned).collect());
}

#[test]
fn the_portuguese_page_has_the_same_commands() {
    let (english, portuguese) = (blocks(&page("RECOVERY.md")), blocks(&page("RECOVERY.pt-BR.md")));
    assert_eq!(english.len(), portuguese.len());
    for (english, portuguese) in english.iter().zip(&portuguese) {
        let of = |block: &Block| (block.scenario.clone(), block.exit, block.output.clone());
        assert_eq!(of(english), of(portuguese), "lines {} and {}", english.line, portuguese.line);
        assert_eq!(english.without_comments(), portuguese.without_comments(), "line {}", portuguese.line);
    }
}

#[test]
fn a_new_machine_restores_with_the_bucket_and_the_key() {
    let Some(worst) = Worst::day() else { return };
    fs::remove_dir_all(worst.sandbox.source()).unwrap();
    fs::remove_dir_all(worst.sandbox.at("home")).unwrap();
    fs::remove_file(worst.sandbox.at("policy.yaml")).unwrap();
    let printed = worst.play("new-machine");
    assert!(printed.contains(POLICY), "{printed}");
    worst.assert_restored("restored", worst.newest());
}

#[test]
fn one_file_is_found_and_restored_as_it_is_and_as_it_was() {
    let Some(worst) = Worst::day() else { return };
    worst.play("one-file");
    assert_eq!(fs::read(worst.at("one-file/reports/q3.txt")).unwrap(), b"as it is now\n");
    assert_eq!(fs::read(worst.at("before/reports/q3.txt")).unwrap(), b"as it was before\n");
    assert!(!worst.at("one-file/big.bin").exists());
}

#[test]
fn a_machine_that_replaces_another_takes_its_policy_over() {
    let Some(worst) = Worst::day() else { return };
    worst.play("refused");
    let before = worst.sandbox.backups();
    fs::remove_file(worst.at("docs.yaml")).unwrap();
    worst.play("replaced");
    assert_eq!(worst.sandbox.backups().len(), before.len() + 1, "the refused run wrote nothing");
    assert_eq!(worst.sandbox.run().code, 2, "the old machine is refused");
    worst.sandbox.assert_restores(worst.sandbox.backups().last().unwrap());
}

#[test]
fn another_key_is_named_beside_the_one_that_is_needed() {
    let Some(worst) = Worst::day() else { return };
    fs::write(worst.at("old.key"), UserKey::generate().to_base64().unwrap().as_bytes()).unwrap();
    worst.play("key");
    assert!(!worst.at("restored").exists());
}

#[test]
fn with_both_keys_both_kinds_of_backups_are_restored() {
    let Some(mut worst) = Worst::day() else { return };
    let other = UserKey::generate();
    let other = other.to_base64().unwrap();
    fs::write(worst.sandbox.source().join("reports/q4.txt"), "sealed with another key\n").unwrap();
    let agent = worst.sandbox.agent.clone().var("INTELLISTOR_KEY", other.as_str());
    worst.back_up(&agent);
    fs::write(worst.at("new.key"), other.as_bytes()).unwrap();
    let printed = worst.play("two-keys");
    let ids: BTreeSet<_> = printed.lines().filter(|line| line.contains("\"key_id\": \"")).collect();
    assert_eq!(ids.len(), 2, "{printed}");
    worst.assert_restored("newest", &worst.trees[2]);
    worst.assert_restored("before", &worst.trees[1]);
}

#[test]
fn a_backup_whose_manifest_is_lost_is_restored_from_its_archive() {
    let Some(worst) = Worst::day() else { return };
    let key = &worst.keys[1];
    fs::remove_file(worst.object(&key.replace("backup.tar.gz.enc", "manifest.json"))).unwrap();
    let printed = worst.play("manifest");
    assert!(printed.contains("--without-manifest"), "{printed}");
    assert_eq!(fs::read(worst.at("from-archive/reports/q3.txt")).unwrap(), b"as it is now\n");
}

#[test]
fn what_is_damaged_is_named_and_taken_from_another_backup() {
    let Some(mut worst) = Worst::day() else { return };
    // The newest backup has the file in an archive of its own.
    fs::write(worst.sandbox.source().join("reports/q4.txt"), "new\n").unwrap();
    let newest = worst.sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--full"]).expect(0);
    worst.trees.push(tree::snapshot(&worst.sandbox.source()));
    let archive = worst.object(newest.key_backup());
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    worst.play("damaged");
    let without_root = |tree: &Tree| tree.clone().into_iter().filter(|(path, _)| path != b".").collect();
    let (whole, restored): (Tree, Tree) =
        (without_root(worst.newest()), without_root(&tree::snapshot(&worst.at("restored"))));
    // The second restore wrote into the root, and was not asked for the root itself.
    tree::assert_same(&whole, &restored, &[Ignore::Allocation]);
}

#[test]
fn a_forgotten_backup_is_taken_back_and_held() {
    let Some(mut worst) = Worst::day() else { return };
    let key = worst.keys[0].clone();
    let forget = ["-q", "forget", "--policy", "policy.yaml", "--key", &key, "--why", "by mistake"];
    worst.sandbox.client.run(forget).expect(0);
    assert_eq!(worst.sandbox.backups().len(), 1);
    worst.machine.reads("20261101T020000Z", Worst::timestamp(&key));
    worst.play("forgotten");
    let listed = worst.sandbox.client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
    assert_eq!((&listed["backups"][0]["key"], &listed["backups"][0]["held"]), (&key.into(), &true.into()));
}

#[test]
fn backups_are_copied_to_another_bucket_and_restored_from_there() {
    let Some(mut worst) = Worst::day() else { return };
    fs::create_dir(worst.sandbox.at("s3/other-test")).unwrap();
    worst.machine.reads("other-bucket", "other-test");
    worst.play("moved");
    worst.assert_restored("from-the-copy", worst.newest());
}

#[test]
fn python_and_tar_restore_without_our_programs() {
    let Some(mut worst) = Worst::day() else { return };
    // What `aws s3 sync` and `pip` do on the page.
    let python = std::env::var("INTELLISTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    worst.machine.reads("python/bin/python", python);
    worst.machine.reads("20261101T020000Z", Worst::timestamp(&worst.keys[1]));
    fs::copy(page("decrypt.py"), worst.at("decrypt.py")).unwrap();
    std::os::unix::fs::symlink(worst.object(""), worst.at("store")).unwrap();
    worst.play("alone");
    // What a manifest has beside what tar restores: nothing here.
    worst.assert_restored("by-hand", worst.newest());
}

#[test]
fn the_quarterly_test_leaves_its_records() {
    let Some(worst) = Worst::day() else { return };
    worst.play("quarter");
    for record in ["verify.json", "restore.json"] {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(worst.at(record)).unwrap()).unwrap();
        assert_eq!(record["integrity"], "verified", "{record:#}");
        assert!(worst.keys[1].contains(record["backup_id"].as_str().unwrap()), "{record:#}");
    }
    assert!(fs::read_to_string(worst.at("names.txt")).unwrap().contains("reports/q3.txt"));
    worst.assert_restored("restored", worst.newest());
}
