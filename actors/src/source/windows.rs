//! Files and their metadata on Windows.
//!
//! Every file is opened, without access to its content, to look at it: a listing has no number of names, and so does not
//! tell hard links.
//!
//! Links of every kind (a symbolic link, a junction, a volume mounted in a folder) are not followed. Other reparse points count as
//! the files and folders that programs see. What is in a cloud, and not here, is looked at, and not opened to be read unless that is
//! asked for: the reparse point itself is opened, which fetches nothing. What is fetched when it is opened at all is known by the
//! listing of its folder, and not looked at.

mod allocated_ranges;
mod attribute_tag;
mod flags;
mod on_disk;
mod reparse_point;
pub(super) mod security;
mod streams;
mod volume;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use std::time::Duration;

use cap_fs_ext::MetadataExt as _;
use intellistor_storage::disk::shortage;
use intellistor_storage::manifest::WindowsAttributes;
use windows::Win32::Foundation::HANDLE;
use windows::Win32::Storage::FileSystem::{FILE_BASIC_INFO, FileBasicInfo, GetFileInformationByHandleEx};

pub(super) use self::allocated_ranges::allocated_ranges;
use self::flags::{BACKUP_SEMANTICS, OPEN_NO_RECALL, OPEN_REPARSE_POINT};
pub(super) use self::on_disk::names_on_disk;
use self::security::security_of;
pub(crate) use self::security::{ACCESS_SYSTEM_SECURITY, AUDIT, READ_CONTROL, descriptor_of, is_denied};
use self::streams::StreamKeepers;
pub(crate) use self::streams::stream_path;
use self::volume::keeps_lists;
pub(crate) use self::volume::keeps_streams;
use super::extended::Extended;
use super::metadata::{FileId, FileMetadata, SourceKind, Stored};
use super::reparse::{Nature, RECALL_ON_OPEN, REPARSE_POINT, in_cloud, is_whole_without_driver, nature};
use super::source_path::SourcePath;
use super::streams::{LookedAt, metadata_of as metadata_of_stream};

const GENERIC_READ: u32 = 0x8000_0000;
const READ_DATA: u32 = 0x1;
const SHARE_READ: u32 = 0x1;
const SHARE_DELETE: u32 = 0x4;
const SEQUENTIAL_SCAN: u32 = 0x0800_0000;
/// The driver that has the content is not there, as in a snapshot.
const CANNOT_ACCESS: i32 = 1920;
/// Another program has the file open without sharing it.
const SHARING_VIOLATION: i32 = 32;
/// Delays before each further try: a program that saves a file has it open for a moment, a mail program its store all day.
const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(400)];
/// 1601 to 1970 in units of 100 ns.
const EPOCH: i128 = 116_444_736_000_000_000;

/// The metadata of an open file.
///
/// # Errors
/// The system's.
pub fn metadata_of(file: &File) -> io::Result<FileMetadata> {
    let found = file.metadata()?;
    let tag = attribute_tag::tag_of(file, found.file_attributes())?;
    let mut metadata = of_nature(&found, nature(found.file_attributes(), tag, false));
    let by_handle = cap_std::fs::Metadata::from_file(file)?;
    metadata.identity = Some(FileId { device: by_handle.dev(), inode: by_handle.ino() });
    metadata.links = by_handle.nlink();
    metadata.allocated = allocated_ranges::allocated_bytes(file, found.file_size());
    metadata.ctime_ns = change_time(file);
    Ok(metadata)
}

/// When anything about an open file was last changed, in nanoseconds since 1970 UTC. No program puts it back without meaning
/// to. `None` where the file system keeps no such time, as FAT: it is zero there.
#[expect(unsafe_code, reason = "std's `change_time` is not stable, and no crate here has it")]
fn change_time(file: &File) -> Option<i128> {
    let mut info = FILE_BASIC_INFO::default();
    let bytes = size_of::<FILE_BASIC_INFO>() as u32;
    // SAFETY: the handle is open for as long as `file` is borrowed; `info` is the structure that belongs to the class, of
    // integers alone; the system writes at most `bytes`, its size, into it, and keeps no pointer to it.
    let found = unsafe {
        GetFileInformationByHandleEx(
            HANDLE(file.as_raw_handle()),
            FileBasicInfo,
            (&raw mut info).cast(),
            bytes,
        )
    };
    let ticks = found.ok().and_then(|()| u64::try_from(info.ChangeTime).ok()).filter(|&ticks| ticks != 0);
    ticks.map(nanoseconds)
}

/// Whether the volume that a path leads to keeps access lists. One that cannot be asked counts as one that does not.
pub(super) fn keeps_lists_at(path: &Path) -> bool {
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT | OPEN_NO_RECALL;
    let file = File::options().access_mode(0).custom_flags(flags).open(path);
    file.is_ok_and(|file| keeps_lists(&file))
}

/// The metadata of a path, links not followed.
pub(super) fn metadata_at(path: &Path) -> io::Result<FileMetadata> {
    Ok(look_at(path, |_, _| ())?.0)
}

/// The metadata of a path, links not followed, and what `look` finds by its handle, where it can be opened.
fn look_at<T>(
    path: &Path,
    look: impl FnOnce(&File, &FileMetadata) -> T,
) -> io::Result<(FileMetadata, Option<T>)> {
    // No access, which works for a file that another program has open, too.
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT | OPEN_NO_RECALL;
    match File::options().access_mode(0).custom_flags(flags).open(path) {
        Ok(file) => {
            let metadata = metadata_of(&file)?;
            let looked = look(&file, &metadata);
            Ok((metadata, Some(looked)))
        }
        // For a file that cannot be opened the system still has the entry in its folder.
        Err(_) => {
            let found = fs::symlink_metadata(path)?;
            // Its tag is not known; a link of another kind is met again when its text is read.
            let nature = match found.is_symlink() {
                true => Nature::Link { tag: None },
                false => nature(found.file_attributes(), 0, false),
            };
            Ok((of_nature(&found, nature), None))
        }
    }
}

/// Whether a file is as a snapshot has it, and no one has it open to write to it. One that cannot be asked counts as one that is not.
///
/// It is open for a moment, and shared with all but those who write: while someone does, this open fails. Nothing of it is read or
/// fetched.
pub(super) fn is_at_rest(path: &Path, then: &FileMetadata) -> bool {
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT | OPEN_NO_RECALL;
    let mut options = File::options();
    // Sharing is looked at only for a right to content.
    options.access_mode(READ_DATA).share_mode(SHARE_READ | SHARE_DELETE).custom_flags(flags);
    let now = options.open(path).and_then(|file| metadata_of(&file));
    now.is_ok_and(|now| now.is_unchanged_since(then))
}

/// The metadata of a listing's entry that to open is to fetch.
pub(super) fn fetched_when_opened(listed: &Metadata) -> Option<FileMetadata> {
    let attributes = listed.file_attributes();
    if attributes & RECALL_ON_OPEN == 0 || listed.is_symlink() {
        return None;
    }
    Some(of_nature(listed, nature(attributes, 0, true)))
}

fn of_nature(found: &Metadata, nature: Nature) -> FileMetadata {
    let (kind, reparse_tag) = match nature {
        Nature::Link { tag } => (SourceKind::Symlink, tag),
        Nature::Other(kind) => (SourceKind::Other(kind), None),
        Nature::Plain | Nature::InCloud => {
            let is_folder = found.file_attributes() & WindowsAttributes::DIRECTORY != 0;
            (if is_folder { SourceKind::Directory } else { SourceKind::File }, None)
        }
    };
    let mut kept = WindowsAttributes::KEPT;
    if kind == SourceKind::Symlink {
        // Whether it leads to a folder, which a restore must know to make it.
        kept |= WindowsAttributes::DIRECTORY;
    }
    let windows = WindowsAttributes {
        attributes: found.file_attributes() & kept,
        created_ns: nanoseconds(found.creation_time()),
        reparse_tag,
    };
    let mtime_ns = nanoseconds(found.last_write_time());
    FileMetadata {
        kind,
        size: found.file_size(),
        mtime_ns,
        ctime_ns: None,
        unix: None,
        windows: Some(windows),
        identity: None,
        links: 1,
        allocated: found.file_size(),
        in_cloud: nature == Nature::InCloud,
        stored: Stored::of_attributes(found.file_attributes()),
    }
}

fn nanoseconds(ticks: u64) -> i128 {
    (i128::from(ticks) - EPOCH) * 100
}

/// Opens by path: open handles of folders would keep other programs from renaming them.
#[derive(Debug, Default)]
pub struct Beneath {
    stream_keepers: StreamKeepers,
}

impl Beneath {
    /// Opens a file to read it, with its metadata.
    ///
    /// # Errors
    /// The system's; [`is_in_cloud`](super::is_in_cloud) where reading it would fetch it.
    pub fn open_file(&mut self, source: &SourcePath) -> io::Result<(File, FileMetadata)> {
        let file = shortage::wait_out(|| open(source.as_path(), false))?;
        let metadata = metadata_of(&file)?;
        Ok((file, metadata))
    }

    /// As [`open_file`](Self::open_file), of a file that is fetched when it is read.
    ///
    /// # Errors
    /// The system's.
    pub fn fetch_file(&mut self, source: &SourcePath) -> io::Result<(File, FileMetadata)> {
        let file = shortage::wait_out(|| open(source.as_path(), true))?;
        let metadata = metadata_of(&file)?;
        Ok((file, metadata))
    }

    /// The metadata of a path, links not followed.
    ///
    /// # Errors
    /// The system's.
    pub fn metadata_at(&mut self, source: &SourcePath) -> io::Result<FileMetadata> {
        metadata_at(source.as_path())
    }

    /// The metadata of a path, links not followed, and its streams. A link's are not asked for.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn look_at(&mut self, source: &SourcePath) -> io::Result<LookedAt> {
        let keepers = &mut self.stream_keepers;
        let (metadata, streams) = look_at(source.as_path(), |file, metadata| match metadata.kind {
            SourceKind::File | SourceKind::Directory => keepers.streams_of(file, metadata),
            _ => Ok(Vec::new()),
        })?;
        Ok(LookedAt { metadata, streams: streams.unwrap_or_else(|| Ok(Vec::new())) })
    }

    /// Opens a stream of a file or folder to read it, that of a link itself where one took its place: its metadata says so then. The
    /// content of a reparse point may be elsewhere, its streams are not.
    ///
    /// # Errors
    /// The system's.
    pub fn open_stream(&mut self, source: &SourcePath, name: &[u8]) -> io::Result<(File, FileMetadata)> {
        let path = stream_path(source.as_path(), name);
        let file = shortage::wait_out(|| open_with_retries(&path, OPEN_REPARSE_POINT | OPEN_NO_RECALL))?;
        let mut metadata = metadata_of(&file)?;
        if matches!(metadata.kind, SourceKind::File | SourceKind::Directory) {
            metadata = FileMetadata {
                allocated: metadata.allocated,
                ..metadata_of_stream(&metadata, metadata.size)
            };
        }
        Ok((file, metadata))
    }

    /// The text of a link as it was found.
    ///
    /// # Errors
    /// The system's.
    pub fn read_link(&mut self, source: &SourcePath) -> io::Result<Vec<u8>> {
        reparse_point::read_link(source.as_path())
    }

    /// The security descriptor of a folder or a link.
    ///
    /// # Errors
    /// The system's.
    pub fn extended(&mut self, source: &SourcePath) -> io::Result<Extended> {
        let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
        let file = security::with_audit(READ_CONTROL, |access| {
            File::options().access_mode(access).custom_flags(flags).open(source.as_path())
        })?;
        Ok(Extended { xattrs: Vec::new(), security: security_of(&file)? })
    }
}

/// Whether an error says that something else is where a folder was.
pub fn is_replaced(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotADirectory
}

/// Opens a file to read it. A link is opened itself, and its metadata says so.
fn open(path: &Path, may_fetch: bool) -> io::Result<File> {
    let file = open_with_retries(path, OPEN_REPARSE_POINT | OPEN_NO_RECALL)?;
    let attributes = file.metadata()?.file_attributes();
    let tag = attribute_tag::tag_of(&file, attributes)?;
    match nature(attributes, tag, false) {
        Nature::InCloud if !may_fetch => return Err(in_cloud()),
        Nature::InCloud => {}
        Nature::Plain if attributes & REPARSE_POINT == 0 => return Ok(file),
        Nature::Plain => {}
        Nature::Link { .. } | Nature::Other(_) => return Ok(file),
    }
    // Its driver gives the content only when the reparse point itself is not opened.
    let content = match open_with_retries(path, 0) {
        Err(e) if e.raw_os_error() == Some(CANNOT_ACCESS) && is_whole_without_driver(attributes, tag) => {
            return Ok(file);
        }
        content => content?,
    };
    if metadata_of(&content)?.identity == metadata_of(&file)?.identity {
        Ok(content)
    } else {
        Err(io::Error::other("another file took its place"))
    }
}

fn open_with_retries(path: &Path, flags: u32) -> io::Result<File> {
    // Opened for backup, a user with the right to back up reads files whose access lists deny it.
    let flags = flags | BACKUP_SEMANTICS | SEQUENTIAL_SCAN;
    let try_to_open = || {
        security::with_audit(GENERIC_READ, |access| {
            File::options().access_mode(access).custom_flags(flags).open(path)
        })
    };
    for wait in RETRY_DELAYS {
        match try_to_open() {
            Err(e) if is_in_use(&e) => std::thread::sleep(wait),
            opened => return opened,
        }
    }
    try_to_open()
}

/// Whether another program has the file open, after the retries.
pub(super) fn is_in_use(e: &io::Error) -> bool {
    e.raw_os_error() == Some(SHARING_VIOLATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_use_is_waited_for_and_its_metadata_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abc").unwrap();
        let held = File::options().read(true).share_mode(0).open(&path).unwrap();
        assert!(is_in_use(&open(&path, false).unwrap_err()));
        assert_eq!(metadata_at(&path).unwrap().size, 3);
        let released = std::thread::spawn(move || {
            std::thread::sleep(RETRY_DELAYS[0]);
            drop(held);
        });
        let file = open(&path, false).unwrap();
        released.join().unwrap();
        assert_eq!(metadata_of(&file).unwrap().size, 3);
    }

    #[test]
    fn a_file_that_someone_has_open_to_write_is_not_at_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abc").unwrap();
        let then = metadata_at(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(is_at_rest(&path, &then), "who reads does not matter");
        drop(reader);
        let writer = File::options().write(true).open(&path).unwrap();
        assert!(!is_at_rest(&path, &then));
        drop(writer);
        assert!(is_at_rest(&path, &then));
        assert!(!is_at_rest(&path, &FileMetadata { size: 2, ..then.clone() }));
        assert!(!is_at_rest(&dir.path().join("gone"), &then));
    }

    #[test]
    fn attributes_and_times_are_the_files_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        let modified = std::time::UNIX_EPOCH + Duration::new(1_000, 500);
        file.set_modified(modified).unwrap();
        let mut permissions = file.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).unwrap();
        let metadata = metadata_of(&file).unwrap();
        assert_eq!(metadata.mtime_ns, 1_000_000_000_500);
        let windows = metadata.windows.unwrap();
        assert_eq!(windows.attributes & WindowsAttributes::READ_ONLY, WindowsAttributes::READ_ONLY);
        assert!(windows.created_ns > 0, "a time of creation; Wine cannot set it");
    }

    #[test]
    fn a_change_shows_in_the_time_of_change_where_size_and_modification_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abc").unwrap();
        let before = metadata_at(&path).unwrap();
        assert!(before.ctime_ns > Some(0) && before.identity.is_some(), "{before:?}");
        // Times are those of a clock that ticks.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            fs::write(&path, b"xyz").unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let nanoseconds = u64::try_from(before.mtime_ns).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_nanos(nanoseconds)).unwrap();
            drop(file);
            let after = metadata_at(&path).unwrap();
            assert_eq!(
                (after.size, after.mtime_ns, after.identity),
                (before.size, before.mtime_ns, before.identity)
            );
            assert_eq!(metadata_of(&open(&path, false).unwrap()).unwrap(), after, "opened to be read");
            if after.ctime_ns > before.ctime_ns {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{after:?}");
        }
    }
}
