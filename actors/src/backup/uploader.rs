//! Sends segments to the store, several at a time.
//!
//! - **In:** [`SegmentSealed`], in order. **Out:** [`PartUploaded`], in the order in which the store answers.
//! - **Bound:** [`IN_FLIGHT_BYTES`] of parts, fewer on a slow line, at least one part; see [`Slots`]. A segment is
//!   answered once it has its slot, so the encryptor builds the next one meanwhile and no further. 36 MiB are four
//!   parts of the first size, each up to a frame larger than 8 MiB: enough to hide the latency of one request
//!   behind three others.
//! - **Blocks:** never; it waits for the network on an arbiter.
//! - **Survives a crash:** every part that the store acknowledged. Ordering law (must): a part keeps its slot until
//!   the sequencer has committed it, so that unrecorded parts never exceed the slots.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use intellistor_storage::archive::SegmentRecord;
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::PartEntries;
use intellistor_storage::objects::{Part, PartReceipt, SharedStore, Upload};
use intellistor_storage::state::Cursor;
use intellistor_telemetry::metrics::{self, Queued};
use intellistor_telemetry::names::span;
use tokio::sync::OwnedSemaphorePermit;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::backup::encryptor::SegmentSealed;
use crate::link::{Failures, Reply, Stopped};
use crate::progress::Progress;

mod slots;

pub use slots::{IN_FLIGHT_BYTES, Slots};

/// A part that the store holds. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct PartUploaded {
    /// As in [`SegmentSealed`].
    pub segment: SegmentRecord,
    pub receipt: PartReceipt,
    /// As in [`SegmentSealed`].
    pub listed: PartEntries,
    /// As in [`SegmentSealed`].
    pub cursor: Cursor,
    /// As in [`SegmentSealed`].
    pub last: bool,
    /// The part's share of what may be in flight. Ordering law (must): given back when the part is committed.
    pub slot: OwnedSemaphorePermit,
}

/// What the uploader needs.
#[derive(Debug)]
pub struct UploaderConfig {
    pub store: SharedStore,
    /// The multipart upload, already begun.
    pub upload: Upload,
    pub next: Recipient<PartUploaded>,
    /// All of them free.
    pub slots: Slots,
    pub failures: Failures,
    /// Counts acknowledged bytes.
    pub progress: Arc<Progress>,
}

/// The stage that sends segments to the store.
#[derive(Debug)]
pub struct Uploader {
    config: Arc<UploaderConfig>,
}

impl Uploader {
    /// An uploader that has nothing in flight.
    pub fn new(config: UploaderConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

impl Actor for Uploader {
    type Context = Context<Self>;
}

impl Handler<SegmentSealed> for Uploader {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, sealed: SegmentSealed, _: &mut Self::Context) -> Self::Result {
        let (config, queued) = (self.config.clone(), Queued::new());
        Box::pin(async move {
            let (slot, in_flight) = config.slots.take(sealed.body.len()).await.ok_or(Stopped)?;
            if config.failures.is_draining() {
                return Err(Stopped);
            }
            let span = config.failures.span();
            let upload = async move {
                // A failure is reported inside; the encryptor learns of it when the pipeline comes down.
                let _ = send(&config, sealed, slot, queued).await;
                drop(in_flight);
            };
            actix::spawn(upload.instrument(span));
            Ok(())
        })
    }
}

async fn send(
    config: &UploaderConfig,
    sealed: SegmentSealed,
    slot: OwnedSemaphorePermit,
    queued: Queued,
) -> Reply {
    let SegmentSealed { segment, body, listed, cursor, last } = sealed;
    let part = Part { number: segment.number, offset: segment.offset, body };
    let begun = Instant::now();
    let span = info_span!(
        span::UPLOAD_PART,
        // OpenTelemetry's integers are signed; an unsigned one would be sent as text.
        intellistor.part.number = i64::from(segment.number),
        intellistor.part.size = segment.bytes as i64,
        otel.status_code = Empty,
    );
    let sent = config.store.put_part(&config.upload, &part).instrument(span.clone()).await;
    if sent.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    drop(span);
    let receipt = sent.map_err(|error| config.failures.report(error))?;
    let took = begun.elapsed();
    config.slots.arrived(part.body.len(), took);
    metrics::part_sent(segment.bytes, took);
    Failpoint::PartAcknowledged.reached();
    drop((part, queued));
    config.progress.stored_bytes.add(segment.bytes);
    config
        .next
        .send(PartUploaded { segment, receipt, listed, cursor, last, slot })
        .await
        .map_err(|_| Stopped)?
}

#[cfg(test)]
mod tests;
