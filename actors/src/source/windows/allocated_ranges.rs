//! How much room a file has on the disk, and where.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::windows::fs::MetadataExt as _;
use std::os::windows::io::AsRawHandle as _;

use windows::Win32::Foundation::{ERROR_INVALID_FUNCTION, ERROR_MORE_DATA, ERROR_NOT_SUPPORTED, HANDLE};
use windows::Win32::Storage::FileSystem::{
    FILE_STANDARD_INFO, FileStandardInfo, GetFileInformationByHandleEx,
};
use windows::Win32::System::IO::DeviceIoControl;
use windows::Win32::System::Ioctl::{FILE_ALLOCATED_RANGE_BUFFER, FSCTL_QUERY_ALLOCATED_RANGES};

use crate::source::reparse::has_ranges;

/// Ranges that one call gives.
const RANGES: usize = 1 << 10;

/// What an open file takes on the disk, in bytes; its size where the system does not say so.
#[expect(unsafe_code, reason = "std does not know it")]
pub(super) fn allocated_bytes(file: &File, size: u64) -> u64 {
    let mut info = FILE_STANDARD_INFO::default();
    let bytes = size_of::<FILE_STANDARD_INFO>() as u32;
    // SAFETY: the handle is open for as long as `file` is borrowed; `info` is the structure that belongs to the class, of
    // integers and flags that any byte is valid for as the system writes them, 0 or 1; the system writes at most `bytes`, its
    // size, into it, and keeps no pointer to it.
    let found = unsafe {
        GetFileInformationByHandleEx(
            HANDLE(file.as_raw_handle()),
            FileStandardInfo,
            (&raw mut info).cast(),
            bytes,
        )
    };
    found.ok().and_then(|()| u64::try_from(info.AllocationSize).ok()).unwrap_or(size)
}

/// The ranges of a sparse file of `size` bytes that have room on the disk, ascending, up to about `most` of them: what follows the
/// last of so many is not said. `None` where all of it may have data: a file that is not sparse, as one that is compressed; one whose
/// content a driver gives; or a file system that does not say so.
///
/// # Errors
/// The system's.
pub(in crate::source) fn allocated_ranges(
    file: &File,
    size: u64,
    most: usize,
) -> io::Result<Option<Vec<Range<u64>>>> {
    if !has_ranges(file.metadata()?.file_attributes()) {
        return Ok(None);
    }
    let Ok(end) = i64::try_from(size) else { return Ok(None) };
    let (mut ranges, mut from) = (Vec::new(), 0);
    let mut found = vec![FILE_ALLOCATED_RANGE_BUFFER::default(); RANGES];
    while from < end && ranges.len() < most {
        let (count, is_all) = match query(file, from, end - from, &mut found) {
            Ok(answer) => answer,
            Err(e)
                if [ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION]
                    .iter()
                    .any(|unknown| e.code() == unknown.to_hresult()) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e.into()),
        };
        for range in &found[..count] {
            let (start, length) = (range.FileOffset.max(from), range.Length.max(0));
            let until = range.FileOffset.saturating_add(length);
            if until > start {
                ranges.push(start.unsigned_abs()..until.unsigned_abs());
            }
            from = from.max(until);
        }
        if is_all {
            break;
        }
        if count == 0 {
            return Err(io::Error::other("the system names no range, and says that there are more"));
        }
    }
    Ok(Some(ranges))
}

/// The ranges that begin in `length` bytes from `from` on: how many of them were written to `found`, and whether these are all.
#[expect(unsafe_code, reason = "std does not know sparse files")]
fn query(
    file: &File,
    from: i64,
    length: i64,
    found: &mut [FILE_ALLOCATED_RANGE_BUFFER],
) -> windows::core::Result<(usize, bool)> {
    let asked = FILE_ALLOCATED_RANGE_BUFFER { FileOffset: from, Length: length };
    let mut written = 0;
    // SAFETY: the handle is open for as long as `file` is borrowed; the input is `asked`, with its size, and only read; the output is
    // `found`, with its size in bytes, of structures of integers, which the system does not exceed; nothing is kept, since the call
    // is not asynchronous.
    let answer = unsafe {
        DeviceIoControl(
            HANDLE(file.as_raw_handle()),
            FSCTL_QUERY_ALLOCATED_RANGES,
            Some((&raw const asked).cast()),
            size_of_val(&asked) as u32,
            Some(found.as_mut_ptr().cast()),
            size_of_val(found) as u32,
            Some(&raw mut written),
            None,
        )
    };
    let is_all = match answer {
        Ok(()) => true,
        Err(e) if e.code() == ERROR_MORE_DATA.to_hresult() => false,
        Err(e) => return Err(e),
    };
    Ok(((written as usize / size_of::<FILE_ALLOCATED_RANGE_BUFFER>()).min(found.len()), is_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_takes_is_known_and_one_that_is_not_sparse_has_no_ranges() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        assert!(allocated_bytes(&file, 7) >= 100_000);
        assert_eq!(allocated_ranges(&file, 100_000, 9).unwrap(), None);
    }

    /// Wine does not know the question (error 50), as FAT does not.
    #[test]
    fn a_file_system_that_knows_no_ranges_gives_an_error_that_is_told_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let file = File::open(&path).unwrap();
        match query(&file, 0, 100_000, &mut [FILE_ALLOCATED_RANGE_BUFFER::default(); 4]) {
            Ok(answer) => assert_eq!(answer, (1, true)),
            Err(e) => assert_eq!(e.code(), ERROR_NOT_SUPPORTED.to_hresult()),
        }
    }
}
