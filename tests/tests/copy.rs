//! `backup-client copy`, between folders and a real S3 server: what arrives restores, and an interruption costs nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};

use intellistor_tests::disk::SmallDisk;
use intellistor_tests::folders::files_below;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::{BUCKET, Dialect, Done, S3Server, UploadState};
use intellistor_tests::tree::{self, Ignore, Tree};
use rustix::process::Signal;
use tempfile::TempDir;

const POLICY: &str = "copied";

/// A source, and stores in folders of the sandbox: the policy `x.yaml` has its store in the folder `x`.
struct Sandbox {
    dir: TempDir,
    client: Client,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let client = Client::new(dir.path())
            .var("INTELLISTOR_PASSPHRASE", "seis palavras que só nós dois sabemos dizer");
        Self { dir, client }
    }

    /// With a full backup of several parts in the folder `here`.
    fn filled(mib: u64) -> Self {
        let sandbox = Self::new();
        tree::write_noise(&sandbox.at("source/grande.bin"), 7, mib << 20);
        for file in 0..40 {
            fs::write(sandbox.at(&format!("source/relatório {file}.txt")), format!("conteúdo {file}"))
                .unwrap();
        }
        sandbox.write_policy("here", "");
        sandbox.run(&["backup", "--policy", "here.yaml"]).expect(0);
        sandbox
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, folder: &str) -> String {
        format!("file://{}", self.at(folder).display())
    }

    fn write_policy(&self, store: &str, more: &str) {
        let (source, url) = (self.at("source"), self.url(store));
        let text = format!("policy_id: {POLICY}\npaths: ['{}']\nstore: '{url}'\n{more}", source.display());
        fs::write(self.at(&format!("{store}.yaml")), text).unwrap();
    }

    /// A policy with its store in the bucket.
    fn write_policy_of_s3(&self) {
        let source = self.at("source");
        let text = format!("policy_id: {POLICY}\npaths: ['{}']\nstore: s3://{BUCKET}\n", source.display());
        fs::write(self.at("s3.yaml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        self.client.run([&["-q"], args].concat())
    }

    fn copy(&self, from: &str, to: &str, which: &[&str]) -> Output {
        let policy = format!("{from}.yaml");
        self.run(&[&["copy", "--policy", &policy, "--to", to], which].concat())
    }

    /// Restores a backup by a policy.
    fn restore(&self, policy: &str, key: &str) -> Tree {
        let out = self.at("restored");
        let _ = fs::remove_dir_all(&out);
        let policy = format!("{policy}.yaml");
        self.run(&["restore", "--policy", &policy, "--key", key, "--out", "restored"]).expect(0);
        tree::snapshot(&out)
    }

    fn keys(&self, policy: &str) -> Vec<String> {
        let listed = self.run(&["list", "--policy", &format!("{policy}.yaml")]).expect(0).json;
        let keys =
            listed["backups"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned());
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        keys
    }

    /// Both policies list the same backups, which restore the same.
    #[track_caller]
    fn assert_same_backups(&self, one: &str, other: &str) {
        let keys = self.keys(one);
        assert_eq!(keys, self.keys(other));
        for key in keys {
            tree::assert_same(&self.restore(one, &key), &self.restore(other, &key), &[Ignore::Allocation]);
        }
    }
}

/// The objects in a store's folder, by key, hidden files left out.
fn objects(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    let visible = files_below(folder)
        .into_iter()
        .filter(|path| !name(path).contains("/.") && !name(path).starts_with('.'));
    let mut all: Vec<_> = visible.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
    all.sort();
    all
}

/// No part was stored twice, and nothing is left open.
#[track_caller]
fn assert_sent_once(server: &S3Server, what: &str) {
    let mut sent = std::collections::BTreeMap::<(String, u32), u32>::new();
    for upload in server.traffic().uploads() {
        assert_ne!(upload.state, UploadState::Open, "{what}: {upload:?}");
        for (number, times) in server.traffic().parts_of(&upload.id) {
            *sent.entry((upload.key.clone(), number)).or_default() += times;
        }
    }
    assert!(sent.values().all(|times| *times == 1), "{what}: {sent:?}");
}

#[test]
fn a_chain_of_sealed_backups_goes_to_s3_and_back_to_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.write_policy("here", "manifest: sealed\n");
    sandbox.write_policy("there", "");
    sandbox.write_policy_of_s3();
    tree::write_noise(&sandbox.at("source/grande.bin"), 7, 18 << 20);
    for day in 0..6 {
        fs::write(sandbox.at(&format!("source/dia {day}.txt")), format!("conteúdo {day}")).unwrap();
        sandbox.run(&["backup", "--policy", "here.yaml"]).expect(0);
    }
    let server = S3Server::start(&sandbox.at("s3"));
    let sandbox = Sandbox { client: sandbox.client.clone().vars(server.env()), ..sandbox };
    let bucket = format!("s3://{BUCKET}");
    let report = sandbox.copy("here", &bucket, &["--all"]).expect(0).json;
    assert_eq!(report["copied"].as_array().unwrap().len(), 6, "{report:#}");
    assert_eq!((&report["policy"], &report["to"]), (&POLICY.into(), &bucket.as_str().into()));
    assert_sent_once(&server, "to S3");
    sandbox.assert_same_backups("here", "s3");
    let log = server.traffic().log().len();
    let again = sandbox.copy("here", &bucket, &["--all"]).expect(0).json;
    assert_eq!((again["skipped"].as_array().unwrap().len(), &again["objects"]), (6, &0.into()), "{again:#}");
    assert_eq!(server.traffic().log().len(), log, "a second copy wrote something");

    sandbox.copy("s3", &sandbox.url("there"), &["--all"]).expect(0);
    assert_eq!(objects(&sandbox.at("there")), objects(&sandbox.at("here")));
    sandbox.assert_same_backups("here", "there");
}

#[test]
fn a_copy_is_a_store_that_the_next_backups_go_on_in() {
    let sandbox = Sandbox::filled(1);
    sandbox.write_policy("there", "");
    sandbox.copy("here", &sandbox.url("there"), &["--latest"]).expect(0);
    fs::write(sandbox.at("source/novo"), "novo").unwrap();
    let next = sandbox.run(&["backup", "--policy", "there.yaml"]).expect(0);
    assert!(!next.json["base"].is_null(), "{:#}", next.json);
    let restored = sandbox.restore("there", next.key_backup());
    tree::assert_same(&tree::snapshot(&sandbox.at("source")), &restored, &[Ignore::Allocation]);
}

#[test]
fn killed_at_any_step_a_copy_is_continued_and_no_part_is_sent_twice() {
    for (point, nth) in [
        ("part_acknowledged", 1),
        ("part_acknowledged", 3),
        ("part_acknowledged", 5),
        ("before_complete", 1),
        ("archive_completed", 1),
        ("before_manifest", 1),
        ("manifest_put", 1),
    ] {
        let sandbox = Sandbox::filled(34);
        let server = S3Server::start(&sandbox.at("s3"));
        let marker = sandbox.at("fired");
        let client = sandbox.client.clone().vars(server.env());
        let sandbox = Sandbox { client: client.clone(), ..sandbox };
        sandbox.write_policy_of_s3();
        let bucket = format!("s3://{BUCKET}");
        let args = ["-q", "copy", "--policy", "here.yaml", "--to", &bucket, "--latest"];
        let armed = format!("{point}:{nth}:{}", marker.display());
        let killed = client.var("INTELLISTOR_FAILPOINT", armed).run(args);
        assert!(marker.exists() && killed.code == -1, "{point} {nth} was never reached: {}", killed.stderr);
        server.wait_until_alone();
        let is_there = point == "manifest_put";
        let report = sandbox.copy("here", &bucket, &["--latest"]).expect(0).json;
        let list = if is_there { "skipped" } else { "copied" };
        assert_eq!(report[list].as_array().unwrap().len(), 1, "{point} {nth}: {report:#}");
        assert_sent_once(&server, point);
        assert_eq!(objects(&sandbox.at("s3").join(BUCKET)), objects(&sandbox.at("here")), "{point} {nth}");
        sandbox.assert_same_backups("here", "s3");
    }
}

#[test]
fn killed_between_any_two_parts_into_a_folder_it_is_continued() {
    let sandbox = Sandbox::filled(34);
    sandbox.write_policy("there", "");
    for nth in 1..=5 {
        let _ = fs::remove_dir_all(sandbox.at("there"));
        let marker = sandbox.at("fired");
        let _ = fs::remove_file(&marker);
        let to = sandbox.url("there");
        let args = ["-q", "copy", "--policy", "here.yaml", "--to", &to, "--all"];
        let armed = format!("part_acknowledged:{nth}:{}", marker.display());
        let killed = sandbox.client.clone().var("INTELLISTOR_FAILPOINT", armed).run(args);
        assert!(marker.exists() && killed.code == -1, "{nth}: {}", killed.stderr);
        let archive = fs::metadata(sandbox.at("here").join(&sandbox.keys("here")[0])).unwrap().len();
        let report = sandbox.copy("here", &to, &["--all"]).expect(0).json;
        assert!(report["bytes"].as_u64().unwrap() < archive, "nothing was continued: {report:#}");
        // No file of an upload is left.
        assert_eq!(objects(&sandbox.at("there")), objects(&sandbox.at("here")));
        let hidden = files_below(&sandbox.at("there")).len() - objects(&sandbox.at("there")).len();
        assert_eq!(hidden, 1, "{:?}", files_below(&sandbox.at("there")));
    }
    sandbox.assert_same_backups("here", "there");
}

#[test]
fn interrupted_it_ends_with_130_and_goes_on() {
    let sandbox = Sandbox::filled(34);
    let server = S3Server::start(&sandbox.at("s3"));
    let sandbox = Sandbox { client: sandbox.client.clone().vars(server.env()), ..sandbox };
    let bucket = format!("s3://{BUCKET}");
    server.traffic().hold_parts();
    let args = ["copy", "--policy", "here.yaml", "--to", &bucket, "--latest"];
    let running = Running::start(sandbox.client.command(args));
    server.traffic().wait_until(|traffic| traffic.held() > 0);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    server.traffic().release();
    sandbox.write_policy_of_s3();
    sandbox.copy("here", &bucket, &["--latest"]).expect(0);
    sandbox.assert_same_backups("here", "s3");
}

#[test]
fn a_store_that_wants_equal_parts_gets_them() {
    let sandbox = Sandbox::filled(34);
    let server = S3Server::start(&sandbox.at("s3"));
    server.traffic().speak(Dialect::EqualParts);
    let client = sandbox.client.clone().vars(server.env()).var("INTELLISTOR_S3_EQUAL_PARTS", "yes");
    let sandbox = Sandbox { client, ..sandbox };
    sandbox.write_policy_of_s3();
    sandbox.copy("here", &format!("s3://{BUCKET}"), &["--all"]).expect(0);
    assert_sent_once(&server, "equal parts");
    sandbox.assert_same_backups("here", "s3");
    // Where no one has said so, it is learnt.
    let unaware = sandbox.client.clone().var("INTELLISTOR_S3_EQUAL_PARTS", "");
    let learnt = format!("s3://{BUCKET}/learnt");
    unaware.run(["-q", "copy", "--policy", "here.yaml", "--to", &learnt, "--all"]).expect(0);
    assert_eq!(objects(&sandbox.at("s3").join(BUCKET).join("learnt")), objects(&sandbox.at("here")));
    // A damaged byte is found there, too.
    let key = &sandbox.keys("here")[0];
    let archive = sandbox.at("here").join(key);
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let refused = sandbox.copy("here", &format!("s3://{BUCKET}/elsewhere"), &["--all"]).expect(4);
    assert!(refused.stderr.contains("segment 3") && refused.stderr.contains(key), "{}", refused.stderr);
    assert_eq!(refused.json["failed"][0]["key"], key.as_str(), "{:#}", refused.json);
    assert!(server.traffic().uploads().iter().all(|upload| upload.state != UploadState::Open));
    assert!(!sandbox.at("s3").join(BUCKET).join("elsewhere").join(key).exists());
}

#[test]
fn a_full_disk_stops_it_and_the_next_copy_goes_on() {
    let sandbox = Sandbox::filled(34);
    let Some(disk) = SmallDisk::mount(sandbox.at("disk"), "60m") else { return };
    let filler = disk.fill_up();
    let room = fs::OpenOptions::new().write(true).open(&filler).unwrap();
    room.set_len(room.metadata().unwrap().len() - (20 << 20)).unwrap();
    // A file that is open keeps its room.
    drop(room);
    sandbox.write_policy("disk", "");
    let full = sandbox.copy("here", &sandbox.url("disk"), &["--all"]).expect(1);
    assert!(full.stderr.contains("Free some space"), "{}", full.stderr);
    assert!(objects(disk.path()).iter().all(|(key, _)| !key.ends_with("backup.tar.gz.enc")));
    fs::remove_file(filler).unwrap();
    let report = sandbox.copy("here", &sandbox.url("disk"), &["--all"]).expect(0).json;
    let archive = fs::metadata(sandbox.at("here").join(&sandbox.keys("here")[0])).unwrap().len();
    assert!(report["bytes"].as_u64().unwrap() < archive, "nothing was continued: {report:#}");
    sandbox.assert_same_backups("here", "disk");
}

#[test]
fn another_key_and_a_bucket_that_is_not_there_are_told() {
    let sandbox = Sandbox::filled(1);
    let other =
        sandbox.client.clone().var("INTELLISTOR_PASSPHRASE", "outras seis palavras que ninguém lhe disse");
    let copy = |client: &Client, to: &str| client.run(["copy", "--policy", "here.yaml", "--to", to, "--all"]);
    let refused = copy(&other, &sandbox.url("there")).expect(2);
    assert!(refused.stderr.contains("INTELLISTOR_PASSPHRASE"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("--full") && !refused.stderr.contains("created a new store"));
    let copied = copy(&sandbox.client, &sandbox.url("elsewhere")).expect(0);
    assert!(copied.stderr.contains("copy again"), "{}", copied.stderr);

    let server = S3Server::start(&sandbox.at("s3"));
    let missing = copy(&sandbox.client.clone().vars(server.env()), "s3://no-such-bucket").expect(1);
    assert!(missing.stderr.contains("in --to"), "{}", missing.stderr);
}

#[test]
fn another_machines_store_and_the_store_itself_are_refused() {
    let sandbox = Sandbox::filled(1);
    sandbox.write_policy("theirs", "");
    let other = sandbox.client.clone().var("INTELLISTOR_MACHINE", "outra");
    other.run(["-q", "backup", "--policy", "theirs.yaml"]).expect(0);
    let before = objects(&sandbox.at("theirs"));
    let refused = sandbox.copy("here", &sandbox.url("theirs"), &["--all"]).expect(2);
    assert!(refused.stderr.contains("the machine outra"), "{}", refused.stderr);
    assert_eq!(objects(&sandbox.at("theirs")), before);

    std::os::unix::fs::symlink(sandbox.at("here"), sandbox.at("link")).unwrap();
    for same in ["here", "link", "./here", "source/../here"] {
        let refused = sandbox.copy("here", &sandbox.url(same), &["--all"]).expect(2);
        assert!(refused.stderr.contains("itself"), "{same}: {}", refused.stderr);
    }
    // Whoever has the key may copy another machine's backups to where there are none.
    sandbox.copy("theirs", &sandbox.url("there"), &["--all"]).expect(0);
    assert_eq!(objects(&sandbox.at("there")), before);
}

/// Two servers with one bucket's name: the target's settings come from its file alone, and reach no other store.
#[test]
fn the_targets_settings_are_its_own() {
    let sandbox = Sandbox::filled(1);
    let (near, far) = (S3Server::start(&sandbox.at("near")), S3Server::start(&sandbox.at("far")));
    let sandbox = Sandbox { client: sandbox.client.clone().vars(near.env()), ..sandbox };
    sandbox.write_policy_of_s3();
    let bucket = format!("s3://{BUCKET}");
    sandbox.copy("here", &bucket, &["--all"]).expect(0);
    let lines = far.env().into_iter().map(|(name, value)| format!("{name}='{value}'\n"));
    let of_far = lines.clone().collect::<String>();
    fs::write(sandbox.at("far.env"), &of_far).unwrap();
    let of_near = near.traffic().log().len();
    let report = sandbox.copy("s3", &bucket, &["--all", "--to-env-file", "far.env"]).expect(0).json;
    assert_eq!(report["copied"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(near.traffic().log().len(), of_near, "the source was written to");
    assert!(
        far.traffic()
            .log()
            .iter()
            .any(|done| matches!(done, Done::Put { key } if key.ends_with("manifest.json")))
    );
    assert_eq!(objects(&sandbox.at("far").join(BUCKET)), objects(&sandbox.at("near").join(BUCKET)));

    // Credentials of the environment are the source's.
    let without = lines.filter(|line| !line.starts_with("AWS_SECRET") && !line.starts_with("AWS_ACCESS"));
    fs::write(sandbox.at("no-keys.env"), without.collect::<String>()).unwrap();
    let refused = sandbox.copy("s3", &bucket, &["--all", "--to-env-file", "no-keys.env"]).expect(2);
    assert!(refused.stderr.contains("were not used"), "{}", refused.stderr);
    fs::write(sandbox.at("bad.env"), "LD_PRELOAD=x\n").unwrap();
    sandbox.copy("s3", &bucket, &["--all", "--to-env-file", "bad.env"]).expect(2);
    // The same endpoint and bucket, said twice.
    let of_near =
        near.env().into_iter().map(|(name, value)| format!("{name}='{value}'\n")).collect::<String>();
    fs::write(sandbox.at("near.env"), of_near).unwrap();
    let refused = sandbox.copy("s3", &bucket, &["--all", "--to-env-file", "near.env"]).expect(2);
    assert!(refused.stderr.contains("itself"), "{}", refused.stderr);
}

#[test]
fn memory_is_bounded_whatever_the_size() {
    let sandbox = Sandbox::filled(300);
    let server = S3Server::start(&sandbox.at("s3"));
    let bucket = format!("s3://{BUCKET}");
    let client = sandbox.client.clone().vars(server.env());
    let (ended, peak) =
        client.run_measured(["-q", "copy", "--policy", "here.yaml", "--to", &bucket, "--all"]);
    ended.expect(0);
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
}
