//! Reads an archive from its first byte to its last, with no manifest: every byte is checked, and the
//! segment table comes out at the end.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::header::PREFIX_BYTES;
use super::segment::{FramePlace, LAST_IN_SEGMENT, SEGMENT_HEAD_BYTES};
use crate::archive::frame::{MAX_SEALED_BYTES, inflate};
use crate::archive::header::Header;
use crate::archive::segment::{FrameRecord, SegmentRecord};
use crate::catalog::layout::BackupName;
use crate::error::{Error, Result};
use crate::keys::cipher::{Cipher, TAG_BYTES};
use crate::keys::data_key::DataKey;
use crate::keys::identity::Identity;

/// A frame that was opened.
#[derive(Debug)]
pub struct OpenedFrame {
    /// Its gzip member.
    pub gzip: Vec<u8>,
    /// The tar bytes within.
    pub tar: Vec<u8>,
}

/// A sequential reader.
pub struct ArchiveReader<R> {
    source: Checked<R>,
    header: Header,
    data_key: DataKey,
    previous_salt: [u8; 32],
    current: Option<Reading>,
    segments: Vec<SegmentRecord>,
    ended: bool,
}

struct Reading {
    cipher: Cipher,
    salt: [u8; 32],
    frames: Vec<FrameRecord>,
}

/// Counts and hashes what passes, and can tell whether more follows.
struct Checked<R> {
    source: R,
    ahead: Option<u8>,
    position: u64,
    segment_start: u64,
    digest: Sha256,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header, checks that it is that of `name`, and opens the data key.
    ///
    /// # Errors
    /// [`Error::OtherBackup`] when it is another backup's archive; those of [`Header`] and of [`Identity::unwrap`], and
    /// [`Error::Io`] from `source`.
    pub fn open(source: R, name: &BackupName, identity: &Identity) -> Result<Self> {
        Self::open_with(source, name, |header| identity.unwrap(header.keys(), header.backup_id()))
    }

    /// As [`open`](Self::open), with the data key that `unwrap` finds for the header.
    pub(crate) fn open_with(
        source: R,
        name: &BackupName,
        unwrap: impl FnOnce(&Header) -> Result<DataKey>,
    ) -> Result<Self> {
        let mut source =
            Checked { source, ahead: None, position: 0, segment_start: 0, digest: Sha256::new() };
        let mut encoded = vec![0; PREFIX_BYTES];
        source.read_all(&mut encoded)?;
        let prefix = encoded.first_chunk().expect("the buffer has the prefix's length");
        encoded.resize(Header::length(prefix)?, 0);
        source.read_all(&mut encoded[PREFIX_BYTES..])?;
        let header = Header::of(name, "the archive", &encoded)?;
        let data_key = unwrap(&header)?;
        Ok(Self {
            source,
            header,
            data_key,
            previous_salt: [0; 32],
            current: None,
            segments: Vec::new(),
            ended: false,
        })
    }

    /// The archive's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The segments read so far; all of them once [`next_frame`](Self::next_frame) gave `None`.
    pub fn segments(&self) -> &[SegmentRecord] {
        &self.segments
    }

    /// The next frame that holds tar bytes, or `None` after the one that closes the archive. Padding is checked, and passed
    /// over.
    ///
    /// # Errors
    /// [`Error::Integrity`] at the first byte that is not as it was sealed, at a cut, and at bytes after the end.
    pub fn next_frame(&mut self) -> Result<Option<OpenedFrame>> {
        loop {
            match self.any_frame()? {
                Some(frame) if frame.tar.is_empty() => {}
                frame => return Ok(frame),
            }
        }
    }

    fn any_frame(&mut self) -> Result<Option<OpenedFrame>> {
        if self.ended {
            return Ok(None);
        }
        let number = self.segments.len() as u32 + 1;
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin_segment(number)?,
        };

        let mut field = [0; 4];
        let offset = self.source.position;
        self.source.read_all(&mut field)?;
        let field = u32::from_be_bytes(field);
        let sealed_bytes = (field & !LAST_IN_SEGMENT) as usize;
        let index = current.frames.len() as u32;
        let damaged = |reason: &str| {
            Error::integrity(format!("segment {number}, frame {index} (archive byte {offset})"), reason)
        };
        if !(TAG_BYTES..=MAX_SEALED_BYTES).contains(&sealed_bytes) {
            return Err(damaged("its length field was altered"));
        }
        let mut sealed = vec![0; sealed_bytes];
        self.source.read_all(&mut sealed)?;
        let last_in_segment = field & LAST_IN_SEGMENT != 0;
        // The archive ends where its bytes end; the frame's own tag says whether that is true.
        let last_in_archive = last_in_segment && !self.source.more()?;
        let place = FramePlace {
            header_digest: self.header.digest(),
            previous_salt: &self.previous_salt,
            segment: number,
            index,
            last_in_segment,
            last_in_archive,
        };
        let mut gzip = Vec::new();
        if place.open(&current.cipher, &sealed, &mut gzip).is_none() {
            return Err(damaged(if last_in_archive {
                "the archive was cut off after it, or its bytes are not the ones that were sealed"
            } else {
                "its bytes are not the ones that were sealed"
            }));
        }
        let tar = inflate(&gzip, self.header.frame_bytes()).map_err(|reason| damaged(&reason))?;
        current.frames.push(FrameRecord { sealed_bytes: sealed_bytes as u32, tar_bytes: tar.len() as u32 });
        if last_in_segment {
            self.previous_salt = current.salt;
            self.segments.push(self.source.end_segment(number, current));
        } else {
            self.current = Some(current);
        }
        self.ended = last_in_archive;
        Ok(Some(OpenedFrame { gzip, tar }))
    }

    fn begin_segment(&mut self, number: u32) -> Result<Reading> {
        let mut head = [0; SEGMENT_HEAD_BYTES];
        let offset = self.source.position;
        self.source.read_all(&mut head)?;
        let (found, salt) = head.split_first_chunk::<4>().expect("the head is longer than its number");
        let found = u32::from_be_bytes(*found);
        if found != number {
            return Err(Error::integrity(
                format!("segment {number} (archive byte {offset})"),
                format!("segment {found} is in its place"),
            ));
        }
        let salt = <[u8; 32]>::try_from(salt).expect("the head is number and salt");
        let cipher = self.data_key.segment_cipher(&salt, self.header.backup_id(), number);
        Ok(Reading { cipher, salt, frames: Vec::new() })
    }
}

impl<R: Read> Checked<R> {
    fn read_all(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut rest = &mut buffer[..];
        if let (Some(byte), false) = (self.ahead, rest.is_empty()) {
            rest[0] = byte;
            self.ahead = None;
            rest = &mut rest[1..];
        }
        let cut = Error::integrity(
            format!("the archive, after byte {}", self.position),
            "it ends in the middle of a segment: it is cut short",
        );
        self.source.read_exact(rest).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => cut,
            _ => into_error(e),
        })?;
        self.position += buffer.len() as u64;
        self.digest.update(&buffer);
        Ok(())
    }

    fn more(&mut self) -> Result<bool> {
        if self.ahead.is_none() {
            let mut byte = [0];
            match self.source.read_exact(&mut byte) {
                Ok(()) => self.ahead = Some(byte[0]),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(into_error(e)),
            }
        }
        Ok(true)
    }

    fn end_segment(&mut self, number: u32, read: Reading) -> SegmentRecord {
        let offset = std::mem::replace(&mut self.segment_start, self.position);
        SegmentRecord {
            number,
            offset,
            bytes: self.position - offset,
            salt: read.salt,
            sha256: std::mem::take(&mut self.digest).finalize().into(),
            frames: read.frames,
        }
    }
}

/// A store's error travels through [`Read`] inside an [`io::Error`]; take it out again.
fn into_error(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(error) => error,
        Err(e) => Error::io("read", "the archive")(e),
    }
}

impl<R> std::fmt::Debug for ArchiveReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveReader").field("header", &self.header).finish_non_exhaustive()
    }
}
