//! Opens files below a root without following a link, whatever happens to the folders meanwhile.
//!
//! Between the walk and the moment when a file is opened, another user who may write to a folder can replace it by a link: a
//! backup that runs as root would then read what the link leads to. So every path is opened from a
//! handle of its root: where the kernel has `openat2` in one call that refuses links (Linux 5.6), else folder by folder.
//!
//! A path of any length is opened, in pieces that the system takes.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use intellistor_storage::disk::shortage;
use intellistor_storage::manifest::Xattr;
use intellistor_storage::manifest::streams::simulated;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, statat};

use super::attributes;
use super::extended::Extended;
use super::metadata::{FileMetadata, SourceKind};
use super::source_path::SourcePath;
use super::stat::metadata_of;
use super::streams::{FoundStream, LookedAt, in_order, metadata_of as metadata_of_stream};

/// How an intermediate folder is opened: to be passed through, not to be read.
#[cfg(target_os = "linux")]
const PASSING: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const PASSING: OFlags = OFlags::DIRECTORY;

/// Below the system's limit of 4,096 bytes.
const PIECE_BYTES: usize = 4_000;

/// Keeps the root that was used last, and the folder that was looked into last, open.
#[derive(Debug, Default)]
pub struct Beneath {
    root: Option<(PathBuf, OwnedFd)>,
    folder: Option<(PathBuf, OwnedFd)>,
}

impl Beneath {
    /// Opens a file to read it, with its metadata. A fifo does not block, and the time of last access does not change
    /// where that is allowed.
    ///
    /// # Errors
    /// The system's; [`is_replaced`] where the path has a link.
    pub fn open_file(&mut self, source: &SourcePath) -> io::Result<(File, FileMetadata)> {
        let file = self.open(source, OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let metadata = metadata_of(&file)?;
        Ok((file, metadata))
    }

    /// As [`open_file`](Self::open_file): no file here says that it would be fetched.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn fetch_file(&mut self, source: &SourcePath) -> io::Result<(File, FileMetadata)> {
        self.open_file(source)
    }

    /// Opens a folder to list it; fails where the path leads to anything else.
    pub(super) fn open_folder(&mut self, source: &SourcePath) -> io::Result<File> {
        self.open(source, OFlags::DIRECTORY)
    }

    fn open(&mut self, source: &SourcePath, flags: OFlags) -> io::Result<File> {
        let root = handle_of(&mut self.root, source)?;
        shortage::wait_out(|| {
            // Only the owner of a file may leave its time of access alone.
            #[cfg(target_os = "linux")]
            match open_below(root, source.below(), flags | OFlags::NOATIME) {
                Err(rustix::io::Errno::PERM) => {}
                opened => return Ok(opened?.into()),
            }
            Ok(open_below(root, source.below(), flags)?.into())
        })
    }

    /// The metadata of a path, links not followed.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn metadata_at(&mut self, source: &SourcePath) -> io::Result<FileMetadata> {
        let (folder, name) = self.folder(source)?;
        Ok(FileMetadata::from(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// The metadata of a path, links not followed, and its streams.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub(super) fn look_at(&mut self, source: &SourcePath) -> io::Result<LookedAt> {
        let metadata = self.metadata_at(source)?;
        let has_streams =
            simulated::IS_ON && matches!(metadata.kind, SourceKind::File | SourceKind::Directory);
        let streams = if has_streams { self.streams(source) } else { Ok(Vec::new()) };
        Ok(LookedAt { metadata, streams })
    }

    /// Those of tests.
    fn streams(&mut self, source: &SourcePath) -> io::Result<Vec<FoundStream>> {
        let found = simulated::take(&mut self.xattrs(source)?).into_iter();
        in_order(
            found
                .map(|stream| FoundStream { name: stream.name, size: stream.content.len() as u64 })
                .collect(),
        )
    }

    /// Opens a stream of a file or folder to read it. Only tests have any here.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn open_stream(&mut self, source: &SourcePath, name: &[u8]) -> io::Result<(File, FileMetadata)> {
        let owner = self.metadata_at(source)?;
        let streams = simulated::take(&mut self.xattrs(source)?);
        let found = streams.into_iter().find(|stream| stream.name == name).ok_or(io::ErrorKind::NotFound)?;
        let metadata = metadata_of_stream(&owner, found.content.len() as u64);
        Ok((as_file(&found.content, owner.mtime_ns)?, metadata))
    }

    /// The text of a symbolic link as it was found.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn read_link(&mut self, source: &SourcePath) -> io::Result<Vec<u8>> {
        let (folder, name) = self.folder(source)?;
        Ok(readlinkat(folder, name, Vec::new())?.into_bytes())
    }

    /// The extended attributes of a folder or a link.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    pub fn extended(&mut self, source: &SourcePath) -> io::Result<Extended> {
        Ok(Extended::of_unix(self.xattrs(source)?))
    }

    /// In the order of their names.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    fn xattrs(&mut self, source: &SourcePath) -> io::Result<Vec<Xattr>> {
        #[cfg(not(target_os = "linux"))]
        return attributes::xattrs_at(source.as_path());
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let (folder, name) = self.folder(source)?;
            // There is no call that takes a handle and a name.
            let by_handle = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
            match attributes::xattrs_at(&by_handle.join(name)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && by_handle.symlink_metadata().is_err() => {
                    self.xattrs_without_proc(source)
                }
                found => found,
            }
        }
    }

    /// Where `/proc` is not mounted, those of links cannot be read; only programs of the system give links any.
    #[cfg(target_os = "linux")]
    fn xattrs_without_proc(&mut self, source: &SourcePath) -> io::Result<Vec<Xattr>> {
        match self.open_folder(source) {
            Ok(folder) => attributes::xattrs_of(&folder),
            Err(e) if is_replaced(&e) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// The folder that a path ends in, and the name there. The folder stays open for the next name in it.
    fn folder<'a>(&mut self, source: &'a SourcePath) -> io::Result<(BorrowedFd<'_>, &'a OsStr)> {
        let root = handle_of(&mut self.root, source)?;
        let below = source.below();
        let (parents, name) = match below.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&below[..slash], &below[slash + 1..]),
            None => (&b""[..], below),
        };
        let name = OsStr::from_bytes(if name.is_empty() { b"." } else { name });
        if parents.is_empty() {
            return Ok((root, name));
        }
        let path = source.as_path().parent().unwrap_or(source.as_path());
        let held = self.folder.take().filter(|(held, _)| held.as_os_str() == path.as_os_str());
        let folder = match held {
            Some(held) => held,
            None => {
                let opened = shortage::wait_out(|| Ok(open_below(root, parents, PASSING)?))?;
                (path.to_owned(), opened)
            }
        };
        Ok((self.folder.insert(folder).1.as_fd(), name))
    }
}

/// The handle of a path's root, which is opened if it is another than the cached one.
fn handle_of<'a>(
    held: &'a mut Option<(PathBuf, OwnedFd)>,
    source: &SourcePath,
) -> io::Result<BorrowedFd<'a>> {
    let root = source.root();
    let folder = match held.take().filter(|(path, _)| path.as_os_str() == root.as_os_str()) {
        Some(held) => held,
        None => {
            let below = root.as_os_str().as_bytes();
            let below = below.strip_prefix(b"/").unwrap_or(below);
            let opened = shortage::wait_out(|| {
                let top = openat(CWD, "/", PASSING | OFlags::CLOEXEC, Mode::empty())?;
                Ok(open_below(top.as_fd(), below, PASSING)?)
            })?;
            (root.to_owned(), opened)
        }
    };
    Ok(held.insert(folder).1.as_fd())
}

/// A file in memory with the content of a simulated stream, and with its file's time.
#[cfg(target_os = "linux")]
fn as_file(content: &[u8], mtime_ns: i128) -> io::Result<File> {
    use std::io::Write as _;
    use std::time::{Duration, UNIX_EPOCH};
    let mut file = File::from(rustix::fs::memfd_create("stream", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.set_modified(UNIX_EPOCH + Duration::from_nanos(u64::try_from(mtime_ns).unwrap_or_default()))?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn as_file(_: &[u8], _: i128) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether an error says that a link or something else is where a folder was.
pub fn is_replaced(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotADirectory
        || e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn open_below(from: BorrowedFd<'_>, below: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut rest = below;
    let mut folder: Option<OwnedFd> = None;
    while rest.len() > PIECE_BYTES {
        let end = rest[..PIECE_BYTES].iter().rposition(|&b| b == b'/');
        let (piece, behind) = rest.split_at(end.ok_or(rustix::io::Errno::NAMETOOLONG)?);
        folder = Some(open_piece(folder.as_ref().map_or(from, AsFd::as_fd), piece, PASSING)?);
        rest = &behind[1..];
    }
    let name = if rest.is_empty() { b"." } else { rest };
    open_piece(folder.as_ref().map_or(from, AsFd::as_fd), name, flags)
}

fn open_piece(from: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    if has_openat2() {
        return at_once(from, piece, flags);
    }
    one_by_one(from, piece, flags)
}

#[cfg(target_os = "linux")]
fn at_once(from: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(from, OsStr::from_bytes(piece), flags, Mode::empty(), resolve)
}

/// Whether the kernel has the call, and lets this process use it: older sandboxes refuse what they do not know.
#[cfg(target_os = "linux")]
fn has_openat2() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    use rustix::io::Errno;
    *HAS.get_or_init(|| {
        let tried = openat(CWD, "/", PASSING | OFlags::CLOEXEC, Mode::empty())
            .and_then(|top| at_once(top.as_fd(), b".", PASSING));
        !matches!(tried, Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS))
    })
}

fn one_by_one(from: BorrowedFd<'_>, piece: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut folder: Option<OwnedFd> = None;
    let mut names = piece.split(|&b| b == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { PASSING } else { flags };
        let from = folder.as_ref().map_or(from, AsFd::as_fd);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = Some(openat(from, OsStr::from_bytes(name), flags, Mode::empty())?);
    }
    folder.ok_or(rustix::io::Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::SourceKind;
    use super::*;

    fn root_of(dir: &tempfile::TempDir) -> SourcePath {
        SourcePath::of_root(dir.path().canonicalize().unwrap())
    }

    #[test]
    fn neither_way_follows_a_link_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/f"), b"own").unwrap();
        symlink("a", dir.path().join("swapped")).unwrap();
        symlink("b", dir.path().join("a/inner")).unwrap();
        symlink("f", dir.path().join("a/b/last")).unwrap();
        symlink("/", dir.path().join("top")).unwrap();
        let root = File::open(dir.path()).unwrap();
        type Way = fn(BorrowedFd<'_>, &[u8], OFlags) -> rustix::io::Result<OwnedFd>;
        for way in [open_piece as Way, one_by_one as Way] {
            assert!(way(root.as_fd(), b"a/b/f", OFlags::RDONLY).is_ok());
            for path in ["swapped/b/f", "a/inner/f", "a/b/last", "top/etc/passwd"] {
                let refused = way(root.as_fd(), path.as_bytes(), OFlags::RDONLY).unwrap_err();
                assert!(is_replaced(&refused.into()), "{path}: {refused}");
            }
        }
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_gives_nothing_of_what_the_link_leads_to() {
        let (dir, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("d")).unwrap();
        symlink("own", dir.path().join("d/link")).unwrap();
        fs::write(dir.path().join("d/f"), b"own").unwrap();
        fs::write(secret.path().join("f"), b"secret").unwrap();
        symlink("secret", secret.path().join("link")).unwrap();
        let at = |name: &str| root_of(&dir).join("d").join(name);
        let mut before = Beneath::default();
        assert_eq!(before.metadata_at(&at("f")).unwrap().size, 3);
        fs::rename(dir.path().join("d"), dir.path().join("d.old")).unwrap();
        symlink(secret.path(), dir.path().join("d")).unwrap();
        for beneath in [&mut before, &mut Beneath::default()] {
            assert!(is_replaced(&beneath.open_file(&at("f")).unwrap_err()));
            assert!(beneath.open_folder(&root_of(&dir).join("d")).is_err());
            // Who had the folder open still sees the folder.
            assert!(
                beneath.metadata_at(&at("f")).is_ok_and(|metadata| metadata.size == 3)
                    || beneath.folder.is_none()
            );
            assert!(
                beneath.read_link(&at("link")).is_ok_and(|text| text == b"own") || beneath.folder.is_none()
            );
        }
        fs::rename(dir.path(), dir.path().with_extension("old")).unwrap();
        symlink(secret.path(), dir.path()).unwrap();
        let root = SourcePath::of_root(dir.path().to_owned());
        assert!(Beneath::default().open_file(&root.join("f")).is_err(), "a root that is swapped is no root");
        fs::remove_file(dir.path()).unwrap();
        fs::rename(dir.path().with_extension("old"), dir.path()).unwrap();
    }

    #[test]
    fn a_fifo_does_not_block_and_reading_leaves_the_time_of_access_alone() {
        use std::io::Read;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, 0o600.into()).unwrap();
        let mut beneath = Beneath::default();
        assert_eq!(beneath.open_file(&root_of(&dir).join("fifo")).unwrap().1.kind, SourceKind::Other("fifo"));
        let path = dir.path().join("f");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        fs::write(&path, b"abc").unwrap();
        let times = fs::FileTimes::new().set_accessed(long_ago);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let (mut file, metadata) = beneath.open_file(&root_of(&dir).join("f")).unwrap();
        file.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!((metadata.size, fs::metadata(&path).unwrap().atime()), (3, 1_000));
    }

    #[test]
    fn facts_are_those_of_the_handle_and_not_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abc").unwrap();
        let (file, before) = Beneath::default().open_file(&root_of(&dir).join("f")).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"another file").unwrap();
        let now = metadata_of(&file).unwrap();
        assert_eq!((now.size, now.identity, now.links), (3, before.identity, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_and_links_give_their_own_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, link) = (dir.path().join("d"), dir.path().join("l"));
        fs::create_dir(&folder).unwrap();
        xattr::set(&folder, "user.a", b"1").unwrap();
        symlink("d", &link).unwrap();
        let odd = dir.path().join("odd");
        symlink(OsStr::from_bytes(b"../\xff\\"), &odd).unwrap();
        let mut beneath = Beneath::default();
        let expected = [Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
        assert_eq!(beneath.xattrs(&root_of(&dir).join("d")).unwrap(), expected);
        assert_eq!(beneath.xattrs_without_proc(&root_of(&dir).join("d")).unwrap(), expected);
        assert_eq!(beneath.xattrs(&root_of(&dir).join("l")).unwrap(), []);
        assert_eq!(beneath.xattrs_without_proc(&root_of(&dir).join("l")).unwrap(), []);
        assert_eq!(beneath.read_link(&root_of(&dir).join("l")).unwrap(), b"d");
        assert_eq!(beneath.read_link(&root_of(&dir).join("odd")).unwrap(), b"../\xff\\");
        assert_eq!(beneath.xattrs(&root_of(&dir)).unwrap(), [], "the root itself");
    }

    #[test]
    fn only_folders_are_opened_as_folders_and_a_name_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        let mut beneath = Beneath::default();
        assert!(beneath.open_folder(&root_of(&dir)).is_ok());
        assert!(beneath.open_folder(&root_of(&dir).join("link")).is_err());
        let refused = beneath.open_file(&root_of(&dir).join("x".repeat(5_000))).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()));
    }
}
