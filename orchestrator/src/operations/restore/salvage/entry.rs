//! One entry of a salvaged tar: what the manifest would say of it, from its header and pax records.

use std::io::{self, Read};

use intellistor_actors::backup::archiver::members::{CHUNKS, COPY, PIECE};
use intellistor_actors::backup::archiver::stream_member::{STREAM, stream_of_member};
use intellistor_actors::backup::archiver::tar_header::{SECURITY, read_records, windows_attributes};
use intellistor_storage::manifest::security::SecurityDescriptor;
use intellistor_storage::manifest::{Entry, EntryKind, UnixAttributes, Xattr};

/// Where data of a file begins, and how many bytes it has.
pub(super) type DataRange = (u64, u64);

pub(super) type PaxRecords = Vec<(String, Vec<u8>)>;

pub(super) fn read_pax(found: &mut impl Read) -> io::Result<PaxRecords> {
    /// Attributes have at most 64 KiB each.
    const MOST_BYTES: u64 = 16 << 20;
    let mut records = Vec::new();
    found.take(MOST_BYTES).read_to_end(&mut records)?;
    read_records(&records).ok_or_else(|| broken("a pax record"))
}

/// Whether a member is a file of the person's, whatever its name.
pub(super) fn is_entry(pax: &PaxRecords) -> bool {
    !pax.iter().any(|(key, _)| key == PIECE || key == CHUNKS)
}

/// Whether a member is a file with the content of the one that it links to.
pub(super) fn is_copy(pax: &PaxRecords) -> bool {
    pax.iter().any(|(key, value)| key == COPY && value == b"1")
}

/// Whether a member is a stream of a file.
fn is_stream(pax: &PaxRecords) -> bool {
    pax.iter().any(|(key, value)| key == STREAM && value == b"1")
}

/// The entry, and the ranges of its content.
pub(super) fn describe<R: Read>(
    found: &mut tar::Entry<'_, R>,
    pax: &PaxRecords,
) -> io::Result<(Entry, Vec<DataRange>)> {
    let value = |key: &str| pax.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_slice());
    let text = |key: &str| value(key).and_then(|v| std::str::from_utf8(v).ok());

    let header = found.header().clone();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => EntryKind::Directory,
        tar::EntryType::Symlink => EntryKind::Symlink,
        tar::EntryType::Link => EntryKind::Hardlink,
        tar::EntryType::Regular if is_stream(pax) => EntryKind::Stream,
        tar::EntryType::Regular => EntryKind::File,
        other => return Err(broken(&format!("an entry of kind {other:?}"))),
    };
    let mut path = match value("GNU.sparse.name").or_else(|| value("path")) {
        Some(name) => name.to_vec(),
        None => header.path_bytes().into_owned(),
    };
    if kind == EntryKind::Directory && path.last() == Some(&b'/') {
        path.pop();
    }
    if kind == EntryKind::Stream {
        path = stream_of_member(&path).ok_or_else(|| broken("the name of an alternate data stream"))?;
    }
    let link = match value("linkpath") {
        Some(link) => Some(link.to_vec()),
        None => header.link_name_bytes().map(|link| link.into_owned()),
    };
    let link = link.filter(|_| matches!(kind, EntryKind::Symlink | EntryKind::Hardlink));
    let (size, ranges) = match text("GNU.sparse.realsize") {
        Some(size) => (size.parse().map_err(|_| broken("a sparse file's size"))?, read_sparse_map(found)?),
        None => (found.size(), vec![(0, found.size())]),
    };
    let number = |key: &str, field: io::Result<u64>| match text(key).and_then(|n| n.parse().ok()) {
        Some(n) => Ok(n),
        None => field.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
    };
    let unix = UnixAttributes {
        mode: header.mode()? & 0o7777,
        uid: number("uid", header.uid())?,
        gid: number("gid", header.gid())?,
    };
    let mtime_ns = match text("mtime") {
        Some(mtime) => nanoseconds(mtime).ok_or_else(|| broken("a time of modification"))?,
        None => i128::from(header.mtime()?) * 1_000_000_000,
    };
    let windows = windows_attributes(text, nanoseconds);
    let xattrs = pax.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix("SCHILY.xattr.")?.as_bytes().to_vec();
        Some(Xattr { name, value: value.clone() })
    });
    let security = match value(SECURITY).map(|bytes| SecurityDescriptor::parse(bytes.to_vec())) {
        Some(parsed) => Some(parsed.map_err(|e| broken(&format!("a security descriptor ({e})")))?.into()),
        None => None,
    };
    let (relative_path, path_bytes) = Entry::text_and_bytes(path);
    let (link_target, link_target_bytes) = match link.map(Entry::text_and_bytes) {
        Some((text, bytes)) => (Some(text), bytes),
        None => (None, None),
    };
    let entry = Entry {
        relative_path,
        path_bytes,
        kind,
        size: if kind.has_content() { size } else { 0 },
        mtime_ns,
        // The header of an entry of Windows has a mode that no system gave it.
        unix: (windows.is_none() && kind != EntryKind::Stream).then_some(unix),
        windows,
        xattrs: xattrs.collect(),
        security,
        link_target,
        link_target_bytes,
        ..Entry::default()
    };
    Ok((entry, ranges))
}

/// GNU's map, form 1.0: decimal numbers, one a line, in blocks of 512 bytes ahead of the data.
fn read_sparse_map(found: &mut impl Read) -> io::Result<Vec<DataRange>> {
    /// A map of a million ranges; the archiver writes none that is larger.
    const MOST_BYTES: usize = 32 << 20;
    let (mut numbers, mut digits, mut read) = (Vec::new(), String::new(), 0);
    let mut block = [0; 512];
    while numbers.first().is_none_or(|count| numbers.len() as u64 - 1 < count * 2) {
        found.read_exact(&mut block)?;
        read += block.len();
        if read > MOST_BYTES {
            return Err(broken("a sparse file's map is too long"));
        }
        for byte in block {
            match byte {
                b'\n' => {
                    numbers.push(
                        std::mem::take(&mut digits)
                            .parse::<u64>()
                            .map_err(|_| broken("a sparse file's map"))?,
                    );
                }
                0 => break,
                digit => digits.push(char::from(digit)),
            }
        }
        if numbers.first().is_some_and(|count| *count > MOST_BYTES as u64) {
            return Err(broken("a sparse file's map is too long"));
        }
    }
    Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// `-1.5` as pax writes times.
fn nanoseconds(text: &str) -> Option<i128> {
    let (negative, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let seconds: i128 = seconds.parse::<u64>().ok()?.into();
    let fraction: i128 = format!("{:0<9.9}", fraction).parse::<u32>().ok()?.into();
    let ns = seconds * 1_000_000_000 + fraction;
    Some(if negative { -ns } else { ns })
}

pub(super) fn broken(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let cases = [
            ("0", 0),
            ("1.5", 1_500_000_000),
            ("-0.000000001", -1),
            ("-2.25", -2_250_000_000),
            ("7.1234567891", 7_123_456_789),
        ];
        for (text, ns) in cases {
            assert_eq!(nanoseconds(text), Some(ns), "{text}");
        }
        assert_eq!(nanoseconds("x"), None);
        assert_eq!(nanoseconds("1.é"), None);
    }

    #[test]
    fn a_sparse_map_is_read_and_a_hostile_one_refused() {
        let map = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            read_sparse_map(&mut &bytes[..])
        };
        assert_eq!(map("2\n0\n4096\n8192\n1\n").unwrap(), [(0, 4096), (8192, 1)]);
        assert_eq!(map("0\n").unwrap(), []);
        for hostile in ["x\n", "18446744073709551615\n", "2\n0\n", "-1\n"] {
            assert!(map(hostile).is_err(), "{hostile:?}");
        }
    }
}
