//! Whatever is done to a tree, to the agent and to the store, and in whatever order: what a run makes restores as the
//! tree was, file by file, at some moment since the run's job began; and a tree that stood still, as it is.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails at that line"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::objects::Operation;
use intellistor_tests::run_history::{Found, RunHistory};
use intellistor_tests::s3_server::Failure;
use intellistor_tests::tree;
use proptest::prelude::*;

/// Three parts.
const BASE_MIB: u64 = 17;
/// Names that files may have.
const NAMES: u8 = 5;

#[derive(Debug, Clone)]
enum Op {
    /// Makes a file, or makes it anew.
    AddFile { name: u8, kib: u64 },
    /// Writes into a file, if it is there.
    Change { name: u8 },
    /// Removes a file, if it is there.
    Remove { name: u8 },
    /// Writes into the large file.
    ChangeBase { at_mib: u64 },
    /// Runs to the end.
    Run,
    /// Runs until a point is reached for the nth time, and dies there.
    Crash(Failpoint, u32),
    /// The next parts fail.
    FailParts(u32, Failure),
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
        1 => (0..NAMES).prop_map(|name| Op::Change { name }),
        1 => (0..NAMES).prop_map(|name| Op::Remove { name }),
        1 => (0..BASE_MIB).prop_map(|at_mib| Op::ChangeBase { at_mib }),
        2 => Just(Op::Run),
        4 => (prop::sample::select(&Failpoint::ALL[..]), 1..4u32).prop_map(|(point, nth)| {
            // Only the scan and the parts come more than once.
            let often = point.name().starts_with("part_") || point == Failpoint::ScanAdded;
            Op::Crash(point, if often { nth } else { 1 })
        }),
        1 => (1..4u32, prop::sample::select(failures.to_vec())).prop_map(|(n, how)| Op::FailParts(n, how)),
    ]
}

struct Model {
    run_history: RunHistory,
    made: u64,
    /// Whether a run may end without a backup, for the store refuses it.
    is_refused: bool,
}

impl Model {
    fn new() -> Self {
        let run_history = RunHistory::new("model");
        let source = run_history.sandbox.source();
        tree::write_noise(&source.join("base.bin"), 1, BASE_MIB << 20);
        for file in 0..40 {
            fs::write(source.join(format!("ficheiro {file}")), format!("conteúdo {file}")).unwrap();
        }
        Self { run_history, made: 0, is_refused: false }
    }

    fn path(&self, name: u8) -> PathBuf {
        // Before the large file, and behind it.
        let prefix = if name.is_multiple_of(2) { "a" } else { "z" };
        self.run_history.sandbox.source().join(format!("{prefix} {name}"))
    }

    fn write_into(&mut self, path: &std::path::Path, at: u64) {
        self.made += 1;
        if let Ok(file) = File::options().write(true).open(path) {
            file.write_all_at(format!("alteração {}", self.made).as_bytes(), at).unwrap();
        }
    }

    fn run(&mut self) {
        let output = self.run_history.run();
        if matches!(output.code, 0 | 3) {
            self.run_history.assert_restores(&output);
        } else {
            assert!(self.is_refused, "{}\n{:#}", output.stderr, output.json);
            assert_eq!(
                (output.code, &output.json["state"]),
                (1, &"transferring".into()),
                "{:#}",
                output.json
            );
        }
        self.is_refused = self.run_history.sandbox.server.traffic().failures_left(Operation::PutPart) > 0;
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::AddFile { name, kib } => {
                self.made += 1;
                tree::write_noise(&self.path(*name), self.made, kib << 10);
            }
            Op::Change { name } => self.write_into(&self.path(*name), 3),
            Op::Remove { name } => {
                let _ = fs::remove_file(self.path(*name));
            }
            Op::ChangeBase { at_mib } => {
                self.write_into(&self.run_history.sandbox.source().join("base.bin"), at_mib << 20);
            }
            Op::Run => self.run(),
            Op::Crash(point, nth) => {
                self.run_history.begin();
                self.run_history.sandbox.run_until(point.name(), *nth);
            }
            Op::FailParts(n, how) => {
                self.run_history.sandbox.server.traffic().fail_next(*n, Operation::PutPart, *how);
                self.is_refused |= *how == Failure::AccessDenied;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        // A failing run tries for a minute before it gives up.
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_run_restores_as_the_model_has_it(ops in prop::collection::vec(any_op(), 1..=8)) {
        println!("{ops:?}");
        let mut model = Model::new();
        for op in &ops {
            model.apply(op);
        }
        model.run_history.sandbox.server.traffic().fail_no_more();
        model.is_refused = false;
        model.run();
        // The job of before may be finished; what comes then is the tree as it is.
        let output = model.run_history.run();
        prop_assert_eq!(&output.json["resumed"], false);
        prop_assert_eq!(model.run_history.assert_restores(&output), Found::Identical);
    }
}
