//! Ships the logs in the outbox to the store.
//!
//! **In:** logs that earlier runs or this one enqueued, oldest first. **Out:** objects in the store; a log leaves the
//! outbox once the store has it. **After a crash:** what is still in the outbox is shipped by the next run.

use std::time::Duration;

use intellistor_actors::log_shipper::{LogShipper, ShipLog, Shipped};
use intellistor_storage::catalog::layout;
use intellistor_storage::state::{PendingLog, Queue};
use intellistor_telemetry::names::span;
use tracing::{Instrument as _, info_span};

use crate::advice::with_advice;
use crate::agent::log::AgentLog;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::root_span::labelled;
use crate::pipeline::system::on_system;

/// For each log; the next run ships what took longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Ships the outbox. Returns the key of `log` if it is in the store; a failure is a warning.
pub(super) async fn ship(log: &AgentLog, queue: &Queue, catalog: &Catalog) -> Option<String> {
    let shipped = ship_outbox(log, queue, catalog).instrument(info_span!(span::SHIP_LOGS)).await;
    shipped.unwrap_or_else(|error| {
        let error = with_advice(&error);
        tracing::warn!(%error, "the log could not be sent; the next run sends it");
        log.set_unshipped(format!("the log could not be sent; the next run sends it: {error}"));
        None
    })
}

async fn ship_outbox(own: &AgentLog, queue: &Queue, catalog: &Catalog) -> Result<Option<String>> {
    // Only the policy's owner may replace `last.log`.
    catalog.confirm(own.policy_id()).await?;
    let mut shipped = None;
    for log in queue.outbox()? {
        if !log.file.exists() {
            tracing::warn!(path = %log.file.display(), "a queued log file no longer exists");
            queue.log_shipped(&log)?;
            continue;
        }
        let is_own = log.timestamp == own.timestamp();
        let also = is_own.then(|| layout::last_log_key(own.policy_id()));
        let outcome = ship_one(log.clone(), also, catalog).await?;
        queue.log_shipped(&log)?;
        if outcome == Shipped::TakenByAnother {
            let warning = format!(
                "the store has the log of another run at {}; the log of this run stays in {}",
                log.key,
                log.file.display()
            );
            tracing::warn!("{warning}");
            own.set_unshipped(warning);
        } else if is_own {
            shipped = Some(log.key);
        }
    }
    Ok(shipped)
}

async fn ship_one(log: PendingLog, also: Option<String>, catalog: &Catalog) -> Result<Shipped> {
    let store = labelled(catalog.store.clone());
    let ship = on_system("log shipping", move || async move {
        let shipper = actix::Actor::start(LogShipper::new(store));
        let answer = shipper.send(ShipLog { log, also }).await;
        Ok(answer.map_err(|e| Error::Defect(format!("the log shipper ended unexpectedly: {e}")))??)
    });
    let in_time = tokio::time::timeout(TIMEOUT, ship).await;
    in_time.map_err(|_| Error::Defect(format!("the store took more than {TIMEOUT:?}")))?
}
