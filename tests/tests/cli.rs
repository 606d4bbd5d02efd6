//! `backup-client` as its users meet it: exit codes, messages that name the thing and say what to do next, one
//! JSON document on standard output, and no secret anywhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use intellistor_storage::objects::Operation;
use intellistor_tests::program::{Client, Output, finish};
use intellistor_tests::s3_server::{Failure, S3Server};
use intellistor_tests::secret_search::SecretSearch;
use intellistor_tests::tree;
use tempfile::TempDir;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// A folder with a source, a policy that stores beside it, and a client that has the key.
struct Desk {
    dir: TempDir,
    client: Client,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source/pasta");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("Relatório.txt"), "conteúdo").unwrap();
        let client = Client::new(dir.path()).var("INTELLISTOR_KEY", KEY);
        let desk = Self { dir, client };
        desk.write_policy(&desk.local_store());
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn local_store(&self) -> String {
        format!("store: file://{}\n", self.at("store").display())
    }

    fn write_policy(&self, more: &str) {
        let text = format!("policy_id: desk\npaths: ['{}']\n{more}", self.at("source").display());
        fs::write(self.at("policy.yaml"), text).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        self.client.run(line.split(' '))
    }

    fn backed_up(self) -> Self {
        self.run("backup --policy policy.yaml").expect(0);
        self
    }

    fn archive(&self) -> PathBuf {
        let found =
            Command::new("find").arg(self.at("store")).args(["-name", "backup.tar.gz.enc"]).output().unwrap();
        PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
    }
}

/// The run failed with `code`, its message holds all of `words`, and standard output is one JSON document.
#[track_caller]
fn assert_message(output: Output, code: i32, words: &[&str]) {
    let output = output.expect(code);
    let message = &output.json["error"]["message"];
    assert!(message.is_string(), "stdout is no error document: {}", String::from_utf8_lossy(&output.stdout));
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is missing from: {}", output.stderr);
    }
}

#[test]
fn keys_are_checked_before_anything_is_done() {
    let desk = Desk::new().backed_up();
    let with = |name: &str, value: &str| Client::new(desk.dir.path()).var(name, value);
    let restore =
        |client: &Client| client.run(["restore", "--policy", "policy.yaml", "--latest", "--out", "out"]);
    let wrong = restore(&with("INTELLISTOR_KEY", OTHER_KEY));
    assert_message(wrong, 2, &["is sealed with key", "the configured key is", "INTELLISTOR_KEY"]);
    assert_message(restore(&with("INTELLISTOR_PASSPHRASE", "x")), 2, &["INTELLISTOR_KEY"]);
    assert_message(restore(&Client::new(desk.dir.path())), 2, &["INTELLISTOR_KEY_FILE", "sealed with"]);
    let both = restore(&with("INTELLISTOR_KEY", KEY).var("INTELLISTOR_PASSPHRASE", "x"));
    assert_message(both, 2, &["INTELLISTOR_KEY", "INTELLISTOR_PASSPHRASE"]);
    let malformed = restore(&with("INTELLISTOR_KEY", "bm8gc2VjcmV0"));
    assert!(!malformed.stderr.contains("bm8gc2VjcmV0"), "{}", malformed.stderr);
    assert_message(malformed, 2, &["INTELLISTOR_KEY", "32"]);
    assert_message(restore(&with("INTELLISTOR_KEY_FILE", "no-such-file")), 2, &["no-such-file"]);
    assert!(!desk.at("out").exists());
}

#[test]
fn a_wrong_passphrase_is_told() {
    let desk = Desk::new();
    let with = |value: &str| Client::new(desk.dir.path()).var("INTELLISTOR_PASSPHRASE", value);
    with("maçã verde").run(["backup", "--policy", "policy.yaml"]).expect(0);
    let restore = ["restore", "--policy", "policy.yaml", "--latest", "--out", "out"];
    assert_message(with("maca verde").run(restore), 2, &["passphrase"]);
    assert!(!desk.at("out").exists());
    with("maçã verde").run(restore).expect(0);
}

#[test]
fn damage_is_told_by_its_exit_code() {
    let desk = Desk::new().backed_up();
    let archive = desk.archive();
    let whole = fs::read(&archive).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() - 300;
    damaged[middle] ^= 1;
    for (bytes, words) in [(&damaged[..], "sealed"), (&whole[..whole.len() / 2], "cut short")] {
        fs::write(&archive, bytes).unwrap();
        assert_message(desk.run("verify --policy policy.yaml --latest"), 4, &[words]);
    }
    fs::write(&archive, &damaged[..middle]).unwrap();
    let restored = desk.run("restore --policy policy.yaml --latest --out out").expect(4);
    assert_eq!(restored.json["integrity"], "failed");
    assert_eq!(tree::snapshot(&desk.at("out")).values().filter(|f| f.sha256.is_some()).count(), 0);

    let mut later = whole.clone();
    later[4] = 9;
    fs::write(&archive, &later).unwrap();
    assert_message(desk.run("verify --policy policy.yaml --latest"), 1, &["version 9", "version 1", "newer"]);
    fs::write(&archive, &whole).unwrap();
    desk.run("verify --policy policy.yaml --latest").expect(0);
}

#[test]
fn a_manifest_of_a_later_version_is_told() {
    let desk = Desk::new().backed_up();
    let manifest = desk.archive().with_file_name("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap().replacen("\"version\":1", "\"version\":7", 1);
    fs::write(&manifest, text).unwrap();
    assert_message(desk.run("show --policy policy.yaml --latest"), 1, &["version 7", "newer"]);
}

#[test]
fn what_cannot_be_found_is_named() {
    let desk = Desk::new();
    let restore = "restore --policy policy.yaml --latest --out out";
    assert_message(desk.run(restore), 1, &["/store", "does not exist", "mount the disk"]);
    fs::create_dir(desk.at("store")).unwrap();
    assert_message(desk.run(restore), 1, &["desk", "no backup"]);
    let desk = desk.backed_up();
    let nothing = desk.run("restore --policy policy.yaml --latest --out out --only *.nope");
    assert_message(nothing, 1, &["*.nope", "backup-client show"]);
    assert_message(desk.run("restore --policy policy.yaml --latest --out out --only a["), 2, &["a["]);
    assert_message(desk.run("restore --policy policy.yaml --key nonsense --out out"), 2, &["nonsense"]);
    let absent =
        "restore --policy policy.yaml --key backups/desk/20260101T000000Z/x/backup.tar.gz.enc --out out";
    assert_message(desk.run(absent), 1, &["manifest.json", "backup-client list"]);
    fs::write(desk.at("file"), "").unwrap();
    assert_message(desk.run("restore --policy policy.yaml --latest --out file"), 1, &["file"]);
    assert_message(desk.run("frobnicate"), 2, &["frobnicate"]);
}

#[test]
fn a_bad_policy_is_shown_with_its_line() {
    let desk = Desk::new();
    assert_message(desk.run("backup --policy absent.yaml"), 2, &["absent.yaml"]);
    desk.write_policy("compression: [\n");
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["policy.yaml", "line 3"]);
    desk.write_policy("exclud: []\n");
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["exclud", "line 3"]);
    desk.write_policy("store: ftp://x\n");
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["s3://", "file:///"]);
    fs::write(
        desk.at("policy.yaml"),
        format!("policy_id: desk\npaths: [/no/such/folder]\n{}", desk.local_store()),
    )
    .unwrap();
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["/no/such/folder"]);
    fs::write(desk.at("policy.yaml"), "policy_id: ../x\npaths: [/tmp]\n").unwrap();
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["../x"]);
    desk.write_policy("");
    assert_message(desk.run("backup --policy policy.yaml"), 2, &["AWS_S3_BUCKET", "file:///"]);
}

#[test]
fn a_store_that_refuses_says_what_to_check() {
    let desk = Desk::new();
    desk.write_policy("");
    let server = S3Server::start(&desk.at("s3"));
    let client = desk.client.clone().vars(server.env());
    let backup = |client: &Client| client.run(["backup", "--policy", "policy.yaml"]);
    backup(&client).expect(0);
    let wrong = client.clone().var("AWS_SECRET_ACCESS_KEY", "no-such-secret");
    let message = backup(&wrong);
    assert!(!message.stderr.contains("no-such-secret"), "{}", message.stderr);
    assert_message(message, 1, &["AWS_SECRET_ACCESS_KEY"]);
    let elsewhere = client.clone().var("AWS_S3_BUCKET", "no-such-bucket");
    assert_message(
        elsewhere.run(["list", "--policy", "policy.yaml"]),
        1,
        &["no-such-bucket", "AWS_S3_BUCKET"],
    );
    drop(server);
    assert_message(backup(&client), 1, &["AWS_ENDPOINT_URL", "after 5 attempts"]);
}

#[test]
fn files_are_not_overwritten_unasked() {
    let desk = Desk::new();
    desk.run("key-create --out key").expect(0);
    let key = fs::read(desk.at("key")).unwrap();
    assert_ne!(desk.run("key-create --out key").code, 0);
    assert_eq!(fs::read(desk.at("key")).unwrap(), key);
    assert_message(desk.run("policy-create --out policy.yaml"), 1, &["policy.yaml", "--force"]);
    desk.run("policy-create --out policy.yaml --force").expect(0);
}

#[test]
fn settings_come_from_files_and_the_environment_wins() {
    let desk = Desk::new();
    fs::write(desk.at(".env"), format!("INTELLISTOR_KEY={OTHER_KEY}\n")).unwrap();
    desk.run("backup --policy policy.yaml").expect(0);
    let from_file = Client::new(desk.dir.path());
    assert_message(
        from_file.run(["show", "--policy", "policy.yaml", "--latest"]),
        2,
        &["is sealed with key"],
    );
    fs::write(desk.at("my settings.env"), format!("INTELLISTOR_KEY={KEY}\n")).unwrap();
    let made =
        from_file.run(["--env-file", "my settings.env", "backup", "--policy", "policy.yaml"]).expect(0);
    let pasted = made.json["cli_restore"].as_str().unwrap().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", &pasted]).current_dir(desk.dir.path()).stdin(Stdio::null());
    finish(shell).expect(0);
    assert!(desk.at("restore/pasta/Relatório.txt").is_file(), "{pasted}");
    fs::write(desk.at(".env"), "INTELLISTOR_KEY=ok\nthis is no setting\n").unwrap();
    assert_message(from_file.run(["list", "--policy", "policy.yaml"]), 2, &[".env", "line 2"]);
}

#[test]
fn a_key_that_others_can_read_gets_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.run("key-create --out key").expect(0);
    let client = Client::new(desk.dir.path()).var("INTELLISTOR_KEY_FILE", "key");
    let backup = || client.run(["backup", "--policy", "policy.yaml"]).expect(0).stderr;
    assert!(!backup().contains("warning"));
    fs::set_permissions(desk.at("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let message = backup();
    assert!(message.to_lowercase().contains("warn") && message.contains("chmod"), "{message}");
}

#[test]
fn nobody_is_told_to_take_the_rights_from_a_folder() {
    let desk = Desk::new();
    let named = desk.client.run(["--env-file", "/tmp", "list", "--policy", "policy.yaml"]).expect(2);
    assert!(named.stderr.contains("s a directory") && !named.stderr.contains("chmod"), "{}", named.stderr);
}

#[test]
fn no_secret_is_printed_or_stored() {
    let desk = Desk::new();
    desk.write_policy("");
    let server = S3Server::start(&desk.at("s3"));
    let secret = server.env().into_iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").unwrap().1;
    let search = SecretSearch::new([KEY, &secret]);
    let client = desk.client.clone().vars(server.env()).var("RUST_LOG", "trace");
    let lines = [
        ("-vv backup --policy policy.yaml", 0),
        ("-vv restore --policy policy.yaml --latest --out out", 0),
        ("-vv show --policy policy.yaml --latest", 0),
        ("-vv restore --policy policy.yaml --latest --out out --only nope", 1),
    ];
    for (line, code) in lines {
        let output = client.run(line.split(' ')).expect(code);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
        assert!(said.len() > 100, "{line} said nothing in which a secret could be: {said}");
        search.assert_absent(said.as_bytes(), line);
    }
    search.assert_absent_below(&desk.at("s3"));
}

#[test]
fn skipped_entries_change_the_exit_code_and_are_listed() {
    let desk = Desk::new();
    // Its size is 0, and nothing can be read at its beginning.
    let policy = fs::read_to_string(desk.at("policy.yaml")).unwrap();
    fs::write(desk.at("policy.yaml"), policy.replace("paths: [", "paths: ['/proc/self/mem', ")).unwrap();
    let made = desk.run("backup --policy policy.yaml").expect(3);
    assert_eq!(made.json["skipped"], 1);
    assert!(made.json["warnings"].to_string().contains("mem/mem"), "{}", made.json);
    let shown = desk.run("show --policy policy.yaml --latest").expect(0);
    assert_eq!(shown.json["problems"][0]["relative_path"], "mem/mem");
}

#[test]
fn an_interrupted_backup_leaves_nothing_and_says_so() {
    let desk = Desk::new();
    desk.write_policy("");
    tree::write_noise(&desk.at("source/large.bin"), 1, 64 << 20);
    let server = S3Server::start(&desk.at("s3"));
    let client = desk.client.clone().vars(server.env());
    // The store refuses part after part, so the run is retrying when the signal comes.
    server.traffic().fail_next(1_000, Operation::PutPart, Failure::SlowDown);
    let mut command = client.command(["backup", "--policy", "policy.yaml"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.traffic().wait_until(|traffic| traffic.failures_left(Operation::PutPart) <= 998);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(objects_in(&desk.at("s3")), 0);
    server.traffic().fail_no_more();
    let listed = client.run(["list", "--policy", "policy.yaml"]).expect(0);
    assert_eq!(listed.json["backups"].as_array().unwrap().len(), 0);
}

fn objects_in(folder: &Path) -> usize {
    let mut find = Command::new("find");
    find.arg(folder).args(["-name", "backup.tar.gz.enc", "-o", "-name", "manifest.json"]);
    find.output().unwrap().stdout.iter().filter(|b| **b == b'\n').count()
}
