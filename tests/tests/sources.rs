//! What the machine's files do to a backup: folders that are swapped for links, sizes that lie, files of petabytes, things
//! that are no files, and more files than may be open.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output, finish};
use intellistor_tests::tree;

const SECRET: &str = "the secret of another user";

/// A folder outside of the source, with names as in the source.
fn make_secret(sandbox: &AgentSandbox, names: &[&str]) {
    fs::create_dir(sandbox.at("secret")).unwrap();
    for name in names {
        let path = sandbox.at("secret").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, SECRET).unwrap();
    }
}

/// `mv folder folder.old; ln -s secret folder`
fn swap(sandbox: &AgentSandbox, folder: &str) {
    let path = sandbox.source().join(folder);
    fs::rename(&path, path.with_extension("old")).unwrap();
    symlink(sandbox.at("secret"), &path).unwrap();
}

/// No restored file has the secret, and the backup is whole.
#[track_caller]
fn assert_no_secret(sandbox: &AgentSandbox, output: &Output) {
    let key = output.key_backup();
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = sandbox.restore(key);
    for (path, entry) in tree::snapshot(&out) {
        if entry.kind == tree::Kind::File {
            let path = out.join(String::from_utf8(path).unwrap());
            assert_ne!(fs::read_to_string(&path).unwrap_or_default(), SECRET, "{}", path.display());
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn folders_that_are_swapped_for_links_after_the_scan_leak_nothing() {
    let sandbox = AgentSandbox::new("swapped");
    for name in ["a.txt", "d/f.txt", "d/deep/g.txt", "d/second.txt", "z.txt"] {
        write(&sandbox.source().join(name), "own");
    }
    fs::hard_link(sandbox.source().join("d/second.txt"), sandbox.source().join("y.txt")).unwrap();
    symlink("own", sandbox.source().join("d/link")).unwrap();
    make_secret(&sandbox, &["f.txt", "deep/g.txt", "second.txt"]);
    symlink(SECRET, sandbox.at("secret/link")).unwrap();
    assert!(sandbox.run_until("upload_recorded", 1));
    swap(&sandbox, "d");
    let output = sandbox.run().expect(3);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    let warnings = output.warnings();
    for name in ["d/f.txt", "d/deep/g.txt", "d/second.txt", "d/link"] {
        assert!(warnings.contains(name), "{name} is not named in: {warnings}");
    }
    assert!(warnings.contains("replaced by a link"), "{warnings}");
    assert_no_secret(&sandbox, &output);
    let out = sandbox.restore(output.key_backup());
    assert_eq!(fs::read_to_string(out.join("a.txt")).unwrap(), "own");
    assert_eq!(
        fs::read_to_string(out.join("y.txt")).unwrap(),
        "own",
        "the other name of a file in the folder"
    );
    assert_ne!(fs::read_link(out.join("d/link")).ok().as_deref(), Some(Path::new(SECRET)));
}

#[test]
fn a_root_that_is_swapped_for_a_link_after_the_scan_leaks_nothing() {
    let sandbox = AgentSandbox::new("swapped");
    write(&sandbox.source().join("f.txt"), "own");
    make_secret(&sandbox, &["f.txt"]);
    assert!(sandbox.run_until("upload_recorded", 1));
    fs::rename(sandbox.source(), sandbox.at("source.old")).unwrap();
    symlink(sandbox.at("secret"), sandbox.source()).unwrap();
    let output = sandbox.run().expect(3);
    assert!(output.warnings().contains("f.txt"), "{}", output.warnings());
    assert_no_secret(&sandbox, &output);
}

#[test]
fn a_folder_that_is_swapped_amid_its_file_gives_no_byte_of_the_other_file() {
    let sandbox = AgentSandbox::new("swapped");
    fs::create_dir(sandbox.source().join("d")).unwrap();
    tree::write_noise(&sandbox.source().join("d/grande.bin"), 7, 50 << 20);
    write(&sandbox.source().join("z.txt"), "own");
    fs::create_dir(sandbox.at("secret")).unwrap();
    // Even the same bytes, under the same time.
    fs::copy(sandbox.source().join("d/grande.bin"), sandbox.at("secret/grande.bin")).unwrap();
    let modified = fs::metadata(sandbox.source().join("d/grande.bin")).unwrap().modified().unwrap();
    let copy = fs::File::options().write(true).open(sandbox.at("secret/grande.bin")).unwrap();
    copy.set_modified(modified).unwrap();
    assert!(sandbox.run_until("part_recorded", 3));
    swap(&sandbox, "d");
    let output = sandbox.run().expect(3);
    assert!(output.warnings().contains("d/grande.bin: skipped"), "{}", output.warnings());
    let key = output.key_backup();
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = sandbox.restore(key);
    assert!(!out.join("d/grande.bin").exists());
    assert_eq!(fs::read_to_string(out.join("z.txt")).unwrap(), "own");
}

/// A policy with these paths in the place of the source.
fn back_up_instead(sandbox: &AgentSandbox, paths: &[&Path]) {
    let paths: Vec<_> = paths.iter().map(|path| format!("'{}'", path.display())).collect();
    let policy = format!("policy_id: {}\npaths: [{}]\n", sandbox.policy_id(), paths.join(", "));
    fs::write(sandbox.at("policy.yaml"), policy).unwrap();
}

#[test]
fn a_file_that_is_longer_than_its_size_is_backed_up_whole_and_counts_as_changed() {
    let sandbox = AgentSandbox::new("sizes");
    write(&sandbox.source().join("a.txt"), "a");
    // Its size is 0.
    back_up_instead(&sandbox, &[Path::new("/proc/version"), &sandbox.source()]);
    let output = sandbox.run().expect(3);
    assert_eq!((&output.json["changed"], &output.json["skipped"]), (&1.into(), &0.into()));
    assert!(output.warnings().contains("version/version: changed"), "{}", output.warnings());
    let key = output.key_backup();

    let verified = sandbox.client.run(["verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    assert_eq!(verified.json["changed"], 1, "{:#}", verified.json);
    assert!(verified.warnings().contains("version/version"), "{}", verified.warnings());
    assert!(verified.stderr.contains("1 item changed while this backup was made"), "{}", verified.stderr);

    let restore = |more: &[&str]| {
        let all = ["restore", "--policy", "policy.yaml", "--key", key, "--out", "restored"];
        sandbox.client.run(all.iter().chain(more)).expect(0)
    };
    let restored = restore(&[]);
    assert_eq!(restored.json["changed"], 1, "{:#}", restored.json);
    assert!(restored.warnings().contains("version/version"), "{}", restored.warnings());
    let version = fs::read_to_string("/proc/version").unwrap();
    assert_eq!(fs::read_to_string(sandbox.at("restored/version/version")).unwrap(), version);
    let restored = restore(&["--only", "source/*"]);
    assert_eq!((&restored.json["changed"], restored.warnings().as_str()), (&0.into(), ""));
}

#[test]
fn a_file_of_petabytes_of_nothing_is_backed_up_resumed_verified_and_restored_at_once() {
    let sandbox = AgentSandbox::new("holes");
    // Common disks have smaller files.
    let room = tempfile::tempdir_in("/dev/shm").unwrap();
    let source = room.path().join("source");
    fs::create_dir(&source).unwrap();
    let (size, islands) = (8191_u64 << 50, [1_u64 << 40, 4000 << 50]);
    for name in ["lastlog", "other"] {
        let file = File::create(source.join(name)).unwrap();
        for island in islands {
            file.write_all_at(&tree::noise(island, 12 << 20), island).unwrap();
        }
        file.set_len(size).unwrap();
    }
    File::create(source.join("third, and the sum is more than a number holds"))
        .unwrap()
        .set_len(size)
        .unwrap();
    back_up_instead(&sandbox, &[&source]);
    assert!(sandbox.run_until("part_recorded", 2));
    let output = sandbox.run().expect(0);
    assert!(output.json["parts_reused"].as_u64().unwrap() >= 2, "{:#}", output.json);
    assert!(output.json["archive_bytes"].as_u64().unwrap() < 60 << 20, "{:#}", output.json);
    let key = output.key_backup();
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = room.path().join("out");
    let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out"];
    sandbox.client.run(restore.iter().copied().chain([out.to_str().unwrap()])).expect(0);
    for name in ["lastlog", "other"] {
        let file = File::open(out.join(name)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), size);
        for island in islands {
            let mut found = vec![0; 12 << 20];
            file.read_exact_at(&mut found, island).unwrap();
            assert!(found == tree::noise(island, 12 << 20), "{name} at {island}");
        }
    }
}

#[test]
fn sockets_and_fifos_are_notes_and_no_failure() {
    let sandbox = AgentSandbox::new("notes");
    write(&sandbox.source().join("a.txt"), "a");
    let _socket = UnixListener::bind(sandbox.source().join("S.gpg-agent")).unwrap();
    let made = Command::new("mkfifo").arg(sandbox.source().join("canal")).status().unwrap();
    assert!(made.success());
    let output = sandbox.run().expect(0);
    assert_eq!(output.json["state"], "completed", "{:#}", output.json);
    assert_eq!((&output.json["notes"], output.warnings().as_str()), (&2.into(), ""), "{:#}", output.json);
    let shown = sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
    assert_eq!((&shown["totals"]["notes"], &shown["totals"]["skipped"]), (&2.into(), &0.into()));
    let notes: Vec<_> =
        shown["notes"].as_array().unwrap().iter().map(|note| &note["relative_path"]).collect();
    assert_eq!(notes, ["S.gpg-agent", "canal"]);
    let tree = sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--latest", "--tree"]).expect(0);
    assert!(String::from_utf8_lossy(&tree.stdout).contains("note  S.gpg-agent: socket"));
    assert!(sandbox.log("last.log").contains("notes=2"), "{}", sandbox.log("last.log"));
}

/// Runs a program that may have so many files open, and never more.
fn with_open_files(most: u32, program: &Client, args: &[&str]) -> Output {
    let command = program.command(args);
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -n {most} && exec \"$@\"")).arg("sh");
    limited.arg(command.get_program()).args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap()).stdin(std::process::Stdio::null());
    finish(limited)
}

#[test]
fn a_run_with_few_file_handles_leaves_no_file_out() {
    let sandbox = AgentSandbox::filled("handles", 20);
    for file in 0..300 {
        // Deep enough that a restore holds folders, too.
        write(&sandbox.source().join(format!("d{}/e/f/g{}/{file}.txt", file % 7, file % 3)), "content");
    }
    for most in [64, 1024] {
        let run = ["-q", "run", "--policy", "policy.yaml"];
        let output = with_open_files(most, &sandbox.agent, &run).expect(0);
        assert_eq!((&output.json["skipped"], &output.json["state"]), (&0.into(), &"completed".into()));
        let key = output.key_backup();
        with_open_files(most, &sandbox.client, &["-q", "verify", "--policy", "policy.yaml", "--key", key])
            .expect(0);
        let out = format!("restored {most}");
        let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", &out];
        with_open_files(most, &sandbox.client, &restore).expect(0);
        let ignoring = [tree::Ignore::Allocation];
        tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&sandbox.at(&out)), &ignoring);
    }
}

#[test]
fn a_run_with_too_few_file_handles_fails_and_names_the_number() {
    let sandbox = AgentSandbox::new("handles");
    write(&sandbox.source().join("a.txt"), "a");
    let output = with_open_files(24, &sandbox.agent, &["-q", "run", "--policy", "policy.yaml"]).expect(1);
    let message = output.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("24 files open at once") && message.contains("needs 48"), "{message}");
    assert!(sandbox.backups().is_empty());
}
