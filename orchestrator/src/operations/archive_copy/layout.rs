//! The parts in which an archive is sent to another store.

use intellistor_storage::archive::{SegmentRecord, equal_part_bytes};
use intellistor_storage::objects::{PartLimits, PartReceipt};

use crate::error::{Error, Result};

/// A segment up to this size is a part wherever it may be one. Larger ones, of archives of more than 100 GiB, are cut for a
/// store that takes parts of any size: each part is in memory as a whole.
const MOST_BYTES: u64 = 40 << 20;
/// Of the parts into which they are cut.
const CUT_BYTES: u64 = 16 << 20;

/// A part as it is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlannedPart {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Where the part is a segment.
    pub(super) sha256: Option<[u8; 32]>,
}

impl PlannedPart {
    /// Whether a part that a store holds can be this one.
    pub(super) fn agrees(&self, held: &PartReceipt) -> bool {
        let is_other = matches!((self.sha256, held.sha256), (Some(planned), Some(held)) if planned != held);
        held.number == self.number && held.bytes == self.bytes && !is_other
    }
}

/// Each segment as a part.
pub(super) fn of_segments(segments: &[&SegmentRecord]) -> Vec<PlannedPart> {
    let part = |segment: &&SegmentRecord| PlannedPart {
        number: segment.number,
        offset: segment.offset,
        bytes: segment.bytes,
        sha256: Some(segment.sha256),
    };
    segments.iter().map(part).collect()
}

/// The parts of an archive for a store with these limits: its segments, or, where the store does not take those, equal pieces.
///
/// # Errors
/// `TooLarge` where no parts are within the limits.
pub(super) fn layout(segments: &[&SegmentRecord], limits: &PartLimits) -> Result<Vec<PlannedPart>> {
    let parts = of_segments(segments);
    let takes_any = *limits == PartLimits::NONE;
    let is_large = parts.iter().any(|part| part.bytes > MOST_BYTES);
    if are_within(&parts, limits) && !(takes_any && is_large) {
        return Ok(parts);
    }
    let total = parts.iter().map(|part| part.bytes).sum();
    let each = if takes_any { CUT_BYTES } else { equal_part_bytes(total).max(limits.min_bytes) };
    let cut = (0..total).step_by(each as usize).zip(1..).map(|(offset, number)| PlannedPart {
        number,
        offset,
        bytes: each.min(total - offset),
        sha256: None,
    });
    let cut: Vec<_> = cut.collect();
    if !are_within(&cut, limits) {
        let PartLimits { max_bytes, max_parts, .. } = limits;
        return Err(Error::Storage(intellistor_storage::Error::TooLarge(format!(
            "the store takes at most {max_parts} parts of {max_bytes} bytes, and the archive has {total} bytes"
        ))));
    }
    Ok(cut)
}

fn are_within(parts: &[PlannedPart], limits: &PartLimits) -> bool {
    let PartLimits { min_bytes, max_bytes, max_parts, equal } = *limits;
    let Some((last, others)) = parts.split_last() else { return true };
    let first = others.first().map_or(last.bytes, |first| first.bytes);
    parts.len() <= max_parts as usize
        && parts.iter().all(|part| part.bytes <= max_bytes)
        && others.iter().all(|part| part.bytes >= min_bytes && (!equal || part.bytes == first))
        && (!equal || last.bytes <= first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const S3: PartLimits =
        PartLimits { min_bytes: 5 * MIB, max_bytes: 5 << 30, max_parts: 10_000, equal: false };

    fn segments(sizes: &[u64]) -> Vec<SegmentRecord> {
        let mut offset = 0;
        let record = |(at, bytes): (usize, &u64)| {
            let (number, sha256) = (at as u32 + 1, [at as u8; 32]);
            let record =
                SegmentRecord { number, offset, bytes: *bytes, salt: [0; 32], sha256, frames: Vec::new() };
            offset += bytes;
            record
        };
        sizes.iter().enumerate().map(record).collect()
    }

    fn planned(sizes: &[u64], limits: &PartLimits) -> Vec<PlannedPart> {
        let segments = segments(sizes);
        let planned = layout(&segments.iter().collect::<Vec<_>>(), limits).unwrap();
        // Gap-free, from the first byte to the last.
        let mut end = 0;
        for (part, number) in planned.iter().zip(1..) {
            assert_eq!((part.number, part.offset), (number, end), "{planned:?}");
            end += part.bytes;
        }
        assert_eq!(end, sizes.iter().sum::<u64>());
        planned
    }

    #[test]
    fn segments_are_the_parts_wherever_they_may_be() {
        let usual = [8 * MIB + 17, 8 * MIB + 3, 100];
        for limits in [S3, PartLimits::NONE] {
            let parts = planned(&usual, &limits);
            assert_eq!(parts.iter().map(|part| part.bytes).collect::<Vec<_>>(), usual);
            assert!(parts.iter().all(|part| part.sha256.is_some()));
        }
        let equal = PartLimits { equal: true, ..S3 };
        assert!(planned(&[9 * MIB, 9 * MIB, 1], &equal).iter().all(|part| part.sha256.is_some()));
        assert!(
            planned(&[17], &equal).iter().all(|part| part.sha256.is_some()),
            "a single part is equal to itself"
        );
    }

    #[test]
    fn where_parts_must_be_equal_unequal_segments_are_cut_anew() {
        let equal = PartLimits { equal: true, ..S3 };
        for sizes in [&[8 * MIB + 17, 8 * MIB + 3, 100][..], &[8 * MIB, 9 * MIB]] {
            let parts = planned(sizes, &equal);
            let (last, others) = parts.split_last().unwrap();
            assert!(others.iter().all(|part| part.bytes == 8 * MIB) && last.bytes <= 8 * MIB, "{parts:?}");
            assert!(parts.iter().all(|part| part.sha256.is_none()));
        }
    }

    #[test]
    fn large_segments_are_cut_where_any_part_is_taken() {
        let large = [8 * MIB, 100 * MIB, 3];
        assert!(planned(&large, &PartLimits::NONE).iter().all(|part| part.bytes <= CUT_BYTES));
        assert_eq!(planned(&large, &S3).len(), 3, "S3 takes no more than 10,000 parts");
    }

    #[test]
    fn what_no_parts_can_hold_is_refused() {
        let records = segments(&[8 * MIB, 8 * MIB, 8 * MIB]);
        let tiny = PartLimits { max_parts: 2, ..S3 };
        let refused = layout(&records.iter().collect::<Vec<_>>(), &tiny).unwrap_err().to_string();
        assert!(refused.contains("at most 2 parts"), "{refused}");
    }
}
