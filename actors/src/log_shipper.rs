//! Puts logs of runs into the store: the last step of a run, whatever its outcome, and the first of the next one
//! for logs that an outage delayed.
//!
//! - **In:** [`ShipLog`]. **Out:** nothing further; the answer says whether the store has it.
//! - **Bound:** one log at a time, and one part of it in memory: each message is answered before the next begins.
//! - **Blocks:** on the disk, briefly; for the network it waits. Nothing else runs on its arbiter.
//! - **Survives a crash:** what is in the outbox, which is not this actor's: a log leaves it after the answer.

use std::fs::File;
use std::io::Read as _;

use actix::prelude::*;
use intellistor_storage::objects::{ObjectStore, PutOptions, SharedStore, put_stream};
use intellistor_storage::state::PendingLog;
use intellistor_storage::{Error, Result, StoreErrorKind};

/// Command to the log shipper: put a run's log. It may be repeated: a longer log of the same run replaces the earlier one.
/// Another run's log of the same name is not replaced.
#[derive(Debug, Message)]
#[rtype(result = "Result<Shipped>")]
pub struct ShipLog {
    pub log: PendingLog,
    /// A second key for the same bytes, where this is the newest log.
    pub also: Option<String>,
}

/// Whether a log is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipped {
    Arrived,
    /// The store has another run's log under its key.
    TakenByAnother,
}

const COMPARED_BYTES: u64 = 4 << 20;

/// The stage that puts logs of runs into the store.
#[derive(Debug)]
pub struct LogShipper {
    store: SharedStore,
}

impl LogShipper {
    /// A shipper to `store`.
    pub fn new(store: SharedStore) -> Self {
        Self { store }
    }
}

/// Whether what the store has under `key` is the beginning of this log; `None` where it has nothing, or denies access.
async fn continues(store: &dyn ObjectStore, key: &str, mut log: File) -> Result<Option<bool>> {
    let mut at = 0;
    loop {
        let held = match store.get_range(key, at..at + COMPARED_BYTES).await {
            Err(Error::Store(error)) if at == 0 && is_unseen(error.kind) => return Ok(None),
            held => held?,
        };
        let mut ours = Vec::new();
        (&mut log).take(held.len() as u64).read_to_end(&mut ours).map_err(Error::io("read", "the log"))?;
        if ours != held {
            return Ok(Some(false));
        }
        at += held.len() as u64;
        if (held.len() as u64) < COMPARED_BYTES {
            return Ok(Some(true));
        }
    }
}

/// Without the permission to list, a missing object is forbidden.
fn is_unseen(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::NotFound | StoreErrorKind::AccessDenied)
}

/// Puts a log where the store has none; returns whether it still had none.
async fn put_once(store: &dyn ObjectStore, log: &PendingLog, file: File) -> Result<bool> {
    let unreadable = |e| Error::io("read the log", &log.file)(e);
    match put_stream(store, &log.key, file, &PutOptions::if_absent(), unreadable).await {
        // Or it is this log, and the answer was lost.
        Err(Error::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {
            let file = File::open(&log.file).map_err(unreadable)?;
            Ok(continues(store, &log.key, file).await?.unwrap_or(false))
        }
        // The store knows no conditional put, and had nothing there right before.
        Err(Error::Store(error)) if knows_no_conditions(error.kind) => {
            let file = File::open(&log.file).map_err(unreadable)?;
            put_stream(store, &log.key, file, &PutOptions::default(), unreadable).await.map(|()| true)
        }
        put => put.map(|()| true),
    }
}

fn knows_no_conditions(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Rejected | StoreErrorKind::Unsupported)
}

impl Actor for LogShipper {
    type Context = Context<Self>;
}

impl Handler<ShipLog> for LogShipper {
    type Result = AtomicResponse<Self, Result<Shipped>>;

    fn handle(&mut self, ShipLog { log, also }: ShipLog, _: &mut Self::Context) -> Self::Result {
        let store = self.store.clone();
        let ship = async move {
            let unreadable = |e| Error::io("read the log", &log.file)(e);
            let open = || File::open(&log.file).map_err(unreadable);
            match continues(&*store, &log.key, open()?).await? {
                Some(true) => {
                    put_stream(&*store, &log.key, open()?, &PutOptions::default(), unreadable).await?
                }
                Some(false) => return Ok(Shipped::TakenByAnother),
                None if !put_once(&*store, &log, open()?).await? => return Ok(Shipped::TakenByAnother),
                None => {}
            }
            if let Some(also) = also {
                put_stream(&*store, &also, open()?, &PutOptions::default(), unreadable).await?;
            }
            Ok(Shipped::Arrived)
        };
        AtomicResponse::new(Box::pin(ship.into_actor(self)))
    }
}
