//! Puts compressed frames back in order and seals them into segments, and packs what ended in each.
//!
//! - **In:** [`FrameCompressed`], in any order. **Out:** [`SegmentSealed`], in order.
//! - **Bound:** a frame that came early waits for those before it; the archiver's window allows no more than
//!   its size of them. One segment is being built, and one more waits for the uploader (window 1): the
//!   uploader's slots are what bounds parts in memory.
//! - **Blocks:** on the processor (sealing runs at about memory speed, so one thread keeps up with the
//!   compressors of many cores), and on the uploader.
//! - **Survives a crash:** nothing. What was being built is built again, under another salt (nonce law).

use std::collections::BTreeMap;

use actix::prelude::*;
use intellistor_storage::Hashed;
use intellistor_storage::archive::{Sealed, SegmentRecord, SegmentSealer};
use intellistor_storage::manifest::{Listed, PartEntries, Problem};
use intellistor_storage::memory::packed::Packer;
use intellistor_storage::state::Cursor;

use crate::backup::archiver::frame::Recorded;
use crate::backup::compressor::FrameCompressed;
use crate::link::{Failures, Link, Reply};
use crate::threaded::{StageError, ThreadStage};

/// A part ready for the store.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct SegmentSealed {
    pub segment: SegmentRecord,
    /// The bytes; those of the first part begin with the archive's header.
    pub body: Hashed,
    /// What ended in it.
    pub listed: PartEntries,
    /// Where it ends in the walk.
    pub cursor: Cursor,
    /// Whether it closes the archive.
    pub last: bool,
}

/// The stage that puts compressed frames in order and seals them into segments, one for each part of the upload.
#[derive(Debug)]
pub struct Encryptor {
    sealer: SegmentSealer,
    next: Link<SegmentSealed>,
    early: BTreeMap<u64, FrameCompressed>,
    next_seq: u64,
    /// What ended in the segment that is being built.
    entries: Packer<Listed>,
    problems: Packer<Problem>,
    /// Where in the walk the last frame ends.
    cursor: Cursor,
    /// Whether the archive is closed and taken over.
    done: bool,
}

impl Encryptor {
    /// An encryptor at the beginning of an archive.
    pub fn new(sealer: SegmentSealer, next: Recipient<SegmentSealed>) -> Self {
        Self {
            sealer,
            next: Link::new(next, 1),
            early: BTreeMap::new(),
            next_seq: 0,
            entries: Packer::default(),
            problems: Packer::default(),
            cursor: Cursor::default(),
            done: false,
        }
    }

    fn seal(&mut self, frame: FrameCompressed) -> Result<(), StageError> {
        let has_tar = !frame.gzip.is_empty();
        if has_tar && let Some(full) = self.sealer.close_before(frame.gzip.len(), frame.last) {
            self.hand_over(full, false)?;
        }
        let Recorded { entries, problems, cursor } = frame.recorded;
        entries.iter().try_for_each(|entry| self.entries.push(entry))?;
        problems.iter().try_for_each(|problem| self.problems.push(problem))?;
        self.cursor = cursor;
        if !has_tar {
            // What it recorded goes with the part that comes next: the last frame has tar.
            return Ok(());
        }
        if let Some(sealed) = self.sealer.seal(&frame.gzip, frame.tar_bytes, frame.last)? {
            self.hand_over(sealed, frame.last)?;
        }
        if frame.last {
            self.next.flush()?;
            self.done = true;
        }
        Ok(())
    }

    /// Sends a segment with what ended in it.
    fn hand_over(&mut self, sealed: Sealed, last: bool) -> Result<(), StageError> {
        Ok(self.next.send(SegmentSealed {
            segment: sealed.record,
            body: sealed.body,
            listed: PartEntries {
                entries: std::mem::take(&mut self.entries).finish()?,
                problems: std::mem::take(&mut self.problems).finish()?,
            },
            cursor: self.cursor.clone(),
            last,
        })?)
    }
}

impl ThreadStage for Encryptor {
    type In = FrameCompressed;
    const NAME: &'static str = "encryptor";

    fn handle(&mut self, frame: FrameCompressed, _: &Failures) -> Result<(), StageError> {
        self.early.insert(frame.seq, frame);
        while let Some(frame) = self.early.remove(&self.next_seq) {
            self.next_seq += 1;
            self.seal(frame)?;
        }
        Ok(())
    }

    /// The compressors share the span: all that they have made is here.
    fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests;
