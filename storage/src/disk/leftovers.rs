//! Temporary files of processes that died: their owner is unknown, so the next command that uses the folder removes them.
//!
//! A file counts as abandoned when it was last written more than a day ago and no living process holds its lock. The lock
//! alone would not do: not every file system has one. Windows has no need of one here: what is open there says so itself.
//! A file that was held [from the beginning](hold_new) by a process of this machine need not be old: there the lock alone tells,
//! and where the file system has no locks it is removed a day later.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file that was not written for so long belongs to no running process.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells other processes that this one still needs its temporary file, until the file is closed.
pub fn hold(file: &File) {
    if cfg!(unix) {
        // Where the file system has no locks, its age alone speaks for it.
        let _ = file.try_lock();
    }
}

/// As [`hold`], for a file that others remove as soon as no one holds it: whether it is held, and still has its name. One that
/// is not was found by another process between its creation and this call; its owner makes another.
#[must_use]
pub fn hold_new(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => false,
            Ok(()) => file.metadata().is_ok_and(|found| found.nlink() > 0),
            // The file system has no locks, so that no one removes anything for lack of one.
            Err(fs::TryLockError::Error(_)) => true,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        true
    }
}

/// Whether no living process holds a file that its owner [holds from the beginning](hold_new). As long as `file` is open, none
/// can.
#[must_use]
pub fn is_released(file: &File) -> bool {
    cfg!(unix) && file.metadata().is_ok_and(|found| found.is_file()) && file.try_lock().is_ok()
}

/// Whether something was last changed more than a day ago.
pub fn is_old(changed: io::Result<SystemTime>) -> bool {
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|age| age > OLD))
}

/// Whether a temporary file, opened to look, was left by a process that died.
pub fn is_abandoned(file: &File) -> bool {
    let is_old = file.metadata().is_ok_and(|found| found.is_file() && is_old(found.modified()));
    is_old && file.try_lock().is_ok()
}

/// Removes a temporary file if it is abandoned. One that cannot be removed is left to the next command.
pub(crate) fn remove_abandoned(path: &Path) {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && is_old(found.modified()));
    if !is_file {
        return;
    }
    if let Ok(file) = File::open(path)
        && is_abandoned(&file)
        && fs::remove_file(path).is_ok()
    {
        tracing::info!(path = %path.display(), "removed a temporary file of a process that died");
    }
}

/// Removes what is abandoned in a folder, of the names that `is_ours` knows.
pub fn remove_abandoned_in(folder: &Path, is_ours: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(&is_ours) {
            remove_abandoned(&entry.path());
        }
    }
}

/// Whether a name is a prefix and the six letters and digits that `tempfile` adds.
pub fn is_temporary(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|random| random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_ours_and_of_no_living_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, hours: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
            file
        };
        for (name, hours) in [(".x-abc123", 48), (".x-abc124", 1), (".x-", 48), (".x-abc12~", 48), ("x", 48)]
        {
            make(name, hours);
        }
        let held = make(".x-living", 48);
        hold(&held);
        fs::create_dir(dir.path().join(".x-folder")).unwrap();
        remove_abandoned_in(dir.path(), |name| is_temporary(name, ".x-"));
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            // Windows has no lock to hold it by, and Wine 8 names a deleted file for as long as it is open.
            .filter(|name| cfg!(unix) || name != ".x-living")
            .collect();
        left.sort();
        let held_stays = if cfg!(unix) { vec![".x-living"] } else { vec![] };
        let mut expected =
            [vec![".x-", ".x-abc12~", ".x-abc124", ".x-folder"], held_stays, vec!["x"]].concat();
        expected.sort();
        assert_eq!(left, expected);
        drop(held);
        remove_abandoned_in(dir.path(), |name| is_temporary(name, ".x-"));
        assert!(!dir.path().join(".x-living").exists(), "its process died");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_found_before_it_was_held_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let mine = File::create(&path).unwrap();
        let finder = File::open(&path).unwrap();
        assert!(is_released(&finder), "not held yet");
        assert!(!hold_new(&mine), "the finder is about to remove it");
        fs::remove_file(&path).unwrap();
        drop(finder);
        assert!(!hold_new(&mine), "it has no name any more");

        let mine = File::create(&path).unwrap();
        assert!(hold_new(&mine));
        assert!(!is_released(&File::open(&path).unwrap()));
        drop(mine);
        assert!(is_released(&File::open(&path).unwrap()), "its process died");
    }
}
