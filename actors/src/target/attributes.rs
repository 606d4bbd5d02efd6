//! What a file has besides its bytes, as far as this system and this user can give it.

use intellistor_storage::manifest::{Entry, UnixAttributes, WindowsAttributes, Xattr};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(super) use unix::{open_whole, set_mode, sync, unlock};
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(super) use windows::{open_whole, set_mode, sync, unlock};

/// Owner, mode, extended attributes and time. Applying them answers what could not be applied, and why.
#[derive(Debug)]
pub(super) struct Attributes {
    unix: Option<UnixAttributes>,
    #[cfg_attr(unix, expect(dead_code, reason = "nothing here can hold them"))]
    windows: Option<WindowsAttributes>,
    xattrs: Vec<Xattr>,
    mtime_ns: i128,
}

impl From<&Entry> for Attributes {
    fn from(entry: &Entry) -> Self {
        Self {
            unix: entry.unix.clone(),
            windows: entry.windows,
            xattrs: entry.xattrs.clone(),
            mtime_ns: entry.mtime_ns,
        }
    }
}

/// The mode to create a file with. Until it has its owner and its attributes, among them an access list, nobody may read
/// it who may not in the end: it is its own mode only where that says the same of everybody but the owner, and all. What will
/// run as its owner is nobody else's to write before.
pub(super) fn first_mode(entry: &Entry) -> Option<u32> {
    let all = entry.unix.as_ref()?.mode;
    let mode = all & 0o777;
    let (owner, group, others) = (mode >> 6, mode >> 3 & 0o7, mode & 0o7);
    // An owner who may not write could not give it its attributes either.
    let is_all = group == others && owner & 0o6 == 0o6 && entry.xattrs.is_empty();
    let is_safe = all & 0o6000 == 0 || others & 0o2 == 0;
    Some(if is_all && is_safe { mode } else { 0o600 })
}

impl Attributes {
    /// Whether a mode will be applied; without one the system's default must stay.
    pub(super) fn has_mode(&self) -> bool {
        self.unix.is_some()
    }
}
