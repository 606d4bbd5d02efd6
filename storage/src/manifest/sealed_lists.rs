//! `entries.enc`: the lists of a manifest that shows none of them.
//!
//! An archive as any other, with the header of the backup's own, sealed under the key of [`DataKey::entries_key`]. What its
//! frames hold is the text of the three lists as it would be in the manifest, from the quote before `entries` to the last
//! bracket. The manifest has its size and SHA-256, and is authentic: nothing else can take its place.
//! On the machine that opens it the text is in a temporary file without a name, or in memory where it is small.

use std::io::{self, BufReader, Write};

use sha2::{Digest, Sha256};

use super::head::SealedListsRecord;
use super::refused::refused;
use crate::archive::header::Header;
use crate::archive::{ArchiveReader, Compression, FRAME_BYTES, FrameCompressor, Sealed, SegmentSealer};
use crate::disk::spool::Spool;
use crate::error::{Error, Result};
use crate::keys::data_key::DataKey;

/// A hundred million entries.
const MOST_TEXT_BYTES: u64 = 32 << 30;

/// Seals what is written to it.
pub(super) struct ListSealer {
    sealer: SegmentSealer,
    compressor: FrameCompressor,
    frame: Vec<u8>,
    out: Spool,
    sha256: Sha256,
    text_sha256: Sha256,
}

/// Sealed lists, and what is known of them.
#[derive(Debug)]
pub(super) struct SealedLists {
    pub(super) spool: Spool,
    pub(super) record: SealedListsRecord,
    /// SHA-256 of the text.
    pub(super) text_sha256: [u8; 32],
}

impl ListSealer {
    pub(super) fn new(header: &Header, data_key: &DataKey) -> Self {
        let key = data_key.entries_key(header.backup_id());
        Self {
            sealer: SegmentSealer::new(header.clone(), key),
            compressor: FrameCompressor::new(Compression::Fast),
            frame: Vec::with_capacity(FRAME_BYTES),
            out: Spool::default(),
            sha256: Sha256::new(),
            text_sha256: Sha256::new(),
        }
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        self.text_sha256.update(&self.frame);
        let gzip = self.compressor.compress(&self.frame);
        let sealed = self.sealer.seal(&gzip, self.frame.len() as u32, last).map_err(io::Error::other)?;
        self.frame.clear();
        if let Some(Sealed { body, .. }) = sealed {
            self.sha256.update(&body[..]);
            self.out.write_all(&body)?;
        }
        Ok(())
    }

    /// Seals the rest.
    pub(super) fn close(mut self, header: &Header) -> io::Result<SealedLists> {
        self.seal(true)?;
        self.out.flush()?;
        let (key, bytes) = (header.name().entries_key(), self.out.bytes());
        let record = SealedListsRecord { key, bytes, sha256: self.sha256.finalize().into() };
        Ok(SealedLists { spool: self.out, record, text_sha256: self.text_sha256.finalize().into() })
    }
}

impl Write for ListSealer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The last frame is sealed as such, so a full one waits for what comes after it.
        if self.frame.len() == FRAME_BYTES {
            self.seal(false)?;
        }
        let n = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks that these are the lists that an authentic manifest names.
///
/// # Errors
/// [`Error::Integrity`] when they are not; [`Error::Io`].
pub(super) fn check(sealed: &Spool, record: &SealedListsRecord) -> Result<()> {
    let mut sha256 = Sha256::new();
    if sealed.bytes() == record.bytes {
        let mut reader = BufReader::with_capacity(64 << 10, sealed.reader());
        io::copy(&mut reader, &mut DigestWriter(&mut sha256)).map_err(temporary)?;
    }
    if <[u8; 32]>::from(sha256.finalize()) == record.sha256 {
        return Ok(());
    }
    let reason = "its bytes are not those that the manifest names: it was altered, cut short, or exchanged";
    Err(Error::integrity(&record.key, reason))
}

/// The text of the lists, and its SHA-256.
///
/// # Errors
/// Those of [`ArchiveReader`].
pub(super) fn open(sealed: &Spool, header: &Header, data_key: &DataKey) -> Result<(Spool, [u8; 32])> {
    let source = BufReader::with_capacity(64 << 10, sealed.reader());
    let mut reader = ArchiveReader::open_with(source, &header.name(), |found| {
        let other = || refused("the header of its sealed lists is not that of the archive");
        if found == header { Ok(data_key.entries_key(header.backup_id())) } else { Err(other()) }
    })?;
    let (mut text, mut sha256) = (Spool::default(), Sha256::new());
    while let Some(frame) = reader.next_frame()? {
        sha256.update(&frame.tar);
        text.write_all(&frame.tar).map_err(temporary)?;
        if text.bytes() > MOST_TEXT_BYTES {
            return Err(refused(format!("its lists have more than {MOST_TEXT_BYTES} bytes")));
        }
    }
    // Lines end so; in a plain manifest more follows.
    text.write_all(b"\n").and_then(|()| text.flush()).map_err(temporary)?;
    Ok((text, sha256.finalize().into()))
}

struct DigestWriter<'d>(&'d mut Sha256);

impl Write for DigestWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}

#[cfg(test)]
mod tests;
