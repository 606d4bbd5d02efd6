//! Temporary names, and the files that a killed restore has left under them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use intellistor_storage::disk::leftovers;

use super::folder::Folder;

const PREFIX: &str = ".intellistor-";
const SUFFIX: &str = ".part";

/// An unpredictable name, so that no one can put something under it first.
///
/// Ours because `tempfile` makes files below paths and these are made below folder handles.
///
/// # Panics
/// When the system has no randomness to give.
pub(super) fn temporary_name() -> OsString {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    format!("{PREFIX}{:032x}{SUFFIX}", u128::from_ne_bytes(random)).into()
}

fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    random.is_some_and(|random| {
        random.len() >= 16 && random.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    })
}

/// Removes the temporary files that an earlier, killed restore has left in a folder. One that cannot be removed is left to
/// the next restore.
pub(super) fn sweep(folder: &Folder) {
    let Ok(entries) = folder.entries() else { return };
    for name in entries.flatten().map(|entry| entry.file_name()).filter(|name| is_temporary(name)) {
        let Ok(found) = folder.symlink_metadata(&name) else { continue };
        let is_abandoned = if found.is_file() {
            open_existing(folder, &name).is_ok_and(|file| leftovers::is_abandoned(&file))
        } else {
            found.is_symlink() && leftovers::is_old(found.modified().map(cap_std::time::SystemTime::into_std))
        };
        if is_abandoned && folder.remove_file(&name).is_ok() {
            tracing::info!(name = %name.display(), "removed a temporary file of a restore that was killed");
        }
    }
}

/// Opens an existing file to read it.
pub(super) fn open_existing(dir: &Dir, name: &OsStr) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    // A fifo that replaced it must not block.
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    Ok(dir.open_with(name, &options)?.into_std())
}

/// Which file it is, whatever its name. Windows does not let files in use be replaced: there all have one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId(u64, u64);

impl FileId {
    /// Of a regular file by its name; a link is none.
    #[cfg(unix)]
    pub(super) fn of_name(dir: &Dir, name: &OsStr) -> Option<Self> {
        use cap_std::fs::MetadataExt as _;
        let found = dir.symlink_metadata(name).ok().filter(|found| found.is_file())?;
        Some(Self(found.dev(), found.ino()))
    }

    /// Of an open file.
    #[cfg(unix)]
    pub(super) fn of_file(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = file.metadata()?;
        Ok(Self(found.dev(), found.ino()))
    }

    /// Of a regular file by its name; a link is none.
    #[cfg(not(unix))]
    pub(super) fn of_name(dir: &Dir, name: &OsStr) -> Option<Self> {
        dir.symlink_metadata(name).ok().filter(|found| found.is_file()).map(|_| Self(0, 0))
    }

    /// Of an open file.
    #[cfg(not(unix))]
    pub(super) fn of_file(_: &File) -> io::Result<Self> {
        Ok(Self(0, 0))
    }
}
