//! Where a sparse file holds data.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::metadata::FileMetadata;

/// Extents in a map; what follows the last of them is taken as data, so that a file with a million holes costs bytes in
/// the archive and not memory.
const MAX_EXTENTS: usize = 1 << 16;

/// A file with less data than this is read, whatever size its file system reports.
const PLAUSIBLE_BYTES: u64 = 1 << 40;

/// The extents of a file that hold data; the rest are holes. Leaves the file's position as it was.
///
/// # Errors
/// The system's; or that the file cannot have as much data as it claims: `/proc/kcore`, or a file with holes that its
/// file system does not report, would be read for years.
pub fn data_map(file: &File, metadata: &FileMetadata) -> io::Result<Vec<Range<u64>>> {
    if metadata.size == 0 {
        return Ok(Vec::new());
    }
    // A file that takes less room than its size may also be one that the file system compressed.
    let sparse =
        if metadata.allocated < metadata.size { sparse_map(file, metadata.size, MAX_EXTENTS)? } else { None };
    let whole = 0..metadata.size;
    let map = sparse.unwrap_or_else(|| vec![whole]);
    let data_bytes: u64 = map.iter().map(|extent| extent.end - extent.start).sum();
    if data_bytes > PLAUSIBLE_BYTES && data_bytes > max_data(file) {
        return Err(io::Error::other(format!(
            "it claims {data_bytes} bytes of data, more than its file system can hold"
        )));
    }
    Ok(map)
}

/// The most data that a file can have, by the size of its file system, which may compress. Where that is unknown, the
/// largest file size of common file systems.
#[cfg(unix)]
fn max_data(file: &File) -> u64 {
    const MOST_COMPRESSED: u64 = 16;
    const OF_UNKNOWN_SIZE: u64 = 16 << 40;
    match rustix::fs::fstatvfs(file) {
        Ok(found) if found.f_blocks > 0 => {
            found.f_blocks.saturating_mul(found.f_frsize).saturating_mul(MOST_COMPRESSED)
        }
        _ => OF_UNKNOWN_SIZE,
    }
}

#[cfg(windows)]
fn max_data(_: &File) -> u64 {
    u64::MAX
}

/// `None` where the file system does not report holes.
#[cfg(target_os = "linux")]
fn sparse_map(file: &File, size: u64, most: usize) -> io::Result<Option<Vec<Range<u64>>>> {
    use rustix::fs::{SeekFrom, seek};
    let before = seek(file, SeekFrom::Current(0))?;
    let map = probe(file, size, most);
    seek(file, SeekFrom::Start(before))?;
    map
}

#[cfg(target_os = "linux")]
fn probe(file: &File, size: u64, most: usize) -> io::Result<Option<Vec<Range<u64>>>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let mut map = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) if start < size => start,
            // Only a hole is left.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) if map.is_empty() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let end = match seek(file, SeekFrom::Hole(start)) {
            Ok(end) if map.len() + 1 < most => end.min(size),
            // The map is full, or the file has shrunk meanwhile, which reading it will show.
            Ok(_) | Err(Errno::NXIO) => size,
            Err(e) => return Err(e.into()),
        };
        map.push(start..end);
        position = end;
    }
    Ok(Some(map))
}

#[cfg(windows)]
fn sparse_map(file: &File, size: u64, most: usize) -> io::Result<Option<Vec<Range<u64>>>> {
    super::windows::allocated_ranges(file, size, most)
        .map(|found| found.map(|found| map_of(found, size, most)))
}

#[cfg(not(any(target_os = "linux", windows)))]
fn sparse_map(_: &File, _: u64, _: usize) -> io::Result<Option<Vec<Range<u64>>>> {
    Ok(None)
}

/// Where a file of `size` bytes has data, by the ranges that have room on the disk: those within it, ascending and apart. What follows
/// the last of `most` is taken as data.
#[cfg(any(windows, test))]
fn map_of(allocated: impl IntoIterator<Item = Range<u64>>, size: u64, most: usize) -> Vec<Range<u64>> {
    let mut map: Vec<Range<u64>> = Vec::new();
    for range in allocated {
        let from = map.last().map_or(0, |last| last.end);
        let (start, end) = (range.start.clamp(from, size), range.end.min(size));
        if start >= end {
            continue;
        }
        match map.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => map.push(start..end),
        }
        if map.len() == most {
            map.last_mut().into_iter().for_each(|last| last.end = size);
            break;
        }
    }
    map
}

#[cfg(test)]
mod pure_tests {
    use super::*;

    #[test]
    fn ranges_become_a_map_within_the_size() {
        let map = |ranges: &[(u64, u64)], size, most| {
            map_of(ranges.iter().map(|&(start, end)| start..end), size, most)
        };
        assert_eq!(map(&[], 10, 9), []);
        assert_eq!(map(&[(0, 4), (8, 64)], 10, 9), [0..4, 8..10]);
        // Adjacent, repeated, out of order, beyond the end, empty.
        assert_eq!(map(&[(0, 4), (4, 6), (2, 7), (9, 9), (8, 9), (64, 99)], 10, 9), [0..7, 8..9]);
        assert_eq!(map(&[(0, 1), (2, 3), (4, 5)], 10, 2), [0..1, 2..10]);
        assert_eq!(map(&[(5, 1)], 10, 9), []);
        assert_eq!(map(&[(0, u64::MAX)], 10, 9), [Range { start: 0, end: 10 }]);
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::super::metadata_of;
    use super::*;
    use std::io::{Read, Seek, SeekFrom};
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    /// A file of 4 MiB with 4 KiB of data at each of `offsets`.
    fn sparse(offsets: &[u64]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        for &offset in offsets {
            file.write_all_at(&[1; 4096], offset).unwrap();
        }
        file.set_len(4 << 20).unwrap();
        (dir, path)
    }

    fn map_of(path: &std::path::Path) -> Vec<Range<u64>> {
        let file = File::open(path).unwrap();
        let metadata = metadata_of(&file).unwrap();
        data_map(&file, &metadata).unwrap()
    }

    #[test]
    fn data_between_holes_is_found() {
        let (_dir, path) = sparse(&[0, 1 << 20, (4 << 20) - 4096]);
        assert_eq!(map_of(&path), [0..4096, 1 << 20..(1 << 20) + 4096, (4 << 20) - 4096..4 << 20]);
    }

    #[test]
    fn an_empty_file_and_a_single_hole_have_no_data() {
        let (dir, path) = sparse(&[]);
        assert_eq!(map_of(&path), []);
        let empty = dir.path().join("empty");
        File::create(&empty).unwrap();
        assert_eq!(map_of(&empty), []);
    }

    #[test]
    fn a_dense_file_is_one_extent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dense");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(map_of(&path), [Range { start: 0, end: 3 }]);
    }

    #[test]
    fn a_file_that_is_one_hole_of_petabytes_has_no_data_and_more_data_than_there_can_be_is_refused() {
        let (_dir, path) = sparse(&[]);
        let file = File::open(&path).unwrap();
        let metadata = metadata_of(&file).unwrap();
        assert_eq!(data_map(&file, &FileMetadata { size: 8191 << 50, ..metadata.clone() }).unwrap(), []);
        // As where the file system does not report holes.
        let dense = FileMetadata { size: 8191 << 50, allocated: u64::MAX, ..metadata };
        let refused = data_map(&file, &dense).unwrap_err().to_string();
        assert!(refused.contains("9222246136947933184 bytes of data"), "{refused}");
    }

    #[test]
    fn the_position_stays() {
        let (_dir, path) = sparse(&[1 << 20]);
        let mut file = File::open(&path).unwrap();
        let metadata = metadata_of(&file).unwrap();
        file.seek(SeekFrom::Start(7)).unwrap();
        data_map(&file, &metadata).unwrap();
        assert_eq!(file.stream_position().unwrap(), 7);
        file.read_exact(&mut [0; 1]).unwrap();
    }

    #[test]
    fn a_full_map_takes_the_rest_as_data() {
        let (_dir, path) = sparse(&[0, 1 << 20, 2 << 20, 3 << 20]);
        let file = File::open(&path).unwrap();
        let map = sparse_map(&file, 4 << 20, 2).unwrap().unwrap();
        assert_eq!(map, [0..4096, 1 << 20..4 << 20]);
    }

    #[test]
    fn a_file_that_shrank_meanwhile_is_mapped_within_the_size_that_was_stated() {
        let (_dir, path) = sparse(&[0, 1 << 20]);
        let file = File::open(&path).unwrap();
        let metadata = metadata_of(&file).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let map = data_map(&file, &metadata).unwrap();
        assert!(map.iter().all(|extent| extent.end <= metadata.size), "{map:?}");
    }
}
