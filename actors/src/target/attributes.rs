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

impl Attributes {
    /// Whether a mode will be applied; without one the system's default must stay.
    pub(super) fn has_mode(&self) -> bool {
        self.unix.is_some()
    }
}
