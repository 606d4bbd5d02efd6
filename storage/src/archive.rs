//! `backup.tar.gz.enc`, version 1. `docs/FORMAT.md` describes the same bytes for other programs.
//!
//! ```text
//! archive := header || segment+
//! header  := "ISBK" || version:u8 = 1 || length:u32be || body (JSON, `length` bytes)
//! segment := number:u32be || salt:32 || frame+
//! frame   := length:u32be || ciphertext || tag:16
//! ```
//! A segment is one part of the store's multipart upload: number 1 and the header go together in the
//! first part. A frame's plaintext is one gzip member that holds at most [`FRAME_BYTES`] of a pax tar.
//! The top bit of a frame's `length` marks the last frame of its segment; the other bits count
//! ciphertext and tag. The last frame of the archive holds the tar end marker and nothing else.
//!
//! Sealing, for the frame with index `f` (from 0) of segment `n` (from 1):
//!
//! ```text
//! segment key     = HKDF-SHA256(ikm = data key, salt = segment's salt,
//!                               info = "intellistor/v1/segment" || backup_id || n:u32be)
//! nonce           = 0:u64be || f:u32be
//! associated data = SHA-256(header) || salt of segment n-1 (32 zeros for n = 1)
//!                   || n:u32be || f:u32be || last in segment:u8 || last in archive:u8
//! ```
//!
//! **Nonce law (must).** A segment that is built again takes a fresh salt, hence a fresh key: no (key, nonce)
//! pair ever seals two plaintexts. The salt is made when the segment is whole, of fresh randomness and of all that
//! its key is to seal, so that this holds where a machine was copied as it ran. [`SegmentSealer`] is the only place
//! that makes salts and nonces; it has no way to set either.
//!
//! **Chain law (must).** A segment names the salt before it, so an older build of a segment cannot be
//! spliced in, and a segment cannot be moved, dropped or repeated. The archive's end is sealed too:
//! only its last frame carries `last in archive`, so a truncation is detected.

mod frame;
pub(crate) mod header;
#[cfg(feature = "isal")]
mod igzip;
mod index;
mod opener;
mod reader;
pub(crate) mod segment;
pub(crate) mod set;

pub use frame::{Compression, FRAME_BYTES, FrameCompressor, MAX_SEALED_BYTES, inflate};
pub use header::{FORMAT_VERSION, Header, MOST_HEADER_BYTES};
pub use index::FrameRef;
pub use opener::Opener;
pub use reader::{ArchiveReader, OpenedFrame};
pub use segment::{
    FrameRecord, Sealed, SegmentRecord, SegmentSealer, archive_digest, equal_part_bytes, part_bytes,
};
pub use set::ArchiveSet;

#[cfg(test)]
mod tests;
