//! Bytes that this account may still write to a disk.

use std::io;
use std::path::Path;

/// Of the file system that a path is on.
///
/// # Errors
/// Those of the system.
#[cfg(unix)]
pub(super) fn of(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Of the volume that a path is on.
///
/// # Errors
/// Those of the system.
#[cfg(windows)]
#[expect(unsafe_code)]
pub(super) fn of(path: &Path) -> io::Result<u64> {
    use windows::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
    use windows::core::HSTRING;
    let (path, mut free) = (HSTRING::from(path), 0);
    // SAFETY: the string and the number outlive the call, which writes the number alone.
    unsafe { GetDiskFreeSpaceExW(&path, Some(&raw mut free), None, None) }.map_err(io::Error::from)?;
    Ok(free)
}

/// The path itself, or the nearest folder above it that exists.
pub(super) fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|above| above.exists())
}

/// Whether this account may create files in a folder, as far as the system says so without one being created.
#[cfg(unix)]
pub(super) fn may_write(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    Ok(accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Access lists say more than can be asked.
#[cfg(not(unix))]
pub(super) fn may_write(folder: &Path) -> io::Result<()> {
    std::fs::metadata(folder).map(drop)
}

/// Whether this account may read a file.
#[cfg(unix)]
pub(super) fn may_read(file: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    Ok(accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS)?)
}

/// Backups read files whatever their access lists say, where the account may.
#[cfg(not(unix))]
pub(super) fn may_read(_: &Path) -> io::Result<()> {
    Ok(())
}
