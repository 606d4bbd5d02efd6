//! Backups that read files in snapshots, with folders in place of snapshots: see `intellistor::snapshots::fake`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;

use intellistor::snapshots::VssCall;
use intellistor::snapshots::fake::{FAULT_VARIABLE, FOLDERS_VARIABLE, LOG_VARIABLE};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output};
use intellistor_tests::s3_server::Done;
use intellistor_tests::tree::{self, Ignore};
use serde_json::Value;

/// A sandbox of which the whole folder is a volume. Its snapshot is in `shadow`, beside the live files of the volume.
struct Volume {
    sandbox: AgentSandbox,
}

impl Volume {
    /// Live and shadow files differ in content, size and name.
    fn new(vss: &str) -> Self {
        let sandbox = AgentSandbox::new("volume");
        sandbox.write_policy(&format!("vss: {vss}\n"));
        let shadow = sandbox.at("shadow/source");
        fs::create_dir_all(shadow.join("dir")).unwrap();
        fs::create_dir(sandbox.source().join("dir")).unwrap();
        for (folder, text) in [(&sandbox.source(), "as it is now"), (&shadow, "as it was")] {
            fs::write(folder.join("a.txt"), text).unwrap();
            fs::write(folder.join("dir/b.txt"), format!("{text}, too")).unwrap();
        }
        fs::write(sandbox.source().join("later.txt"), "").unwrap();
        // In use, and not to be read on the volume itself.
        fs::create_dir(sandbox.source().join("mail.db")).unwrap();
        fs::write(shadow.join("mail.db"), tree::noise(5, 3 << 20)).unwrap();
        Self { sandbox }
    }

    fn with(&self, program: &Client, shadow: &str) -> Client {
        let folders = format!("{}={}", self.sandbox.dir().display(), self.sandbox.at(shadow).display());
        program.clone().var(FOLDERS_VARIABLE, folders).var(LOG_VARIABLE, self.sandbox.at("calls"))
    }

    fn client(&self) -> Client {
        self.with(&self.sandbox.client, "shadow")
    }

    fn agent(&self) -> Client {
        self.with(&self.sandbox.agent, "shadow")
    }

    /// The calls since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.sandbox.at("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.sandbox.at("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    /// The backup restores as `folder` is.
    #[track_caller]
    fn assert_restores(&self, output: &Output, folder: &Path) {
        let restored = self.sandbox.restore(output.key_backup());
        tree::assert_same(&tree::snapshot(folder), &tree::snapshot(&restored), &[Ignore::Allocation]);
    }

    fn manifest(&self, output: &Output) -> String {
        self.sandbox.object(output.json["s3"]["key_manifest"].as_str().unwrap()).unwrap()
    }
}

fn run(program: &Client) -> Output {
    program.run(["-q", "run", "--policy", "policy.yaml"])
}

fn back_up(program: &Client) -> Output {
    program.run(["-q", "backup", "--policy", "policy.yaml"])
}

fn used(output: &Output) -> Vec<bool> {
    let all = output.json["snapshots"].as_array().unwrap_or_else(|| panic!("{:#}", output.json));
    all.iter().map(|volume| volume["used"].as_bool().unwrap()).collect()
}

#[test]
fn a_backup_has_what_the_snapshot_has_under_the_names_that_people_know() {
    let volume = Volume::new("try");
    let shadow = volume.sandbox.at("shadow/source");
    for agent in [false, true] {
        let output = if agent { run(&volume.agent()) } else { back_up(&volume.client()) }.expect(0);
        assert_eq!(used(&output), [true], "{:#}", output.json);
        assert_eq!(output.json["snapshots"][0]["created"], "2026-01-01T00:00:00Z");
        assert_eq!(output.warnings(), "", "{:#}", output.json);
        volume.assert_restores(&output, &shadow);
        let manifest = volume.manifest(&output);
        let root = format!(r#""path":"{}""#, volume.sandbox.source().display());
        assert!(manifest.contains(&root) && !manifest.contains("shadow"), "{manifest}");
        assert!(manifest.contains(r#""snapshots":[{"volume":"#), "{manifest}");
        let calls = volume.calls();
        let end = ["BackupComplete", "DeleteSnapshots {00000000-0000-0000-0000-000000000003}", "Release"];
        assert_eq!(calls[calls.len() - 3..], end, "{calls:?}");
        if agent {
            let log = volume.sandbox.log("last.log");
            assert!(log.contains("read in a snapshot") && !log.contains("shadow"), "{log}");
        }
    }
    let shown = volume.sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0);
    assert_eq!(shown.json["snapshots"][0]["used"], true, "{:#}", shown.json);
    let in_place = ["-q", "restore", "--policy", "policy.yaml", "--latest", "--in-place", "--only", "*.txt"];
    volume.sandbox.client.run([&in_place[..], &["--overwrite", "always", "--yes"]].concat()).expect(0);
    let live = |name: &str| fs::read_to_string(volume.sandbox.source().join(name)).unwrap();
    assert_eq!((&*live("a.txt"), &*live("dir/b.txt")), ("as it was", "as it was, too"));
    assert!(volume.sandbox.source().join("later.txt").exists());
}

#[test]
fn a_second_day_takes_over_what_its_snapshot_has_unchanged() {
    let volume = Volume::new("try");
    tree::let_age(&volume.sandbox.at("shadow/source"));
    run(&volume.agent()).expect(0);
    fs::write(volume.sandbox.at("shadow/source/a.txt"), "another day").unwrap();
    let second = run(&volume.agent()).expect(0);
    let changes = &second.json["changes"];
    assert_eq!((&changes["changed"], &changes["unchanged"]), (&1.into(), &2.into()), "{:#}", second.json);
    volume.assert_restores(&second, &volume.sandbox.at("shadow/source"));
}

#[test]
fn off_and_absent_make_none() {
    for vss in ["off", ""] {
        let volume = Volume::new(vss);
        let output = back_up(&volume.client()).expect(0);
        assert_eq!(output.json["snapshots"], Value::Null, "{:#}", output.json);
        assert!(volume.calls().is_empty());
        volume.assert_restores(&output, &volume.sandbox.source());
        assert!(!volume.manifest(&output).contains("\"snapshots\""));
    }
}

/// Calls that come once the files were read.
const AFTER: [VssCall; 3] = [VssCall::BackupComplete, VssCall::DeleteSnapshots, VssCall::AbortBackup];
/// Without an answer to these, it is only not known whether a writer failed.
const OF_WRITERS: [VssCall; 4] = [
    VssCall::GatherWriterStatus,
    VssCall::GetWriterStatusCount,
    VssCall::GetWriterStatus,
    VssCall::FreeWriterStatus,
];

#[test]
fn a_fault_at_any_call_costs_the_snapshot_and_no_backup_where_it_is_to_be_tried() {
    let volume = Volume::new("try");
    for call in VssCall::ALL {
        let client = volume.client().var(FAULT_VARIABLE, format!("{call}:8004230f"));
        let output = back_up(&client);
        let what = format!("{call}: {:#}", output.json);
        let is_used = AFTER.contains(&call) || OF_WRITERS.contains(&call);
        assert_eq!(used(&output), [is_used], "{what}");
        // A backup that was completed is not aborted.
        let is_silent = call == VssCall::AbortBackup;
        assert_eq!(output.code, if is_silent { 0 } else { 3 }, "{what} {}", output.stderr);
        assert!(is_silent || output.warnings().contains("0x8004230F"), "{what}");
        let source = if is_used { volume.sandbox.at("shadow/source") } else { volume.sandbox.source() };
        volume.assert_restores(&output, &source);
        let calls = volume.calls();
        let released = calls.iter().filter(|line| *line == "Release").count();
        let is_made = !matches!(call, VssCall::EnterCom | VssCall::CreateVssBackupComponents);
        assert!(released == 1 || !is_made, "{call}: {calls:?}");
    }
}

#[test]
fn a_fault_at_any_call_sends_nothing_where_snapshots_are_required() {
    let volume = Volume::new("required");
    let mut seen = 0;
    for call in VssCall::ALL {
        if AFTER.contains(&call) || OF_WRITERS.contains(&call) {
            continue;
        }
        for kind in ["8004231f", "panic"] {
            for agent in [false, true] {
                let program = if agent { volume.agent() } else { volume.client() };
                let program = program.var(FAULT_VARIABLE, format!("{call}:{kind}"));
                let output = if agent { run(&program) } else { back_up(&program) };
                let what = format!("{call} {kind} {agent}: {}", output.stderr);
                assert_eq!(output.code, 1, "{what}");
                assert!(output.stderr.contains("`vss: required`"), "{what}");
                assert!(output.stderr.contains(call.name()), "{what}");
                // Of the agent, the store has the log alone, as of every run that failed.
                let is_log =
                    |done: &Done| agent && matches!(done, Done::Put { key } if key.starts_with("logs/"));
                let log = volume.sandbox.server.traffic().log();
                assert!(log.iter().skip(seen).all(is_log), "{what}: {log:?}");
                seen = log.len();
            }
        }
    }
    // No job is left that would be resumed.
    let output = run(&volume.agent()).expect(0);
    assert_eq!((&output.json["resumed"], used(&output)), (&false.into(), vec![true]), "{:#}", output.json);
    volume.assert_restores(&output, &volume.sandbox.at("shadow/source"));
}

#[test]
fn a_path_on_no_volume_is_read_as_it_is_or_refused() {
    let volume = Volume::new("try");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("c.txt"), "elsewhere").unwrap();
    let paths = format!("['{}', '{}']", volume.sandbox.source().display(), elsewhere.path().display());
    let policy = |vss: &str| {
        let policy = format!("policy_id: volume\npaths: {paths}\nvss: {vss}\n");
        fs::write(volume.sandbox.at("policy.yaml"), policy).unwrap();
    };
    policy("try");
    let output = back_up(&volume.client()).expect(0);
    assert_eq!(used(&output), [true, false], "{:#}", output.json);
    assert!(output.warnings().contains("was read as it is, without a snapshot"), "{:#}", output.json);
    let restored = volume.sandbox.restore(output.key_backup());
    assert_eq!(fs::read_to_string(restored.join("source/a.txt")).unwrap(), "as it was");
    let name = elsewhere.path().file_name().unwrap();
    assert_eq!(fs::read_to_string(restored.join(name).join("c.txt")).unwrap(), "elsewhere");
    policy("required");
    let refused = back_up(&volume.client()).expect(2);
    assert!(refused.stderr.contains(elsewhere.path().to_str().unwrap()), "{}", refused.stderr);
}

#[test]
fn a_writer_that_failed_is_named_and_needs_a_person() {
    let volume = Volume::new("required");
    let output = run(&volume.agent().var(FAULT_VARIABLE, "writer:800423f2")).expect(3);
    assert_eq!(output.json["state"], "completed_with_warnings", "{:#}", output.json);
    assert!(output.warnings().contains("Fake Writer"), "{:#}", output.json);
    assert_eq!(output.json["snapshots"][0]["writers"][0]["code"], "0x800423F2", "{:#}", output.json);
    let status = volume.sandbox.status();
    assert_eq!(status["health"], "warning", "{status:#}");
}

#[test]
fn stores_and_the_home_are_left_out_of_the_snapshot() {
    let volume = Volume::new("required");
    let sandbox = &volume.sandbox;
    // The home is in the source, and the snapshot has it under another identity.
    let home = sandbox.source().join("home");
    for folder in [&home, &sandbox.at("shadow/source/home")] {
        for part in ["queue", "logs"] {
            fs::create_dir_all(folder.join(part)).unwrap();
            fs::write(folder.join(part).join("x"), "state").unwrap();
        }
    }
    let output = run(&volume.agent().var("INTELLISTOR_HOME", &home)).expect(0);
    let restored = sandbox.restore(output.key_backup());
    assert!(!restored.join("home").exists(), "{:#}", output.json);
    assert!(output.warnings().contains(&format!("{} was left out", home.display())), "{:#}", output.json);
    assert!(!output.warnings().contains("shadow"), "{:#}", output.json);
}

/// A large file of five parts in the snapshot, and small ones on both sides of it.
fn large(vss: &str) -> Volume {
    let volume = Volume::new(vss);
    let shadow = volume.sandbox.at("shadow/source");
    tree::write_noise(&shadow.join("grande.bin"), 7, 34 << 20);
    for i in 0..50 {
        fs::write(shadow.join(format!("z{i}.txt")), format!("{i}")).unwrap();
    }
    volume
}

fn kill(volume: &Volume) {
    let marker = volume.sandbox.at("fired");
    let armed = format!("part_recorded:3:{}", marker.display());
    let output = run(&volume.agent().var("INTELLISTOR_FAILPOINT", armed));
    assert!(marker.exists() && output.code == -1, "{}", output.stderr);
    volume.calls();
}

#[test]
fn a_killed_run_goes_on_in_a_new_snapshot() {
    for vss in ["try", "required"] {
        let volume = large(vss);
        kill(&volume);
        // The old snapshot is gone; in the new one, the same files have the same numbers.
        fs::rename(volume.sandbox.at("shadow"), volume.sandbox.at("shadow-2")).unwrap();
        let output = run(&volume.with(&volume.sandbox.agent, "shadow-2")).expect(0);
        assert_eq!(output.json["resumed"], true, "{:#}", output.json);
        assert!(output.json["parts_reused"].as_u64().unwrap() >= 3, "{:#}", output.json);
        assert!(output.warnings().contains("two moments"), "{:#}", output.json);
        assert_eq!(output.json["skipped"], 0, "{:#}", output.json);
        volume.assert_restores(&output, &volume.sandbox.at("shadow-2/source"));
        let calls = volume.calls();
        assert_eq!(calls.last().map(String::as_str), Some("Release"), "{calls:?}");
    }
}

#[test]
fn a_file_that_is_another_in_the_new_snapshot_is_archived_again() {
    let volume = large("try");
    kill(&volume);
    fs::rename(volume.sandbox.at("shadow"), volume.sandbox.at("shadow-2")).unwrap();
    let changed = volume.sandbox.at("shadow-2/source/grande.bin");
    fs::remove_file(&changed).unwrap();
    tree::write_noise(&changed, 8, 34 << 20);
    let output = run(&volume.with(&volume.sandbox.agent, "shadow-2"));
    assert_eq!(output.json["resumed"], true, "{} {:#}", output.stderr, output.json);
    let restored = volume.sandbox.restore(output.key_backup());
    assert_eq!(tree::sha256(&restored.join("grande.bin")), tree::sha256(&changed));
    assert_eq!(fs::read_to_string(restored.join("z9.txt")).unwrap(), "9");
}

#[test]
fn a_killed_run_goes_on_with_files_as_they_are_or_waits() {
    let fault = "DoSnapshotSet:async:8004231f";
    let volume = large("required");
    kill(&volume);
    let shadow = volume.sandbox.at("shadow-2");
    fs::rename(volume.sandbox.at("shadow"), &shadow).unwrap();
    let waits = run(&volume.with(&volume.sandbox.agent, "shadow-2").var(FAULT_VARIABLE, fault)).expect(1);
    assert!(waits.stderr.contains("`vss: required`"), "{}", waits.stderr);
    let status = volume.sandbox.status();
    assert!(status.to_string().contains("transferring"), "{status:#}");
    let output = run(&volume.with(&volume.sandbox.agent, "shadow-2")).expect(0);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    volume.assert_restores(&output, &shadow.join("source"));

    let volume = large("try");
    kill(&volume);
    // Without a snapshot, the live files are read: here, those that the snapshot had.
    fs::remove_dir_all(volume.sandbox.source()).unwrap();
    fs::rename(volume.sandbox.at("shadow/source"), volume.sandbox.source()).unwrap();
    let output = run(&volume.agent().var(FAULT_VARIABLE, fault)).expect(3);
    assert_eq!(output.json["resumed"], true, "{:#}", output.json);
    assert_eq!(used(&output), [true, false], "{:#}", output.json);
    assert!(output.warnings().contains("read as it is"), "{:#}", output.json);
    assert!(volume.sandbox.log("last.log").contains("read as it is"));
    volume.assert_restores(&output, &volume.sandbox.source());
}
