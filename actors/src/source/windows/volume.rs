//! What the file system of an open file can keep.

use std::fs::File;
use std::os::windows::io::AsRawHandle as _;

use windows::Win32::Foundation::HANDLE;
use windows::Win32::Storage::FileSystem::GetVolumeInformationByHandleW;

/// It keeps access lists, and enforces them.
const PERSISTENT_ACLS: u32 = 0x8;
/// Its files can have named streams.
const NAMED_STREAMS: u32 = 0x4_0000;

/// Whether the file system keeps access lists. One that does not say is asked for them.
pub(super) fn keeps_lists(file: &File) -> bool {
    flags_of(file).is_none_or(|flags| flags & PERSISTENT_ACLS != 0)
}

/// Whether the files of the file system can have streams. Those of one that does not say have none.
pub(crate) fn keeps_streams(file: &File) -> bool {
    flags_of(file).is_some_and(|flags| flags & NAMED_STREAMS != 0)
}

#[expect(unsafe_code, reason = "std does not know volumes")]
fn flags_of(file: &File) -> Option<u32> {
    let mut flags = 0;
    // SAFETY: the handle is open for as long as `file` is borrowed; `flags` is a valid place for one number, and not kept; nothing
    // else is asked for.
    let found = unsafe {
        GetVolumeInformationByHandleW(
            HANDLE(file.as_raw_handle()),
            None,
            None,
            None,
            Some(&raw mut flags),
            None,
        )
    };
    found.ok().map(|()| flags)
}
