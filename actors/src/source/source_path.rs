//! The path of a file on this machine: a root, and a path below it.

#[cfg(unix)]
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::raw_name;

/// A path of which the first part, the root, was resolved when the walk began. No link is followed in what comes after
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePath {
    #[serde(with = "raw_name::serde_path")]
    path: PathBuf,
    /// Length of the root's name. Only Unix opens files from the root.
    root_bytes: usize,
}

impl SourcePath {
    /// The root itself: a folder, by a path without links.
    pub fn of_root(root: PathBuf) -> Self {
        Self { root_bytes: root.as_os_str().len(), path: root }
    }

    pub fn as_path(&self) -> &Path {
        &self.path
    }

    /// The same path with another name at its end.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        Self { path: self.path.join(name), root_bytes: self.root_bytes }
    }

    pub(super) fn push(&mut self, name: impl AsRef<Path>) {
        self.path.push(name);
    }

    pub(super) fn pop(&mut self) {
        self.path.pop();
    }

    #[cfg(unix)]
    pub(super) fn root(&self) -> &Path {
        self.split().0
    }

    /// What comes after the root, in names with `/` between them; empty for the root itself.
    #[cfg(unix)]
    pub(super) fn below(&self) -> &[u8] {
        self.split().1
    }

    #[cfg(unix)]
    fn split(&self) -> (&Path, &[u8]) {
        use std::os::unix::ffi::OsStrExt;
        let bytes = self.path.as_os_str().as_bytes();
        let (root, below) = bytes.split_at(self.root_bytes.min(bytes.len()));
        (Path::new(OsStr::from_bytes(root)), below.strip_prefix(b"/").unwrap_or(below))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_root_is_named_from_there() {
        let mut path = SourcePath::of_root("/data/docs".into());
        assert_eq!((path.root(), path.below()), (Path::new("/data/docs"), &b""[..]));
        path.push("a");
        path.push("b");
        assert_eq!((path.root(), path.below()), (Path::new("/data/docs"), &b"a/b"[..]));
        path.pop();
        assert_eq!(path.as_path(), Path::new("/data/docs/a"));
        let top = SourcePath::of_root("/".into()).join("etc");
        assert_eq!((top.root(), top.below()), (Path::new("/"), &b"etc"[..]));
    }
}
