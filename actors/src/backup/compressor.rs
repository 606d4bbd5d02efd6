//! Compresses frames, one thread for each core.
//!
//! - **In:** [`FrameArchived`], in any order among the threads. **Out:** [`FrameCompressed`].
//! - **Bound:** each thread holds one frame and waits until the encryptor has taken it over before it answers,
//!   so all threads together hold at most the archiver's window.
//! - **Blocks:** on the processor; that is why it lives on a `SyncArbiter`.
//! - **Survives a crash:** nothing, and nothing needs to.

use actix::prelude::*;
use intellistor_storage::archive::{Compression, FrameCompressor};
use intellistor_storage::memory::buffers::Buffer;

use crate::backup::archiver::frame::{FrameArchived, Recorded};
use crate::link::{Failures, Link, Reply};

/// A frame as one gzip member. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FrameCompressed {
    /// Order in the archive.
    pub seq: u64,
    /// The gzip member.
    pub gzip: Buffer,
    /// Size of what it holds.
    pub tar_bytes: u32,
    /// As in [`FrameArchived`].
    pub recorded: Recorded,
    /// As in [`FrameArchived`].
    pub last: bool,
}

/// What a compressor needs.
#[derive(Debug, Clone)]
pub struct CompressorConfig {
    /// How hard to try.
    pub compression: Compression,
    /// The encryptor.
    pub next: Recipient<FrameCompressed>,
    /// Where to report.
    pub failures: Failures,
}

/// One of the threads.
#[derive(Debug)]
pub struct Compressor {
    coder: FrameCompressor,
    next: Link<FrameCompressed>,
    failures: Failures,
}

impl Compressor {
    /// A compressor; every thread makes its own.
    pub fn new(config: CompressorConfig) -> Self {
        Self {
            coder: FrameCompressor::new(config.compression),
            next: Link::new(config.next, 1),
            failures: config.failures,
        }
    }
}

impl Actor for Compressor {
    type Context = SyncContext<Self>;
}

impl Handler<FrameArchived> for Compressor {
    type Result = Reply;

    fn handle(&mut self, frame: FrameArchived, _: &mut Self::Context) -> Reply {
        let Self { coder, next, failures } = self;
        failures.guard("compressor", || {
            let FrameArchived { seq, tar, recorded, last } = frame;
            let gzip = coder.compress(&tar);
            let tar_bytes = tar.len() as u32;
            drop(tar);
            Ok(next
                .send(FrameCompressed { seq, gzip, tar_bytes, recorded, last })
                .and_then(|()| next.flush()))
        })
    }
}
