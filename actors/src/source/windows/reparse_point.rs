//! Where a link leads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use intellistor_storage::manifest::WindowsAttributes;
use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::IO::DeviceIoControl;
use windows::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;

use super::attribute_tag;
use super::flags::{BACKUP_SEMANTICS, OPEN_NO_RECALL, OPEN_REPARSE_POINT};
use crate::source::raw_name;
use crate::source::reparse_data::{MOST_BYTES, Target, decode};

/// The text of a link as it was found: of a symbolic link by the system's own call, of the others by their reparse point.
///
/// # Errors
/// The system's; or that it is no link.
pub(super) fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT | OPEN_NO_RECALL;
    let file = File::options().access_mode(0).custom_flags(flags).open(path)?;
    let tag = attribute_tag::tag_of(&file, file.metadata()?.file_attributes())?;
    if tag != WindowsAttributes::JUNCTION && tag != WindowsAttributes::WSL_LINK {
        let target = fs::read_link(path)?;
        return Ok(raw_name::to_bytes(target.as_os_str()).into_owned());
    }
    match decode(&read(&file)?) {
        Some(Target::Junction(text)) => Ok(raw_name::to_bytes(&OsString::from_wide(&text)).into_owned()),
        Some(Target::Wsl(text)) => Ok(text),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "its reparse point is malformed")),
    }
}

/// The bytes of an open file's reparse point.
#[expect(unsafe_code, reason = "std reads those of links that it knows")]
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; MOST_BYTES];
    let mut length = 0;
    // SAFETY: the handle is open for as long as `file` is borrowed; the output is that of `buffer`, with its length, which the
    // system does not exceed; neither it nor `length` is kept, since the call is not asynchronous.
    unsafe {
        DeviceIoControl(
            HANDLE(file.as_raw_handle()),
            FSCTL_GET_REPARSE_POINT,
            None,
            0,
            Some(buffer.as_mut_ptr().cast()),
            buffer.len() as u32,
            Some(&raw mut length),
            None,
        )?;
    }
    buffer.truncate(length as usize);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wine has no reparse points: what they hold is tested without the system.
    #[test]
    fn what_is_no_link_has_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "x").unwrap();
        assert!(read_link(&path).is_err());
        assert!(read(&File::open(&path).unwrap()).is_err());
    }
}
