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

    /// The path of `other` if it is below the same root. Both are relative paths as in the manifest, `relative` that of this
    /// path.
    #[must_use]
    pub fn of_same_root(&self, relative: &[u8], other: &[u8]) -> Option<Self> {
        let mut root = self.path.clone();
        let mut prefix = if relative == b"." { &b""[..] } else { relative };
        while root.as_os_str().len() > self.root_bytes {
            let name = raw_name::to_bytes(root.file_name()?).into_owned();
            prefix = prefix.strip_suffix(name.as_slice())?;
            prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
            root.pop();
        }
        let below = if prefix.is_empty() { other } else { other.strip_prefix(prefix)?.strip_prefix(b"/")? };
        let mut path = Self { path: root, root_bytes: self.root_bytes };
        for name in below.split(|byte| *byte == b'/') {
            if matches!(name, b"" | b"." | b"..") {
                return None;
            }
            path.push(raw_name::from_bytes(name));
        }
        Some(path)
    }

    /// The same file below another root, where `from` is the root of this path; both are paths without links.
    #[must_use]
    pub fn rebased(&self, from: &Path, to: &Path) -> Option<Self> {
        let below = self.path.strip_prefix(from).ok()?;
        // The separator at the end of a drive, or of a snapshot, is part of its name.
        if from.as_os_str().len().abs_diff(self.root_bytes) > 1 {
            return None;
        }
        let mut path = Self::of_root(to.to_owned());
        // With a join of nothing a file would get a separator at its end.
        if below != Path::new("") {
            path.push(below);
        }
        Some(path)
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
    fn another_path_is_found_below_the_same_root_only() {
        let path = SourcePath::of_root("/data/docs".into()).join("a").join("b");
        let other = |relative: &str, other: &str| {
            let found = path.of_same_root(relative.as_bytes(), other.as_bytes());
            found.map(|found| found.as_path().to_str().unwrap().to_owned())
        };
        assert_eq!(other("a/b", "c/d").as_deref(), Some("/data/docs/c/d"));
        assert_eq!(other("docs/a/b", "docs/c").as_deref(), Some("/data/docs/c"));
        assert_eq!(other("docs/a/b", "docs-2/c"), None);
        assert_eq!(other("docs/a/b", "docs"), None);
        assert_eq!(other("x", "c"), None, "a relative path of something else");
        for hostile in ["../c", "c/../d", "/c", "c//d", ""] {
            assert_eq!(other("a/b", hostile), None, "{hostile}");
        }
        let root = SourcePath::of_root("/data/f".into());
        assert_eq!(root.of_same_root(b".", b"g").unwrap().as_path(), Path::new("/data/f/g"));
        let top = SourcePath::of_root("/".into()).join("etc");
        assert_eq!(top.of_same_root(b"etc", b"var/x").unwrap().as_path(), Path::new("/var/x"));
    }

    #[test]
    fn a_path_moves_with_its_root_and_with_no_other() {
        let path = SourcePath::of_root("/snapshot-1/docs".into()).join("a").join("b");
        let moved = path.rebased(Path::new("/snapshot-1/docs"), Path::new("/snapshot-2/docs")).unwrap();
        assert_eq!(moved, SourcePath::of_root("/snapshot-2/docs".into()).join("a").join("b"));
        assert_eq!(moved.below(), b"a/b");
        for other in ["/snapshot-1", "/snapshot-1/docs/a", "/snapshot-1/do", "/snapshot-10/docs", "/"] {
            assert_eq!(path.rebased(Path::new(other), Path::new("/x")), None, "{other}");
        }
        // As the roots of volumes are named: with a separator at the end.
        let top = SourcePath::of_root("/snapshot-1/".into());
        let moved = top.join("a").rebased(Path::new("/snapshot-1"), Path::new("/live/")).unwrap();
        assert_eq!((moved.as_path(), moved.below()), (Path::new("/live/a"), &b"a"[..]));
        let root = top.rebased(Path::new("/snapshot-1/"), Path::new("/live")).unwrap();
        assert_eq!((root.as_path(), root.below()), (Path::new("/live"), &b""[..]));
    }

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
