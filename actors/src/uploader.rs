//! Sends segments to the store, several at a time.
//!
//! - **In:** [`SegmentSealed`], in order. **Out:** [`PartUploaded`], in the order in which the store answers.
//! - **Bound:** [`IN_FLIGHT_BYTES`] of parts, at least one part. A segment is answered once it has its slot, so
//!   the encryptor builds the next one meanwhile and no further. 36 MiB are four parts of the first size, each up
//!   to a frame larger than 8 MiB: enough to hide the latency of one request behind three others.
//! - **Blocks:** never; it waits for the network on an arbiter.
//! - **Survives a crash:** every part that the store acknowledged. Ordering law (must): a part's slot is held
//!   until the sequencer has committed it.

use std::sync::Arc;

use actix::prelude::*;
use intellistor_storage::objects::{Part, SharedStore, Upload};
use tokio::sync::Semaphore;

use crate::link::Failures;
use crate::messages::{PartUploaded, Reply, SegmentSealed, Stopped};
use crate::progress::Progress;

/// The most bytes of parts that are on their way at once, while parts are smaller than that.
pub const IN_FLIGHT_BYTES: usize = 36 << 20;

/// What the uploader needs.
#[derive(Debug)]
pub struct UploaderConfig {
    /// Where parts go.
    pub store: SharedStore,
    /// The multipart upload, already begun.
    pub upload: Upload,
    /// The sequencer.
    pub next: Recipient<PartUploaded>,
    /// Where to report.
    pub failures: Failures,
    /// Counts acknowledged bytes.
    pub progress: Arc<Progress>,
}

/// See the module.
#[derive(Debug)]
pub struct Uploader {
    config: Arc<UploaderConfig>,
    slots: Arc<Semaphore>,
}

/// A slot is one KiB, so that a part of any size takes its share.
const SLOT_BYTES: usize = 1 << 10;

impl Uploader {
    /// An uploader with all its slots free.
    pub fn new(config: UploaderConfig) -> Self {
        Self { config: Arc::new(config), slots: Arc::new(Semaphore::new(IN_FLIGHT_BYTES / SLOT_BYTES)) }
    }
}

impl Actor for Uploader {
    type Context = Context<Self>;
}

impl Handler<SegmentSealed> for Uploader {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, sealed: SegmentSealed, _: &mut Self::Context) -> Self::Result {
        let (config, slots) = (self.config.clone(), self.slots.clone());
        Box::pin(async move {
            let share = sealed.body.len().min(IN_FLIGHT_BYTES).div_ceil(SLOT_BYTES) as u32;
            let slot = slots.acquire_many_owned(share).await.map_err(|_| Stopped)?;
            actix::spawn(async move {
                // A failure is reported inside; the encryptor learns of it when the pipeline comes down.
                let _ = send(&config, sealed).await;
                drop(slot);
            });
            Ok(())
        })
    }
}

async fn send(config: &UploaderConfig, sealed: SegmentSealed) -> Reply {
    let SegmentSealed { segment, body, recorded, last } = sealed;
    let part = Part { number: segment.number, offset: segment.offset, body, sha256: segment.sha256 };
    let sent = config.store.put_part(&config.upload, &part).await;
    let receipt = sent.map_err(|error| config.failures.report(error))?;
    drop(part);
    config.progress.stored_bytes.add(segment.bytes);
    config.next.send(PartUploaded { segment, receipt, recorded, last }).await.map_err(|_| Stopped)?
}
