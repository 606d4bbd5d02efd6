//! What is left when a manifest is lost or altered, and what strange objects beside the backups do: nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Output, built, finish};
use intellistor_tests::s3_server::BUCKET;
use intellistor_tests::tree::{self, Ignore, Kind};

/// A place with one backup, and its key.
fn backed_up() -> (AgentSandbox, String) {
    let sandbox = AgentSandbox::new("perdido");
    fs::create_dir(sandbox.source().join("a")).unwrap();
    fs::write(sandbox.source().join("a/first.txt"), "one content").unwrap();
    for link in ["b second.txt", "c third.txt"] {
        fs::hard_link(sandbox.source().join("a/first.txt"), sandbox.source().join(link)).unwrap();
    }
    fs::write(sandbox.source().join("[z].txt"), "another").unwrap();
    let key = sandbox.run().expect(0).key_backup().to_owned();
    (sandbox, key)
}

fn object(sandbox: &AgentSandbox, key: &str) -> PathBuf {
    sandbox.at("s3").join(BUCKET).join(key)
}

fn manifest(key: &str) -> String {
    key.replace("backup.tar.gz.enc", "manifest.json")
}

fn client(sandbox: &AgentSandbox, command: &str, args: &[&str]) -> Output {
    sandbox.client.run([&[command, "--policy", "policy.yaml"], args].concat())
}

/// Pastes a command into a shell, where the programs are not on the path.
fn paste(sandbox: &AgentSandbox, line: &str) -> Output {
    let mut shell = sandbox.client.command(["--version"]);
    let variables: Vec<_> =
        shell.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    shell = Command::new("sh");
    shell.arg("-c").arg(line).current_dir(sandbox.dir()).env_clear();
    shell.envs(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
    assert!(line.contains(built("backup-client").to_str().unwrap()), "{line}");
    finish(shell)
}

fn assert_same(sandbox: &AgentSandbox, out: &str) {
    tree::assert_same(
        &tree::snapshot(&sandbox.source()),
        &tree::snapshot(&sandbox.at(out)),
        &[Ignore::Allocation],
    );
}

#[test]
fn a_lost_or_altered_manifest_is_told_with_the_command_that_restores_without_it() {
    let (sandbox, key) = backed_up();
    let file = object(&sandbox, &manifest(&key));
    let whole = fs::read(&file).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    for (bytes, code) in [(Some(altered), 4), (Some(Vec::new()), 4), (Some(b"{}\n".to_vec()), 4), (None, 1)] {
        match &bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let only = ["--key", &key, "--out", "part", "--only", "a/*", r"\[z\].txt"];
        let refused = client(&sandbox, "restore", &only).expect(code);
        let command = refused.json["error"]["try"].as_str().unwrap();
        assert!(command.contains("--without-manifest") && command.contains(&key), "{command}");
        assert!(refused.stderr.contains(command), "{}", refused.stderr);
        let pasted = paste(&sandbox, command).expect(0);
        assert_eq!(pasted.json["restored"], 2, "{:#}", pasted.json);
        assert_eq!(fs::read(sandbox.at("part/[z].txt")).unwrap(), b"another");
        fs::remove_dir_all(sandbox.at("part")).unwrap();

        for command in ["verify", "show"] {
            let refused = client(&sandbox, command, &["--key", &key]).expect(code);
            let command = refused.json["error"]["try"].as_str().unwrap();
            paste(&sandbox, command).expect(0);
            let out = command.rsplit("--out ").next().unwrap();
            assert_same(&sandbox, out);
            fs::remove_dir_all(sandbox.at(out)).unwrap();
        }
    }
}

#[test]
fn an_archive_without_a_manifest_is_listed_and_restored_as_the_latest() {
    let (sandbox, first) = backed_up();
    fs::write(sandbox.source().join("new.txt"), "newer").unwrap();
    let second = sandbox.run().expect(0).key_backup().to_owned();
    let listed = client(&sandbox, "list", &["--orphans"]).expect(0).json;
    assert_eq!(listed["orphans"], serde_json::json!([]));
    fs::remove_file(object(&sandbox, &manifest(&second))).unwrap();

    let listed = client(&sandbox, "list", &[]).expect(0);
    assert!(listed.stderr.contains("--orphans"), "{}", listed.stderr);
    assert!(listed.json["orphans"].is_null());
    let listed = client(&sandbox, "list", &["--orphans"]).expect(0).json;
    assert_eq!(listed["backups"][0]["key"], first.as_str());
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1);
    let orphan = &listed["orphans"][0];
    assert_eq!(orphan["key"], second.as_str(), "{listed:#}");
    assert_eq!(orphan["archive_bytes"], fs::metadata(object(&sandbox, &second)).unwrap().len());

    // The second backup is incremental: its archive has the file that is new, and the command warns of what it does not have.
    let assert_added = |restored: &Output, out: &str| {
        assert!(restored.stderr.contains("took over from earlier backups"), "{}", restored.stderr);
        let mut added = tree::snapshot(&sandbox.source());
        added.retain(|path, _| path == b"new.txt");
        // Folders that were made right before the first backup are recorded again.
        let mut found = tree::snapshot(&sandbox.at(out));
        found.retain(|_, entry| entry.kind != Kind::Folder);
        tree::assert_same(&added, &found, &[Ignore::Allocation]);
    };
    let command = orphan["cli_restore"].as_str().unwrap();
    let pasted = paste(&sandbox, command).expect(0);
    assert_added(&pasted, command.rsplit("--out ").next().unwrap());
    let latest =
        client(&sandbox, "restore", &["--latest", "--without-manifest", "--out", "latest"]).expect(0);
    assert_added(&latest, "latest");
    // Without that word the newest is the newest that exists.
    client(&sandbox, "restore", &["--latest", "--out", "whole"]).expect(0);
    assert!(!sandbox.at("whole/new.txt").exists());

    fs::remove_file(object(&sandbox, &manifest(&first))).unwrap();
    let none = client(&sandbox, "restore", &["--latest", "--out", "none"]).expect(1);
    assert!(none.stderr.contains("2 archives without a manifest"), "{}", none.stderr);
}

#[test]
fn what_lies_before_the_damage_is_restored_and_counted_without_a_manifest() {
    let (sandbox, _) = backed_up();
    for (seed, name) in [(1, "m1"), (2, "m2")] {
        fs::write(sandbox.source().join(name), tree::noise(seed, 3 << 20)).unwrap();
    }
    let key = sandbox.run().expect(0).key_backup().to_owned();
    let file = object(&sandbox, &key);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - (1 << 20);
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::remove_file(object(&sandbox, &manifest(&key))).unwrap();

    let part = client(&sandbox, "restore", &["--key", &key, "--without-manifest", "--out", "part"]).expect(4);
    assert_eq!(part.json["integrity"], "failed", "{:#}", part.json);
    assert!(part.json["restored"].as_u64().unwrap() > 1, "{:#}", part.json);
    let damaged = part.json["damaged"][0].as_str().unwrap();
    assert!(damaged.contains("m2") && damaged.contains("segment"), "{damaged}");
    assert_eq!(fs::read(sandbox.at("part/m1")).unwrap(), fs::read(sandbox.source().join("m1")).unwrap());
    assert!(!sandbox.at("part/m2").exists());
}

#[test]
fn a_hard_link_is_restored_without_the_file_that_it_names() {
    let (sandbox, key) = backed_up();
    for (out, more) in [("with", &[][..]), ("without", &["--without-manifest"])] {
        let one = [&["--key", &key, "--out", out, "--only", "b second.txt"], more].concat();
        let restored = client(&sandbox, "restore", &one).expect(0).json;
        assert_eq!((&restored["found"], &restored["restored"]), (&1.into(), &1.into()), "{restored:#}");
        assert_eq!(fs::read(sandbox.at(out).join("b second.txt")).unwrap(), b"one content");
        assert_eq!(fs::read_dir(sandbox.at(out)).unwrap().count(), 1);

        let out = &format!("{out}-two");
        let two = [&["--key", &key, "--out", out, "--only", "? *.txt"], more].concat();
        let restored = client(&sandbox, "restore", &two).expect(0).json;
        assert_eq!(restored["restored"], 2, "{restored:#}");
        for link in ["b second.txt", "c third.txt"] {
            assert_eq!(fs::read(sandbox.at(out).join(link)).unwrap(), b"one content");
        }
    }
}

#[test]
fn strange_objects_beside_backups_hide_nothing() {
    let (sandbox, key) = backed_up();
    let folder = key.strip_suffix("backup.tar.gz.enc").unwrap();
    let keys = [
        "backups/perdido/readme.txt".to_owned(),
        "backups/perdido/x/y/backup.tar.gz.enc".to_owned(),
        "backups/perdido/zzzz/y/manifest.json".to_owned(),
        "backups/perdido/99999999T999999Z/y/manifest.json".to_owned(),
        "backups/perdido/a\u{301} & <b>/\u{1f4be}/manifest.json".to_owned(),
        "backups/perdido/new\nline/y/backup.tar.gz.enc".to_owned(),
        format!("{folder}backup.tar.gz.enc.old"),
        format!("{folder}junk"),
        format!("{folder}more/manifest.json"),
    ];
    for key in &keys {
        let file = object(&sandbox, key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "junk").unwrap();
    }
    assert_eq!(sandbox.backups(), [key]);
    let listed = client(&sandbox, "list", &["--orphans"]).expect(0).json;
    assert_eq!(listed["orphans"], serde_json::json!([]), "{listed:#}");
    client(&sandbox, "restore", &["--latest", "--out", "out"]).expect(0);
    assert_same(&sandbox, "out");
    client(&sandbox, "verify", &["--latest"]).expect(0);
    sandbox.run().expect(0);
    assert_eq!(sandbox.backups().len(), 2);
}
