//! Makes links that are no symbolic links: junctions, and links of the Windows Subsystem for Linux.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use intellistor_storage::manifest::WindowsAttributes;
use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::IO::DeviceIoControl;
use windows::Win32::System::Ioctl::FSCTL_SET_REPARSE_POINT;

use super::windows::security::{BACKUP_SEMANTICS, OPEN_REPARSE_POINT};
use crate::source::raw_name;
use crate::source::reparse_data::{Target, encode};

/// Makes a link with a reparse point of this tag; nothing is left of it where that fails. `None` for other tags.
pub(super) fn make(tag: u32, text: &OsStr, link: &Path) -> Option<io::Result<()>> {
    let (target, is_folder) = match tag {
        WindowsAttributes::JUNCTION => (Target::Junction(text.encode_wide().collect()), true),
        WindowsAttributes::WSL_LINK => (Target::Wsl(raw_name::to_bytes(text).into_owned()), false),
        _ => return None,
    };
    let Some(buffer) = encode(&target) else {
        return Some(Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its target is no folder of a drive, and so no junction's",
        )));
    };
    let made = if is_folder { fs::create_dir(link) } else { File::create_new(link).map(drop) };
    Some(made.and_then(|()| {
        set(link, &buffer).inspect_err(|_| {
            let _ = if is_folder { fs::remove_dir(link) } else { fs::remove_file(link) };
        })
    }))
}

#[expect(unsafe_code, reason = "std makes only symbolic links")]
fn set(link: &Path, buffer: &[u8]) -> io::Result<()> {
    let file = File::options().write(true).custom_flags(BACKUP_SEMANTICS | OPEN_REPARSE_POINT).open(link)?;
    // Without it a call that is not asynchronous may write to no address, also where there is no output.
    let mut written = 0;
    // SAFETY: the handle is open during the call; the input is that of `buffer`, with its length, and is only read; the control code
    // has no output; `written` is a valid place for one number, and not kept, since the call is not asynchronous.
    unsafe {
        DeviceIoControl(
            HANDLE(file.as_raw_handle()),
            FSCTL_SET_REPARSE_POINT,
            Some(buffer.as_ptr().cast()),
            buffer.len() as u32,
            None,
            0,
            Some(&raw mut written),
            None,
        )
    }
    .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wine answers that it has no reparse points: what was begun is taken away.
    #[test]
    fn a_link_is_made_or_nothing_is_left_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        for (tag, text) in
            [(WindowsAttributes::JUNCTION, r"C:\windows"), (WindowsAttributes::WSL_LINK, "a/b")]
        {
            let made = make(tag, text.as_ref(), &link).unwrap();
            let found = fs::symlink_metadata(&link);
            assert_eq!(made.is_ok(), found.is_ok_and(|found| found.is_symlink()), "{made:?}");
            let _ = fs::remove_dir(&link);
            let _ = fs::remove_file(&link);
        }
        assert!(make(0xA000_000C, "a".as_ref(), &link).is_none());
        let share = make(WindowsAttributes::JUNCTION, r"\\server\share".as_ref(), &link).unwrap();
        assert!(share.unwrap_err().to_string().contains("junction") && !link.exists());
    }
}
