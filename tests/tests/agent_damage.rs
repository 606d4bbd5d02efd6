//! The agent when its own queue is not what it wrote: cut, flipped, emptied, missing, or a newer program's; and when a
//! folder store is not.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::s3_server::UploadState;
use intellistor_tests::tree;

/// A run has died after it recorded `parts` of its seven parts.
fn crashed(parts: u32) -> AgentSandbox {
    let sandbox = AgentSandbox::filled("damage", 50);
    assert!(sandbox.run_until("part_recorded", parts));
    sandbox
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(u64),
    Flip,
    Zeros,
    Garbage,
    Remove(&'static str),
    NoFiles,
    NoFolder,
    AFile,
    Generating,
    BadSnapshot,
}

fn harm(database: &Path, damage: Damage) {
    let db = database.join("db");
    let open = || File::options().write(true).read(true).open(&db).unwrap();
    let length = || fs::metadata(&db).unwrap().len();
    match damage {
        Damage::Cut(percent) => open().set_len(length() * percent / 100).unwrap(),
        Damage::Flip => {
            // Within what was written: a file of sled's is longer than that.
            let bytes = fs::read(&db).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
            for tenth in 0..10 {
                let at = used * tenth / 10;
                let mut byte = [0];
                open().read_exact_at(&mut byte, at).unwrap();
                open().write_all_at(&[!byte[0]], at).unwrap();
            }
        }
        Damage::Zeros => open().write_all_at(&vec![0; length() as usize], 0).unwrap(),
        Damage::Garbage => fs::write(&db, tree::noise(3, 600_000)).unwrap(),
        Damage::Remove(name) => fs::remove_file(database.join(name)).unwrap(),
        Damage::NoFiles => {
            fs::remove_dir_all(database).unwrap();
            fs::create_dir(database).unwrap();
        }
        Damage::NoFolder => fs::remove_dir_all(database).unwrap(),
        Damage::AFile => {
            fs::remove_dir_all(database).unwrap();
            fs::write(database, "not a folder").unwrap();
        }
        Damage::Generating => {
            fs::write(database.join("snap.00000000000FFFFF.generating"), tree::noise(4, 5000)).unwrap();
        }
        Damage::BadSnapshot => {
            fs::write(database.join("snap.00000000000FFFFF"), tree::noise(5, 5000)).unwrap();
        }
    }
}

fn is_survived(database: &str, damages: &[Damage]) {
    for damage in damages {
        let what = format!("{database} {damage:?}");
        let sandbox = crashed(3);
        harm(&sandbox.queue().join(database), *damage);
        let output = sandbox.run();
        assert_eq!(output.code, 0, "{what}: {}", output.stderr);
        assert_eq!(sandbox.backups(), [output.key_backup()], "{what}");
        let uploads = sandbox.server.traffic().uploads();
        let open = uploads.iter().filter(|upload| upload.state == UploadState::Open).count();
        // A ledger that was cut may be of a time before its upload was recorded. The job then has a new id, as the one of a
        // copied home has: the upload may be the copy's, and is left to the clean-up after a week.
        let job = |key: &str| key.rsplitn(3, '/').nth(2).unwrap().to_owned();
        let (before, after) = (&uploads[0].key, output.key_backup());
        let is_renamed = job(before) == job(after) && before != after;
        assert!(
            !is_renamed || matches!(damage, Damage::Cut(_)),
            "{what}: only a cut takes a ledger back in time"
        );
        assert_eq!(open, usize::from(is_renamed), "{what}: {uploads:?}");
        assert!(!is_renamed || output.json["parts_reused"] == 0, "{what}: {:#}", output.json);
        sandbox.assert_restores(output.key_backup());
        let aside = fs::read_dir(sandbox.queue()).unwrap();
        let aside =
            aside.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("damaged-"));
        let (aside, message) = (aside.count(), output.warnings());
        assert_eq!(
            aside > 0,
            message.contains("moved to"),
            "{what}: a warning names what was moved aside: {message}"
        );
        // What a queue can be opened without is no loss of the job.
        if matches!(damage, Damage::Generating | Damage::BadSnapshot) || database == "history" {
            assert_eq!(output.json["resumed"], true, "{what}: {:#}", output.json);
        }
        if matches!(damage, Damage::Garbage | Damage::AFile) {
            assert!(aside > 0, "{what}: {message}");
        }
        if matches!(damage, Damage::Remove("db") | Damage::NoFiles | Damage::NoFolder) && database == "job" {
            assert!(message.contains("is gone"), "{what}: {message}");
        }
        // And the queue works again.
        assert_eq!(sandbox.run().expect(0).json["resumed"], false, "{what}");
    }
}

#[test]
fn a_ledger_that_was_cut_is_survived() {
    is_survived("job", &[Damage::Cut(0), Damage::Cut(30), Damage::Cut(90)]);
}

#[test]
fn a_ledger_with_wrong_bytes_is_survived() {
    is_survived("job", &[Damage::Flip, Damage::Zeros, Damage::Garbage]);
}

#[test]
fn a_ledger_without_its_files_is_survived() {
    let gone = [Damage::Remove("conf"), Damage::Remove("db"), Damage::NoFiles, Damage::NoFolder];
    is_survived("job", &gone);
}

#[test]
fn a_ledger_that_is_a_file_or_has_odd_snapshots_is_survived() {
    is_survived("job", &[Damage::AFile, Damage::Generating, Damage::BadSnapshot]);
}

#[test]
fn a_damaged_history_costs_no_job() {
    is_survived("history", &[Damage::Cut(50), Damage::Flip, Damage::Garbage]);
}

#[test]
fn a_missing_history_costs_no_job() {
    is_survived("history", &[Damage::Remove("db"), Damage::NoFolder, Damage::AFile, Damage::BadSnapshot]);
}

#[test]
fn a_queue_of_a_newer_program_is_moved_aside_with_a_warning() {
    let sandbox = crashed(3);
    let db = sled::Config::new().path(sandbox.queue().join("job")).segment_size(512 << 10).open().unwrap();
    db.open_tree("intellistor").unwrap().insert("schema", &2u32.to_be_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);
    let output = sandbox.run().expect(0);
    sandbox.assert_anew(&output, "layout 2");
    sandbox.assert_restores(output.key_backup());
}

#[test]
fn the_lock_of_a_run_that_died_does_not_stop_the_next_one() {
    let sandbox = crashed(2);
    assert!(sandbox.queue().join("lock").exists());
    fs::write(sandbox.queue().join("lock"), "1").unwrap();
    fs::write(sandbox.queue().join("holder.json"), r#"{"pid":1,"since_ms":0}"#).unwrap();
    fs::write(sandbox.queue().join("cancel"), "").unwrap();
    let status = sandbox.status();
    assert_eq!(status["activity"], "stopped", "{status:#}");
    assert_eq!(status["job"]["state"], "transferring", "{status:#}");
    sandbox.assert_resumed(&sandbox.run().expect(0), 2);
}

/// What a folder store may lose of an upload: its bytes, or what it knows of them.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// The data file ends in the middle of the second part.
    End,
    /// It was cut there and filled up with zeros.
    Bytes,
    /// Another file of the same size is in its place.
    File,
    /// The journal has a line that is no text.
    Line,
    /// One of the two files is gone.
    Data,
    Journal,
}

#[test]
fn what_a_folder_store_lost_of_an_upload_is_made_again() {
    for lost in [Lost::End, Lost::Bytes, Lost::File, Lost::Line, Lost::Data, Lost::Journal] {
        let sandbox = AgentSandbox::new("damage");
        sandbox.write_policy(&format!("store: 'file://{}'\n", sandbox.at("store").display()));
        sandbox.fill(34);
        assert!(sandbox.run_until("part_recorded", 3));
        let hidden =
            Command::new("find").arg(sandbox.at("store")).args(["-name", ".*.upload-*"]).output().unwrap();
        let hidden = String::from_utf8(hidden.stdout).unwrap();
        let (journal, data): (Vec<&str>, Vec<&str>) =
            hidden.lines().partition(|path| path.ends_with(".parts"));
        let (journal, data) = (journal[0], data[0]);
        let open = |path| File::options().write(true).open(path).unwrap();
        let length = fs::metadata(data).unwrap().len();
        match lost {
            Lost::End => open(data).set_len(12 << 20).unwrap(),
            Lost::Bytes => {
                open(data).set_len(12 << 20).unwrap();
                open(data).set_len(length).unwrap();
            }
            Lost::File => fs::write(data, vec![7; length as usize]).unwrap(),
            Lost::Line => {
                let mut file = File::options().append(true).open(journal).unwrap();
                file.write_all(b"\xff\xfe{\"number\":4}\n").unwrap();
            }
            Lost::Data => fs::remove_file(data).unwrap(),
            Lost::Journal => fs::remove_file(journal).unwrap(),
        }
        let output = sandbox.run();
        assert_eq!(output.code, 0, "{lost:?}: {}\n{:#}", output.stderr, output.json);
        let reused = match lost {
            Lost::End | Lost::Bytes => 1,
            Lost::Line => 3,
            Lost::File | Lost::Data | Lost::Journal => 0,
        };
        assert_eq!(output.json["parts_reused"], reused, "{lost:?}: {:#}", output.json);
        assert_eq!(output.warnings().is_empty(), reused == 3, "{lost:?}: lost parts are a warning");
        assert_eq!(sandbox.backups(), [output.key_backup()], "{lost:?}");
        sandbox.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0);
        sandbox.assert_restores(output.key_backup());
    }
}
