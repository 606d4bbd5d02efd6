//! A backup's entries as a tree with sizes, for people.
//!
//! ```text
//!            pasta/
//!     1.20 MiB   Relatório.txt
//!              ligação -> Relatório.txt
//! ```

use std::fmt::Write as _;

use intellistor::{Entry, EntryKind, ProblemKind, selected_path};
use intellistor_telemetry::Escaped;

use indicatif::BinaryBytes;

/// The folder of the entry before, name by name; more is not remembered, however many entries there are.
#[derive(Debug, Default)]
pub(super) struct Tree(Vec<String>);

impl Tree {
    /// The lines of an entry: its own, and before it those of folders that no entry has named.
    pub(super) fn lines(&mut self, entry: &Entry) -> String {
        let path = entry.shown_path();
        let mut names: Vec<&str> = path.split('/').collect();
        let own = names.pop().unwrap_or_default();
        let mut lines = String::new();
        let is_open = |folder: &str| self.0.iter().map(String::as_str).eq(folder.split('/'));
        if entry.kind == EntryKind::Stream && is_open(selected_path(&entry.relative_path)) {
            // What is in the folder follows its streams.
            line(&mut lines, &BinaryBytes(entry.size).to_string(), names.len(), own);
            return lines;
        }
        let known = self.0.iter().zip(&names).take_while(|(known, name)| known == name).count();
        for (depth, name) in names.iter().enumerate().skip(known) {
            line(&mut lines, "", depth, &format!("{name}/"));
        }
        self.0.truncate(known);
        self.0.extend(names[known..].iter().map(|name| (*name).to_owned()));
        let target = entry.link_target.as_deref().unwrap_or_default();
        let depth = names.len();
        match entry.kind {
            EntryKind::Directory => {
                line(&mut lines, "", depth, &format!("{own}/"));
                self.0.push(own.to_owned());
            }
            EntryKind::File | EntryKind::Stream => {
                line(&mut lines, &BinaryBytes(entry.size).to_string(), depth, own)
            }
            EntryKind::Symlink => line(&mut lines, "", depth, &format!("{own} -> {target}")),
            EntryKind::Hardlink => line(&mut lines, "", depth, &format!("{own} = {target}")),
        }
        lines
    }
}

fn line(lines: &mut String, size: &str, depth: usize, name: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(lines, "{size:>11}  {:indent$}{}", "", Escaped(name), indent = depth * 2);
}

/// The name of a kind of problem.
pub(super) fn kind(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Skipped => "skipped",
        ProblemKind::Changed => "changed",
        ProblemKind::Note => "note",
    }
}

/// A line about what is not in the backup, or not as it was.
pub(super) fn remark(kind: &str, relative_path: &str, reason: &str) -> String {
    format!("{kind:>11}  {}: {}\n", Escaped(relative_path), Escaped(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relative_path: &str, kind: EntryKind, size: u64) -> Entry {
        Entry {
            relative_path: relative_path.to_owned(),
            path_bytes: None,
            kind,
            size,
            mtime_ns: 0,
            unix: None,
            windows: None,
            xattrs: Vec::new(),
            link_target: Some("alvo".to_owned()),
            link_target_bytes: None,
            sha256: None,
            extents: Vec::new(),
            ..Entry::default()
        }
    }

    #[test]
    fn a_folder_stays_open_behind_its_streams() {
        let mut tree = Tree::default();
        let entries = [
            entry(".", EntryKind::Directory, 0),
            entry(".//:x", EntryKind::Stream, 1),
            entry("a", EntryKind::Directory, 0),
            entry("a//:x", EntryKind::Stream, 1),
            entry("a/b", EntryKind::Directory, 0),
            entry("a/b//:x", EntryKind::Stream, 1),
            entry("a/b/c", EntryKind::File, 2),
            entry("a/b/c//:x", EntryKind::Stream, 1),
            entry("a/d", EntryKind::File, 2),
        ];
        let lines: String = entries.iter().map(|entry| tree.lines(entry)).collect();
        let expected = "
             ./
        1 B  .:x
             a/
        1 B  a:x
               b/
        1 B    b:x
        2 B      c
        1 B      c:x
        2 B    d
";
        assert_eq!(lines, expected[1..]);
    }

    #[test]
    fn folders_come_before_their_entries_and_only_once() {
        let mut tree = Tree::default();
        let entries = [
            entry("a", EntryKind::Directory, 0),
            entry("a/x\n", EntryKind::File, 1536),
            entry("a/b/c/y", EntryKind::File, 1),
            entry("a/b/link", EntryKind::Symlink, 0),
            entry("z", EntryKind::Hardlink, 9),
        ];
        let lines: String = entries.iter().map(|entry| tree.lines(entry)).collect();
        let expected = "
             a/
   1.50 KiB    x\\n
               b/
                 c/
        1 B        y
                 link -> alvo
             z = alvo
";
        assert_eq!(lines, &expected[1..]);
    }
}
