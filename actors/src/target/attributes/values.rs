//! The attributes of an entry, before they are applied.

use intellistor_storage::manifest::security::Security;
use intellistor_storage::manifest::{Entry, UnixAttributes, WindowsAttributes, Xattr};

/// Owner, mode, access list, extended attributes and time. Applying them returns what could not be applied, and why.
#[derive(Debug)]
pub(in crate::target) struct Attributes {
    #[cfg_attr(windows, expect(dead_code, reason = "nothing here can hold them"))]
    pub(super) unix: Option<UnixAttributes>,
    #[cfg_attr(unix, expect(dead_code, reason = "nothing here can hold them"))]
    pub(super) windows: Option<WindowsAttributes>,
    pub(super) xattrs: Vec<Xattr>,
    #[cfg_attr(unix, expect(dead_code, reason = "nothing here can hold it"))]
    pub(super) security: Option<Security>,
    pub(super) mtime_ns: i128,
}

impl From<&Entry> for Attributes {
    fn from(entry: &Entry) -> Self {
        Self {
            unix: entry.unix.clone(),
            windows: entry.windows,
            xattrs: entry.xattrs.clone(),
            security: entry.security.clone(),
            mtime_ns: entry.mtime_ns,
        }
    }
}

/// Whether a file is to be opened by no one else until it has its attributes: on Windows where it gets an access list, since until
/// then it has what it inherits, which may let in more people.
#[cfg(windows)]
pub(in crate::target) fn is_exclusive_at_first(entry: &Entry) -> bool {
    entry.security.is_some()
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
    /// Whether a folder's own mode, or on Windows its access list, will be applied, so that until then it may be closed to others;
    /// without one the system's default must stay.
    pub(in crate::target) fn is_private_at_first(&self) -> bool {
        #[cfg(unix)]
        return self.unix.is_some();
        #[cfg(windows)]
        self.security.is_some()
    }
}
