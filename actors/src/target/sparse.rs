//! Lets a file have holes, on systems that do not leave them by themselves.

use std::fs::File;

/// In bytes; NTFS gives room in pieces of this size, and a smaller hole saves none.
pub(super) const SMALLEST_HOLE: u64 = 64 << 10;

/// What is not written of the file takes no room from now on. Where the system refuses, as FAT does, the file is as it should be, and
/// takes more.
#[cfg(windows)]
#[expect(unsafe_code, reason = "std does not know sparse files")]
pub(super) fn make_sparse(file: &File) {
    use std::os::windows::io::AsRawHandle as _;

    use windows::Win32::Foundation::HANDLE;
    use windows::Win32::System::IO::DeviceIoControl;
    use windows::Win32::System::Ioctl::FSCTL_SET_SPARSE;

    // Without it a call that is not asynchronous may write to no address, also where there is no output.
    let mut written = 0;
    // SAFETY: the handle is open for as long as `file` is borrowed; the control code takes no input, which means "sparse", and gives
    // no output; `written` is a valid place for one number, and not kept, since the call is not asynchronous.
    let made = unsafe {
        DeviceIoControl(
            HANDLE(file.as_raw_handle()),
            FSCTL_SET_SPARSE,
            None,
            0,
            None,
            0,
            Some(&raw mut written),
            None,
        )
    };
    if let Err(e) = made {
        tracing::debug!(error = %e, "a file with holes takes all of its room");
    }
}

/// Other systems leave a hole where nothing was written.
#[cfg(not(windows))]
pub(super) fn make_sparse(_: &File) {}

#[cfg(all(test, windows))]
mod tests {
    use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

    use super::*;

    /// Wine answers that the file is sparse, and does not keep it.
    #[test]
    fn what_was_not_written_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        make_sparse(&file);
        file.seek(SeekFrom::Start(1 << 20)).unwrap();
        file.write_all(b"x").unwrap();
        let mut all = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut all).unwrap();
        assert!(all.len() == (1 << 20) + 1 && all[..1 << 20].iter().all(|b| *b == 0) && all.ends_with(b"x"));
    }
}
