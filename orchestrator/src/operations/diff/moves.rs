//! Files that have the content of one that is gone.

use std::collections::HashMap;

use intellistor_storage::manifest::{Entry, EntryKind};

/// Half of a SHA-256: two files with the same half would have to be made for it.
type Content = [u8; 16];

/// Files that one of two backups has alone, by content and index. 24 bytes each.
#[derive(Debug, Default)]
pub(super) struct Moves {
    gone: Vec<(Content, u64)>,
    come: Vec<(Content, u64)>,
}

/// Pairs of them.
#[derive(Debug)]
pub(super) struct MovedFiles {
    /// Indexes, ascending.
    sources: Vec<u64>,
    targets: Vec<u64>,
    /// Which of the listed pairs an index belongs to.
    listed_sources: HashMap<u64, usize>,
    listed_targets: HashMap<u64, usize>,
}

impl Moves {
    pub(super) fn gone(&mut self, index: u64, entry: &Entry) {
        self.gone.extend(content(entry).map(|content| (content, index)));
    }

    pub(super) fn come(&mut self, index: u64, entry: &Entry) {
        self.come.extend(content(entry).map(|content| (content, index)));
    }

    /// Pairs each file that has come with one that is gone, each of them once, in the order of the walk among several with one
    /// content. The first pairs, by where they are now, are listed.
    pub(super) fn pair(self, limit: usize) -> MovedFiles {
        let Self { mut gone, mut come } = self;
        gone.sort_unstable();
        come.sort_unstable();
        let (mut sources, mut pairs) = (gone.iter().peekable(), Vec::new());
        for (content, target) in &come {
            while sources.next_if(|(other, _)| other < content).is_some() {}
            if let Some((_, source)) = sources.next_if(|(other, _)| other == content) {
                pairs.push((*target, *source));
            }
        }
        drop((gone, come));
        pairs.sort_unstable();
        let listed = || pairs.iter().take(limit).enumerate();
        let listed_sources = listed().map(|(at, (_, source))| (*source, at)).collect();
        let listed_targets = listed().map(|(at, (target, _))| (*target, at)).collect();
        let mut sources: Vec<_> = pairs.iter().map(|(_, source)| *source).collect();
        sources.sort_unstable();
        let targets = pairs.into_iter().map(|(target, _)| target).collect();
        MovedFiles { sources, targets, listed_sources, listed_targets }
    }
}

impl MovedFiles {
    pub(super) fn is_source(&self, index: u64) -> bool {
        self.sources.binary_search(&index).is_ok()
    }

    pub(super) fn is_target(&self, index: u64) -> bool {
        self.targets.binary_search(&index).is_ok()
    }

    pub(super) fn listed_source(&self, index: u64) -> Option<usize> {
        self.listed_sources.get(&index).copied()
    }

    pub(super) fn listed_target(&self, index: u64) -> Option<usize> {
        self.listed_targets.get(&index).copied()
    }
}

/// Empty files are all the same, and none of them was moved.
fn content(entry: &Entry) -> Option<Content> {
    let digest = entry.sha256.filter(|_| entry.kind == EntryKind::File && entry.size > 0)?;
    digest.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(digest: u8) -> Entry {
        Entry { sha256: Some([digest; 32]), size: 1, ..Entry::default() }
    }

    #[test]
    fn each_file_is_paired_once() {
        let mut moves = Moves::default();
        for (index, digest) in [(1, 7), (2, 7), (5, 3), (9, 1)] {
            moves.gone(index, &file(digest));
        }
        for (index, digest) in [(0, 7), (3, 3), (4, 3), (6, 8)] {
            moves.come(index, &file(digest));
        }
        moves.come(7, &Entry { size: 0, ..file(1) });
        let moved = moves.pair(1);
        assert_eq!((moved.sources.clone(), moved.targets.clone()), (vec![1, 5], vec![0, 3]));
        assert!(moved.is_source(5) && !moved.is_source(2) && moved.is_target(0) && !moved.is_target(4));
        assert_eq!((moved.listed_target(0), moved.listed_source(1)), (Some(0), Some(0)));
        assert_eq!((moved.listed_target(3), moved.listed_source(5)), (None, None));
    }
}
