//! Walks through every order in which processes can take their steps.
//!
//! A schedule is a list of choices: which process takes its next step (one call of the store), or that time passes, or that a
//! process is killed and started again. Nothing of a schedule can be kept, so each is played from the start. A state is what is in
//! the store, the time, and for each process all that it was ever answered, since that decides what it does next. A state that
//! was seen before is not followed again: whatever came before it, what follows is the same.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::LocalBoxFuture;
use futures::task::noop_waker;
use intellistor_storage::objects::{MemoryStore, SharedStore};

use super::turns::{Blindness, TurnStore, Turns, meaning};
use crate::error::Result;

/// What a process keeps over a crash: how far it has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<u32>>);

impl Disk {
    pub(super) fn read(&self) -> u32 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, step: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }
}

/// A program that runs against the store; started again after a crash, with what it kept.
pub(super) struct Program<'t, T> {
    pub(super) name: &'static str,
    pub(super) blindness: Option<Blindness>,
    /// How often it may be killed in one schedule.
    pub(super) crashes: u32,
    pub(super) start: Box<dyn Fn(SharedStore, Disk) -> LocalBoxFuture<'t, Result<T>> + 't>,
}

struct Process<'t, T> {
    running: Option<LocalBoxFuture<'t, Result<T>>>,
    disk: Disk,
    crashes: u32,
    outcome: Option<Result<T>>,
}

/// What one choice in a schedule can be.
#[derive(Debug, Clone, Copy)]
enum Step {
    Go(usize),
    Wait(i64),
    Crash(usize),
}

/// What is explored.
pub(super) struct Model<'t, T> {
    pub(super) store: MemoryStore,
    pub(super) programs: Vec<Program<'t, T>>,
    /// How long time may pass at once, in milliseconds.
    pub(super) waits_ms: Vec<i64>,
    /// How often it may in one schedule.
    pub(super) waits: u32,
}

/// What was explored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Explored {
    pub(super) schedules: u64,
    pub(super) states: u64,
    /// States in which every program has ended.
    pub(super) ends: u64,
    pub(super) steps: u64,
}

/// A schedule after which what must be true is not.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) schedule: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.schedule.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

struct World<'m, 't, T> {
    model: &'m Model<'t, T>,
    store: MemoryStore,
    turns: Turns,
    processes: Vec<Process<'t, T>>,
    now_ms: i64,
    waits: u32,
    schedule: Vec<String>,
}

impl<'t, T> Model<'t, T> {
    /// Explores every schedule. `check` is given the store and the outcomes when all programs have ended.
    pub(super) fn explore(
        &self,
        mut check: impl FnMut(&MemoryStore, &[&Result<T>]) -> Result<(), String>,
    ) -> Result<Explored, Fault> {
        let mut explored = Explored::default();
        let mut seen = HashSet::new();
        // For each step of the schedule: which of how many choices is taken.
        let mut choices: Vec<(usize, usize)> = Vec::new();
        loop {
            let mut world = World::start(self);
            explored.schedules += 1;
            for depth in 0.. {
                if depth >= choices.len() {
                    if !seen.insert(world.state()) {
                        break;
                    }
                    explored.states += 1;
                    if world.processes.iter().all(|process| process.outcome.is_some()) {
                        explored.ends += 1;
                        let outcomes: Vec<_> =
                            world.processes.iter().filter_map(|process| process.outcome.as_ref()).collect();
                        check(&world.store, &outcomes)
                            .map_err(|what| Fault { what, schedule: world.schedule.clone() })?;
                        break;
                    }
                    choices.push((0, world.steps().len()));
                }
                let steps = world.steps();
                let (chosen, of) = choices[depth];
                assert_eq!(steps.len(), of, "a schedule does not play as it did: {:?}", world.schedule);
                world.take(steps[chosen]);
                explored.steps += 1;
            }
            while let Some((chosen, of)) = choices.pop() {
                if chosen + 1 < of {
                    choices.push((chosen + 1, of));
                    break;
                }
            }
            if choices.is_empty() {
                return Ok(explored);
            }
        }
    }
}

impl<'m, 't, T> World<'m, 't, T> {
    fn start(model: &'m Model<'t, T>) -> Self {
        let processes = model.programs.iter().map(|_| Process {
            running: None,
            disk: Disk::default(),
            crashes: 0,
            outcome: None,
        });
        let mut world = Self {
            model,
            store: model.store.deep_copy(),
            turns: Turns::new(model.programs.len()),
            processes: processes.collect(),
            now_ms: intellistor_storage::objects::ObjectStore::now_ms(&model.store)
                .expect("its clock is set"),
            waits: 0,
            schedule: Vec::new(),
        };
        (0..model.programs.len()).for_each(|process| world.run(process));
        world
    }

    /// Starts a process.
    fn run(&mut self, process: usize) {
        let program = &self.model.programs[process];
        let store = TurnStore {
            store: self.store.clone(),
            turns: self.turns.clone(),
            process,
            blindness: program.blindness,
        };
        let disk = self.processes[process].disk.clone();
        self.processes[process].running = Some((program.start)(Arc::new(store), disk));
        self.poll(process);
    }

    /// Lets a process work until it waits for the store, or has ended.
    fn poll(&mut self, process: usize) {
        let waker = noop_waker();
        let Some(running) = &mut self.processes[process].running else { return };
        if let Poll::Ready(outcome) = Pin::new(running).poll(&mut Context::from_waker(&waker)) {
            self.processes[process].running = None;
            self.processes[process].outcome = Some(outcome);
        } else {
            assert!(
                self.turns.is_waiting(process),
                "{} waits for no call",
                self.model.programs[process].name
            );
        }
    }

    /// What can happen now. The process that was begun first goes on first.
    fn steps(&self) -> Vec<Step> {
        let running = |process: &usize| self.processes[*process].running.is_some();
        let running: Vec<_> = (0..self.processes.len()).filter(running).collect();
        let mut steps: Vec<_> = running.iter().map(|process| Step::Go(*process)).collect();
        if self.waits < self.model.waits {
            steps.extend(self.model.waits_ms.iter().map(|ms| Step::Wait(*ms)));
        }
        let may_crash =
            |process: &&usize| self.processes[**process].crashes < self.model.programs[**process].crashes;
        steps.extend(running.iter().filter(may_crash).map(|process| Step::Crash(*process)));
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Go(process) => {
                let call = self.turns.release(process);
                self.schedule.push(format!("{}: {call}", self.model.programs[process].name));
                self.poll(process);
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                self.waits += 1;
                self.store.set_now_ms(self.now_ms);
                self.schedule.push(format!("{:.1} hours pass", ms as f64 / 3_600_000.0));
            }
            Step::Crash(process) => {
                self.processes[process].crashes += 1;
                self.processes[process].running = None;
                self.turns.crash(process, self.processes[process].disk.read());
                self.schedule
                    .push(format!("{} is killed, and started again", self.model.programs[process].name));
                self.run(process);
            }
        }
    }

    fn state(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.now_ms, self.waits).hash(&mut hasher);
        for (key, bytes, modified_ms) in self.store.objects() {
            (meaning(&key, &bytes), modified_ms, key).hash(&mut hasher);
        }
        for (number, process) in self.processes.iter().enumerate() {
            (self.turns.state(number), process.crashes, process.outcome.is_some()).hash(&mut hasher);
        }
        hasher.finish()
    }
}
