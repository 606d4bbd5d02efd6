//! Puts logs of runs into the store: the last step of a run, whatever its outcome, and the first of the next one
//! for what an outage held back.
//!
//! - **In:** [`ShipLog`]. **Out:** nothing further; the answer says whether the store has it.
//! - **Bound:** one log at a time, and of it one part of the store's: each message is answered before the next begins.
//! - **Blocks:** on the disk, briefly; for the network it waits. Nothing else runs on its arbiter.
//! - **Survives a crash:** what is in the outbox, which is not this actor's: a log leaves it after the answer.

use std::fs::File;

use actix::prelude::*;
use intellistor_storage::objects::{PutOptions, SharedStore, put_stream};
use intellistor_storage::queue::PendingLog;
use intellistor_storage::{Error, Result};

/// Command to the log shipper: put a run's log. It may be repeated; the log as it is then replaces the one before.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct ShipLog {
    /// Which.
    pub log: PendingLog,
    /// A second key for the same bytes, where this is the newest log.
    pub also: Option<String>,
}

/// See the module.
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

impl Actor for LogShipper {
    type Context = Context<Self>;
}

impl Handler<ShipLog> for LogShipper {
    type Result = AtomicResponse<Self, Result<()>>;

    fn handle(&mut self, ShipLog { log, also }: ShipLog, _: &mut Self::Context) -> Self::Result {
        let store = self.store.clone();
        let ship = async move {
            let unreadable = |e| Error::io("read the log", &log.file)(e);
            for key in [Some(&log.key), also.as_ref()].into_iter().flatten() {
                let file = File::open(&log.file).map_err(unreadable)?;
                put_stream(&*store, key, file, PutOptions::default(), unreadable).await?;
            }
            Ok(())
        };
        AtomicResponse::new(Box::pin(ship.into_actor(self)))
    }
}
