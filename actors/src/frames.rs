//! The tar stream, cut into frames as it is written.

use intellistor_storage::archive::FRAME_BYTES;
use intellistor_storage::manifest::{Entry, Problem};

use crate::link::Link;
use crate::messages::{FrameArchived, Recorded, Reply};
use crate::tar_header::{BLOCK_BYTES, END_MARKER};

/// Fills frames and hands over each one that is full. What is recorded travels with the frame that holds the
/// last byte written before.
#[derive(Debug)]
pub(crate) struct Frames {
    next: Link<FrameArchived>,
    seq: u64,
    frame: Vec<u8>,
    filled: usize,
    position: u64,
    recorded: Recorded,
}

impl Frames {
    /// An empty stream.
    pub(crate) fn new(next: Link<FrameArchived>) -> Self {
        Self { next, seq: 0, frame: Vec::new(), filled: 0, position: 0, recorded: Recorded::default() }
    }

    /// Where the next byte goes in the tar stream.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Room for at least one byte, to be read into; say with [`advance`](Self::advance) how much was.
    pub(crate) fn room(&mut self) -> Result<&mut [u8], crate::messages::Stopped> {
        if self.filled == FRAME_BYTES {
            self.hand_over(false)?;
        }
        self.frame.resize(FRAME_BYTES, 0);
        Ok(&mut self.frame[self.filled..])
    }

    /// Counts `bytes` of the room as written, and shows them.
    pub(crate) fn advance(&mut self, bytes: usize) -> &[u8] {
        let from = self.filled;
        self.filled += bytes;
        self.position += bytes as u64;
        &self.frame[from..self.filled]
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Reply {
        while !bytes.is_empty() {
            let room = self.room()?;
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.advance(n);
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Writes zeros.
    pub(crate) fn write_zeros(&mut self, mut bytes: u64) -> Reply {
        while bytes > 0 {
            let room = self.room()?;
            let n = (room.len() as u64).min(bytes) as usize;
            room[..n].fill(0);
            self.advance(n);
            bytes -= n as u64;
        }
        Ok(())
    }

    /// Fills up the last block of an entry.
    pub(crate) fn pad(&mut self) -> Reply {
        self.write_zeros(self.position.next_multiple_of(BLOCK_BYTES) - self.position)
    }

    /// Records an entry that is complete.
    pub(crate) fn record(&mut self, entry: Entry) {
        self.recorded.entries.push(entry);
    }

    /// Records an entry that was skipped or changed.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.recorded.problems.push(problem);
    }

    /// Closes the stream with a frame that holds the end marker and nothing else; waits until all is taken over.
    pub(crate) fn close(&mut self) -> Reply {
        if self.filled > 0 {
            self.hand_over(false)?;
        }
        self.write(&END_MARKER)?;
        self.hand_over(true)?;
        self.next.flush()
    }

    fn hand_over(&mut self, last: bool) -> Reply {
        let mut tar = std::mem::take(&mut self.frame);
        tar.truncate(std::mem::take(&mut self.filled));
        let seq = self.seq;
        self.seq += 1;
        self.next.send(FrameArchived { seq, tar, recorded: std::mem::take(&mut self.recorded), last })
    }
}
