//! Files that changed after a run died while reading them: the backup is valid and has the current content.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;
use intellistor_tests::tree::{self, Ignore};

const MIB: u64 = 1 << 20;
/// Three parts of 8 MiB and a bit are recorded when the run dies, all of them in one file of 50 MiB.
const PARTS: u32 = 3;
const SIZE: u64 = 50 * MIB;

/// A run has died in the middle of `grande.bin`, of which `pasta número 4/ligação` is a second name.
fn cut_off() -> AgentSandbox {
    let sandbox = AgentSandbox::filled("changes", SIZE / MIB);
    assert!(sandbox.run_until("part_recorded", PARTS));
    sandbox
}

fn big(sandbox: &AgentSandbox) -> PathBuf {
    sandbox.source().join("grande.bin")
}

/// The file's time as it was.
fn same_time(sandbox: &AgentSandbox, change: impl FnOnce(&File)) {
    let before = fs::metadata(big(sandbox)).unwrap();
    change(&File::options().write(true).open(big(sandbox)).unwrap());
    tree::set_mtime(&big(sandbox), before.mtime(), before.mtime_nsec());
}

/// Goes on with the job; the result is judged by `tar`, by `verify` and by a restore. Gives the bytes of the archive.
#[track_caller]
fn finish(sandbox: &AgentSandbox, code: i32) -> (Output, u64) {
    let output = sandbox.run().expect(code);
    let result = &output.json;
    assert_eq!(result["resumed"], true, "{result:#}");
    assert!(result["parts_reused"].as_u64().unwrap() >= u64::from(PARTS), "{result:#}");
    let key = result["s3"]["key_backup"].as_str().unwrap();
    for (number, times) in sandbox.parts_of(key) {
        assert!(u64::from(number) > result["parts_reused"].as_u64().unwrap() || times == 1, "part {number}");
    }
    sandbox.assert_no_open_upload();
    assert_eq!(sandbox.backups(), [key]);
    sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let plain = sandbox.at("plain.tar.gz");
    sandbox
        .client
        .run(["-q", "decrypt", "--policy", "policy.yaml", "--key", key, "--out", "plain.tar.gz"])
        .expect(0);
    // GNU tar says of each pax record of ours that it does not know it.
    let tar = |how: &str| {
        let mut tar = Command::new("tar");
        tar.args(["--warning=no-unknown-keyword", how]).arg(&plain);
        tar
    };
    let listed = tar("-tzf").output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(listed.stderr.is_empty(), "{}", String::from_utf8_lossy(&listed.stderr));
    // And `tar` restores the files that are there now as they are now.
    let out = sandbox.at("by tar");
    fs::create_dir(&out).unwrap();
    let done = tar("-xzf").arg("-C").arg(&out).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (source, by_tar) = (tree::snapshot(&sandbox.source()), tree::snapshot(&out));
    let is_archived = |path: &[u8]| code == 0 || !path.starts_with(b"grande.bin");
    for (path, entry) in source.iter().filter(|(_, entry)| entry.kind == tree::Kind::File) {
        if !is_archived(path) {
            continue;
        }
        assert_eq!(by_tar[path].sha256, entry.sha256, "tar: {}", String::from_utf8_lossy(path));
    }
    let bytes = result["archive_bytes"].as_u64().unwrap();
    (output, bytes)
}

#[track_caller]
fn assert_restores(sandbox: &AgentSandbox, output: &Output) {
    // The root was archived before it was changed.
    sandbox.assert_restores_but(output.json["s3"]["key_backup"].as_str().unwrap(), &[Ignore::Root]);
}

#[test]
fn a_file_that_is_as_it_was_is_continued() {
    let sandbox = cut_off();
    let (output, bytes) = finish(&sandbox, 0);
    assert!(bytes < SIZE + 2 * MIB, "it was archived again: {bytes}");
    assert_restores(&sandbox, &output);
}

#[test]
fn other_content_under_the_same_time_before_the_cut_is_archived_again() {
    for at in [0, 5 * MIB, 20 * MIB] {
        let sandbox = cut_off();
        same_time(&sandbox, |file| file.write_all_at(&tree::noise(99, 4096), at).unwrap());
        let (output, bytes) = finish(&sandbox, 0);
        assert!(bytes > SIZE + 20 * MIB, "it was continued although it differs at {at}: {bytes}");
        assert_restores(&sandbox, &output);
    }
}

#[test]
fn other_content_under_the_same_time_behind_the_cut_is_what_is_restored() {
    let sandbox = cut_off();
    same_time(&sandbox, |file| file.write_all_at(&tree::noise(99, 4096), 45 * MIB).unwrap());
    let (output, _) = finish(&sandbox, 0);
    assert_restores(&sandbox, &output);
}

#[test]
fn a_file_that_is_written_anew_is_archived_again() {
    let sandbox = cut_off();
    fs::remove_file(big(&sandbox)).unwrap();
    tree::write_noise(&big(&sandbox), 77, SIZE);
    let (output, _) = finish(&sandbox, 0);
    assert_restores(&sandbox, &output);
}

#[test]
fn a_file_that_grew_is_archived_again() {
    let sandbox = cut_off();
    File::options().append(true).open(big(&sandbox)).unwrap().write_all(&tree::noise(8, 3_000_000)).unwrap();
    let (output, bytes) = finish(&sandbox, 0);
    assert!(bytes > SIZE + 20 * MIB, "{bytes}");
    assert_restores(&sandbox, &output);
}

#[test]
fn a_file_that_shrank_is_archived_again() {
    for left in [0, 10 * MIB + 7, SIZE - 1] {
        let sandbox = cut_off();
        File::options().write(true).open(big(&sandbox)).unwrap().set_len(left).unwrap();
        let (output, _) = finish(&sandbox, 0);
        assert_restores(&sandbox, &output);
    }
}

/// `grande.bin` is no file any more: it is skipped, and all the rest is restored.
#[track_caller]
fn is_skipped(sandbox: &AgentSandbox) {
    let (output, _) = finish(sandbox, 3);
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    assert!(output.json["warnings"].to_string().contains("grande.bin"), "{:#}", output.json);
    let out = sandbox.restore(output.json["s3"]["key_backup"].as_str().unwrap());
    let (mut expected, restored) = (tree::snapshot(&sandbox.source()), tree::snapshot(&out));
    expected.retain(|path, _| !path.starts_with(b"grande.bin"));
    tree::assert_same(&expected, &restored, &[Ignore::Allocation, Ignore::Root]);
}

#[test]
fn a_file_that_is_gone_is_skipped() {
    let sandbox = cut_off();
    fs::remove_file(big(&sandbox)).unwrap();
    is_skipped(&sandbox);
}

#[test]
fn a_file_that_became_a_folder_or_a_link_is_skipped() {
    let sandbox = cut_off();
    fs::remove_file(big(&sandbox)).unwrap();
    fs::create_dir(big(&sandbox)).unwrap();
    fs::write(big(&sandbox).join("dentro.txt"), "not in the scan").unwrap();
    is_skipped(&sandbox);

    let sandbox = cut_off();
    fs::remove_file(big(&sandbox)).unwrap();
    symlink("pasta número 1", big(&sandbox)).unwrap();
    is_skipped(&sandbox);
}

#[test]
fn a_sparse_file_is_continued_and_stays_sparse() {
    for changed in [false, true] {
        let sandbox = AgentSandbox::new("changes");
        let image = File::create(big(&sandbox)).unwrap();
        image.write_all_at(&tree::noise(1, 22 * MIB as usize), 3 * MIB).unwrap();
        image.write_all_at(&tree::noise(2, 22 * MIB as usize), 200 * MIB).unwrap();
        image.set_len(300 * MIB).unwrap();
        fs::write(sandbox.source().join("z.txt"), "after it").unwrap();
        assert!(sandbox.run_until("part_recorded", 3));
        if changed {
            // Still of that size, and with that time, but for a hole that is filled.
            same_time(&sandbox, |file| file.write_all_at(b"an island", 100 * MIB).unwrap());
        }
        let (output, bytes) = finish(&sandbox, 0);
        assert_eq!(bytes > 60 * MIB, changed, "{bytes}");
        let out = sandbox.restore(output.json["s3"]["key_backup"].as_str().unwrap());
        tree::assert_same(&tree::snapshot(&sandbox.source()), &tree::snapshot(&out), &[]);
    }
}

#[test]
fn a_second_name_that_is_made_or_removed_meanwhile_changes_nothing() {
    let sandbox = cut_off();
    fs::remove_file(sandbox.source().join("pasta número 4/ligação")).unwrap();
    let (output, _) = finish(&sandbox, 3);
    assert!(output.json["warnings"].to_string().contains("ligação"), "{:#}", output.json);

    let sandbox = cut_off();
    let ctime = fs::metadata(big(&sandbox)).unwrap().ctime();
    fs::hard_link(big(&sandbox), sandbox.at("outside")).unwrap();
    assert!(fs::metadata(big(&sandbox)).unwrap().ctime() >= ctime);
    let (output, bytes) = finish(&sandbox, 0);
    assert!(bytes < SIZE + 2 * MIB, "{bytes}");
    assert_restores(&sandbox, &output);
}
