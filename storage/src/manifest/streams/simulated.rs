//! Alternate data streams on systems that have none, for tests of whole runs.
//!
//! In test builds (`cfg(test)` or the feature `testing`) an extended attribute whose name begins with [`PREFIX`] is a stream of its
//! file, and a folder that has the attribute [`KEPT`] is a target that keeps streams. In every other build these are attributes like any other.
//!
//! File systems limit the size of attributes. A value `file:<path>` is the content of that file; a restore writes
//! `sha256:<hex>` for what is longer than [`MOST_BYTES`].

use crate::manifest::entry::Xattr;

/// What follows it is the stream's name; the value is the stream's content.
pub const PREFIX: &str = "user.intellistor.test.stream.";
/// Of the root of a restore: streams are kept below it.
pub const KEPT: &str = "user.intellistor.test.keeps_streams";
/// The longest content that a restore writes as it is.
pub const MOST_BYTES: usize = 2_000;

/// Whether there are streams here at all.
pub const IS_ON: bool = cfg!(any(test, feature = "testing"));

/// A stream that a test has given a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedStream {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
}

/// Takes streams from the attributes of a file, in the order of their names.
#[cfg(any(test, feature = "testing"))]
pub fn take(xattrs: &mut Vec<Xattr>) -> Vec<SimulatedStream> {
    let mut streams = Vec::new();
    xattrs.retain_mut(|xattr| {
        let Some(name) = xattr.name.strip_prefix(PREFIX.as_bytes()) else {
            return xattr.name != KEPT.as_bytes();
        };
        let value = std::mem::take(&mut xattr.value);
        let content = match std::str::from_utf8(&value).ok().and_then(|value| value.strip_prefix("file:")) {
            Some(path) => std::fs::read(path).expect("a test gives a file that can be read"),
            None => value,
        };
        streams.push(SimulatedStream { name: name.to_vec(), content });
        false
    });
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    streams
}

/// None.
#[cfg(not(any(test, feature = "testing")))]
#[inline]
pub fn take(_: &mut Vec<Xattr>) -> Vec<SimulatedStream> {
    Vec::new()
}
