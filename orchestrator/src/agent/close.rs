//! Closes a job that has ended: its log goes out, and the job into the history.
//!
//! **After a crash:** the job is closed by the next run; its log is in the outbox or in the store.

use chrono::Utc;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::state::job::{JobEvent, JobState};
use intellistor_storage::state::{Ledger, Queue};

use crate::agent::log::AgentLog;
use crate::agent::ship_logs::ship;
use crate::catalog::Catalog;
use crate::error::Result;

/// Ships the log of a job that has its ending, and closes it. Returns the ending's name, and the log's key if it is in
/// the store.
///
/// Ordering law: the log is in the outbox before the job is closed, so that it is shipped whatever happens.
pub(super) async fn close(
    queue: &mut Queue,
    ledger: Ledger,
    log: &AgentLog,
    catalog: &Catalog,
) -> Result<(&'static str, Option<String>)> {
    let state = match ledger.job().state {
        JobState::ShippingLogs(ending) | JobState::Ended(ending) => ending.name(),
        other => other.name(),
    };
    tracing::info!(state, "the job has ended");
    log.enqueue(queue)?;
    Failpoint::LogQueued.reached();
    let log_key = ship(log, queue, catalog).await;
    Failpoint::LogShipped.reached();
    if !ledger.job().state.is_ended() {
        end(&ledger)?;
    }
    Failpoint::JobEnded.reached();
    queue.close(ledger)?;
    Ok((state, log_key))
}

/// Closes a job without a log: what has its name in the store, its log too, is another machine's. Returns the ending's
/// name.
pub(super) fn close_overtaken(queue: &mut Queue, ledger: Ledger) -> Result<&'static str> {
    let state = end(&ledger)?.name();
    queue.close(ledger)?;
    Ok(state)
}

fn end(ledger: &Ledger) -> Result<JobState> {
    ledger.update(|job| job.ended_ms = Some(Utc::now().timestamp_millis()))?;
    Ok(ledger.advance(JobEvent::LogsSettled)?)
}
