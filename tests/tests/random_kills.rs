//! The agent is killed with SIGKILL at random times, again and again, over a tree that changes meanwhile.
//!
//! `INTELLISTOR_KILLS=5000 cargo test --release -p intellistor-tests --test random_kills -- --nocapture` is a longer run
//! by hand; `INTELLISTOR_SEED` repeats a run's choices, though not its moments.

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
use std::time::{Duration, Instant, SystemTime};

use intellistor_tests::run_history::{Found, RunHistory};
use intellistor_tests::tree::{self, Kind};

const KILLS: u32 = 50;
/// Three parts of noise, and room for what is added.
const MIB: u64 = 20;
const MOST_BYTES: u64 = 27 << 20;

/// xorshift64*, so that a seed makes the same choices everywhere.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.below(of.len() as u64) as usize])
    }
}

/// What the line at the end tells.
#[derive(Debug, Default)]
struct Count {
    kills: u32,
    too_late: u32,
    resumed: u32,
    reused: u64,
    sent_twice: u64,
    restores: u32,
    identical: u32,
}

struct Kills {
    run_history: RunHistory,
    dice: Dice,
    count: Count,
    /// How long an uninterrupted run takes.
    whole: Duration,
    made: u64,
}

impl Kills {
    /// Runs and kills at a random moment; whether it was still alive then.
    fn run_and_kill(&mut self) -> bool {
        self.run_history.begin();
        let mut command = self.run_history.sandbox.agent.command(["-q", "run", "--policy", "policy.yaml"]);
        let said = self.run_history.sandbox.at("said.txt");
        let stderr = File::create(&said).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        // The moment is the point: it is to fall anywhere in the run, on no event.
        std::thread::sleep(Duration::from_micros(self.dice.below(self.whole.as_micros() as u64 + 1)));
        child.kill().unwrap();
        // One that ended by itself has a code.
        let Some(code) = child.wait().unwrap().code() else {
            self.count.kills += 1;
            return true;
        };
        let said = fs::read_to_string(said).unwrap();
        assert!(matches!(code, 0 | 3), "a run that was not killed ended with {code}: {said}");
        self.count.too_late += 1;
        false
    }

    /// Runs to the end, and checks the backup.
    fn run(&mut self) -> Found {
        let output = self.run_history.run();
        if output.json["resumed"] == true {
            self.count.resumed += 1;
            self.count.reused += output.json["parts_reused"].as_u64().unwrap();
        }
        let found = self.run_history.assert_restores(&output);
        let times = self
            .run_history
            .sandbox
            .parts_of(output.json["s3"]["key_backup"].as_str().unwrap())
            .into_values();
        self.count.sent_twice += times.map(|times| u64::from(times) - 1).sum::<u64>();
        self.count.restores += 1;
        self.count.identical += u32::from(found == Found::Identical);
        found
    }

    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        let folder = self.run_history.sandbox.source().join(format!("pasta {}", self.dice.below(4)));
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("novo {}", self.made))
    }

    /// One change of the tree.
    fn change(&mut self) {
        let now = tree::snapshot(&self.run_history.sandbox.source());
        let of = |kind: Kind| {
            let found = now.iter().filter(move |(path, facts)| facts.kind == kind && *path != b".");
            found
                .map(|(path, facts)| (String::from_utf8(path.clone()).unwrap(), facts.size))
                .collect::<Vec<_>>()
        };
        let (files, folders) = (of(Kind::File), of(Kind::Folder));
        let root = self.run_history.sandbox.source();
        let total: u64 = files.iter().map(|(_, size)| size).sum();
        if total > MOST_BYTES {
            let largest = files.iter().max_by_key(|(_, size)| *size).unwrap();
            return fs::remove_file(root.join(&largest.0)).unwrap();
        }
        let file = self.dice.pick(&files).map(|(path, size)| (root.join(path), *size));
        let bytes = match self.dice.below(3) {
            0 => self.dice.below(3 << 20),
            _ => self.dice.below(3000),
        } as usize;
        let seed = self.dice.below(1 << 30);
        match (self.dice.below(12), file) {
            (0 | 1, _) | (_, None) => fs::write(self.new_path(), tree::noise(seed, bytes)).unwrap(),
            (2, Some((path, size))) => {
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(&tree::noise(seed, bytes), size).unwrap();
            }
            (3, Some((path, size))) => fs::write(path, tree::noise(seed, size as usize)).unwrap(),
            (4, Some((path, size))) if size > 0 => {
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(b"aqui", self.dice.below(size)).unwrap();
            }
            (5, Some((path, size))) => {
                File::options().write(true).open(path).unwrap().set_len(size / 2).unwrap();
            }
            (6, Some((path, _))) => fs::remove_file(path).unwrap(),
            (7, Some((path, _))) => fs::rename(path, self.new_path()).unwrap(),
            (8, Some((path, _))) => {
                let mode = 0o600 + self.dice.below(0o100) as u32;
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            (9, Some((path, _))) => fs::hard_link(path, self.new_path()).unwrap(),
            (10, _) => {
                let file = File::create(self.new_path()).unwrap();
                file.write_all_at(&tree::noise(seed, bytes), 1 << 20).unwrap();
                file.set_len(8 << 20).unwrap();
            }
            _ => match self.dice.pick(&folders) {
                // An empty one goes, else one comes or moves.
                Some((path, _)) if fs::remove_dir(root.join(path)).is_ok() => {}
                Some((path, _)) if seed.is_multiple_of(3) => {
                    self.made += 1;
                    fs::rename(root.join(path), root.join(format!("mudada {}", self.made))).unwrap();
                }
                _ => fs::create_dir(self.new_path()).unwrap(),
            },
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn fill(source: &Path) {
    for (i, mib) in [MIB - 9, 5, 3, 1].into_iter().enumerate() {
        tree::write_noise(&source.join(format!("grande {i}.bin")), i as u64, mib << 20);
    }
    for folder in 0..3 {
        let folder = source.join(format!("pasta {folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..60 {
            fs::write(folder.join(format!("relatório {file}.txt")), tree::noise(file, 500)).unwrap();
        }
    }
}

#[test]
fn random_kills_cost_no_backup_and_no_finished_part() {
    let kills = number("INTELLISTOR_KILLS").map_or(KILLS, |n| n as u32);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("INTELLISTOR_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    println!("seed {seed}");
    let mut test = Kills {
        run_history: RunHistory::new("kills"),
        dice: Dice::new(seed),
        count: Count::default(),
        whole: Duration::ZERO,
        made: 0,
    };
    fill(&test.run_history.sandbox.source());
    for iteration in 1.. {
        if iteration % 10 == 1 {
            let begun = Instant::now();
            let output = test.run_history.run().expect(0);
            test.whole = begun.elapsed();
            assert_eq!(output.json["resumed"], false, "nothing was left to resume");
            assert_eq!(test.run_history.assert_restores(&output), Found::Identical);
            test.count.restores += 1;
            test.count.identical += 1;
            if test.count.kills >= kills {
                break;
            }
        }
        for _ in 0..1 + test.dice.below(3) {
            test.change();
        }
        while test.count.kills < kills && test.run_and_kill() {
            for _ in 0..test.dice.below(4) {
                test.change();
            }
            // Sometimes the run that goes on is killed too.
            if test.dice.below(3) > 0 {
                break;
            }
        }
        test.run();
    }
    let Count { kills, too_late, resumed, reused, sent_twice, restores, identical } = test.count;
    println!(
        "{kills} kills ({too_late} came too late), {resumed} jobs resumed, {reused} parts reused, \
         {sent_twice} parts sent twice, {restores} restores sound, {identical} of them of an unchanged tree and \
         identical to it"
    );
    assert!(
        kills < KILLS || (resumed > 10 && reused > 10),
        "the kills fell where there was nothing to resume"
    );
}
