//! Lists the names in a folder, sorted, in little more memory than their length: a folder may have millions.
//!
//! Ours because a vector of `OsString` takes three times that.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;

#[cfg(unix)]
use super::beneath::Beneath;
use super::metadata::FileMetadata;
use super::raw_name;
use super::source_path::SourcePath;
#[cfg(windows)]
use super::windows::Beneath;

#[derive(Debug)]
pub(super) struct Listing {
    /// Metadata of the folder that was listed, from its handle.
    pub(super) metadata: Option<FileMetadata>,
    /// Its names; not all of them when `failed` says so.
    pub(super) names: Names,
    /// Why the listing is incomplete.
    pub(super) failed: Option<io::Error>,
}

impl Listing {
    /// Lists a folder, unless a link took its place; no handle stays open. `may_fetch`: whether names may come from a cloud.
    #[cfg(unix)]
    pub(super) fn of(folder: &SourcePath, beneath: &mut Beneath, _may_fetch: bool) -> io::Result<Self> {
        let handle = beneath.open_folder(folder)?;
        let metadata = super::stat::metadata_of(&handle)?;
        let found = rustix::fs::Dir::new(handle)?.filter_map(|entry| match entry {
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => None,
                name => Some(Ok(raw_name::from_bytes(name))),
            },
            Err(e) => Some(Err(e.into())),
        });
        let (names, failed) = Names::collect(found);
        Ok(Self { metadata: Some(metadata), names, failed })
    }

    /// Lists a folder, unless a link took its place. The system lists by path, so that the folder is looked at before
    /// and after. `may_fetch`: whether names may come from a cloud; otherwise those that are on the disk are listed.
    #[cfg(windows)]
    pub(super) fn of(folder: &SourcePath, _: &mut Beneath, may_fetch: bool) -> io::Result<Self> {
        use super::metadata::SourceKind;
        use super::stat::metadata_at;
        let folder = folder.as_path();
        let before = metadata_at(folder)?;
        if before.kind != SourceKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut unopened = BTreeMap::new();
        let (mut names, failed) = if before.in_cloud && !may_fetch {
            Names::collect(super::windows::names_on_disk(folder)?.into_iter().map(Ok))
        } else {
            Names::collect(std::fs::read_dir(folder)?.map(|entry| {
                let entry = entry?;
                // What the listing says; nothing is opened.
                if let Some(metadata) = super::windows::fetched_when_opened(&entry.metadata()?) {
                    unopened.insert(raw_name::to_bytes(&entry.file_name()).into_owned(), metadata);
                }
                Ok(entry.file_name())
            }))
        };
        names.unopened = unopened;
        let after = metadata_at(folder)?;
        if (after.kind, after.identity) != (before.kind, before.identity) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { metadata: Some(before), names, failed })
    }
}

/// Names in the order of their bytes.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Concatenated, each ended by a zero, which is in no name.
    arena: Vec<u8>,
    starts: std::vec::IntoIter<u32>,
    /// Those that to open is to fetch, with what the listing says of them.
    unopened: BTreeMap<Vec<u8>, FileMetadata>,
}

impl Names {
    /// One name alone.
    pub(super) fn of(name: &str) -> Self {
        Self::collect([Ok(name.into())].into_iter()).0
    }

    /// Whether a name is among those not yet taken.
    pub(super) fn contains(&self, name: &str) -> bool {
        let starts = self.starts.as_slice();
        starts.binary_search_by(|&start| name_at(&self.arena, start).cmp(name.as_bytes())).is_ok()
    }

    /// What the listing says of a name that to open is to fetch.
    pub(super) fn unopened(&self, name: &OsStr) -> Option<FileMetadata> {
        if self.unopened.is_empty() { None } else { self.unopened.get(&*raw_name::to_bytes(name)).cloned() }
    }

    /// Takes names until the first error.
    fn collect(found: impl Iterator<Item = io::Result<OsString>>) -> (Self, Option<io::Error>) {
        let mut arena = Vec::new();
        let mut starts = Vec::new();
        let mut failed = None;
        for name in found {
            let start = u32::try_from(arena.len()).map_err(|_| io::Error::other("its names take 4 GiB"));
            match start.and_then(|start| Ok((start, name?))) {
                Ok((start, name)) => {
                    arena.extend_from_slice(&raw_name::to_bytes(&name));
                    arena.push(0);
                    starts.push(start);
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        // The zero is less than any other byte, so that a name comes before those that begin with it.
        starts.sort_unstable_by(|&a, &b| arena[a as usize..].cmp(&arena[b as usize..]));
        // A folder that changes while it is listed may give a name twice.
        starts.dedup_by(|a, b| name_at(&arena, *a) == name_at(&arena, *b));
        (Self { arena, starts: starts.into_iter(), unopened: BTreeMap::new() }, failed)
    }
}

fn name_at(arena: &[u8], start: u32) -> &[u8] {
    let tail = &arena[start as usize..];
    tail.split(|&b| b == 0).next().unwrap_or(tail)
}

impl Iterator for Names {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        let start = self.starts.next()?;
        Some(raw_name::from_bytes(name_at(&self.arena, start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(names: &[&str]) -> Vec<OsString> {
        Names::collect(names.iter().map(|name| Ok(OsString::from(name)))).0.collect()
    }

    #[test]
    fn names_are_sorted_by_their_bytes_and_each_comes_once() {
        assert_eq!(collect(&["b", "a", "Ç", "ab", "a.", "B", "ab"]), ["B", "a", "a.", "ab", "b", "Ç"]);
        assert!(collect(&[]).is_empty());
    }

    #[test]
    fn a_name_is_found_among_those_that_are_left() {
        let mut names = Names::collect(["b", "a", "\u{c7}", "ab"].map(|name| Ok(name.into())).into_iter()).0;
        assert!(
            names.contains("a") && names.contains("ab") && names.contains("\u{c7}") && !names.contains("abc")
        );
        assert_eq!(names.next().unwrap(), "a");
        assert!(!names.contains("a") && names.contains("b"));
        assert_eq!(Names::of("x").collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn what_was_listed_before_an_error_is_kept() {
        let found = [Ok("b".into()), Ok("a".into()), Err(io::Error::other("disk")), Ok("never".into())];
        let (names, failed) = Names::collect(found.into_iter());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(failed.unwrap().to_string(), "disk");
    }

    #[test]
    fn a_million_names_take_less_than_60_mib() {
        let names = (0..1_000_000_u32).rev().map(|i| Ok(format!("a-name-of-32-bytes-{i:013}").into()));
        let (names, failed) = Names::collect(names);
        assert!(failed.is_none());
        let held = names.arena.capacity() + size_of_val(names.starts.as_slice());
        assert!(held < 60 << 20, "{held}");
        assert_eq!(names.last().unwrap(), "a-name-of-32-bytes-0000000999999");
    }
}
