//! Opens single frames, in any order.

use std::sync::Arc;

use super::frame::Inflater;
use super::index::FrameRef;
use super::segment::{FramePlace, LAST_IN_SEGMENT};
use super::set::{Archive, ArchiveSet};
use crate::error::{Error, Result};
use crate::memory::buffers::{Buffer, Buffers};

/// Opens the frames of a set in any order. Cheap to clone: one for each thread.
#[derive(Debug, Clone)]
pub struct Opener {
    archives: Arc<ArchiveSet>,
    inflater: Inflater,
    gzip: Vec<u8>,
    buffers: Buffers,
}

impl Opener {
    /// An opener for the frames of `archives`.
    pub fn new(archives: Arc<ArchiveSet>) -> Self {
        Self { archives, inflater: Inflater::default(), gzip: Vec::new(), buffers: Buffers::default() }
    }

    /// The tar bytes of `frame`, given its length field, ciphertext and tag.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the bytes are not exactly those that were sealed there.
    pub fn open(&mut self, frame: &FrameRef, framed: &[u8]) -> Result<Buffer> {
        let Archive { key, header, data_key, index, .. } = self.archives.archive(frame.archive)?;
        let damaged = |reason: &str| Error::integrity(describe(frame, key), reason);
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
        let salt = |number: Option<u32>| {
            number.and_then(|number| index.salt(number)).ok_or_else(|| damaged("no such segment"))
        };
        let place = FramePlace {
            header_digest: header.digest(),
            previous_salt: &salt(frame.segment.checked_sub(1))?,
            segment: frame.segment,
            index: frame.index,
            last_in_segment: frame.last_in_segment,
            last_in_archive: frame.last_in_archive,
        };
        let cipher = data_key.segment_cipher(&salt(Some(frame.segment))?, header.backup_id(), frame.segment);
        let gzip = place
            .open(&cipher, sealed, &mut self.gzip)
            .ok_or_else(|| damaged("its bytes are not the ones that were sealed"))?;
        let mut tar = self.buffers.take();
        self.inflater.inflate(gzip, header.frame_bytes(), &mut tar).map_err(|reason| damaged(&reason))?;
        if tar.len() != frame.tar_bytes as usize {
            return Err(damaged("it contains a different number of bytes than the manifest says"));
        }
        Ok(tar)
    }
}

/// A frame of an earlier backup's archive is named with its key.
fn describe(frame: &FrameRef, key: &str) -> String {
    let FrameRef { archive, segment, index, offset, .. } = frame;
    match archive {
        0 => format!("segment {segment}, frame {index} (archive byte {offset})"),
        _ => format!("segment {segment}, frame {index} (byte {offset}) of {key}"),
    }
}
