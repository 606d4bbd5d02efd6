//! Streams of NTFS and ReFS.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use intellistor_storage::ContentDigest;
use intellistor_storage::disk::shortage::wait_out;
use intellistor_storage::manifest::{Entry, WindowsAttributes};
use windows::Win32::Storage::FileSystem::FILE_BASIC_INFO;

use super::Owner;
use crate::source::windows::{self as source, stream_path};
use crate::target::attributes::{
    BACKUP_SEMANTICS, Lifted, NORMAL, OPEN_REPARSE_POINT, basic_info, set_basic_info,
};
use crate::target::folder::Folder;
use crate::target::verdict::Cut;

const READ_DATA: u32 = 0x1;
const READ_ATTRIBUTES: u32 = 0x80;
const WRITE_ATTRIBUTES: u32 = 0x100;
const SHARE_READ_AND_WRITE: u32 = 0x3;

/// Whether files in a folder can have streams.
pub(in crate::target) fn keeps_streams(root: &Folder) -> bool {
    let root = File::options().access_mode(0).custom_flags(BACKUP_SEMANTICS).open(root.path());
    root.is_ok_and(|root| source::keeps_streams(&root))
}

impl Owner {
    /// By the path that the open folders lead along, none of which can be replaced meanwhile.
    fn path(&self) -> PathBuf {
        match &self.name {
            Some(name) => self.dir.path_of(name),
            None => self.dir.path().to_owned(),
        }
    }
}

/// Whether a stream is the one that was backed up; `None` where there is none.
pub(in crate::target) fn is_same(
    owner: &Owner,
    name: &[u8],
    entry: &Entry,
    buffer: &mut [u8],
    cut: &dyn Fn() -> bool,
) -> Result<Option<bool>, Cut> {
    let path = stream_path(&owner.path(), name);
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
    let Ok(mut file) = wait_out(|| File::options().read(true).custom_flags(flags).open(&path)) else {
        return Ok(None);
    };
    if entry.content_digest().leaves_out_holes()
        || !file.metadata().is_ok_and(|found| found.len() == entry.size)
    {
        return Ok(Some(false));
    }
    let mut digest = ContentDigest::of(entry.size, entry.size);
    loop {
        if cut() {
            return Err(Cut);
        }
        match file.read(buffer) {
            Ok(0) => return Ok(Some(entry.sha256 == Some(digest.finish()))),
            Ok(n) => digest.data(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(Some(false)),
        }
    }
}

/// The error, after the file has its own access list again; with the reason where it has not.
fn after_lifting(e: io::Error, lifted: Option<Lifted>) -> io::Error {
    match lifted.map(Lifted::put_back) {
        Some(Err(problem)) => io::Error::new(e.kind(), format!("{e}; and {problem}")),
        Some(Ok(())) | None => e,
    }
}

/// A stream that is being written, and its file.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    path: PathBuf,
    position: u64,
    owner: OpenOwner,
}

/// Keeps a file from being renamed or removed, and knows what it had before.
#[derive(Debug)]
struct OpenOwner {
    file: File,
    basic: FILE_BASIC_INFO,
    lifted: Option<Lifted>,
}

impl OpenOwner {
    fn open(owner: &Owner) -> io::Result<Self> {
        let path = owner.path();
        let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
        // With a right to its data, without which the system would not count it as open.
        let to_hold = |access| {
            let mut options = File::options();
            options.access_mode(access).custom_flags(flags).share_mode(SHARE_READ_AND_WRITE);
            wait_out(|| options.open(&path))
        };
        let access = READ_DATA | READ_ATTRIBUTES | WRITE_ATTRIBUTES;
        let (file, lifted) = match to_hold(access) {
            Err(e) if source::is_denied(&e) => {
                let lifted = Lifted::to_write(&path);
                match to_hold(access) {
                    Ok(file) => (file, lifted),
                    Err(e) => return Err(after_lifting(e, lifted)),
                }
            }
            file => (file?, None),
        };
        let basic = match Self::make_writable(&file, owner) {
            Ok(basic) => basic,
            Err(e) => return Err(after_lifting(e, lifted)),
        };
        // Only now a refusal is one of the list.
        let lifted = lifted.or_else(|| Lifted::to_write(&path));
        Ok(Self { file, basic, lifted })
    }

    /// Takes "read-only" away, last of what can fail. Returns what it had before.
    fn make_writable(file: &File, owner: &Owner) -> io::Result<FILE_BASIC_INFO> {
        let found = file.metadata()?;
        if found.is_symlink() || found.is_dir() != owner.name.is_none() {
            return Err(io::Error::other("another file took the place of the one that was restored"));
        }
        let basic = basic_info(file)?;
        if basic.FileAttributes & WindowsAttributes::READ_ONLY != 0 {
            let attributes = match basic.FileAttributes & !WindowsAttributes::READ_ONLY {
                0 => NORMAL,
                some => some,
            };
            set_basic_info(file, &FILE_BASIC_INFO { FileAttributes: attributes, ..Default::default() })?;
        }
        Ok(basic)
    }

    /// Gives the file the times and attributes that it had, and its access list last.
    fn put_back(self) -> Vec<String> {
        let Self { file, basic, lifted } = self;
        // A zero would leave the time of change as it is; another value is not to be set by anyone.
        let basic = FILE_BASIC_INFO { ChangeTime: 0, ..basic };
        let times = set_basic_info(&file, &basic);
        let problem =
            times.err().map(|e| format!("the time and attributes of its file were not put back: {e}"));
        problem.into_iter().chain(lifted.and_then(|lifted| lifted.put_back().err())).collect()
    }
}

impl Stream {
    pub(super) fn create(owner: &Owner, name: &[u8], only_new: bool) -> io::Result<Self> {
        let path = stream_path(&owner.path(), name);
        let owner = OpenOwner::open(owner)?;
        let mut options = File::options();
        options.write(true).custom_flags(BACKUP_SEMANTICS | OPEN_REPARSE_POINT);
        // Not truncated as it is opened, which the system refuses for hidden files.
        if only_new {
            options.create_new(true)
        } else {
            options.create(true).truncate(false)
        };
        match wait_out(|| options.open(&path)).and_then(|file| file.set_len(0).map(|()| file)) {
            Ok(file) => Ok(Self { file, path, position: 0, owner }),
            Err(e) => {
                let problems: String =
                    owner.put_back().iter().map(|problem| format!("; and {problem}")).collect();
                Err(if problems.is_empty() { e } else { io::Error::new(e.kind(), format!("{e}{problems}")) })
            }
        }
    }

    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at != self.position {
            self.file.seek(SeekFrom::Start(at))?;
        }
        self.file.write_all(bytes)?;
        self.position = at + bytes.len() as u64;
        Ok(())
    }

    pub(super) fn complete(&mut self, size: u64) -> io::Result<()> {
        if size == self.position { Ok(()) } else { self.file.set_len(size) }
    }

    /// Closes the stream first: the system sets times when it is closed.
    pub(super) fn put_back(self) -> Vec<String> {
        let Self { file, owner, .. } = self;
        drop(file);
        owner.put_back()
    }

    pub(super) fn discard(self) {
        let Self { file, path, owner, .. } = self;
        drop(file);
        // What is left of it, the next restore writes anew.
        if let Err(e) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), error = %e, "an incomplete alternate data stream could not be removed");
        }
        for problem in owner.put_back() {
            tracing::warn!(path = %path.display(), problem, "after an alternate data stream");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Under Wine a stream is a file beside its own.
    #[test]
    fn a_stream_is_written_whole_and_its_file_keeps_its_time_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abc").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000)).unwrap();
        let mut permissions = file.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions.clone()).unwrap();
        drop(file);
        let before = fs::metadata(&path).unwrap();
        let owner = Owner { dir: Arc::new(Folder::root(dir.path()).unwrap()), name: Some("f".into()) };
        if !keeps_streams(&owner.dir) {
            return;
        }
        let mut stream = Stream::create(&owner, b"x", false).unwrap();
        stream.write_at(0, b"12345").unwrap();
        stream.complete(7).unwrap();
        assert_eq!(stream.put_back(), Vec::<String>::new());
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert!(after.permissions().readonly());
        assert_eq!(fs::read(stream_path(&path, b"x")).unwrap(), b"12345\0\0");
        assert_eq!(Stream::create(&owner, b"x", true).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        Stream::create(&owner, b"y", false).unwrap().discard();
        assert!(fs::read(stream_path(&path, b"y")).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }
}
