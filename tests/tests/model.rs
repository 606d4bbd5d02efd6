//! Whatever happens to the source, to the agent and to the store, in any order: a backup restores every file as it was at
//! some moment since the run's job began, and a source that did not change restores as it is.
//!
//! `PROPTEST_CASES=500 cargo test --release -p intellistor-tests --test model` is a longer run by hand.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails at that line"
)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::objects::Operation;
use intellistor_tests::program::Output;
use intellistor_tests::run_history::{Found, RunHistory};
use intellistor_tests::s3_server::Failure;
use intellistor_tests::tree::{self, Kind};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// Three parts, and room for what is added.
const BASE_MIB: u64 = 17;
const MOST_BYTES: u64 = 27 << 20;
/// Names that added files may have.
const NAMES: u8 = 5;
const CASES: u32 = 20;

#[derive(Debug, Clone)]
enum Op {
    /// Makes a file, or makes it anew; even names come before the large file, odd ones after it.
    AddFile { name: u8, kib: u64 },
    /// Changes the nth file or folder of the source.
    Change(Change, usize),
    /// Writes into the large file, if it is there.
    ChangeBase { at_mib: u64 },
    /// Runs to the end.
    Run,
    /// Runs until a point is reached for the nth time, and dies there.
    Crash(Failpoint, u32),
    /// Runs, and dies of SIGKILL at this thousandth of an uninterrupted run's time.
    Kill(u32),
    /// The next parts fail.
    FailParts(u32, Failure),
    /// The nth backup's manifest is deleted in the store.
    RemoveManifest(usize),
    /// The nth backup's archive is deleted in the store: later backups may need it.
    RemoveArchive(usize),
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Append,
    Replace,
    WriteInto,
    Halve,
    Remove,
    Rename,
    SetMode(u32),
    Link,
    AddSparse,
    AddFolder,
    RemoveFolder,
    RenameFolder,
    Copy,
    Touch,
    InsertInMiddle,
    ReplaceByFolder,
    /// Other content, and the size and the time of before.
    ReplaceInSecret,
}

fn any_change() -> impl Strategy<Value = Change> {
    use Change::{
        AddFolder, AddSparse, Append, Copy, Halve, InsertInMiddle, Link, Remove, RemoveFolder, Rename,
        RenameFolder, Replace, ReplaceByFolder, ReplaceInSecret, SetMode, Touch, WriteInto,
    };
    let fixed = [
        Append,
        Replace,
        WriteInto,
        Halve,
        Remove,
        Rename,
        Link,
        AddSparse,
        AddFolder,
        RemoveFolder,
        RenameFolder,
        Copy,
        Touch,
        InsertInMiddle,
        ReplaceByFolder,
        ReplaceInSecret,
    ];
    prop_oneof![16 => prop::sample::select(fixed.to_vec()), 1 => (0o600..0o700u32).prop_map(SetMode)]
}

fn any_op() -> impl Strategy<Value = Op> {
    let failures = [
        Failure::SlowDown,
        Failure::ServerFault,
        Failure::AccessDenied,
        Failure::Cut,
        Failure::AnswerLost,
        Failure::Altered,
    ];
    prop_oneof![
        2 => (0..NAMES, prop_oneof![0..20u64, 500..4000u64]).prop_map(|(name, kib)| Op::AddFile { name, kib }),
        3 => (any_change(), 0..1000usize).prop_map(|(change, nth)| Op::Change(change, nth)),
        1 => (0..BASE_MIB).prop_map(|at_mib| Op::ChangeBase { at_mib }),
        2 => Just(Op::Run),
        4 => (prop::sample::select(&Failpoint::ALL[..]), 1..4u32).prop_map(|(point, nth)| {
            // Only the scan and the parts come more than once.
            let often = point.name().starts_with("part_") || point == Failpoint::ScanAdded;
            Op::Crash(point, if often { nth } else { 1 })
        }),
        5 => (0..1000u32).prop_map(Op::Kill),
        1 => (1..4u32, prop::sample::select(failures.to_vec())).prop_map(|(n, how)| Op::FailParts(n, how)),
        1 => prop_oneof![
            (0..9usize).prop_map(Op::RemoveManifest),
            (0..9usize).prop_map(Op::RemoveArchive),
        ],
    ]
}

/// What all cases did, so that crashes which leave nothing to resume are noticed.
#[derive(Debug, Default)]
struct Totals {
    kills: AtomicU64,
    kills_too_late: AtomicU64,
    resumed: AtomicU64,
    parts_reused: AtomicU64,
}

static TOTALS: Totals = Totals {
    kills: AtomicU64::new(0),
    kills_too_late: AtomicU64::new(0),
    resumed: AtomicU64::new(0),
    parts_reused: AtomicU64::new(0),
};

struct Model {
    history: RunHistory,
    made: u64,
    /// Whether a run may end without a backup, since the store refuses its parts.
    is_refused: bool,
}

impl Model {
    fn new() -> Self {
        let history = RunHistory::new("model");
        let source = history.sandbox.source();
        tree::write_noise(&source.join("base.bin"), 1, BASE_MIB << 20);
        for folder in 0..3 {
            let folder = source.join(format!("pasta {folder}"));
            fs::create_dir(&folder).unwrap();
            for file in 0..20 {
                fs::write(folder.join(format!("relatório {file}.txt")), tree::noise(file, 500)).unwrap();
            }
        }
        Self { history, made: 0, is_refused: false }
    }

    fn source(&self) -> PathBuf {
        self.history.sandbox.source()
    }

    /// A name that no file has had.
    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        self.source().join(format!("novo {}", self.made))
    }

    /// The nth path of a kind, with its size; `None` where there is none.
    fn nth(&self, kind: Kind, nth: usize) -> Option<(PathBuf, u64)> {
        let tree = tree::snapshot(&self.source());
        let found: Vec<_> = tree.iter().filter(|(path, entry)| entry.kind == kind && *path != b".").collect();
        let (path, entry) = found.get(nth % found.len().max(1))?;
        Some((self.source().join(std::str::from_utf8(path).unwrap()), entry.size))
    }

    fn change(&mut self, change: Change, nth: usize) {
        let new = self.new_path();
        let noise = tree::noise(self.made, 1 + nth * 1000);
        match change {
            Change::AddSparse => {
                let file = File::create(new).unwrap();
                file.write_all_at(&noise, 1 << 20).unwrap();
                return file.set_len(8 << 20).unwrap();
            }
            Change::AddFolder => return fs::create_dir(new).unwrap(),
            Change::RemoveFolder | Change::RenameFolder => {
                let Some((folder, _)) = self.nth(Kind::Folder, nth) else { return };
                return if matches!(change, Change::RemoveFolder) {
                    // One with files stays: to lose half of them is a warning.
                    let _ = fs::remove_dir(folder);
                } else {
                    fs::rename(folder, new).unwrap();
                };
            }
            _ => {}
        }
        let Some((path, size)) = self.nth(Kind::File, nth) else { return };
        let write_at = |at| write_at(&path, &noise, at);
        match change {
            Change::Append => write_at(size),
            Change::WriteInto => write_at(nth as u64 % size.max(1)),
            Change::Replace => fs::write(path, tree::noise(self.made, size as usize)).unwrap(),
            Change::Halve => File::options().write(true).open(path).unwrap().set_len(size / 2).unwrap(),
            Change::Remove => fs::remove_file(path).unwrap(),
            Change::Rename => fs::rename(path, new).unwrap(),
            Change::SetMode(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap(),
            Change::Link => fs::hard_link(path, new).unwrap(),
            Change::Copy => drop(fs::copy(path, new).unwrap()),
            Change::Touch => {
                File::options().write(true).open(path).unwrap().set_modified(SystemTime::now()).unwrap()
            }
            Change::InsertInMiddle => {
                let mut content = fs::read(&path).unwrap();
                let at = nth % (content.len() + 1);
                content.splice(at..at, noise);
                fs::write(path, content).unwrap();
            }
            Change::ReplaceByFolder => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::write(path.join("dentro"), noise).unwrap();
            }
            Change::ReplaceInSecret => {
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, tree::noise(self.made, size as usize)).unwrap();
                File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
            }
            Change::AddSparse | Change::AddFolder | Change::RemoveFolder | Change::RenameFolder => {
                unreachable!("handled above")
            }
        }
    }

    /// Removes added files, the largest first, so that a case stays short.
    fn bound_size(&self) {
        let tree = tree::snapshot(&self.source());
        let mut files: Vec<_> = tree.into_iter().filter(|(_, entry)| entry.kind == Kind::File).collect();
        files.sort_by_key(|(_, entry)| entry.size);
        let mut total: u64 = files.iter().map(|(_, entry)| entry.size).sum();
        while total > MOST_BYTES {
            let (path, entry) = files.pop().unwrap();
            fs::remove_file(self.source().join(std::str::from_utf8(&path).unwrap())).unwrap();
            total -= entry.size;
        }
    }

    fn run_history(&mut self) -> Output {
        let output = self.history.run();
        if output.json["resumed"] == true {
            TOTALS.resumed.fetch_add(1, Relaxed);
            TOTALS.parts_reused.fetch_add(output.json["parts_reused"].as_u64().unwrap(), Relaxed);
        }
        output
    }

    fn run(&mut self) {
        let output = self.run_history();
        if matches!(output.code, 0 | 3) {
            self.history.assert_restores(&output);
        } else {
            assert!(self.is_refused, "{}\n{:#}", output.stderr, output.json);
            let end = (output.code, &output.json["state"]);
            assert_eq!(end, (1, &"transferring".into()), "{:#}", output.json);
        }
        self.is_refused &= self.history.sandbox.server.traffic().failures_left(Operation::PutPart) > 0;
    }

    fn kill(&mut self, thousandth: u32) {
        let after = uninterrupted() * thousandth / 1000;
        self.history.begin();
        let errors = self.history.sandbox.at("stderr.txt");
        let mut command = self.history.sandbox.agent.command(["-q", "run", "--policy", "policy.yaml"]);
        command.stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        // The kill is to fall anywhere in the run, on no event.
        std::thread::sleep(after);
        child.kill().unwrap();
        match child.wait().unwrap().code() {
            None => drop(TOTALS.kills.fetch_add(1, Relaxed)),
            Some(code) => {
                let errors = fs::read_to_string(errors).unwrap();
                let is_refused = self.is_refused && code == 1;
                assert!(matches!(code, 0 | 3) || is_refused, "it ended with {code}: {errors}");
                TOTALS.kills_too_late.fetch_add(1, Relaxed);
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::AddFile { name, kib } => {
                self.made += 1;
                let prefix = if name.is_multiple_of(2) { "a" } else { "z" };
                tree::write_noise(&self.source().join(format!("{prefix} {name}")), self.made, kib << 10);
            }
            Op::Change(change, nth) => self.change(*change, *nth),
            Op::ChangeBase { at_mib } => {
                self.made += 1;
                let base = self.source().join("base.bin");
                if base.exists() {
                    write_at(&base, format!("alteração {}", self.made).as_bytes(), at_mib << 20);
                }
            }
            Op::Run => self.run(),
            Op::Crash(point, nth) => {
                self.history.begin();
                self.history.sandbox.run_until(point.name(), *nth);
            }
            Op::Kill(thousandth) => self.kill(*thousandth),
            Op::FailParts(n, how) => {
                self.history.sandbox.server.traffic().fail_next(*n, Operation::PutPart, *how);
                self.is_refused |= *how == Failure::AccessDenied;
            }
            Op::RemoveManifest(nth) => self.history.remove_manifest(*nth),
            Op::RemoveArchive(nth) => self.history.remove_archive(*nth),
        }
        self.bound_size();
    }
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// How long a run takes that is not interrupted, measured once.
fn uninterrupted() -> Duration {
    static MEASURED: OnceLock<Duration> = OnceLock::new();
    *MEASURED.get_or_init(|| {
        let mut model = Model::new();
        let begun = Instant::now();
        model.history.run().expect(0);
        begun.elapsed()
    })
}

fn check(ops: &[Op]) {
    println!("{ops:?}");
    let mut model = Model::new();
    for op in ops {
        model.apply(op);
    }
    model.history.sandbox.server.traffic().fail_no_more();
    model.is_refused = false;
    model.run();
    // The job of before may have been finished; the next one is of the source as it is.
    let output = model.run_history();
    assert_eq!(&output.json["resumed"], false);
    assert_eq!(model.history.assert_restores(&output), Found::Identical);
}

#[test]
fn every_run_restores_as_the_model_has_it() {
    let config = ProptestConfig {
        max_shrink_time: 240_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..ProptestConfig::with_cases(CASES)
    };
    let cases = config.cases;
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&prop::collection::vec(any_op(), 1..=10), |ops| {
        check(&ops);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("{TOTALS:?}");
    let read = |total: &AtomicU64| total.load(Relaxed);
    let expected = u64::from(cases / 4);
    assert!(read(&TOTALS.kills) >= expected && read(&TOTALS.resumed) >= expected, "{TOTALS:?}");
    assert!(read(&TOTALS.parts_reused) >= expected, "{TOTALS:?}");
}
