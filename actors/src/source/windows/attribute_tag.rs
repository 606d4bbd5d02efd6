//! The tag of a file's reparse point.

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;

use windows::Win32::Foundation::HANDLE;
use windows::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_TAG_INFO, FileAttributeTagInfo, GetFileInformationByHandleEx,
};

use crate::source::reparse::REPARSE_POINT;

/// The tag of an open file with these attributes; 0 where it has no reparse point, for which the system is not asked.
///
/// # Errors
/// The system's.
#[expect(unsafe_code, reason = "std keeps the tag to itself")]
pub(super) fn tag_of(file: &File, attributes: u32) -> io::Result<u32> {
    if attributes & REPARSE_POINT == 0 {
        return Ok(0);
    }
    let mut info = FILE_ATTRIBUTE_TAG_INFO::default();
    let bytes = size_of::<FILE_ATTRIBUTE_TAG_INFO>() as u32;
    // SAFETY: the handle is open for as long as `file` is borrowed; `info` is the structure that belongs to the class, of
    // integers alone; the system writes at most `bytes`, its size, into it, and keeps no pointer to it.
    unsafe {
        GetFileInformationByHandleEx(
            HANDLE(file.as_raw_handle()),
            FileAttributeTagInfo,
            (&raw mut info).cast(),
            bytes,
        )?;
    }
    Ok(info.ReparseTag)
}
