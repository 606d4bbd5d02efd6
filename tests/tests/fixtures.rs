//! Backups that earlier programs made, in `tests/fixtures`: each restores, verifies, and opens with `docs/decrypt.py`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use intellistor_tests::decrypt_py;
use intellistor_tests::program::{Client, finish};
use intellistor_tests::tree::{self, Kind, Tree};
use serde_json::Value;
use tempfile::TempDir;

const KEY: (&str, &str) = ("INTELLISTOR_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
const PASSPHRASE: (&str, &str) = ("INTELLISTOR_PASSPHRASE", "maçã verde, três pedras");
const FIXTURES: [(&str, (&str, &str)); 6] = [
    ("key", KEY),
    ("passphrase", PASSPHRASE),
    ("links-and-holes", KEY),
    ("increments", KEY),
    ("sealed", KEY),
    ("resumed", KEY),
];

/// A copy of a fixture, so that nothing can write into it.
struct Fixture {
    dir: TempDir,
    secret: (&'static str, &'static str),
    /// The first one is full; each of the others is based on the one before.
    backups: Vec<Backup>,
}

/// A backup of a fixture.
struct Backup {
    key: String,
    /// What a restore gives, by path.
    tree: BTreeMap<String, Value>,
}

impl Fixture {
    fn open((name, secret): (&str, (&'static str, &'static str))) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1").join(name);
        let text = fs::read(folder.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&text).unwrap();
        let backup = |backup: &Value| Backup {
            key: backup["key"].as_str().unwrap().to_owned(),
            tree: serde_json::from_value(backup["tree"].clone()).unwrap(),
        };
        let backups = expected["backups"].as_array().unwrap().iter().map(backup).collect();
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-R").arg(folder.join("store")).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        let policy = format!(
            "policy_id: fixture\npaths: [/nowhere]\nstore: 'file://{0}/store'\n",
            dir.path().display()
        );
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        Self { dir, secret, backups }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path()).var(self.secret.0, self.secret.1)
    }

    fn manifest(&self, backup: &Backup) -> PathBuf {
        self.at("store").join(&backup.key).with_file_name("manifest.json")
    }
}

impl Backup {
    /// Compares a folder with what was recorded of the source, as Python saw it.
    fn assert_is(&self, restored: &Path) {
        let restored = tree::snapshot(restored);
        let found = as_recorded(&restored);
        for (path, expected) in &self.tree {
            assert_eq!(found.get(path), Some(expected), "{path:?}");
        }
        assert_eq!(found.len(), self.tree.len(), "{:?}", found.keys());
        assert!(self.tree.len() > 5);
    }
}

/// A tree in the form of `expected.json`.
fn as_recorded(tree: &Tree) -> BTreeMap<String, Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let record = |(path, entry): (&Vec<u8>, &tree::TreeEntry)| {
        let mtime_ns = i64::try_from(entry.mtime_ns).unwrap();
        let mut value = serde_json::json!({ "mtime_ns": mtime_ns });
        match entry.kind {
            Kind::File => {
                value["kind"] = "file".into();
                value["size"] = entry.size.into();
                value["sha256"] = entry.sha256.as_deref().unwrap().into();
                if let Some(first) = &entry.same_file_as {
                    value["same_file_as"] = text(first).into();
                }
            }
            Kind::Folder => value["kind"] = "folder".into(),
            Kind::Link => {
                value["kind"] = "link".into();
                value["target"] = text(entry.target.as_deref().unwrap()).into();
            }
            Kind::Special => panic!("{:?} is no file", text(path)),
        }
        if entry.kind != Kind::Link {
            value["mode"] = entry.mode.into();
        }
        (text(path), value)
    };
    tree.iter().map(record).collect()
}

#[test]
fn every_fixture_verifies_and_restores() {
    for fixture in FIXTURES.map(Fixture::open) {
        let client = fixture.client();
        let listed = client.run(["-q", "list", "--policy", "policy.yaml"]).expect(0).json;
        let listed: Vec<_> = listed["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| backup["key"].as_str().unwrap())
            .collect();
        for (number, backup) in fixture.backups.iter().enumerate() {
            assert!(listed.len() == fixture.backups.len() && listed.contains(&&*backup.key), "{listed:?}");
            let of_it = ["--policy", "policy.yaml", "--key", &backup.key];
            let verified = client.run(["-q", "verify"].iter().chain(&of_it)).expect(0).json;
            assert_eq!(verified["entries"], backup.tree.len(), "{verified:#}");
            let out = format!("restored {number}");
            let restore = ["-q", "restore"].into_iter().chain(of_it);
            client.run(restore.clone().chain(["--out", &out])).expect(0);
            backup.assert_is(&fixture.at(&out));
        }
        let full = &fixture.backups[0];
        let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", &full.key, "--out", "alone"];
        client.run(restore.iter().chain(&["--without-manifest"])).expect(0);
        full.assert_is(&fixture.at("alone"));
    }
}

#[test]
fn a_hole_is_restored_as_a_hole() {
    let fixture = Fixture::open(("links-and-holes", KEY));
    let restore = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "restored"];
    fixture.client().run(restore).expect(0);
    let restored = tree::snapshot(&fixture.at("restored"));
    let sparse = &restored[&b"esparso.img"[..]];
    assert!(sparse.size == 4 << 20 && sparse.allocated < 1 << 20, "{sparse:?}");
}

#[test]
fn every_fixture_opens_with_python_and_tar_alone() {
    for fixture in FIXTURES.map(Fixture::open) {
        for (number, backup) in fixture.backups.iter().enumerate() {
            let (manifest, out) = (fixture.manifest(backup), fixture.at(&format!("by tar {number}")));
            decrypt_py::restore(&manifest, &fixture.at("store"), &out, fixture.secret);
            backup.assert_is(&out);
            let listed =
                finish(decrypt_py::command(&[Path::new("--manifest"), &manifest], fixture.secret)).expect(0);
            let listed = String::from_utf8(listed.stdout).unwrap();
            assert!(listed.lines().count() >= backup.tree.len(), "{listed}");
        }
    }
}

/// A copy in one archive is a link to `tar`, and has the metadata of what it links to.
#[test]
fn the_archive_of_a_full_backup_opens_with_tar_alone() {
    for fixture in FIXTURES.map(Fixture::open) {
        let full = &fixture.backups[0];
        let out = fixture.at("by tar alone");
        decrypt_py::unpack(&fixture.at("store").join(&full.key), &out, fixture.secret);
        let found = as_recorded(&tree::snapshot(&out));
        assert_eq!(found.len(), full.tree.len(), "{:?}", found.keys());
        for (path, expected) in &full.tree {
            for member in ["kind", "size", "sha256", "target"] {
                assert_eq!(found[path].get(member), expected.get(member), "{member} of {path:?}");
            }
        }
    }
}

#[test]
fn increments_store_pieces_and_depend_on_the_archives_before() {
    for (name, archives) in [("increments", 4), ("sealed", 2), ("resumed", 2)] {
        let fixture = Fixture::open((name, KEY));
        let last = fixture.backups.last().unwrap();
        let document = fs::read_to_string(fixture.manifest(last)).unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["archives"].as_array().unwrap().len(), archives, "{name}");
        assert_eq!(document.get("entries").is_none(), name == "sealed");
        let archive = fixture.at("store").join(&last.key);
        let tar = finish(decrypt_py::command(&[&archive], fixture.secret)).expect(0).stdout;
        fs::write(fixture.at("tar.gz"), tar).unwrap();
        let mut list = Command::new("tar");
        list.arg("tzf").arg(fixture.at("tar.gz"));
        let members = String::from_utf8(finish(list).expect(0).stdout).unwrap();
        assert!(members.contains(".intellistor/pieces/"), "{name}: {members}");
    }
}
