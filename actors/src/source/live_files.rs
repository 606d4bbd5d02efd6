//! Whether the times of a file in a snapshot tell of every change to its content.
//!
//! Windows brings them up to date when those who write to a file have closed it: "the last write time is not fully updated until all
//! handles used for writing have been closed" (`WriteFile`). A database is open all day. In each snapshot it has another content, and
//! may have the times, and the size, of the day before. So a file is taken over by its times only where it is now as the snapshot has
//! it, and no one has it open to write to it.

use std::path::{Path, PathBuf};

use super::metadata::{FileMetadata, SourceKind};
use super::roots::{Root, resolve};
use super::source_path::SourcePath;
#[cfg(windows)]
use super::windows::is_at_rest;

/// Where the roots that are read in snapshots are.
#[derive(Debug, Clone, Default)]
pub struct LiveFiles {
    /// In the snapshot, and as it is.
    roots: Vec<(PathBuf, PathBuf)>,
}

impl LiveFiles {
    /// Those of a walk's roots.
    pub fn of(roots: &[Root]) -> Self {
        let in_snapshot = |root: &Root| {
            let live = resolve(&root.path).unwrap_or_else(|_| root.path.clone());
            Some((root.snapshot.clone()?, live))
        };
        Self { roots: roots.iter().filter_map(in_snapshot).collect() }
    }

    /// Whether a file may have been written to although its times do not say so. Never of one that is not read in a snapshot: what is
    /// held open by others is not read at all then, or read as it is.
    pub fn may_be_written(&self, source: &SourcePath, metadata: &FileMetadata) -> bool {
        metadata.kind == SourceKind::File
            && self.path_of(source).is_some_and(|live| !is_at_rest(&live, metadata))
    }

    /// Where a file of a snapshot is; `None` for one that is not read in a snapshot.
    fn path_of(&self, source: &SourcePath) -> Option<PathBuf> {
        self.roots.iter().find_map(|(snapshot, live)| {
            let below = source.as_path().strip_prefix(snapshot).ok()?;
            // With a join of nothing a file would get a separator at its end.
            Some(if below == Path::new("") { live.clone() } else { live.join(below) })
        })
    }
}

/// Other systems change the time with the content.
#[cfg(not(windows))]
fn is_at_rest(_: &Path, _: &FileMetadata) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn files_of_snapshots_are_found_where_they_are() {
        let root = |path: &str, snapshot: Option<&str>| Root {
            path: path.into(),
            snapshot: snapshot.map(Into::into),
            ..Root::default()
        };
        let live = LiveFiles::of(&[
            root("/nowhere/docs", Some("/shadow/docs")),
            root("/nowhere/f", Some("/shadow/f")),
            root("/nowhere/top", Some("/shadow-2/")),
            root("/as-it-is", None),
        ]);
        let at = |path: &str| live.path_of(&SourcePath::of_root(path.into()));
        assert_eq!(at("/shadow/docs/a/b").as_deref(), Some(Path::new("/nowhere/docs/a/b")));
        assert_eq!(at("/shadow/f").map(PathBuf::into_os_string), Some("/nowhere/f".into()));
        assert_eq!(at("/shadow-2/x").as_deref(), Some(Path::new("/nowhere/top/x")));
        for other in ["/shadow/docs-2", "/as-it-is/x", "/"] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
