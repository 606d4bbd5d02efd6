//! Opens files and folders to read them, without following a link and without leaving a trace.

use std::fs::File;
use std::io;
use std::path::Path;

use super::facts::{Facts, facts_of};
#[cfg(unix)]
use super::reach::Reach;
#[cfg(windows)]
use super::windows::open;

/// Opens a file to read it, and looks at what was opened: a link is not followed, a fifo does not block, and
/// the time of last access is left alone where that is allowed.
///
/// # Errors
/// The system's.
pub fn open_file(path: &Path) -> io::Result<(File, Facts)> {
    let file = open(path)?;
    let facts = facts_of(&file)?;
    Ok((file, facts))
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    open_with(path, rustix::fs::OFlags::NONBLOCK)
}

/// Opens a folder to list it; fails where the path leads to anything else.
#[cfg(unix)]
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    open_with(path, rustix::fs::OFlags::DIRECTORY)
}

#[cfg(unix)]
fn open_with(path: &Path, flags: rustix::fs::OFlags) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let reach = Reach::to(path)?;
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Only the owner of a file may leave its time of access alone.
    #[cfg(target_os = "linux")]
    match openat(CWD, reach.path(), flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => {}
        opened => return Ok(opened?.into()),
    }
    Ok(openat(CWD, reach.path(), flags, Mode::empty())?.into())
}

/// Has the system read the beginning of a file meanwhile. Where it does not, the file is read when it is read.
pub fn read_soon(file: &File, bytes: u64) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, 0, std::num::NonZeroU64::new(bytes), Advice::WillNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, bytes);
}

/// Whether an error of [`open_file`] may pass by itself: a network folder that comes back.
pub fn is_worth_another_try(e: &io::Error) -> bool {
    #[cfg(windows)]
    if super::windows::is_held(e) {
        return false;
    }
    !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::super::SourceKind;
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_link_is_not_followed_and_a_fifo_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let refused = open_file(&dir.path().join("link")).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
        assert_eq!(open_file(&fifo).unwrap().1.kind, SourceKind::Other("fifo"));
    }

    #[test]
    fn reading_leaves_the_time_of_access_alone() {
        use std::io::Read;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        std::fs::write(&path, b"abc").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_times(std::fs::FileTimes::new().set_accessed(long_ago))
            .unwrap();
        let (mut file, facts) = open_file(&path).unwrap();
        file.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!((facts.size, std::fs::metadata(&path).unwrap().atime()), (3, 1_000));
    }

    #[test]
    fn facts_are_those_of_the_handle_and_not_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        let (file, before) = open_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"another file").unwrap();
        let now = facts_of(&file).unwrap();
        assert_eq!((now.size, now.identity, now.links), (3, before.identity, 0));
    }

    #[test]
    fn only_folders_are_opened_as_folders() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(open_folder(dir.path()).is_ok());
        assert!(open_folder(&dir.path().join("link")).is_err());
    }
}
