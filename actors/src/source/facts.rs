//! One file: its kind, its times, its owner, its holes, its attributes.

use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::path::Path;

use intellistor_storage::manifest::{UnixAttributes, Xattr};

/// What a path leads to, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// What is not backed up, by name: a socket, a device.
    Other(&'static str),
}

/// What two names of one file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// What the system says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: SourceKind,
    /// Size in bytes, holes included.
    pub size: u64,
    /// Time of last modification, in nanoseconds since 1970 UTC.
    pub mtime_ns: i128,
    /// Mode and owner.
    pub unix: Option<UnixAttributes>,
    /// Tells hard links.
    pub identity: Option<Identity>,
    /// How many names it has.
    pub links: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
}

#[cfg(unix)]
impl From<&Metadata> for Facts {
    fn from(found: &Metadata) -> Self {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let kind = found.file_type();
        let kind = if kind.is_file() {
            SourceKind::File
        } else if kind.is_dir() {
            SourceKind::Directory
        } else if kind.is_symlink() {
            SourceKind::Symlink
        } else if kind.is_socket() {
            SourceKind::Other("socket")
        } else if kind.is_fifo() {
            SourceKind::Other("named pipe")
        } else if kind.is_block_device() {
            SourceKind::Other("block device")
        } else if kind.is_char_device() {
            SourceKind::Other("character device")
        } else {
            SourceKind::Other("file of an unknown kind")
        };
        Self {
            kind,
            size: found.size(),
            mtime_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
            unix: Some(UnixAttributes { mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid() }),
            identity: Some(Identity { device: found.dev(), inode: found.ino() }),
            links: found.nlink(),
            allocated: found.blocks() * 512,
        }
    }
}

#[cfg(windows)]
impl From<&Metadata> for Facts {
    fn from(found: &Metadata) -> Self {
        use std::os::windows::fs::MetadataExt;
        const REPARSE_POINT: u32 = 0x400;
        /// 1601 to 1970 in units of 100 ns.
        const EPOCH: i128 = 116_444_736_000_000_000;
        let kind = if found.is_symlink() {
            SourceKind::Symlink
        } else if found.file_attributes() & REPARSE_POINT != 0 {
            SourceKind::Other("reparse point")
        } else if found.is_dir() {
            SourceKind::Directory
        } else {
            SourceKind::File
        };
        Self {
            kind,
            size: found.file_size(),
            mtime_ns: (i128::from(found.last_write_time()) - EPOCH) * 100,
            unix: None,
            identity: None,
            links: 1,
            allocated: found.file_size(),
        }
    }
}

/// Opens a file to read it, and looks at what was opened: links are not followed, a pipe does not block, and
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
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Only the owner of a file may leave its time of access alone.
    #[cfg(target_os = "linux")]
    match openat(CWD, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => {}
        opened => return Ok(opened?.into()),
    }
    Ok(openat(CWD, path, flags, Mode::empty())?.into())
}

#[cfg(windows)]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// What the system says of an open file.
///
/// # Errors
/// The system's.
pub fn facts_of(file: &File) -> io::Result<Facts> {
    Ok(Facts::from(&file.metadata()?))
}

/// What the system says of a path, links not followed.
pub(super) fn facts_at(path: &Path) -> io::Result<Facts> {
    Ok(Facts::from(&fs::symlink_metadata(path)?))
}

/// The stretches of a file that hold data; the rest are holes. Moves the file's position.
///
/// # Errors
/// The system's.
pub fn data_map(file: &File, facts: &Facts) -> io::Result<Vec<Range<u64>>> {
    if facts.size == 0 {
        return Ok(Vec::new());
    }
    // A file that takes less room than its size may also be one that the file system compressed.
    if facts.allocated < facts.size
        && let Some(map) = holes::data_map(file, facts.size)?
    {
        return Ok(map);
    }
    Ok(vec![0..facts.size])
}

#[cfg(target_os = "linux")]
mod holes {
    use super::*;
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;

    /// `None` where the file system does not tell.
    pub(super) fn data_map(file: &File, size: u64) -> io::Result<Option<Vec<Range<u64>>>> {
        let mut map = Vec::new();
        let mut position = 0;
        while position < size {
            let start = match seek(file, SeekFrom::Data(position)) {
                Ok(start) => start,
                // Only a hole is left.
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) if map.is_empty() => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            if start >= size {
                break;
            }
            let end = seek(file, SeekFrom::Hole(start))?.min(size);
            map.push(start..end);
            position = end;
        }
        Ok(Some(map))
    }
}

#[cfg(not(target_os = "linux"))]
mod holes {
    use super::*;

    pub(super) fn data_map(_: &File, _: u64) -> io::Result<Option<Vec<Range<u64>>>> {
        Ok(None)
    }
}

/// The extended attributes of a path, links not followed, in the order of their names.
///
/// # Errors
/// The system's, except where there are none to be had.
#[cfg(unix)]
pub fn xattrs(path: &Path) -> io::Result<Vec<Xattr>> {
    use std::os::unix::ffi::OsStringExt;
    let names = match xattr::list(path) {
        Err(e) if is_unsupported(&e) => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names {
        match xattr::get(path, &name) {
            Ok(Some(value)) => found.push(Xattr { name: name.into_vec(), value }),
            // It was removed meanwhile, or belongs to a namespace that we may list but not read.
            Ok(None) => {}
            Err(e) if is_unsupported(&e) => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(unix)]
fn is_unsupported(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::Unsupported
        || [rustix::io::Errno::OPNOTSUPP, rustix::io::Errno::NODATA]
            .iter()
            .any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

/// Windows has no extended attributes of this kind.
///
/// # Errors
/// None.
#[cfg(windows)]
pub fn xattrs(_: &Path) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

/// The text of a symbolic link, byte for byte.
///
/// # Errors
/// The system's.
pub fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    Ok(super::walk::bytes_of(fs::read_link(path)?.as_os_str()).into_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.set_len(4 << 20).unwrap();
        let (file, facts) = open_file(&path).unwrap();
        assert_eq!(data_map(&file, &facts).unwrap(), [(1 << 20)..(1 << 20) + 4096]);
        file_of_zeros(&path);
        let (file, facts) = open_file(&path).unwrap();
        assert_eq!(data_map(&file, &facts).unwrap(), []);
        std::fs::write(&path, b"abc").unwrap();
        let (file, facts) = open_file(&path).unwrap();
        assert_eq!(data_map(&file, &facts).unwrap(), [0..3]);
    }

    fn file_of_zeros(path: &Path) {
        File::create(path).unwrap().set_len(1 << 20).unwrap();
    }

    #[test]
    fn a_link_is_not_followed_and_a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(open_file(&dir.path().join("link")).is_err());
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        assert_eq!(open_file(&pipe).unwrap().1.kind, SourceKind::Other("named pipe"));
    }

    #[test]
    fn attributes_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"").unwrap();
        xattr::set(&path, "user.b", b"2").unwrap();
        xattr::set(&path, "user.a", &[0, 255]).unwrap();
        let names: Vec<_> = xattrs(&path).unwrap().into_iter().map(|x| (x.name, x.value)).collect();
        assert_eq!(names, [(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), b"2".to_vec())]);
    }
}
