//! Temporary names, and the files that a killed restore has left under them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
#[cfg(unix)]
use std::sync::LazyLock;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use intellistor_storage::disk::leftovers;

use super::folder::Folder;

const PREFIX: &str = ".intellistor-";
const SUFFIX: &str = ".part";
/// On Windows: privileges to back up and to restore count.
#[cfg(windows)]
pub(super) const BACKUP_SEMANTICS: u32 = 0x0200_0000;

/// An unpredictable name, so that no one can put something under it first.
///
/// Ours because `tempfile` makes files below paths and these are made below folder handles.
///
/// # Panics
/// When the system has no randomness to give.
pub(super) fn temporary_name() -> OsString {
    format!("{PREFIX}{}{SUFFIX}", random()).into()
}

/// As [`temporary_name`], for a file that is held from its first moment to its last. The name says which machine holds it: there
/// its lock tells whether the process that made it still lives, and elsewhere only its age.
///
/// # Panics
/// When the system has no randomness to give.
pub(super) fn held_name() -> OsString {
    #[cfg(unix)]
    return format!("{PREFIX}{}{}{SUFFIX}", random(), *HERE).into();
    #[cfg(not(unix))]
    temporary_name()
}

fn random() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    format!("{:032x}", u128::from_ne_bytes(random))
}

/// The end of the names of files that this machine holds.
#[cfg(unix)]
static HERE: LazyLock<String> = LazyLock::new(|| {
    use std::os::unix::ffi::OsStrExt as _;
    let host = blake3::hash(gethostname::gethostname().as_bytes());
    format!("-{}", &host.to_hex()[..16])
});

/// Whether a temporary name says that this machine held the file from its first moment.
fn was_held_here(name: &OsStr) -> bool {
    #[cfg(unix)]
    return name
        .to_str()
        .and_then(|name| name.strip_suffix(SUFFIX))
        .is_some_and(|name| name.ends_with(HERE.as_str()));
    #[cfg(not(unix))]
    {
        let _ = name;
        false
    }
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
        // Open until it is removed: no one can take its lock meanwhile.
        let file = found.is_file().then(|| open_existing(folder, &name).ok()).flatten();
        let is_abandoned = match &file {
            Some(file) if was_held_here(&name) => leftovers::is_released(file),
            Some(file) => is_no_new_link(file) && leftovers::is_abandoned(file),
            None => {
                found.is_symlink()
                    && leftovers::is_old(found.modified().map(cap_std::time::SystemTime::into_std))
            }
        };
        // Windows removes no file that is open.
        #[cfg(windows)]
        drop(file);
        if is_abandoned && folder.remove_file(&name).is_ok() {
            tracing::info!(name = %name.display(), "removed a temporary file of a restore that was killed");
        }
    }
}

/// Whether it may be removed for its age alone. A second name of a restored file is not held, and its time is the file's: it may be
/// about to get its own name, unless nothing has happened to the file for a day.
#[cfg(unix)]
fn is_no_new_link(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    use std::time::{Duration, SystemTime};
    file.metadata().is_ok_and(|found| {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(found.ctime().try_into().unwrap_or(0));
        found.nlink() == 1 || leftovers::is_old(Ok(changed))
    })
}

/// Windows says itself what is in use.
#[cfg(not(unix))]
fn is_no_new_link(_: &File) -> bool {
    true
}

/// Opens an existing file to read it.
pub(super) fn open_existing(dir: &Dir, name: &OsStr) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    // A fifo that replaced it must not block.
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    // Who may back up everything reads it whatever its access list says.
    #[cfg(windows)]
    cap_std::fs::OpenOptionsExt::custom_flags(&mut options, BACKUP_SEMANTICS);
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
