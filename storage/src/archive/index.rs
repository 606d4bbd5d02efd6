//! Random access into one archive: from a place in its tar stream to the frames that hold it.

use std::ops::Range;

use super::segment::SEGMENT_HEAD_BYTES;
use crate::archive::frame::MAX_SEALED_BYTES;
use crate::archive::header::Header;
use crate::archive::segment::SegmentRecord;
use crate::error::{Error, Result};
use crate::keys::cipher::TAG_BYTES;

/// Where one frame is, and what it takes to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// The archive's number in its [`ArchiveSet`](super::set::ArchiveSet).
    pub archive: u32,
    /// The segment's number.
    pub segment: u32,
    /// The frame's index in its segment.
    pub index: u32,
    /// Where its length field begins in the archive.
    pub offset: u64,
    /// Ciphertext and tag, in bytes.
    pub sealed_bytes: u32,
    /// Where its tar bytes begin in the tar stream.
    pub tar_offset: u64,
    /// How many tar bytes it holds.
    pub tar_bytes: u32,
    /// Whether it ends its segment.
    pub last_in_segment: bool,
    /// Whether it ends the archive.
    pub last_in_archive: bool,
}

impl FrameRef {
    /// The offset in the archive right after the frame's tag.
    pub fn end(&self) -> u64 {
        self.offset + 4 + u64::from(self.sealed_bytes)
    }
}

/// Every frame of an archive, by its place in the tar stream.
#[derive(Debug)]
pub(super) struct ArchiveIndex {
    salts: Vec<[u8; 32]>,
    frames: Vec<FrameRef>,
}

impl ArchiveIndex {
    /// Builds the index of the archive with a number and a header.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the records contradict themselves.
    pub(super) fn new(archive: u32, header: &Header, segments: &[SegmentRecord]) -> Result<Self> {
        let contradiction =
            |n: u32| Error::integrity("the manifest's segment table", format!("segment {n} does not add up"));
        let mut frames = Vec::with_capacity(segments.iter().map(|s| s.frames.len()).sum());
        let mut offset = 0u64;
        let mut tar_offset = 0u64;
        for (i, segment) in segments.iter().enumerate() {
            let number = i as u32 + 1;
            if segment.number != number || segment.offset != offset || segment.frames.is_empty() {
                return Err(contradiction(number));
            }
            let head = SEGMENT_HEAD_BYTES + if number == 1 { header.encoded().len() } else { 0 };
            offset += head as u64;
            for (index, frame) in segment.frames.iter().enumerate() {
                let last_in_segment = index + 1 == segment.frames.len();
                let sane = (TAG_BYTES..=MAX_SEALED_BYTES).contains(&(frame.sealed_bytes as usize))
                    && frame.tar_bytes as usize <= header.frame_bytes();
                if !sane {
                    return Err(contradiction(number));
                }
                let frame = FrameRef {
                    archive,
                    segment: number,
                    index: index as u32,
                    offset,
                    sealed_bytes: frame.sealed_bytes,
                    tar_offset,
                    tar_bytes: frame.tar_bytes,
                    last_in_segment,
                    last_in_archive: last_in_segment && i + 1 == segments.len(),
                };
                offset = frame.end();
                tar_offset += u64::from(frame.tar_bytes);
                // Padding holds nothing that anyone could look for.
                if frame.tar_bytes > 0 {
                    frames.push(frame);
                }
            }
            if segment.offset.checked_add(segment.bytes) != Some(offset) {
                return Err(contradiction(number));
            }
        }
        Ok(Self { salts: segments.iter().map(|s| s.salt).collect(), frames })
    }

    /// The frames that hold `length` bytes of the tar stream from `tar_offset`.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the archive ends before.
    pub(super) fn frames_holding(&self, tar_offset: u64, length: u64) -> Result<Range<usize>> {
        let end = tar_offset.checked_add(length).filter(|end| *end <= self.tar_bytes());
        let Some(end) = end else {
            return Err(Error::integrity(
                "the manifest",
                format!("an extent of {length} bytes at {tar_offset} is outside the archive"),
            ));
        };
        if length == 0 {
            return Ok(0..0);
        }
        let first = self.frames.partition_point(|f| f.tar_offset + u64::from(f.tar_bytes) <= tar_offset);
        let past = self.frames.partition_point(|f| f.tar_offset < end);
        Ok(first..past)
    }

    /// The frame with that index in the archive.
    pub(super) fn frame(&self, index: usize) -> FrameRef {
        self.frames[index]
    }

    /// How many frames the archive has.
    pub(super) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Size of the tar stream.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |f| f.tar_offset + u64::from(f.tar_bytes))
    }

    /// The salt of a segment; zeros for number 0, which the first segment names as the one before it.
    pub(super) fn salt(&self, segment: u32) -> Option<[u8; 32]> {
        match segment.checked_sub(1) {
            Some(at) => self.salts.get(at as usize).copied(),
            None => Some([0; 32]),
        }
    }
}
