//! Random access: from a place in the tar stream to the frames that hold it, and into them.

use std::ops::Range;
use std::sync::Arc;

use super::frame::Inflater;
use super::segment::{FramePlace, LAST_IN_SEGMENT, SEGMENT_HEAD_BYTES};
use crate::archive::frame::MAX_SEALED_BYTES;
use crate::archive::header::Header;
use crate::archive::segment::SegmentRecord;
use crate::error::{Error, Result};
use crate::keys::cipher::TAG_BYTES;
use crate::keys::data_key::DataKey;
use crate::memory::buffers::{Buffer, Buffers};

/// Where one frame lies, and what it takes to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
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

    fn describe(&self) -> String {
        format!("segment {}, frame {} (archive byte {})", self.segment, self.index, self.offset)
    }
}

/// Every frame of an archive, by its place in the tar stream.
#[derive(Debug)]
pub struct ArchiveIndex {
    header: Header,
    salts: Vec<[u8; 32]>,
    frames: Vec<FrameRef>,
}

impl ArchiveIndex {
    /// Builds the index from what a verified manifest says of the archive.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the records contradict themselves.
    pub fn new(header: Header, segments: &[SegmentRecord]) -> Result<Self> {
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
        Ok(Self { header, salts: segments.iter().map(|s| s.salt).collect(), frames })
    }

    /// The frames that hold `length` bytes of the tar stream from `tar_offset`.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the archive ends before.
    pub fn frames_holding(&self, tar_offset: u64, length: u64) -> Result<Range<usize>> {
        let end = tar_offset.checked_add(length).filter(|end| *end <= self.tar_bytes());
        let Some(end) = end else {
            return Err(Error::integrity(
                "the manifest",
                format!("an extent of {length} bytes at {tar_offset} lies outside the archive"),
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
    pub fn frame(&self, index: usize) -> FrameRef {
        self.frames[index]
    }

    /// How many frames the archive has.
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Size of the tar stream.
    pub fn tar_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |f| f.tar_offset + u64::from(f.tar_bytes))
    }

    /// The archive's header.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// Opens frames in any order. Cheap to clone: one for each thread.
#[derive(Debug, Clone)]
pub struct Opener {
    index: Arc<ArchiveIndex>,
    data_key: DataKey,
    inflater: Inflater,
    gzip: Vec<u8>,
    buffers: Buffers,
}

impl Opener {
    /// An opener for the frames of `index`.
    pub fn new(index: Arc<ArchiveIndex>, data_key: DataKey) -> Self {
        Self { index, data_key, inflater: Inflater::default(), gzip: Vec::new(), buffers: Buffers::default() }
    }

    /// The tar bytes of `frame`, given its length field, ciphertext and tag.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the bytes are not exactly those that were sealed there.
    pub fn open(&mut self, frame: &FrameRef, framed: &[u8]) -> Result<Buffer> {
        let damaged = |reason: &str| Error::integrity(frame.describe(), reason);
        let flag = if frame.last_in_segment { LAST_IN_SEGMENT } else { 0 };
        let Some((length, sealed)) = framed.split_first_chunk::<4>() else {
            return Err(damaged("the archive is cut short here"));
        };
        if sealed.len() != frame.sealed_bytes as usize {
            return Err(damaged("the archive is cut short here"));
        }
        if u32::from_be_bytes(*length) != frame.sealed_bytes | flag {
            return Err(damaged("its length field was altered"));
        }
        let salt = |number: u32| self.index.salts.get(number as usize).copied();
        let place = FramePlace {
            header_digest: self.index.header.digest(),
            previous_salt: &frame.segment.checked_sub(2).and_then(salt).unwrap_or_default(),
            segment: frame.segment,
            index: frame.index,
            last_in_segment: frame.last_in_segment,
            last_in_archive: frame.last_in_archive,
        };
        let own_salt =
            frame.segment.checked_sub(1).and_then(salt).ok_or_else(|| damaged("no such segment"))?;
        let cipher = self.data_key.segment_cipher(&own_salt, self.index.header.backup_id(), frame.segment);
        let gzip = place
            .open(&cipher, sealed, &mut self.gzip)
            .ok_or_else(|| damaged("its bytes are not the ones that were sealed"))?;
        let mut tar = self.buffers.take();
        let most = self.index.header.frame_bytes();
        self.inflater.inflate(gzip, most, &mut tar).map_err(|reason| damaged(&reason))?;
        if tar.len() != frame.tar_bytes as usize {
            return Err(damaged("it holds another number of bytes than the manifest says"));
        }
        Ok(tar)
    }
}
