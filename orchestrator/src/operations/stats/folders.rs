//! The largest folders of a backup.
//!
//! Entries come depth first, so a folder's sums are complete once an entry is no longer below it: those of the folders around the
//! current entry are held, and the largest so far.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};

use super::report::FolderStats;
use crate::error::Result;

/// The largest folders down to a depth.
pub(super) fn largest_folders(
    manifest: &VerifiedManifest,
    depth: usize,
    most: usize,
) -> Result<Vec<FolderStats>> {
    let mut folders = Folders { depth, most, open: Vec::new(), largest: BinaryHeap::new() };
    manifest.for_each_entry(|entry| {
        folders.add(&entry);
        ControlFlow::Continue(())
    })?;
    Ok(folders.finish())
}

#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sums {
    bytes: u64,
    files: u64,
}

struct Folders {
    depth: usize,
    most: usize,
    /// The folders around the current entry, outermost first, by their whole path.
    open: Vec<(String, Sums)>,
    /// The smallest on top.
    largest: BinaryHeap<Reverse<(Sums, Reverse<String>)>>,
}

impl Folders {
    fn add(&mut self, entry: &Entry) {
        if matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink) {
            return;
        }
        let path = &entry.relative_path;
        let is_around = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        while self.open.last().is_some_and(|(folder, _)| !is_around(folder)) {
            self.close();
        }
        let known = self.open.len();
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.take(self.depth).skip(known) {
            self.open.push((path[..end].to_owned(), Sums::default()));
        }
        let bytes = if entry.kind.has_content() { entry.size } else { 0 };
        let files = u64::from(entry.kind.is_file_or_link());
        for (_, sums) in &mut self.open {
            sums.files += files;
            sums.bytes = sums.bytes.saturating_add(bytes);
        }
    }

    fn close(&mut self) {
        let Some((folder, sums)) = self.open.pop() else { return };
        self.largest.push(Reverse((sums, Reverse(folder))));
        if self.largest.len() > self.most {
            self.largest.pop();
        }
    }

    fn finish(mut self) -> Vec<FolderStats> {
        while !self.open.is_empty() {
            self.close();
        }
        // Ascending by what is reversed: the largest first.
        let stats = |Reverse((Sums { bytes, files }, Reverse(folder)))| FolderStats { folder, files, bytes };
        self.largest.into_sorted_vec().into_iter().map(stats).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(depth: usize, most: usize) -> Vec<(String, u64, u64)> {
        let mut folders = Folders { depth, most, open: Vec::new(), largest: BinaryHeap::new() };
        for (relative_path, size) in
            [("a/b/c/x", 4), ("a/b/y", 2), ("a/z", 1), ("ab", 9), ("ação/x", 5), ("top", 100), ("z/1/2", 3)]
        {
            folders.add(&Entry { relative_path: relative_path.into(), size, ..Entry::default() });
        }
        folders.finish().into_iter().map(|f| (f.folder, f.files, f.bytes)).collect()
    }

    #[test]
    fn the_largest_come_first_with_all_that_is_below_them() {
        let all = [("a", 3, 7), ("a/b", 2, 6), ("ação", 1, 5), ("a/b/c", 1, 4), ("z", 1, 3), ("z/1", 1, 3)];
        let all = all.map(|(folder, files, bytes)| (folder.to_owned(), files, bytes));
        assert_eq!(largest(3, 9), all);
        assert_eq!(largest(3, 2), all[..2]);
        assert_eq!(largest(1, 9), [&all[0], &all[2], &all[4]].map(Clone::clone));
    }
}
