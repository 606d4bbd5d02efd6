//! A model checker: every order in which the steps of several machines can come, over the real functions.
//!
//! Programs publish, forget, unforget, hold, release and sweep. Each runs until it calls the store, and waits there. The explorer
//! lets one after the other take its call, in every order. Once in a schedule time passes between any two calls, an hour or nine
//! days, and where a test says so one program is killed before any call, and started again. Within these bounds nothing is left out:
//! two schedules are taken for one only where the store, the time, and all that every program has learnt are the same.
//!
//! When all have ended, twenty days pass and one more sweep runs. Before that and after it every listed backup has to have all
//! that its manifest names, and whatever a program has reported as done has to be so.
//!
//! The store's clock is eight days ahead of this machine's, or behind it. What a program knows of it is from the last answer
//! that it had.
//!
//! That the checker finds what it is for is tested as well: what a law rests on is hidden from a program, and the loss that follows has
//! to be found. `INTELLISTOR_TEST_ALL=1` explores all, some hundred thousand steps in a minute or two of a debug build; without
//! it some of the scenarios, in seconds.

mod backups;
mod explorer;
mod turns;

use std::sync::Arc;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::objects::{MemoryStore, SharedStore};
use intellistor_storage::{Error as Storage, StoreErrorKind};

use self::backups::{Backups, POLICY, pass};
use self::explorer::{Disk, Explored, Fault, Model, Program};
use self::turns::Blindness;
use super::forget::{ForgetOptions, forget};
use super::hold::{HoldOptions, hold, release, unforget};
use super::scope::Scope;
use super::sweep::{SweepOptions, sweep};
use crate::catalog::Catalog;
use crate::error::{Error, Result};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A backup that must be listed in the end, since a program has reported it.
type Reported = Option<BackupName>;

/// What is explored: how it begins, and who does what.
struct Scenario<'t> {
    backups: &'t Backups,
    store: MemoryStore,
    programs: Vec<Program<'t, Reported>>,
    waits: u32,
}

impl<'t> Scenario<'t> {
    fn new(backups: &'t Backups) -> Self {
        Self { backups, store: backups.store.deep_copy(), programs: Vec::new(), waits: 1 }
    }

    fn waits(self, waits: u32) -> Self {
        Self { waits, ..self }
    }

    /// Before the programs begin the base is forgotten, and time passes.
    async fn forgotten(self, ago_ms: i64) -> Self {
        let catalog = Catalog::new(Arc::new(self.store.clone()));
        forget_base(self.backups, &catalog).await.unwrap();
        pass(&self.store, ago_ms);
        self
    }

    /// Before the programs begin the base is held.
    async fn held(self) -> Self {
        let catalog = Catalog::new(Arc::new(self.store.clone()));
        hold_base(self.backups, &catalog).await.unwrap();
        self
    }

    fn with(
        mut self,
        name: &'static str,
        start: impl Fn(SharedStore, Disk) -> futures::future::LocalBoxFuture<'t, Result<Reported>> + 't,
    ) -> Self {
        self.programs.push(Program { name, blindness: None, crashes: 0, start: Box::new(start) });
        self
    }

    fn publisher(self) -> Self {
        let backups = self.backups;
        self.with("publish", move |store, disk| {
            Box::pin(async move { backups.publish(store, disk).await.map(Some) })
        })
    }

    fn sweeper(self, name: &'static str) -> Self {
        let backups = self.backups;
        self.with(name, move |store, _| {
            Box::pin(async move { refusable(sweep_all(backups, &Catalog::new(store)).await.map(|()| None)) })
        })
    }

    /// Forgets the base, and sweeps.
    fn forgetter(self) -> Self {
        let backups = self.backups;
        self.with("forget, sweep", move |store, _| {
            Box::pin(async move {
                let catalog = Catalog::new(store);
                match forget_base(backups, &catalog).await {
                    // It was swept before a crash.
                    Err(Error::NoSuchBackup { .. }) => {}
                    forgotten => forgotten?,
                }
                refusable(sweep_all(backups, &catalog).await.map(|()| None))
            })
        })
    }

    fn unforgetter(self) -> Self {
        let backups = self.backups;
        self.with("unforget", move |store, _| {
            Box::pin(async move {
                let done =
                    unforget(&Catalog::new(store), &backups.recipients(), POLICY, &backups.base, false).await;
                refusable(done.map(|_| Some(backups.base.clone())))
            })
        })
    }

    fn holder(self) -> Self {
        let backups = self.backups;
        self.with("hold", move |store, _| {
            Box::pin(async move {
                refusable(hold_base(backups, &Catalog::new(store)).await.map(|()| Some(backups.base.clone())))
            })
        })
    }

    fn releaser(self) -> Self {
        let backups = self.backups;
        self.with("release", move |store, _| {
            Box::pin(async move {
                let options = HoldOptions::default();
                let done =
                    release(&Catalog::new(store), &backups.recipients(), POLICY, &backups.base, options)
                        .await;
                refusable(done.map(|_| None))
            })
        })
    }

    /// The last program does not see something.
    fn blind(mut self, blindness: Blindness) -> Self {
        self.programs.last_mut().expect("a program").blindness = Some(blindness);
        self
    }

    /// The last program may be killed once.
    fn killed(mut self) -> Self {
        self.programs.last_mut().expect("a program").crashes = 1;
        self
    }

    fn explore(self) -> Result<Explored, Fault> {
        let Self { backups, store, programs, waits } = self;
        let model = Model { store, programs, waits_ms: vec![HOUR_MS + 60_000, 9 * DAY_MS], waits };
        model.explore(|store, outcomes| {
            let mut reported = Vec::new();
            for outcome in outcomes {
                match outcome {
                    Ok(name) => reported.extend(name),
                    Err(error) => return Err(format!("a program has failed: {error}")),
                }
            }
            futures::executor::block_on(async {
                backups.check(store, &reported).await?;
                let after = store.deep_copy();
                pass(&after, 20 * DAY_MS);
                let swept = sweep_all(backups, &Catalog::new(Arc::new(after.clone()))).await;
                swept.map_err(|error| format!("the last sweep has failed: {error}"))?;
                backups
                    .check(&after, &reported)
                    .await
                    .map_err(|fault| format!("after one more sweep, {fault}"))
            })
        })
    }

    #[track_caller]
    fn assert_safe(self) {
        match self.explore() {
            Ok(explored) => assert!(explored.ends > 3, "{explored:?}"),
            Err(fault) => panic!("{fault}"),
        }
    }

    #[track_caller]
    fn assert_unsafe(self) {
        match self.explore() {
            Ok(explored) => panic!("the checker found nothing: {explored:?}"),
            Err(fault) => {
                let is_loss =
                    fault.what.contains("is listed, and needs") || fault.what.contains("is not listed");
                assert!(is_loss, "{fault}");
            }
        }
    }
}

async fn forget_base(backups: &Backups, catalog: &Catalog) -> Result<()> {
    let options = ForgetOptions { confirm: true, ..ForgetOptions::default() };
    forget(catalog, &backups.recipients(), &backups.policy, &backups.base, options).await.map(drop)
}

async fn hold_base(backups: &Backups, catalog: &Catalog) -> Result<()> {
    let options = HoldOptions::default();
    hold(catalog, &backups.recipients(), POLICY, &backups.base, "evidence", options).await.map(drop)
}

async fn sweep_all(backups: &Backups, catalog: &Catalog) -> Result<()> {
    let keys = backups.recipients();
    sweep(Scope { catalog, keys: &keys, policy_id: POLICY }, SweepOptions::default()).await.map(drop)
}

/// A command that was refused, or has come too late for a backup, reports nothing. A sweep that finds less than it has listed,
/// since another one runs, fails, and the next one ends it.
fn refusable(done: Result<Reported>) -> Result<Reported> {
    match done {
        Err(Error::BeingSwept { .. } | Error::NoSuchBackup { .. }) => Ok(None),
        Err(Error::Storage(Storage::Store(error))) if error.kind == StoreErrorKind::NotFound => Ok(None),
        done => done,
    }
}

/// Whether all is explored that this file knows: a minute or two in a debug build. If not, some seconds.
fn is_thorough() -> bool {
    std::env::var_os("INTELLISTOR_TEST_ALL").is_some()
}

/// With the store's clock eight days behind this machine's, and ahead.
async fn clocks() -> [Backups; 2] {
    [Backups::make(-8 * DAY_MS).await, Backups::make(8 * DAY_MS).await]
}

#[tokio::test]
async fn a_backup_is_published_while_its_base_is_forgotten_and_swept() {
    for backups in &clocks().await[..if is_thorough() { 2 } else { 1 }] {
        Scenario::new(backups).publisher().forgetter().assert_safe();
    }
}

#[tokio::test]
async fn a_backup_is_published_on_a_base_that_was_forgotten_before() {
    let [_, backups] = &clocks().await;
    let thorough = [23 * HOUR_MS, 8 * DAY_MS - HOUR_MS, 9 * DAY_MS];
    for ago_ms in [25 * HOUR_MS].into_iter().chain(thorough.into_iter().filter(|_| is_thorough())) {
        Scenario::new(backups).publisher().sweeper("sweep").forgotten(ago_ms).await.assert_safe();
    }
}

#[tokio::test]
async fn a_run_is_killed_and_resumed_while_its_base_is_swept() {
    let [backups, _] = &clocks().await;
    let waits = u32::from(is_thorough());
    Scenario::new(backups).publisher().killed().forgetter().waits(waits).assert_safe();
    let swept = Scenario::new(backups).publisher().killed().sweeper("sweep").waits(0);
    swept.forgotten(9 * DAY_MS).await.assert_safe();
}

#[tokio::test]
async fn a_sweep_is_killed_and_another_runs_at_the_same_time() {
    let [backups, _] = &clocks().await;
    let begin = || Scenario::new(backups).waits(0);
    let two = begin().sweeper("sweep");
    let two = if is_thorough() { two.killed() } else { two };
    two.sweeper("another sweep").forgotten(9 * DAY_MS).await.assert_safe();
    begin().publisher().sweeper("sweep").killed().forgotten(9 * DAY_MS).await.assert_safe();
}

#[tokio::test]
async fn a_base_is_held_or_unforgotten_while_it_is_swept() {
    let [backups, _] = &clocks().await;
    let begin = || Scenario::new(backups).waits(0).sweeper("sweep");
    begin().unforgetter().killed().forgotten(9 * DAY_MS).await.assert_safe();
    begin().holder().killed().forgotten(9 * DAY_MS).await.assert_safe();
    begin().releaser().killed().forgotten(9 * DAY_MS).await.held().await.assert_safe();
}

#[tokio::test]
async fn a_base_is_held_or_unforgotten_while_it_is_swept_and_depended_on() {
    if !is_thorough() {
        return;
    }
    let [backups, _] = &clocks().await;
    let begin = || Scenario::new(backups).waits(0).publisher().sweeper("sweep");
    begin().unforgetter().forgotten(9 * DAY_MS).await.assert_safe();
    begin().holder().forgotten(9 * DAY_MS).await.assert_safe();
    begin().releaser().forgotten(9 * DAY_MS).await.held().await.assert_safe();
}

#[tokio::test]
async fn it_finds_what_the_second_look_is_for() {
    let [backups, _] = &clocks().await;
    Scenario::new(backups).publisher().blind(Blindness::Clock).forgetter().assert_unsafe();
}

#[tokio::test]
async fn it_finds_what_the_look_at_the_base_is_for() {
    let [backups, _] = &clocks().await;
    let blind = Scenario::new(backups).publisher().blind(Blindness::Object("forgotten.json")).waits(0);
    blind.sweeper("sweep").forgotten(9 * DAY_MS).await.assert_unsafe();
}

#[tokio::test]
async fn it_finds_what_reading_the_hold_after_sweeping_is_for() {
    let [backups, _] = &clocks().await;
    let swept =
        Scenario::new(backups).waits(0).sweeper("sweep").blind(Blindness::Object("hold.json")).holder();
    swept.forgotten(9 * DAY_MS).await.assert_unsafe();
}
