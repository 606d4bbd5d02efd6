//! The attributes of an entry, before they are applied.

use intellistor_storage::manifest::{Entry, UnixAttributes, WindowsAttributes, Xattr};

/// Owner, mode, extended attributes and time. Applying them returns what could not be applied, and why.
#[derive(Debug)]
pub(in crate::target) struct Attributes {
    pub(super) unix: Option<UnixAttributes>,
    #[cfg_attr(unix, expect(dead_code, reason = "nothing here can hold them"))]
    pub(super) windows: Option<WindowsAttributes>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) mtime_ns: i128,
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

/// The mode to create a file with. Until the file has its owner and its attributes, among them an access list, no one may
/// read it who may not in the end: so it is the file's own mode only where group and others have the same rights and there
/// is no access list, and a set-ID file is not writable for others before it has its owner.
pub(in crate::target) fn first_mode(entry: &Entry) -> Option<u32> {
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
    pub(in crate::target) fn has_mode(&self) -> bool {
        self.unix.is_some()
    }
}
