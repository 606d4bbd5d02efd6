//! Compresses frames, one thread for each core.
//!
//! - **In:** [`FrameArchived`], in any order among the threads. **Out:** [`FrameCompressed`].
//! - **Bound:** each thread holds one frame and waits until the encryptor has taken it over before it answers,
//!   so all threads together hold at most the archiver's window.
//! - **Blocks:** on the processor, for which it has a thread for each core.
//! - **Survives a crash:** nothing, and nothing needs to.

use actix::prelude::*;
use intellistor_storage::archive::{Compression, FrameCompressor};
use intellistor_storage::memory::buffers::Buffer;

use crate::backup::archiver::frame::{FrameArchived, Recorded};
use crate::link::{Failures, Link, Reply};
use crate::threaded::{StageError, ThreadStage};

/// A frame as one gzip member. Arrives in any order.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FrameCompressed {
    /// Order in the archive.
    pub seq: u64,
    /// The gzip member; empty where there is no tar.
    pub gzip: Buffer,
    /// Size of what it holds.
    pub tar_bytes: u32,
    /// As in [`FrameArchived`].
    pub recorded: Recorded,
    /// As in [`FrameArchived`].
    pub last: bool,
}

/// One of the threads that compress.
#[derive(Debug)]
pub struct Compressor {
    coder: FrameCompressor,
    next: Link<FrameCompressed>,
}

impl Compressor {
    /// A compressor; every thread makes its own.
    pub fn new(compression: Compression, next: Recipient<FrameCompressed>) -> Self {
        Self { coder: FrameCompressor::new(compression), next: Link::new(next, 1) }
    }
}

impl ThreadStage for Compressor {
    type In = FrameArchived;
    const NAME: &'static str = "compressor";

    fn handle(&mut self, frame: FrameArchived, _: &Failures) -> Result<(), StageError> {
        let FrameArchived { seq, tar, recorded, last } = frame;
        // A frame that only records add up to has no member.
        let gzip = if tar.is_empty() { Buffer::default() } else { self.coder.compress(&tar) };
        let tar_bytes = tar.len() as u32;
        drop(tar);
        self.next.send(FrameCompressed { seq, gzip, tar_bytes, recorded, last })?;
        Ok(self.next.flush()?)
    }
}
