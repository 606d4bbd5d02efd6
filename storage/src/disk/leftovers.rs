//! Temporary files of processes that died: their owner is unknown, so the next command that uses the folder removes them.
//!
//! A file counts as abandoned when it was last written more than a day ago and no living process holds its lock. The lock
//! alone would not do: not every file system has one. Windows has no need of one here: what is open there says so itself.

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
        for (name, hours) in [(".x-abc123", 48), (".x-abc124", 1), (".x-", 48), (".x-abc12.", 48), ("x", 48)]
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
            .collect();
        left.sort();
        let held_stays = if cfg!(unix) { vec![".x-living"] } else { vec![] };
        let mut expected =
            [vec![".x-", ".x-abc12.", ".x-abc124", ".x-folder"], held_stays, vec!["x"]].concat();
        expected.sort();
        assert_eq!(left, expected);
        drop(held);
        remove_abandoned_in(dir.path(), |name| is_temporary(name, ".x-"));
        assert!(!dir.path().join(".x-living").exists(), "its process died");
    }
}
