//! Compares the segments of an archive with their digests while its parts pass in order.

use intellistor_storage::archive::SegmentRecord;
use intellistor_storage::{Error as Storage, Hashed};
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::operations::archive_copy::layout::PlannedPart;

/// Takes parts in their order. Segments that were left out are those that were compared before.
pub(super) struct SegmentCheck<'a> {
    segments: &'a [&'a SegmentRecord],
    /// Where parts are no segments: the one that is being read, its digest so far, and how much of it has passed.
    at: usize,
    digest: Sha256,
    passed: u64,
}

impl<'a> SegmentCheck<'a> {
    pub(super) fn new(segments: &'a [&'a SegmentRecord]) -> Self {
        Self { segments, at: 0, digest: Sha256::new(), passed: 0 }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// `Integrity` when a segment that ends in it is not as it was sealed.
    pub(super) fn take(&mut self, part: &PlannedPart, body: &Hashed) -> Result<()> {
        match part.sha256 {
            Some(sealed) if sealed == body.sha256() => Ok(()),
            Some(_) => Err(not_as_sealed(part.number, part.offset)),
            None => self.take_bytes(body),
        }
    }

    fn take_bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(segment) = self.segments.get(self.at).filter(|_| !bytes.is_empty()) {
            let left = segment.bytes - self.passed;
            let (own, others) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.digest.update(own);
            self.passed += own.len() as u64;
            bytes = others;
            if self.passed == segment.bytes {
                if self.digest.finalize_reset()[..] != segment.sha256 {
                    return Err(not_as_sealed(segment.number, segment.offset));
                }
                (self.at, self.passed) = (self.at + 1, 0);
            }
        }
        Ok(())
    }
}

fn not_as_sealed(number: u32, offset: u64) -> crate::error::Error {
    let reason = "the store returned other bytes than were sealed";
    Storage::integrity(format!("segment {number}, at byte {offset},"), reason).into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn segments(bodies: &[&[u8]]) -> Vec<SegmentRecord> {
        let mut offset = 0;
        let record = |(at, body): (usize, &&[u8])| {
            let (number, bytes, sha256) = (at as u32 + 1, body.len() as u64, Sha256::digest(body).into());
            let record = SegmentRecord { number, offset, bytes, salt: [0; 32], sha256, frames: Vec::new() };
            offset += bytes;
            record
        };
        bodies.iter().enumerate().map(record).collect()
    }

    /// Passes the bytes in parts of this size; the error, if there is one.
    fn pass(records: &[SegmentRecord], bytes: &[u8], size: usize) -> Option<String> {
        let records: Vec<_> = records.iter().collect();
        let mut check = SegmentCheck::new(&records);
        bytes.chunks(size).zip(1..).find_map(|(chunk, number)| {
            let part = PlannedPart { number, offset: 0, bytes: chunk.len() as u64, sha256: None };
            check
                .take(&part, &Hashed::new(Bytes::copy_from_slice(chunk)))
                .err()
                .map(|error| error.to_string())
        })
    }

    #[test]
    fn whatever_the_parts_are_every_segment_is_compared() {
        let records = segments(&[b"the first", b"2", b"the third, longer", b"last"]);
        let whole = *b"the first2the third, longerlast";
        for size in 1..=whole.len() {
            assert_eq!(pass(&records, &whole, size), None, "{size}");
            for (at, named) in [(0, "segment 1"), (9, "segment 2"), (20, "segment 3"), (30, "segment 4")] {
                let mut flipped = whole;
                flipped[at] ^= 1;
                let message = pass(&records, &flipped, size).unwrap();
                assert!(message.contains(named), "{size}: {message}");
            }
        }
    }
}
