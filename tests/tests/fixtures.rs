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
const FIXTURES: [(&str, (&str, &str)); 4] =
    [("key", KEY), ("passphrase", PASSPHRASE), ("links-and-holes", KEY), ("resumed", KEY)];

/// A copy of a fixture, so that nothing can write into it.
struct Fixture {
    dir: TempDir,
    secret: (&'static str, &'static str),
    key: String,
    expected: BTreeMap<String, Value>,
}

impl Fixture {
    fn open((name, secret): (&str, (&'static str, &'static str))) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1").join(name);
        let text = fs::read(folder.join("expected.json")).unwrap();
        let mut expected: Value = serde_json::from_slice(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-R").arg(folder.join("store")).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        let policy = format!(
            "policy_id: fixture\npaths: [/nowhere]\nstore: 'file://{0}/store'\n",
            dir.path().display()
        );
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        let key = expected["key"].as_str().unwrap().to_owned();
        let expected = serde_json::from_value(expected["tree"].take()).unwrap();
        Self { dir, secret, key, expected }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path()).var(self.secret.0, self.secret.1)
    }

    /// Compares a folder with what the fixture recorded, as Python saw it.
    fn assert_is(&self, restored: &Path) {
        let restored = tree::snapshot(restored);
        let found = as_recorded(&restored);
        for (path, expected) in &self.expected {
            assert_eq!(found.get(path), Some(expected), "{path:?}");
        }
        assert_eq!(found.len(), self.expected.len(), "{:?}", found.keys());
        assert!(self.expected.len() > 5);
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
        assert_eq!(listed["backups"].as_array().unwrap().len(), 1, "{listed:#}");
        assert_eq!(listed["backups"][0]["key"], fixture.key.as_str());
        let verified = client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0).json;
        assert_eq!(verified["entries"], fixture.expected.len(), "{verified:#}");
        let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", &fixture.key];
        client.run(restore.iter().chain(&["--out", "restored"])).expect(0);
        fixture.assert_is(&fixture.at("restored"));
        client.run(restore.iter().chain(&["--out", "alone", "--without-manifest"])).expect(0);
        fixture.assert_is(&fixture.at("alone"));
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
        let archive = fixture.at("store").join(&fixture.key);
        let out = fixture.at("by tar");
        decrypt_py::unpack(&archive, &out, fixture.secret);
        fixture.assert_is(&out);
        let manifest = archive.with_file_name("manifest.json");
        let listed =
            finish(decrypt_py::command(&[Path::new("--manifest"), &manifest], fixture.secret)).expect(0);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.lines().count() >= fixture.expected.len(), "{listed}");
    }
}
