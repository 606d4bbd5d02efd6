//! What was found so far, manifest by manifest, newest first.

use std::collections::HashMap;
use std::ops::ControlFlow;

use chrono::{DateTime, SecondsFormat};
use intellistor_actors::globs::PathGlobs;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest, streams};

use super::report::{FindReport, FoundFile, FoundVersion, MOST_VERSIONS};
use crate::error::Result;
use crate::operations::unread::UnreadBackup;

/// What is kept of the matches.
#[derive(Debug)]
pub(super) struct Search {
    limit: usize,
    most_versions: usize,
    /// Those that were read, newest first.
    backups: Vec<BackupName>,
    files: Vec<File>,
    /// By the path's bytes, into `files`.
    paths: HashMap<Vec<u8>, usize>,
    versions: usize,
    matches: u64,
    left_out: u64,
}

#[derive(Debug)]
struct File {
    relative_path: String,
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    content: Content,
    mtime_ns: i128,
    /// Into `backups`; from the newest to the oldest without a gap.
    newest: usize,
    oldest: usize,
}

/// What is compared between backups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    kind: EntryKind,
    size: u64,
    sha256: Option<[u8; 32]>,
    target: Option<Vec<u8>>,
}

impl Content {
    fn of(entry: &Entry) -> Self {
        let is_link = entry.kind == EntryKind::Symlink;
        Self {
            // Another name of a file is a file.
            kind: if entry.kind == EntryKind::Hardlink { EntryKind::File } else { entry.kind },
            // That of a folder says nothing of its content.
            size: if entry.kind == EntryKind::Directory { 0 } else { entry.size },
            sha256: entry.sha256,
            target: entry.raw_link_target().filter(|_| is_link).map(<[u8]>::to_vec),
        }
    }
}

impl Search {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            most_versions: MOST_VERSIONS,
            backups: Vec::new(),
            files: Vec::new(),
            paths: HashMap::new(),
            versions: 0,
            matches: 0,
            left_out: 0,
        }
    }

    pub(super) fn searched(&self) -> usize {
        self.backups.len()
    }

    /// Searches the next older backup.
    pub(super) fn read(
        &mut self,
        name: &BackupName,
        manifest: &VerifiedManifest,
        globs: &PathGlobs,
    ) -> Result<()> {
        let backup = self.backups.len();
        self.backups.push(name.clone());
        manifest.for_each_entry_at(
            |path| globs.is_match(streams::owner(path)),
            |entry| {
                self.add(backup, &entry);
                ControlFlow::Continue(())
            },
        )?;
        Ok(())
    }

    fn add(&mut self, backup: usize, entry: &Entry) {
        self.matches += 1;
        let content = Content::of(entry);
        let file = match self.paths.get(entry.raw_path()) {
            Some(at) => &mut self.files[*at],
            None if self.files.len() < self.limit && self.versions < self.most_versions => {
                self.paths.insert(entry.raw_path().to_vec(), self.files.len());
                self.files.push(File { relative_path: entry.relative_path.clone(), versions: Vec::new() });
                let last = self.files.len() - 1;
                &mut self.files[last]
            }
            None => {
                self.left_out += 1;
                return;
            }
        };
        match file.versions.last_mut() {
            // Of several entries with one path in a manifest the last counts.
            Some(version) if version.newest == backup => {
                version.content = content;
                version.mtime_ns = entry.mtime_ns;
            }
            Some(version) if version.oldest == backup => {}
            Some(version) if version.oldest + 1 == backup && version.content == content => {
                version.oldest = backup;
            }
            _ if self.versions >= self.most_versions => self.left_out += 1,
            _ => {
                self.versions += 1;
                let mtime_ns = entry.mtime_ns;
                file.versions.push(Version { content, mtime_ns, newest: backup, oldest: backup });
            }
        }
    }

    pub(super) fn finish(
        self,
        policy_id: &str,
        store: String,
        unread: Vec<UnreadBackup>,
        warnings: Vec<String>,
    ) -> FindReport {
        let Self { backups, files, matches, left_out, .. } = self;
        let files = files.into_iter().map(|file| file.report(&backups)).collect();
        FindReport {
            policy: policy_id.to_owned(),
            store,
            searched: backups.len() as u64,
            matches,
            left_out,
            files,
            unread,
            warnings,
        }
    }
}

impl File {
    fn report(self, backups: &[BackupName]) -> FoundFile {
        let mut contents: Vec<&Content> = Vec::new();
        let mut versions = Vec::new();
        for (at, version) in self.versions.iter().enumerate() {
            let known = contents.iter().position(|content| **content == version.content);
            let number = known.unwrap_or_else(|| {
                contents.push(&version.content);
                contents.len() - 1
            });
            let Content { kind, size, sha256, .. } = &version.content;
            let older = self.versions.get(at + 1);
            versions.push(FoundVersion {
                content: number as u32 + 1,
                changed: older.is_some_and(|older| older.content != version.content),
                kind: *kind,
                size: *size,
                mtime: rfc3339(version.mtime_ns),
                sha256: sha256.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
                backups: (version.oldest - version.newest + 1) as u64,
                newest: (&backups[version.newest]).into(),
                oldest: (&backups[version.oldest]).into(),
            });
        }
        FoundFile { relative_path: self.relative_path, versions }
    }
}

/// Times beyond the calendar's years are shown as nanoseconds since 1970.
fn rfc3339(ns: i128) -> String {
    let seconds = i64::try_from(ns.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => ns.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, digest: u8) -> Entry {
        Entry { relative_path: path.into(), sha256: Some([digest; 32]), size: 1, ..Entry::default() }
    }

    /// Adds backups, newest first, each with the content of one file.
    fn search(limit: usize, most_versions: usize, backups: &[&[(&str, u8)]]) -> FindReport {
        let mut search = Search { most_versions, ..Search::new(limit) };
        for (number, files) in backups.iter().enumerate() {
            search.backups.push(BackupName { backup_id: format!("b{number}"), ..BackupName::default() });
            files.iter().for_each(|(path, digest)| search.add(number, &entry(path, *digest)));
        }
        search.finish("p", "s".into(), Vec::new(), Vec::new())
    }

    fn versions(file: &FoundFile) -> Vec<(u32, bool, &str, &str, u64)> {
        let shown = |v: &'_ FoundVersion| (v.content, v.changed, v.backups);
        file.versions
            .iter()
            .map(|v| {
                let (content, changed, backups) = shown(v);
                (content, changed, v.newest.backup_id.as_str(), v.oldest.backup_id.as_str(), backups)
            })
            .collect()
    }

    #[test]
    fn the_same_content_in_a_row_is_one_version() {
        let report = search(9, 9, &[&[("a", 2)], &[("a", 2)], &[("a", 1)], &[("a", 2)]]);
        assert_eq!(
            versions(&report.files[0]),
            [(1, true, "b0", "b1", 2), (2, true, "b2", "b2", 1), (1, false, "b3", "b3", 1)]
        );
        assert_eq!((report.matches, report.left_out, report.searched), (4, 0, 4));
    }

    #[test]
    fn a_backup_without_the_file_ends_the_row() {
        let report = search(9, 9, &[&[("a", 1)], &[], &[("a", 1)]]);
        assert_eq!(versions(&report.files[0]), [(1, false, "b0", "b0", 1), (1, false, "b2", "b2", 1)]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let report = search(1, 9, &[&[("a", 1), ("b", 1)], &[("a", 1), ("b", 2)]]);
        assert_eq!((report.files.len(), report.matches, report.left_out), (1, 4, 2));
        let report = search(9, 1, &[&[("a", 1), ("b", 1)], &[("a", 2)]]);
        assert_eq!((report.files.len(), report.left_out), (1, 2));
    }

    #[test]
    fn times_of_any_year_are_shown() {
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert!(rfc3339(i128::MAX).parse::<i128>().is_ok());
    }
}
