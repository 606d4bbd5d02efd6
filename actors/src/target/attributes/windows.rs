//! Attributes on Windows: the time.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::fs::Dir;

use super::Attributes;

impl Attributes {
    /// Only the time, of a folder that is about to be written into.
    pub(in crate::target) fn of_dir(dir: &Dir) -> Option<Self> {
        let modified = dir.dir_metadata().ok()?.modified().ok()?.into_std();
        let mtime_ns = match modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        Some(Self { unix: None, xattrs: Vec::new(), mtime_ns })
    }

    /// Applies all to a file that has no name of its own yet.
    pub(in crate::target) fn apply_to_file(&self, file: &File) -> Vec<String> {
        self.time(|time| file.set_modified(time))
    }

    /// Applies all to a folder.
    pub(in crate::target) fn apply_to_dir(&self, dir: &Dir, _: &mut dyn FnMut(u32)) -> Vec<String> {
        self.time(|time| dir.set_mtime(".", SystemTimeSpec::from(cap_std::time::SystemTime::from_std(time))))
    }

    /// Applies all to a link itself.
    pub(in crate::target) fn apply_to_symlink(&self, dir: &Dir, name: &OsStr) -> Vec<String> {
        self.time(|time| {
            let time = SystemTimeSpec::from(cap_std::time::SystemTime::from_std(time));
            dir.set_symlink_times(name, None, Some(time))
        })
    }

    fn time(&self, set: impl FnOnce(SystemTime) -> io::Result<()>) -> Vec<String> {
        let ns = |ns: u128| {
            u64::try_from(ns / 1_000_000_000).map(|s| Duration::new(s, (ns % 1_000_000_000) as u32))
        };
        let time = ns(self.mtime_ns.unsigned_abs()).ok().and_then(|distance| {
            if self.mtime_ns < 0 {
                SystemTime::UNIX_EPOCH.checked_sub(distance)
            } else {
                SystemTime::UNIX_EPOCH.checked_add(distance)
            }
        });
        let mut problems = Vec::new();
        if !self.xattrs.is_empty() {
            problems.push("its extended attributes were not applied: this system has none".to_owned());
        }
        match time.ok_or_else(|| io::Error::other("this system cannot hold it")).and_then(set) {
            Ok(()) => {}
            Err(e) => problems.push(format!("its time was not applied: {e}")),
        }
        problems
    }
}

/// There is no mode here.
pub(in crate::target) fn unlock(_: &Dir) {}

/// There is no mode here.
pub(in crate::target) fn set_mode(_: &Dir, _: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a link to a file; the system wants to know, and most are. It refuses absolute targets.
pub(in crate::target) fn symlink(dir: &Dir, text: &OsStr, name: &OsStr) -> io::Result<()> {
    DirExt::symlink_file(dir, text, name)
}

/// A handle for [`sync`].
pub(in crate::target) fn open_whole(root: &Dir) -> io::Result<File> {
    Ok(root.try_clone()?.into_std_file())
}

/// There is no such call for a whole folder here.
pub(in crate::target) fn sync(_: &File) -> io::Result<()> {
    Ok(())
}
