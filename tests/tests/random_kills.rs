//! The agent is killed with SIGKILL at random times, again and again, over a tree that changes meanwhile.
//!
//! `INTELLISTOR_KILLS=5000 bash .ci/test -E 'test(random_kills)' --no-capture` is a longer run by
//! hand; `INTELLISTOR_SEED` repeats a run's choices, though not its moments.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails where it stands"
)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use intellistor_tests::governed::Governed;
use intellistor_tests::program::Output;
use intellistor_tests::s3_server::{BUCKET, Done};
use intellistor_tests::tree::{self, Facts, Ignore, Kind, Tree};

const KILLS: u32 = 50;
/// Four parts of noise, and room for what is added.
const MIB: u64 = 26;
const MOST_BYTES: u64 = 34 << 20;

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

struct Trial {
    place: Governed,
    dice: Dice,
    count: Count,
    /// How long a run takes that nobody kills.
    whole: Duration,
    /// The tree at the begin of each run since the oldest that may have begun the present job.
    versions: Vec<Tree>,
    made: u64,
}

impl Trial {
    /// Runs and kills at a random moment; whether it was still alive then.
    fn run_and_kill(&mut self) -> bool {
        self.versions.push(tree::snapshot(&self.place.source()));
        let mut command = self.place.agent.command(["-q", "run", "--policy", "policy.yaml"]);
        let said = self.place.at("said.txt");
        let stderr = File::create(&said).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        // The moment is the point: it is to fall anywhere in the run, on no event.
        std::thread::sleep(Duration::from_micros(self.dice.below(self.whole.as_micros() as u64 + 1)));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if let Some(code) = ended.or(Some(status)).and_then(|status| status.code()) {
            let said = fs::read_to_string(said).unwrap();
            assert!(matches!(code, 0 | 3), "a run that was not killed ended with {code}: {said}");
            self.count.too_late += 1;
            self.versions.clear();
            return false;
        }
        self.count.kills += 1;
        true
    }

    /// Runs to the end, and gives its result.
    fn run(&mut self) -> Output {
        self.versions.push(tree::snapshot(&self.place.source()));
        let stored_before = self.place.server.traffic().log().len();
        let output = self.place.run();
        assert!(matches!(output.code, 0 | 3), "{}\n{:#}", output.stderr, output.json);
        let warnings = output.json["warnings"].to_string();
        assert!(!warnings.contains("moved"), "a kill alone damages no queue: {warnings}");
        let reused = output.json["parts_reused"].as_u64().unwrap();
        for done in &self.place.server.traffic().log()[stored_before..] {
            if let Done::PartStored { number, .. } = done {
                assert!(
                    u64::from(*number) > reused,
                    "part {number} was sent although {reused} were recorded"
                );
            }
        }
        if output.json["resumed"] == true {
            self.count.resumed += 1;
            self.count.reused += reused;
        } else {
            // The job is this run's own.
            self.versions.drain(..self.versions.len() - 1);
        }
        self.place.assert_no_open_upload();
        self.place.assert_order();
        output
    }

    /// Verifies and restores what a run has made, against all versions since its job began.
    fn assert_restores(&mut self, output: &Output) {
        let key = output.json["s3"]["key_backup"].as_str().unwrap();
        self.place.client.run(["-q", "verify", "--policy", "policy.yaml", "--latest"]).expect(0);
        assert_eq!(self.place.backups().last().map(String::as_str), Some(key), "the latest is this one");
        let out = self.place.restore(key);
        let restored = tree::snapshot(&out);
        fs::remove_dir_all(out).unwrap();
        assert_is_of(&restored, &self.versions);
        if output.code == 0 && self.versions.iter().all(|version| *version == self.versions[0]) {
            tree::assert_same(&self.versions[0], &restored, &[Ignore::Allocation]);
            self.count.identical += 1;
        }
        self.count.restores += 1;
        let times = self.place.parts_of(key).into_values();
        self.count.sent_twice += times.map(|times| u64::from(times) - 1).sum::<u64>();
        self.versions.clear();
        // The disk need not hold every backup of the trial.
        fs::remove_dir_all(self.place.at("s3").join(BUCKET).join("backups")).unwrap();
    }

    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        let folder = self.place.source().join(format!("pasta {}", self.dice.below(4)));
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("novo {}", self.made))
    }

    /// One change of the tree.
    fn change(&mut self) {
        let now = tree::snapshot(&self.place.source());
        let of = |kind: Kind| {
            let found = now.iter().filter(move |(path, facts)| facts.kind == kind && *path != b".");
            found
                .map(|(path, facts)| (String::from_utf8(path.clone()).unwrap(), facts.size))
                .collect::<Vec<_>>()
        };
        let (files, folders) = (of(Kind::File), of(Kind::Folder));
        let root = self.place.source();
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

/// What a path's facts say of it by themselves.
fn own(facts: &Facts) -> (Kind, u32, i128, u64, Option<&String>, Option<&Vec<u8>>) {
    let Facts { kind, mode, mtime_ns, size, sha256, target, .. } = facts;
    (*kind, *mode, *mtime_ns, *size, sha256.as_ref(), target.as_ref())
}

/// Everything restored was so at some moment, and what was always the same is there.
fn assert_is_of(restored: &Tree, versions: &[Tree]) {
    for (path, facts) in restored {
        let was_so = versions.iter().filter_map(|version| version.get(path)).any(|then| {
            (then.kind, &then.sha256, &then.target) == (facts.kind, &facts.sha256, &facts.target)
        });
        assert!(was_so, "{:?} never was as it was restored: {facts:?}", String::from_utf8_lossy(path));
    }
    for (path, facts) in &versions[0] {
        let unchanged = versions.iter().all(|version| version.get(path).map(own) == Some(own(facts)));
        if unchanged {
            let found = restored.get(path).map(own);
            assert_eq!(found, Some(own(facts)), "{:?} never changed", String::from_utf8_lossy(path));
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
    let mut trial = Trial {
        place: Governed::new("kills"),
        dice: Dice::new(seed),
        count: Count::default(),
        whole: Duration::ZERO,
        versions: Vec::new(),
        made: 0,
    };
    fill(&trial.place.source());
    for iteration in 1.. {
        if iteration % 10 == 1 {
            let begun = Instant::now();
            let output = trial.run().expect(0);
            trial.whole = begun.elapsed();
            assert_eq!(output.json["resumed"], false, "nothing was left to resume");
            let before = trial.count.identical;
            trial.assert_restores(&output);
            assert_eq!(trial.count.identical, before + 1, "nothing changed meanwhile");
            if trial.count.kills >= kills {
                break;
            }
        }
        for _ in 0..1 + trial.dice.below(3) {
            trial.change();
        }
        while trial.count.kills < kills && trial.run_and_kill() {
            for _ in 0..trial.dice.below(4) {
                trial.change();
            }
            // Sometimes the run that goes on is killed too.
            if trial.dice.below(3) > 0 {
                break;
            }
        }
        let output = trial.run();
        trial.assert_restores(&output);
    }
    let Count { kills, too_late, resumed, reused, sent_twice, restores, identical } = trial.count;
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
