//! Members of the archive that are not under a file's path, or say more than tar does.
//!
//! | member | pax record | content |
//! | --- | --- | --- |
//! | `.intellistor/pieces/<tar offset>` | `INTELLISTOR.piece=1` | new bytes of a large file |
//! | `.intellistor/chunks/<tar offset>` | `INTELLISTOR.chunks=1` | the list of a large file's chunks |
//! | `.intellistor/streams/<path>:<name>` | `INTELLISTOR.stream=1` | a stream of the file or folder `<path>` |
//! | a hard link under a file's path | `INTELLISTOR.copy=1` | none: the file has the content of the first one, and is a file of its own |
//!
//! The offset is that of the member's first block. A person's own files of such names lack the record. No stream has a `:` in its
//! name, so that the last one of the member's path ends the path of its file. A stream is never a copy, nor what others are copies of: not every
//! reader restores it.

use tar::EntryType;

use crate::backup::archiver::tar_header::TarEntry;
use crate::source::{Extended, FileMetadata};

/// The pax record of a hard link that is a file of its own.
pub const COPY: &str = "INTELLISTOR.copy";
/// The pax record of new bytes of a large file.
pub const PIECE: &str = "INTELLISTOR.piece";
/// The pax record of a chunk list.
pub const CHUNKS: &str = "INTELLISTOR.chunks";

/// The header of a piece of `bytes` bytes that begins at `tar_offset`.
pub(crate) fn piece_header(tar_offset: u64, bytes: u64) -> Vec<u8> {
    internal_header("pieces", PIECE, tar_offset, bytes)
}

/// The header of a chunk list of `bytes` bytes that begins at `tar_offset`.
pub(crate) fn chunks_header(tar_offset: u64, bytes: u64) -> Vec<u8> {
    internal_header("chunks", CHUNKS, tar_offset, bytes)
}

/// As long for each offset and each number of bytes below 8 GiB.
fn internal_header(folder: &str, mark: &str, tar_offset: u64, size: u64) -> Vec<u8> {
    let path = format!(".intellistor/{folder}/{tar_offset}");
    let header = TarEntry {
        path: path.as_bytes(),
        kind: EntryType::Regular,
        size,
        // Nothing of the stream depends on when it is made.
        mtime_ns: 0,
        unix: None,
        windows: None,
        link: None,
        extended: None,
        sparse: None,
        mark: Some(mark),
    };
    header.encode()
}

/// The header of a file that has the content of `first`, which is in this archive.
pub(crate) fn copy_header(
    path: &[u8],
    first: &[u8],
    metadata: &FileMetadata,
    extended: &Extended,
) -> Vec<u8> {
    let link = Some(first);
    TarEntry {
        link,
        extended: Some(extended),
        mark: Some(COPY),
        ..TarEntry::new(path, EntryType::Link, metadata)
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_ours_have_one_length() {
        let length = piece_header(0, 1).len();
        for (offset, bytes) in [(u64::MAX, 1 << 20), (1 << 40, (8 << 30) - 1)] {
            assert_eq!(piece_header(offset, bytes).len(), length);
            assert_eq!(chunks_header(offset, bytes).len(), length);
        }
    }
}
