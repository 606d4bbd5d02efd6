//! Files that are not what they were when a run died amid them: the backup is valid and has what is there now.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails where it stands")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::tree::{self, Ignore};

const MIB: u64 = 1 << 20;
/// Three parts of 8 MiB and a bit are recorded when the run dies, all of them in one file of 50 MiB.
const PARTS: u32 = 3;
const SIZE: u64 = 50 * MIB;

/// A run has died amid `grande.bin`, of which `pasta número 4/ligação` is a second name.
fn cut_off() -> Governed {
    let place = Governed::new("changes");
    place.fill(SIZE / MIB);
    assert!(place.run_until("part_recorded", PARTS));
    place
}

fn big(place: &Governed) -> PathBuf {
    place.source().join("grande.bin")
}

/// The file's time as it was.
fn same_time(place: &Governed, change: impl FnOnce(&File)) {
    let before = fs::metadata(big(place)).unwrap();
    change(&File::options().write(true).open(big(place)).unwrap());
    tree::set_mtime(&big(place), before.mtime(), before.mtime_nsec());
}

/// Goes on with the job; the result is judged by `tar`, by `verify` and by a restore. Gives the bytes of the archive.
#[track_caller]
fn finish(place: &Governed, code: i32) -> (Output, u64) {
    let output = place.run().expect(code);
    let result = &output.json;
    assert_eq!(result["resumed"], true, "{result:#}");
    assert!(result["parts_reused"].as_u64().unwrap() >= u64::from(PARTS), "{result:#}");
    let key = result["s3"]["key_backup"].as_str().unwrap();
    for (number, times) in place.parts_of(key) {
        assert!(u64::from(number) > result["parts_reused"].as_u64().unwrap() || times == 1, "part {number}");
    }
    place.assert_no_open_upload();
    assert_eq!(place.backups(), [key]);
    place.client.run(["-q", "verify", "--policy", "policy.yaml", "--key", key]).expect(0);
    let plain = place.at("plain.tar.gz");
    place
        .client
        .run(["-q", "decrypt", "--policy", "policy.yaml", "--key", key, "--out", "plain.tar.gz"])
        .expect(0);
    let listed = Command::new("tar").arg("tzf").arg(&plain).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(listed.stderr.is_empty(), "{}", String::from_utf8_lossy(&listed.stderr));
    // And `tar` restores the files that are there now as they are now.
    let out = place.at("by tar");
    fs::create_dir(&out).unwrap();
    let done = Command::new("tar").arg("xzf").arg(&plain).arg("-C").arg(&out).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (source, by_tar) = (tree::snapshot(&place.source()), tree::snapshot(&out));
    let is_archived = |path: &[u8]| code == 0 || !path.starts_with(b"grande.bin");
    for (path, facts) in source.iter().filter(|(_, facts)| facts.kind == tree::Kind::File) {
        if !is_archived(path) {
            continue;
        }
        assert_eq!(by_tar[path].sha256, facts.sha256, "tar: {}", String::from_utf8_lossy(path));
    }
    let bytes = result["archive_bytes"].as_u64().unwrap();
    (output, bytes)
}

#[track_caller]
fn assert_restores(place: &Governed, output: &Output) {
    // The root was archived before it was changed.
    place.assert_restores_but(output.json["s3"]["key_backup"].as_str().unwrap(), &[Ignore::Root]);
}

#[test]
fn a_file_that_is_as_it_was_is_continued() {
    let place = cut_off();
    let (output, bytes) = finish(&place, 0);
    assert!(bytes < SIZE + 2 * MIB, "it was archived again: {bytes}");
    assert_restores(&place, &output);
}

#[test]
fn other_content_under_the_same_time_before_the_cut_is_archived_again() {
    for at in [0, 5 * MIB, 20 * MIB] {
        let place = cut_off();
        same_time(&place, |file| file.write_all_at(&tree::noise(99, 4096), at).unwrap());
        let (output, bytes) = finish(&place, 0);
        assert!(bytes > SIZE + 20 * MIB, "it was continued although it differs at {at}: {bytes}");
        assert_restores(&place, &output);
    }
}

#[test]
fn other_content_under_the_same_time_behind_the_cut_is_what_is_restored() {
    let place = cut_off();
    same_time(&place, |file| file.write_all_at(&tree::noise(99, 4096), 45 * MIB).unwrap());
    let (output, _) = finish(&place, 0);
    assert_restores(&place, &output);
}

#[test]
fn a_file_that_is_written_anew_is_archived_again() {
    let place = cut_off();
    fs::remove_file(big(&place)).unwrap();
    tree::write_noise(&big(&place), 77, SIZE);
    let (output, _) = finish(&place, 0);
    assert_restores(&place, &output);
}

#[test]
fn a_file_that_grew_is_archived_again() {
    let place = cut_off();
    File::options().append(true).open(big(&place)).unwrap().write_all(&tree::noise(8, 3_000_000)).unwrap();
    let (output, bytes) = finish(&place, 0);
    assert!(bytes > SIZE + 20 * MIB, "{bytes}");
    assert_restores(&place, &output);
}

#[test]
fn a_file_that_shrank_is_archived_again() {
    for left in [0, 10 * MIB + 7, SIZE - 1] {
        let place = cut_off();
        File::options().write(true).open(big(&place)).unwrap().set_len(left).unwrap();
        let (output, _) = finish(&place, 0);
        assert_restores(&place, &output);
    }
}

/// `grande.bin` is no file any more: it is skipped, and all the rest is restored.
#[track_caller]
fn is_skipped(place: &Governed) {
    let (output, _) = finish(place, 3);
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    assert!(output.json["warnings"].to_string().contains("grande.bin"), "{:#}", output.json);
    let out = place.restore(output.json["s3"]["key_backup"].as_str().unwrap());
    let (mut expected, restored) = (tree::snapshot(&place.source()), tree::snapshot(&out));
    expected.retain(|path, _| !path.starts_with(b"grande.bin"));
    tree::assert_same(&expected, &restored, &[Ignore::Allocation, Ignore::Root]);
}

#[test]
fn a_file_that_is_gone_is_skipped() {
    let place = cut_off();
    fs::remove_file(big(&place)).unwrap();
    is_skipped(&place);
}

#[test]
fn a_file_that_became_a_folder_or_a_link_is_skipped() {
    let place = cut_off();
    fs::remove_file(big(&place)).unwrap();
    fs::create_dir(big(&place)).unwrap();
    fs::write(big(&place).join("dentro.txt"), "not in the scan").unwrap();
    is_skipped(&place);

    let place = cut_off();
    fs::remove_file(big(&place)).unwrap();
    symlink("pasta número 1", big(&place)).unwrap();
    is_skipped(&place);
}

#[test]
fn a_sparse_file_is_continued_and_stays_sparse() {
    for changed in [false, true] {
        let place = Governed::new("changes");
        let image = File::create(big(&place)).unwrap();
        image.write_all_at(&tree::noise(1, 22 * MIB as usize), 3 * MIB).unwrap();
        image.write_all_at(&tree::noise(2, 22 * MIB as usize), 200 * MIB).unwrap();
        image.set_len(300 * MIB).unwrap();
        fs::write(place.source().join("z.txt"), "after it").unwrap();
        assert!(place.run_until("part_recorded", 3));
        if changed {
            // Still of that size, and with that time, but for a hole that is filled.
            same_time(&place, |file| file.write_all_at(b"an island", 100 * MIB).unwrap());
        }
        let (output, bytes) = finish(&place, 0);
        assert_eq!(bytes > 60 * MIB, changed, "{bytes}");
        let out = place.restore(output.json["s3"]["key_backup"].as_str().unwrap());
        tree::assert_same(&tree::snapshot(&place.source()), &tree::snapshot(&out), &[]);
    }
}

#[test]
fn a_second_name_that_is_made_or_removed_meanwhile_changes_nothing() {
    let place = cut_off();
    fs::remove_file(place.source().join("pasta número 4/ligação")).unwrap();
    let (output, _) = finish(&place, 3);
    assert!(output.json["warnings"].to_string().contains("ligação"), "{:#}", output.json);

    let place = cut_off();
    let ctime = fs::metadata(big(&place)).unwrap().ctime();
    fs::hard_link(big(&place), place.at("outside")).unwrap();
    assert!(fs::metadata(big(&place)).unwrap().ctime() >= ctime);
    let (output, bytes) = finish(&place, 0);
    assert!(bytes < SIZE + 2 * MIB, "{bytes}");
    assert_restores(&place, &output);
}
