//! Which alternate data streams a file or folder has.
//!
//! **In:** what the system lists of an open file. **Out:** names and sizes, in the order of their names; a name that no restore
//! could write is an error. Pure; the calls are in `windows::streams`. Other systems have none, but those of tests
//! (`storage::manifest::streams::simulated`).

use std::io;

use intellistor_storage::manifest::streams::{check_name, path_of};

use super::metadata::{FileMetadata, SourceKind};
#[cfg(any(windows, test))]
use super::raw_name;
use super::walk::walked::ScannedEntry;

/// A stream of a file, beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundStream {
    pub(super) name: Vec<u8>,
    /// In bytes.
    pub(super) size: u64,
}

/// A file, and its streams. That these cannot be listed is no reason to leave the file out.
#[derive(Debug)]
pub(super) struct LookedAt {
    pub(super) metadata: FileMetadata,
    pub(super) streams: io::Result<Vec<FoundStream>>,
}

/// A stream of a file as an entry of the walk. It is found where its file is.
pub(super) fn scanned(owner: &ScannedEntry, stream: &FoundStream) -> ScannedEntry {
    ScannedEntry {
        relative_path: path_of(&owner.relative_path, &stream.name),
        source: owner.source.clone(),
        metadata: metadata_of(&owner.metadata, stream.size),
    }
}

/// The metadata of a stream: its file's times and identity, which tell whether it was written to. What else a file has is in the
/// entry of the file. A stream has no names of its own.
pub(super) fn metadata_of(owner: &FileMetadata, size: u64) -> FileMetadata {
    FileMetadata {
        kind: SourceKind::Stream,
        size,
        unix: None,
        windows: None,
        links: 1,
        allocated: size,
        ..owner.clone()
    }
}

/// Sorted, and checked.
pub(super) fn in_order(mut found: Vec<FoundStream>) -> io::Result<Vec<FoundStream>> {
    for stream in &found {
        check_name(&stream.name).map_err(|e| invalid(&e.to_string()))?;
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    Ok(found)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a chain of `FILE_STREAM_INFO`: offset of the next one, length of the name in bytes, size, allocated size, and the name in UTF-16,
/// as `:name:$DATA`. The content of the file is `::$DATA`, and other types than `$DATA` are not for users.
#[cfg(any(windows, test))]
pub(super) fn parse(bytes: &[u8]) -> io::Result<Vec<FoundStream>> {
    const HEADER_BYTES: usize = 24;
    let broken = || invalid("the system's list of its streams cannot be understood");
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        let record = bytes.get(at..).and_then(|rest| rest.split_at_checked(HEADER_BYTES));
        let (header, rest) = record.ok_or_else(broken)?;
        let u32_at = |at: usize| header[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
        let size = header[8..].first_chunk().map_or(0, |eight| i64::from_le_bytes(*eight));
        let name = rest.get(..u32_at(4) as usize).filter(|name| name.len() % 2 == 0).ok_or_else(broken)?;
        let wide: Vec<u16> =
            name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let name = raw_name::from_wide(&wide);
        let inner = name.strip_prefix(b":").and_then(|name| name.strip_suffix(b":$DATA"));
        if let Some(name) = inner.filter(|name| !name.is_empty()) {
            let size = u64::try_from(size).map_err(|_| broken())?;
            found.push(FoundStream { name: name.to_vec(), size });
        }
        match u32_at(0) as usize {
            0 => return in_order(found),
            // The chain only goes on, so that it ends.
            next if next >= HEADER_BYTES => at += next,
            _ => return Err(broken()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the system lays them out: each record begins at a multiple of eight bytes.
    fn list(streams: &[(&str, i64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, (name, size)) in streams.iter().enumerate() {
            let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let length = (24 + name.len()).next_multiple_of(8);
            let next = if i + 1 == streams.len() { 0 } else { length as u32 };
            let start = bytes.len();
            bytes.extend_from_slice(&next.to_le_bytes());
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&(size + 4096).to_le_bytes());
            bytes.extend_from_slice(&name);
            bytes.resize(start + length, 0);
        }
        bytes
    }

    fn names(bytes: &[u8]) -> Vec<(String, u64)> {
        let text = |stream: FoundStream| (String::from_utf8(stream.name).unwrap(), stream.size);
        parse(bytes).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn streams_of_data_are_found_in_order_and_the_content_is_none() {
        let bytes = list(&[
            ("::$DATA", 7),
            (":b:$DATA", 1 << 40),
            (":Zone.Identifier:$DATA", 26),
            (":\u{e7}\u{1f600}:$DATA", 0),
            (":EFS:$LOGGED_UTILITY_STREAM", 9),
            (":a b.:$DATA", 3),
        ]);
        let expected = [("Zone.Identifier", 26), ("a b.", 3), ("b", 1 << 40), ("\u{e7}\u{1f600}", 0)];
        assert_eq!(names(&bytes), expected.map(|(name, size)| (name.to_owned(), size)));
        assert_eq!(names(&list(&[("::$DATA", 7)])), []);
        // A folder has no content.
        assert_eq!(names(&list(&[(":x:$DATA", 1)])), [("x".to_owned(), 1)]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let whole = list(&[("::$DATA", 7), (":b:$DATA", 1)]);
        for end in 0..whole.len() {
            // The padding at the end may be missing.
            assert!(parse(&whole[..end]).is_err() || end >= 40 + 24 + 16, "{end}");
        }
        let with = |at: usize, value: u32| {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            parse(&bytes)
        };
        assert!(with(0, 8).is_err() && with(0, u32::MAX).is_err(), "a chain that does not go on");
        assert!(with(4, u32::MAX).is_err() && with(4, 3).is_err(), "a name that is too long, or half");
        assert!(parse(&list(&[(":b:$DATA", -1)])).is_err());
        assert!(parse(&list(&[(":a/b:$DATA", 1)])).is_err(), "a name that no restore could write");
    }

    #[test]
    fn a_stream_has_the_times_of_its_file_and_nothing_else_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let owner = super::super::stat::metadata_at(dir.path()).unwrap();
        let stream = metadata_of(&owner, 5);
        assert_eq!((stream.kind, stream.size, stream.links), (SourceKind::Stream, 5, 1));
        assert_eq!((stream.mtime_ns, stream.ctime_ns), (owner.mtime_ns, owner.ctime_ns));
        assert_eq!((stream.unix, stream.windows, stream.identity), (None, None, owner.identity));
    }
}
