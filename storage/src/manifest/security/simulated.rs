//! Security descriptors on systems that have none, for tests of whole runs.
//!
//! In test builds (`cfg(test)` or the feature `testing`) the extended attribute [`ATTRIBUTE`] is a file's security descriptor. In
//! every other build it is an attribute like any other.

#[cfg(any(test, feature = "testing"))]
use super::descriptor::SecurityDescriptor;
use super::of_entry::Security;
use crate::manifest::entry::Xattr;

/// Its value is the bytes of a self-relative descriptor.
pub const ATTRIBUTE: &str = "user.intellistor.test.security";

/// The descriptor that a test has given a file, which is no attribute of it then.
#[cfg(any(test, feature = "testing"))]
pub fn simulated(xattrs: &mut Vec<Xattr>) -> Option<Security> {
    let at = xattrs.iter().position(|xattr| xattr.name == ATTRIBUTE.as_bytes())?;
    let bytes = xattrs.remove(at).value;
    Some(SecurityDescriptor::parse(bytes).expect("a test gives valid descriptors").normalized().into())
}

/// None.
#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub fn simulated(_: &mut Vec<Xattr>) -> Option<Security> {
    None
}
