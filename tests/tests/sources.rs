//! What the machine's files do to a backup: folders that are swapped for links, sizes that lie, files of petabytes, things
//! that are no files, and more files than may be open.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use intellistor_tests::governed::Governed;
use intellistor_tests::program::{Client, Output, finish};
use intellistor_tests::tree;

const SECRET: &str = "the secret of another user";

/// A folder outside of the source, with names as in the source.
fn make_secret(place: &Governed, names: &[&str]) {
    fs::create_dir(place.at("secret")).unwrap();
    for name in names {
        let path = place.at("secret").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, SECRET).unwrap();
    }
}

/// `mv folder folder.old; ln -s secret folder`
fn swap(place: &Governed, folder: &str) {
    let path = place.source().join(folder);
    fs::rename(&path, path.with_extension("old")).unwrap();
    symlink(place.at("secret"), &path).unwrap();
}

/// No restored file has the secret, and the backup is whole.
#[track_caller]
fn assert_no_secret(place: &Governed, output: &Output) {
    let key = output.key_backup();
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = place.restore(key);
    for (path, facts) in tree::snapshot(&out) {
        if facts.kind == tree::Kind::File {
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
    let place = Governed::new("swapped");
    for name in ["a.txt", "d/f.txt", "d/deep/g.txt", "d/second.txt", "z.txt"] {
        write(&place.source().join(name), "own");
    }
    fs::hard_link(place.source().join("d/second.txt"), place.source().join("y.txt")).unwrap();
    symlink("own", place.source().join("d/link")).unwrap();
    make_secret(&place, &["f.txt", "deep/g.txt", "second.txt"]);
    symlink(SECRET, place.at("secret/link")).unwrap();
    assert!(place.run_until("upload_recorded", 1));
    swap(&place, "d");
    let output = place.run().expect(3);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    let warnings = output.warnings();
    for name in ["d/f.txt", "d/deep/g.txt", "d/second.txt", "d/link"] {
        assert!(warnings.contains(name), "{name} is not named in: {warnings}");
    }
    assert!(warnings.contains("replaced by a link"), "{warnings}");
    assert_no_secret(&place, &output);
    let out = place.restore(output.key_backup());
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
    let place = Governed::new("swapped");
    write(&place.source().join("f.txt"), "own");
    make_secret(&place, &["f.txt"]);
    assert!(place.run_until("upload_recorded", 1));
    fs::rename(place.source(), place.at("source.old")).unwrap();
    symlink(place.at("secret"), place.source()).unwrap();
    let output = place.run().expect(3);
    assert!(output.warnings().contains("f.txt"), "{}", output.warnings());
    assert_no_secret(&place, &output);
}

#[test]
fn a_folder_that_is_swapped_amid_its_file_gives_no_byte_of_the_other_file() {
    let place = Governed::new("swapped");
    fs::create_dir(place.source().join("d")).unwrap();
    tree::write_noise(&place.source().join("d/grande.bin"), 7, 50 << 20);
    write(&place.source().join("z.txt"), "own");
    fs::create_dir(place.at("secret")).unwrap();
    // Even the same bytes, under the same time.
    fs::copy(place.source().join("d/grande.bin"), place.at("secret/grande.bin")).unwrap();
    let modified = fs::metadata(place.source().join("d/grande.bin")).unwrap().modified().unwrap();
    let copy = fs::File::options().write(true).open(place.at("secret/grande.bin")).unwrap();
    copy.set_modified(modified).unwrap();
    assert!(place.run_until("part_recorded", 3));
    swap(&place, "d");
    let output = place.run().expect(3);
    assert!(output.warnings().contains("d/grande.bin: skipped"), "{}", output.warnings());
    let key = output.key_backup();
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = place.restore(key);
    assert!(!out.join("d/grande.bin").exists());
    assert_eq!(fs::read_to_string(out.join("z.txt")).unwrap(), "own");
}

/// A policy with these paths in the place of the source.
fn back_up_instead(place: &Governed, paths: &[&Path]) {
    let paths: Vec<_> = paths.iter().map(|path| format!("'{}'", path.display())).collect();
    let policy = format!("policy_id: {}\npaths: [{}]\n", place.policy_id(), paths.join(", "));
    fs::write(place.at("policy.yaml"), policy).unwrap();
}

#[test]
fn a_file_that_is_longer_than_its_size_is_backed_up_whole_and_counts_as_changed() {
    let place = Governed::new("lies");
    write(&place.source().join("a.txt"), "a");
    // Its size is 0.
    back_up_instead(&place, &[Path::new("/proc/version"), &place.source()]);
    let output = place.run().expect(3);
    assert_eq!((&output.json["changed"], &output.json["skipped"]), (&1.into(), &0.into()));
    assert!(output.warnings().contains("version/version: changed"), "{}", output.warnings());
    let key = output.key_backup();

    let verified = place.client.run(["verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    assert_eq!(verified.json["changed"], 1, "{:#}", verified.json);
    assert!(verified.warnings().contains("version/version"), "{}", verified.warnings());
    assert!(verified.stderr.contains("1 item changed while this backup was made"), "{}", verified.stderr);

    let restore = |more: &[&str]| {
        let all = ["restore", "--policy", "policy.yaml", "--key", key, "--out", "restored"];
        place.client.run(all.iter().chain(more)).expect(0)
    };
    let restored = restore(&[]);
    assert_eq!(restored.json["changed"], 1, "{:#}", restored.json);
    assert!(restored.warnings().contains("version/version"), "{}", restored.warnings());
    let version = fs::read_to_string("/proc/version").unwrap();
    assert_eq!(fs::read_to_string(place.at("restored/version/version")).unwrap(), version);
    let restored = restore(&["--only", "source/*"]);
    assert_eq!((&restored.json["changed"], restored.warnings().as_str()), (&0.into(), ""));
}

#[test]
fn a_file_of_petabytes_of_nothing_is_backed_up_resumed_verified_and_restored_at_once() {
    let place = Governed::new("holes");
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
    back_up_instead(&place, &[&source]);
    assert!(place.run_until("part_recorded", 2));
    let output = place.run().expect(0);
    assert!(output.json["parts_reused"].as_u64().unwrap() >= 2, "{:#}", output.json);
    assert!(output.json["archive_bytes"].as_u64().unwrap() < 60 << 20, "{:#}", output.json);
    let key = output.key_backup();
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let out = room.path().join("out");
    let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out"];
    place.client.run(restore.iter().copied().chain([out.to_str().unwrap()])).expect(0);
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
    let place = Governed::new("notes");
    write(&place.source().join("a.txt"), "a");
    let _socket = UnixListener::bind(place.source().join("S.gpg-agent")).unwrap();
    let made = Command::new("mkfifo").arg(place.source().join("canal")).status().unwrap();
    assert!(made.success());
    let output = place.run().expect(0);
    assert_eq!(output.json["state"], "completed", "{:#}", output.json);
    assert_eq!((&output.json["notes"], output.warnings().as_str()), (&2.into(), ""), "{:#}", output.json);
    let shown = place.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
    assert_eq!((&shown["totals"]["notes"], &shown["totals"]["skipped"]), (&2.into(), &0.into()));
    let notes: Vec<_> =
        shown["notes"].as_array().unwrap().iter().map(|note| &note["relative_path"]).collect();
    assert_eq!(notes, ["S.gpg-agent", "canal"]);
    let tree = place.client.run(["-q", "show", "--policy", "policy.yaml", "--latest", "--tree"]).expect(0);
    assert!(String::from_utf8_lossy(&tree.stdout).contains("note  S.gpg-agent: socket"));
    assert!(place.log("last.log").contains("notes=2"), "{}", place.log("last.log"));
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
    let place = Governed::new("handles");
    place.fill(20);
    for file in 0..300 {
        // Deep enough that a restore holds folders, too.
        write(&place.source().join(format!("d{}/e/f/g{}/{file}.txt", file % 7, file % 3)), "content");
    }
    for most in [64, 1024] {
        let run = ["-q", "run", "--policy", "policy.yaml"];
        let output = with_open_files(most, &place.agent, &run).expect(0);
        assert_eq!((&output.json["skipped"], &output.json["state"]), (&0.into(), &"completed".into()));
        let key = output.key_backup();
        with_open_files(most, &place.client, &["-q", "verify", "--policy", "policy.yaml", "--key", key])
            .expect(0);
        let out = format!("restored {most}");
        let restore = ["-q", "restore", "--policy", "policy.yaml", "--key", key, "--out", &out];
        with_open_files(most, &place.client, &restore).expect(0);
        let ignoring = [tree::Ignore::Allocation];
        tree::assert_same(&tree::snapshot(&place.source()), &tree::snapshot(&place.at(&out)), &ignoring);
    }
}

#[test]
fn a_run_with_too_few_file_handles_fails_and_names_the_number() {
    let place = Governed::new("handles");
    write(&place.source().join("a.txt"), "a");
    let output = with_open_files(24, &place.agent, &["-q", "run", "--policy", "policy.yaml"]).expect(1);
    let message = output.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("24 files open at once") && message.contains("needs 48"), "{message}");
    assert!(place.backups().is_empty());
}
