//! Paths that are longer than the system takes at once.
//!
//! Linux refuses a path of [`PATH_MAX`] bytes, yet a folder may lie deeper than that. Such a path is opened
//! in pieces, and the last piece is named by way of `/proc/self/fd`, which every call takes, also those that
//! know no folder handles.

use std::borrow::Cow;
use std::io;
use std::path::Path;

/// A path that the system takes, as long as this value lives.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    path: Cow<'a, Path>,
    #[cfg(target_os = "linux")]
    _folder: Option<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
const PATH_MAX: usize = 4096;
/// Leaves room for `/proc/self/fd/<number>/` before the last piece.
#[cfg(target_os = "linux")]
const PIECE_BYTES: usize = PATH_MAX - 64;

impl<'a> Reach<'a> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn to(path: &'a Path) -> io::Result<Self> {
        Ok(Self { path: Cow::Borrowed(path) })
    }

    #[cfg(target_os = "linux")]
    pub(super) fn to(path: &'a Path) -> io::Result<Self> {
        use std::ffi::OsStr;
        use std::os::fd::{AsFd, AsRawFd, OwnedFd};
        use std::os::unix::ffi::OsStrExt;

        use rustix::fs::{CWD, Mode, OFlags, openat};
        use rustix::io::Errno;

        let mut rest = path.as_os_str().as_bytes();
        if rest.len() < PATH_MAX {
            return Ok(Self { path: Cow::Borrowed(path), _folder: None });
        }
        let mut folder: Option<OwnedFd> = None;
        while rest.len() > PIECE_BYTES {
            let end = rest[..PIECE_BYTES].iter().rposition(|&b| b == b'/').filter(|&end| end > 0);
            let (piece, behind) = rest.split_at(end.ok_or(Errno::NAMETOOLONG)?);
            let from = folder.as_ref().map_or(CWD, AsFd::as_fd);
            // Nothing on the way may be a link: no piece of a walk's path was one when it was found.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Some(openat(from, OsStr::from_bytes(piece), flags, Mode::empty())?);
            let slashes = behind.iter().take_while(|&&b| b == b'/').count();
            rest = &behind[slashes..];
        }
        let Some(folder) = folder else { return Err(Errno::NAMETOOLONG.into()) };
        let by_handle = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        // Where /proc is not mounted, "not found" would be told of the file.
        if by_handle.symlink_metadata().is_err() {
            return Err(Errno::NAMETOOLONG.into());
        }
        let path = Cow::Owned(by_handle.join(OsStr::from_bytes(rest)));
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn what_the_system_takes_is_left_alone() {
        assert_eq!(Reach::to(Path::new("a/b")).unwrap().path(), Path::new("a/b"));
    }

    #[test]
    fn longer_paths_lead_where_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_path_buf();
        for _ in 0..60 {
            path.push("x".repeat(200));
            std::fs::create_dir(Reach::to(&path).unwrap().path()).unwrap();
        }
        path.push("f");
        assert!(std::fs::write(&path, b"").is_err(), "the system refuses the path as it is");
        std::fs::write(Reach::to(&path).unwrap().path(), b"deep").unwrap();
        assert_eq!(std::fs::read(Reach::to(&path).unwrap().path()).unwrap(), b"deep");
        path.set_file_name("none");
        let missing = std::fs::read(Reach::to(&path).unwrap().path()).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let told = Reach::to(&PathBuf::from(format!("/{}", "x".repeat(5_000)))).unwrap_err();
        assert_eq!(told.raw_os_error(), Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()));
    }
}
