//! Memory stays bounded: by what the store has taken, whatever the size of the source.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use intellistor::{Agent, AgentOptions, BackupOptions, BackupReport, Policy, RunOptions, StoreUrl, UserKey};
use intellistor_storage::objects::{Faulty, MemoryStore};
use intellistor_tests::events::{until, until_at_rest};
use intellistor_tests::program::Client;
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// What `backup-client` promises.
const MOST_RESIDENT: u64 = 128 * MIB;

/// 300 MiB, and a store that takes no part until it is released.
struct BlockedStore {
    dir: TempDir,
    memory: MemoryStore,
    faulty: Arc<Faulty>,
    vault: Vault,
    policy: Policy,
    run: RunOptions,
}

impl BlockedStore {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        for i in 0..3 {
            tree::write_noise(&source.join(format!("{i}.bin")), i, 100 * MIB);
        }
        let memory = MemoryStore::default();
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        faulty.stall_parts();
        let vault = Vault::new(faulty.clone(), UserKey::generate());
        let policy = Policy::new("still", [source]).unwrap();
        Self { dir, memory, faulty, vault, policy, run: RunOptions::default() }
    }

    /// Runs a backup. While the store is blocked, the bytes read are bounded; once it is released, all of them are stored.
    async fn assert_bounded(&self, backup: impl Future<Output = BackupReport>) -> BackupReport {
        let progress = &self.run.progress;
        let watch = async {
            until("a part is in flight", || self.faulty.most_parts_in_flight() > 0).await;
            let read = until_at_rest("nothing more is read", || progress.bytes.get()).await;
            let in_flight = self.faulty.most_parts_in_flight();
            assert_eq!(progress.stored_bytes.get(), 0);
            self.faulty.release_parts();
            (read, in_flight)
        };
        let (backup, (read, in_flight)) = tokio::join!(backup, watch);
        assert_eq!(in_flight, 4, "four parts of 8 MiB were in flight");
        // Four parts, one that is being built, and the frames before it.
        assert!((32 * MIB..110 * MIB).contains(&read), "{} MiB were read", read / MIB);
        let most = self.faulty.most_parts_in_flight();
        assert!(most <= 4, "{most} parts were in flight");
        assert_eq!(progress.bytes.get(), 300 * MIB);
        assert_eq!(progress.stored_bytes.get(), backup.archive_bytes);
        assert_eq!(self.memory.parts_sent().len() as u32, backup.parts);
        self.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
        backup
    }
}

#[tokio::test]
async fn a_blocked_store_stops_the_reading() {
    let blocked = BlockedStore::new();
    let options = BackupOptions { run: blocked.run.clone(), ..BackupOptions::default() };
    blocked.assert_bounded(async { blocked.vault.backup(&blocked.policy, options).await.unwrap() }).await;
}

#[tokio::test]
async fn a_blocked_store_stops_the_agents_reading() {
    let blocked = BlockedStore::new();
    let agent = Agent::new(blocked.dir.path().join("home"));
    let options = AgentOptions { run: blocked.run.clone(), ..AgentOptions::default() };
    let mut sent = 0;
    let run = async {
        let report = agent
            .run(&blocked.vault.catalog, &blocked.vault.recipients, &blocked.policy, options)
            .await
            .unwrap();
        sent = report.parts_sent;
        report.outcome.unwrap()
    };
    let backup = blocked.assert_bounded(run).await;
    assert_eq!(sent, backup.parts);
}

/// A source, a store in a folder, and a client that is set up to back up one to the other.
struct Sandbox {
    dir: TempDir,
    client: Client,
}

impl Sandbox {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fill(&source);
        let store = StoreUrl::local(&dir.path().join("store"));
        let policy = format!("policy_id: memory\npaths: ['{}']\nstore: '{store}'\n", source.display());
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        let key = UserKey::generate().to_base64().unwrap();
        let client = Client::new(dir.path())
            .var("INTELLISTOR_KEY", key.as_str())
            .var("INTELLISTOR_HOME", dir.path().join("home"));
        Self { dir, client }
    }

    /// Runs a command that must succeed, and tells how much memory it took.
    fn measure(&self, args: &[&str]) -> u64 {
        measure(&self.client, args)
    }

    /// As [`measure`](Self::measure), of the agent.
    fn measure_agent(&self, args: &[&str]) -> u64 {
        measure(&self.client.agent(), args)
    }
}

fn measure(client: &Client, args: &[&str]) -> u64 {
    let (output, peak) = client.run_measured(args);
    output.expect(0);
    assert!(peak > MIB, "{peak} bytes are no program");
    peak
}

/// `folders` of a thousand small files each.
fn small_files(folders: u32) -> impl FnOnce(&Path) {
    move |source| {
        for folder in 0..folders {
            let folder = source.join(folder.to_string());
            fs::create_dir(&folder).unwrap();
            for file in 0..1000 {
                fs::write(folder.join(format!("ficheiro número {file}.txt")), file.to_string()).unwrap();
            }
        }
    }
}

#[track_caller]
fn assert_within(peak: u64, what: &str) {
    let (peak, most) = (peak / MIB, MOST_RESIDENT / MIB);
    assert!(peak <= most, "{what} took {peak} MiB, and {most} are promised");
}

#[test]
fn a_file_of_a_gib_takes_no_more_memory_than_is_promised() {
    let sandbox = Sandbox::new(|source| tree::write_noise(&source.join("grande.bin"), 1, 1024 * MIB));
    assert_within(sandbox.measure(&["-q", "backup", "--policy", "policy.yaml"]), "backup");
    assert_within(
        sandbox.measure(&["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"]),
        "restore",
    );
    let at = |name: &str| sandbox.dir.path().join(name).join("grande.bin");
    assert_eq!(tree::sha256(&at("out")), tree::sha256(&at("source")));
}

#[test]
fn many_small_files_take_no_more_memory_than_is_promised() {
    let sandbox = Sandbox::new(small_files(20));
    for args in [
        &["-q", "backup", "--policy", "policy.yaml"][..],
        &["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"],
        &["-q", "verify", "--policy", "policy.yaml", "--latest"],
        &["-q", "show", "--policy", "policy.yaml", "--latest"],
    ] {
        assert_within(sandbox.measure(args), args[1]);
    }
    assert_eq!(fs::read_dir(sandbox.dir.path().join("out/19")).unwrap().count(), 1000);
}

/// Folders each in the one before, `depth` of them, with names of 255 bytes; in each some small files with such names. Paths of
/// this length can be given to no call of the system, so each folder is made in the one above.
fn deep_and_long(depth: u32) -> impl FnOnce(&Path) {
    const MAKE: &str = "
import os, sys
here = os.open(sys.argv[1], os.O_RDONLY)
for depth in range(int(sys.argv[2])):
    for file in range(8):
        name = f'{depth:04}-{file}-'.ljust(255, 'f')
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here))
    name = f'{depth:04}-'.ljust(255, 'd')
    os.mkdir(name, dir_fd=here)
    below = os.open(name, os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = below
";
    move |source| {
        let mut python = Command::new("python3");
        python.args(["-c", MAKE]).arg(source).arg(depth.to_string());
        assert!(python.status().unwrap().success());
    }
}

#[test]
fn deep_folders_with_long_names_take_no_more_memory_than_is_promised() {
    // A path has 38 KB on average, and the manifest 100 MB.
    let sandbox = Sandbox::new(deep_and_long(300));
    for args in [
        &["-q", "backup", "--policy", "policy.yaml"][..],
        &["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"],
        &["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "salvaged", "--without-manifest"],
    ] {
        assert_within(sandbox.measure(args), &args.join(" "));
    }
    let count = |folder: &str| {
        let mut find = Command::new("find");
        let found = find.arg(sandbox.dir.path().join(folder)).args(["-printf", "."]).output().unwrap();
        found.stdout.len()
    };
    assert_eq!([count("out"), count("salvaged")], [1 + 300 * 9; 2]);
}

#[test]
fn an_agents_run_of_a_file_of_a_gib_takes_no_more_memory_than_is_promised() {
    let sandbox = Sandbox::new(|source| tree::write_noise(&source.join("grande.bin"), 1, 1024 * MIB));
    assert_within(sandbox.measure_agent(&["-q", "run", "--policy", "policy.yaml"]), "run");
}

#[test]
fn an_agents_run_of_many_small_files_takes_no_more_memory_than_is_promised() {
    // A few parts hold them all: what ended in one part is a long list.
    let sandbox = Sandbox::new(small_files(250));
    assert_within(sandbox.measure_agent(&["-q", "run", "--policy", "policy.yaml"]), "run");
}
