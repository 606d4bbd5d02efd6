//! Attributes on Unix, always through handles.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use cap_std::fs::Dir;
use intellistor_storage::manifest::UnixAttributes;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid};
use xattr::FileExt as _;

use super::values::Attributes;
use crate::source::extended_of;

const NANOS: i128 = 1_000_000_000;
const SET_ID: u32 = 0o6000;
const OWNER_ALL: u32 = 0o700;
const ALL_MODE: u32 = 0o7777;

impl Attributes {
    /// Only the time, of a folder that is about to be written into.
    pub(in crate::target) fn of_dir(dir: &Dir) -> Option<Self> {
        let found = rustix::fs::fstat(dir).ok()?;
        let mtime_ns = i128::from(found.st_mtime) * NANOS + i128::from(found.st_mtime_nsec);
        Some(Self { unix: None, windows: None, xattrs: Vec::new(), security: None, mtime_ns })
    }

    /// Applies all to a file that has no name of its own yet.
    pub(in crate::target) fn apply_to_file(&self, file: &File) -> Vec<String> {
        let mut problems = Vec::new();
        // What it was created with need not be set again.
        let found = rustix::fs::fstat(file).ok();
        let is_owned = |uid: Option<Uid>, gid: Option<Gid>| {
            found.is_some_and(|found| {
                uid.is_none_or(|uid| uid.as_raw() == found.st_uid)
                    && gid.is_none_or(|gid| gid.as_raw() == found.st_gid)
            })
        };
        let mode = self.owner_and_mode(&mut problems, |uid, gid| {
            if is_owned(uid, gid) { Ok(()) } else { rustix::fs::fchown(file, uid, gid) }
        });
        let other = |mode: &u32| found.is_none_or(|found| found.st_mode & ALL_MODE != *mode);
        self.rest(file, mode.filter(other), &mut problems);
        problems
    }

    /// Whether a file has all of them, as far as this user could apply them.
    pub(in crate::target) fn are_those_of(&self, file: &File) -> bool {
        let Ok(found) = rustix::fs::fstat(file) else { return false };
        let is_root = rustix::process::geteuid().is_root();
        let has_mode = |UnixAttributes { mode, uid, gid }: &UnixAttributes| {
            let is_owner = |wanted: u32, found: u32| wanted == u32::MAX || wanted == found;
            let is_owned = !is_root || is_owner(*uid, found.st_uid) && is_owner(*gid, found.st_gid);
            let wanted = if is_root { mode & ALL_MODE } else { mode & ALL_MODE & !SET_ID };
            is_owned && found.st_mode & ALL_MODE == wanted
        };
        i128::from(found.st_mtime) * NANOS + i128::from(found.st_mtime_nsec) == self.mtime_ns
            && self.unix.as_ref().is_none_or(has_mode)
            && extended_of(file).is_ok_and(|found| found.xattrs == self.xattrs)
    }

    /// Applies all to a folder. A mode that would lock its owner out goes to `locks`, to be set at the end.
    pub(in crate::target) fn apply_to_dir(&self, dir: &Dir, locks: &mut dyn FnMut(u32)) -> Vec<String> {
        let mut problems = Vec::new();
        let file = match readable(dir) {
            Ok(file) => file,
            Err(e) => return vec![format!("its attributes were not applied: {e}")],
        };
        let mut mode = self.owner_and_mode(&mut problems, |uid, gid| rustix::fs::fchown(&file, uid, gid));
        if let Some(mode) = &mut mode
            && *mode & OWNER_ALL != OWNER_ALL
            // Root is not locked out, and a restored system has many folders that only root may write into.
            && !rustix::process::geteuid().is_root()
        {
            locks(*mode);
            *mode |= OWNER_ALL;
        }
        self.rest(&file, mode, &mut problems);
        problems
    }

    /// Makes a link with any text.
    pub(in crate::target) fn symlink(&self, dir: &Dir, text: &OsStr, name: &OsStr) -> io::Result<()> {
        dir.symlink_contents(text, name)
    }

    /// Applies owner, extended attributes and time to a link itself, which was just made; it has no mode.
    pub(in crate::target) fn apply_to_symlink(&self, dir: &Dir, name: &OsStr) -> Vec<String> {
        let mut problems = Vec::new();
        let link = match Link::open(dir, name) {
            Ok(link) => link,
            Err(e) => return vec![format!("its owner and time were not applied: {e}")],
        };
        self.owner_and_mode(&mut problems, |uid, gid| link.chown(uid, gid));
        for xattr in &self.xattrs {
            let set = link.set_xattr(OsStr::from_bytes(&xattr.name), &xattr.value);
            note_xattr(&mut problems, &xattr.name, set);
        }
        self.time(&mut problems, |times| link.set_times(times));
        problems
    }

    /// Sets the owner, and returns the mode that the file may have then.
    fn owner_and_mode(
        &self,
        problems: &mut Vec<String>,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> Option<u32> {
        let UnixAttributes { mode, uid, gid } = self.unix.as_ref()?;
        let mode = mode & ALL_MODE;
        let owned = if rustix::process::geteuid().is_root() {
            // The value of all ones means "leave it" to the system.
            let known = |id: &u32| (*id != u32::MAX).then_some(*id);
            let set = chown(known(uid).map(Uid::from_raw), known(gid).map(Gid::from_raw));
            if let Err(e) = set {
                problems.push(format!("its owner was not applied: {e}"));
            }
            set.is_ok()
        } else {
            false
        };
        if !owned && mode & SET_ID != 0 {
            problems.push(
                "its set-user-ID or set-group-ID bit was not set, because its owner was not applied"
                    .to_owned(),
            );
            return Some(mode & !SET_ID);
        }
        Some(mode)
    }

    /// Extended attributes before the mode, since a file that may not be written takes none; the time after all.
    fn rest(&self, file: &File, mode: Option<u32>, problems: &mut Vec<String>) {
        for xattr in &self.xattrs {
            note_xattr(problems, &xattr.name, file.set_xattr(OsStr::from_bytes(&xattr.name), &xattr.value));
        }
        if let Some(mode) = mode
            && let Err(e) = rustix::fs::fchmod(file, Mode::from_raw_mode(mode as RawMode))
        {
            problems.push(format!("its mode was not applied: {e}"));
        }
        self.time(problems, |times| rustix::fs::futimens(file, times));
        let Some(seconds) = self.seconds().filter(|s| i32::try_from(*s).is_err()) else { return };
        // A file system with a smaller range cuts the time silently.
        if file.metadata().is_ok_and(|found| found.mtime() != seconds) {
            problems.push("its time was not applied: this file system cannot represent it".to_owned());
        }
    }

    fn seconds(&self) -> Option<i64> {
        i64::try_from(self.mtime_ns.div_euclid(NANOS)).ok()
    }

    fn time(&self, problems: &mut Vec<String>, set: impl FnOnce(&Timestamps) -> rustix::io::Result<()>) {
        let Some(tv_sec) = self.seconds() else {
            problems.push("its time was not applied: this system cannot represent it".to_owned());
            return;
        };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec: self.mtime_ns.rem_euclid(NANOS) as _ },
        };
        if let Err(e) = set(&times) {
            problems.push(format!("its time was not applied: {e}"));
        }
    }
}

fn note_xattr(problems: &mut Vec<String>, name: &[u8], set: io::Result<()>) {
    if let Err(e) = set {
        problems
            .push(format!("its extended attribute {} was not applied: {e}", String::from_utf8_lossy(name)));
    }
}

/// A symbolic link that was made here, by a handle: between two calls by name another user who may write the folder could
/// replace it, and would get the attributes.
#[cfg(target_os = "linux")]
struct Link(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Link {
    fn open(dir: &Dir, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&handle)?;
        let is_link = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Symlink;
        if is_link && found.st_nlink == 1 && found.st_uid == rustix::process::geteuid().as_raw() {
            Ok(Self(handle))
        } else {
            Err(io::Error::other("another file was put in its place"))
        }
    }

    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> rustix::io::Result<()> {
        rustix::fs::chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    fn set_times(&self, times: &Timestamps) -> rustix::io::Result<()> {
        match rustix::fs::utimensat(&self.0, "", times, AtFlags::EMPTY_PATH) {
            // Linux before 5.8.
            Err(rustix::io::Errno::INVAL) => {
                rustix::fs::utimensat(rustix::fs::CWD, self.path(), times, AtFlags::empty())
            }
            set => set,
        }
    }

    fn set_xattr(&self, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
        xattr::set_deref(self.path(), attribute, value)
    }

    /// Leads to the link, and no further.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.0))
    }
}

/// Elsewhere a link has no handle.
#[cfg(not(target_os = "linux"))]
struct Link<'a>(&'a Dir, &'a OsStr);

#[cfg(not(target_os = "linux"))]
impl<'a> Link<'a> {
    fn open(dir: &'a Dir, name: &'a OsStr) -> io::Result<Self> {
        Ok(Self(dir, name))
    }

    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> rustix::io::Result<()> {
        rustix::fs::chownat(self.0, self.1, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn set_times(&self, times: &Timestamps) -> rustix::io::Result<()> {
        rustix::fs::utimensat(self.0, self.1, times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn set_xattr(&self, _: &OsStr, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A handle to set attributes through, which the one for walking paths does not allow.
fn readable(dir: &Dir) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, ".", flags, Mode::empty())?))
}

/// Lets the owner write into a folder that an earlier restore may have left read-only.
pub(in crate::target) fn unlock(dir: &Dir) {
    let Ok(found) = rustix::fs::fstat(dir) else { return };
    let mode = Mode::from_raw_mode(found.st_mode);
    if !mode.contains(Mode::RWXU) {
        // If it fails, so does what needs it, with the system's reason.
        let _ = chmod(dir, mode | Mode::RWXU);
    }
}

/// Sets a folder's mode.
pub(in crate::target) fn set_mode(dir: &Dir, mode: u32) -> io::Result<()> {
    Ok(chmod(dir, Mode::from_raw_mode(mode as RawMode))?)
}

/// The handle's `.` is out of reach where the folder may not be searched; its path in `/proc` is not.
fn chmod(dir: &Dir, mode: Mode) -> rustix::io::Result<()> {
    if cfg!(target_os = "linux") {
        let handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(dir));
        if rustix::fs::chmod(handle, mode).is_ok() {
            return Ok(());
        }
    }
    rustix::fs::chmodat(dir, ".", mode, AtFlags::empty())
}

/// A handle for [`sync`].
pub(in crate::target) fn open_whole(root: &Dir) -> io::Result<File> {
    readable(root)
}

/// Waits until the file system has written all that it has accepted. One call for all files: it reports what a
/// single file's close does not.
pub(in crate::target) fn sync(whole: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(whole)?;
    #[cfg(not(target_os = "linux"))]
    whole.sync_all()?;
    Ok(())
}
