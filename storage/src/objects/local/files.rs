//! Files and folders that survive a crash.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use super::fault::{LocalError, LocalResult};
use crate::disk::{leftovers, private_folder};
use crate::objects::error::StoreErrorKind;

/// What an object is called before it has its name.
pub(super) const PUT: &str = ".put-";

/// Makes an object of a hidden file. The hidden name may be left, and is the caller's to remove.
pub(super) fn give_name(hidden: &Path, target: &Path, if_absent: bool) -> LocalResult<()> {
    if !if_absent {
        return Ok(fs::rename(hidden, target)?);
    }
    // A rename would replace; a second name for the file is refused where there is one.
    match fs::hard_link(hidden, target) {
        Ok(()) => Ok(()),
        // exFAT and some network folders have no second names; there a look has to do.
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists && fs::symlink_metadata(target).is_err() => {
            Ok(fs::rename(hidden, target)?)
        }
        Err(_) => {
            Err(LocalError(StoreErrorKind::AlreadyExists, "there is already such an object".to_owned()))
        }
    }
}

/// What a put that was killed has left.
pub(super) fn remove_if_left(entry: &fs::DirEntry) {
    if entry.file_name().to_str().is_some_and(|name| name.starts_with(PUT)) {
        leftovers::remove_abandoned(&entry.path());
    }
}

pub(super) fn sweep_below(folder: &Path) {
    // What cannot be listed says so to those who need it.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove_if_left(&entry);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_below(&entry.path());
        }
    }
}

pub(super) fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    match private_folder::private().create(path) {
        // Another run may have made it in the same moment.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
    }
}

/// Makes a rename or a new name in a folder survive a crash. Windows journals names by itself.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
