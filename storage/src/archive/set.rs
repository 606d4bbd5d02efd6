//! The archives that the entries of one manifest point into.
//!
//! An extent names its archive by number. All frames of the set are numbered through, archive after archive, so that a
//! range of numbers within one archive is a range of bytes in one object.

use std::io::Read;
use std::ops::Range;

use super::header::Header;
use super::index::{ArchiveIndex, FrameRef};
use super::reader::ArchiveReader;
use super::segment::SegmentRecord;
use crate::error::{Error, Result};
use crate::keys::data_key::DataKey;

/// Archives with their keys, by number.
#[derive(Debug, Default)]
pub struct ArchiveSet(Vec<Archive>);

#[derive(Debug)]
pub(crate) struct Archive {
    /// In the store.
    pub(super) key: String,
    pub(crate) header: Header,
    pub(crate) data_key: DataKey,
    pub(super) index: ArchiveIndex,
    /// The number of its first frame in the set.
    first_frame: usize,
}

impl ArchiveSet {
    /// Adds an archive under the next number, from what a verified manifest says of it.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the segments contradict themselves.
    pub fn add(
        &mut self,
        key: String,
        header: Header,
        data_key: DataKey,
        segments: &[SegmentRecord],
    ) -> Result<()> {
        let index = ArchiveIndex::new(self.0.len() as u32, &header, segments)?;
        self.0.push(Archive { key, first_frame: self.frame_count(), header, data_key, index });
        Ok(())
    }

    /// The numbers of the archives.
    pub fn numbers(&self) -> Range<u32> {
        0..self.0.len() as u32
    }

    pub(crate) fn archive(&self, number: u32) -> Result<&Archive> {
        let reason = || format!("an extent is in archive {number}, which this backup does not name");
        self.0.get(number as usize).ok_or_else(|| Error::integrity("the manifest", reason()))
    }

    /// The key of an archive in the store.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the set has no such archive.
    pub fn key(&self, archive: u32) -> Result<&str> {
        Ok(&self.archive(archive)?.key)
    }

    /// The frames that hold `length` bytes of an archive's tar stream from `tar_offset`.
    ///
    /// # Errors
    /// [`Error::Integrity`] when the set has no such archive, or the archive ends before.
    pub fn frames_holding(&self, archive: u32, tar_offset: u64, length: u64) -> Result<Range<usize>> {
        let Archive { index, first_frame, .. } = self.archive(archive)?;
        let Range { start, end } = index.frames_holding(tar_offset, length)?;
        Ok(first_frame + start..first_frame + end)
    }

    /// The frame with that number in the set.
    ///
    /// # Panics
    /// When the number is not below [`frame_count`](Self::frame_count).
    pub fn frame(&self, number: usize) -> FrameRef {
        let archive = self.0.partition_point(|archive| archive.first_frame <= number) - 1;
        let Archive { index, first_frame, .. } = &self.0[archive];
        index.frame(number - first_frame)
    }

    /// How many frames with content there are.
    pub fn frame_count(&self) -> usize {
        self.0.last().map_or(0, |archive| archive.first_frame + archive.index.frame_count())
    }

    /// Reads an archive from its first byte to its last.
    ///
    /// # Errors
    /// [`Error::OtherBackup`] and [`Error::Integrity`] when its header is not the one that the manifest states;
    /// [`Error::Io`] from `source`.
    pub fn reader<R: Read>(&self, archive: u32, source: R) -> Result<ArchiveReader<R>> {
        let Archive { header, data_key, .. } = self.archive(archive)?;
        ArchiveReader::open_with(source, &header.name(), |found| {
            let reason = "the archive's header differs from the manifest's";
            if found == header { Ok(data_key.clone()) } else { Err(Error::integrity("the backup", reason)) }
        })
    }
}
