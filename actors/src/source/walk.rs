//! The walk: depth first, each folder before its content, names in the order of their bytes, links not followed.
//!
//! A folder's names are held in one arena, so that a folder with a million of them takes about their length; no
//! folder is kept open, and depth costs no stack.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use intellistor_storage::manifest::{Problem, ProblemKind};

use super::facts::{Facts, SourceKind, facts_at};
use super::roots::Root;
use crate::globs::{BadGlob, PathGlobs};

/// A file, folder or link that the walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedEntry {
    /// As in the manifest: `/` separators, raw bytes.
    pub relative_path: Vec<u8>,
    /// Where it is on this machine.
    pub source: PathBuf,
    /// What the system said of it.
    pub facts: Facts,
}

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walked {
    /// Something to archive.
    Entry(ScannedEntry),
    /// Something that is left out, and why.
    Problem(Problem),
}

/// What a policy leaves out. An excluded folder is left out with all that it holds.
#[derive(Debug, Clone)]
pub struct Excludes(PathGlobs);

impl Excludes {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        PathGlobs::new(patterns).map(Self)
    }
}

/// An iterator over everything below some roots.
#[derive(Debug)]
pub struct Walk {
    roots: std::vec::IntoIter<Root>,
    excludes: Excludes,
    open: Vec<Folder>,
    /// What to say before the walk goes on.
    pending: Option<Walked>,
}

/// A folder that the walk is in.
#[derive(Debug)]
struct Folder {
    source: PathBuf,
    relative: Vec<u8>,
    names: Names,
}

impl Walk {
    /// A walk from the beginning.
    pub fn new(roots: Vec<Root>, excludes: Excludes) -> Self {
        Self { roots: roots.into_iter(), excludes, open: Vec::new(), pending: None }
    }

    fn root(&mut self, root: Root) -> Walked {
        // A root may be a link: the user named what it leads to.
        let source = root.path.canonicalize().unwrap_or_else(|_| root.path.clone());
        let facts = match facts_at(&source) {
            Ok(facts) => facts,
            Err(e) => return problem(root.path.to_string_lossy().into_owned(), told("look at", &e)),
        };
        let relative = match facts.kind {
            SourceKind::Directory => root.prefix.into_bytes(),
            _ if root.prefix.is_empty() => root.path.file_name().map(|n| bytes_of(n).into_owned()).unwrap_or_default(),
            _ => root.prefix.into_bytes(),
        };
        self.enter(source, relative, facts)
    }

    fn enter(&mut self, source: PathBuf, relative: Vec<u8>, facts: Facts) -> Walked {
        let readable = || String::from_utf8_lossy(if relative.is_empty() { b"." } else { &relative }).into_owned();
        match facts.kind {
            SourceKind::Other(kind) => return problem(readable(), format!("a {kind} is not backed up")),
            SourceKind::Directory => match Names::read(&source) {
                Ok(names) => {
                    self.open.push(Folder { source: source.clone(), relative: relative.clone(), names });
                }
                Err(e) => self.pending = Some(problem(readable(), told("list the folder", &e))),
            },
            SourceKind::File | SourceKind::Symlink => {}
        }
        let relative_path = if relative.is_empty() { b".".to_vec() } else { relative };
        Walked::Entry(ScannedEntry { relative_path, source, facts })
    }
}

impl Iterator for Walk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        if let Some(walked) = self.pending.take() {
            return Some(walked);
        }
        loop {
            let Some(folder) = self.open.last_mut() else {
                let root = self.roots.next()?;
                return Some(self.root(root));
            };
            let Some(name) = folder.names.next() else {
                self.open.pop();
                continue;
            };
            let source = folder.source.join(&name);
            let separator: &[u8] = if folder.relative.is_empty() { b"" } else { b"/" };
            let relative = [&folder.relative, separator, &bytes_of(&name)].concat();
            let readable = String::from_utf8_lossy(&relative);
            if self.excludes.0.is_match(&readable) {
                continue;
            }
            return Some(match facts_at(&source) {
                Ok(facts) => self.enter(source, relative, facts),
                Err(e) => problem(readable.into_owned(), told("look at", &e)),
            });
        }
    }
}

/// The names in a folder, sorted.
#[derive(Debug)]
struct Names {
    arena: Vec<u8>,
    ends: std::vec::IntoIter<(u32, u32)>,
}

impl Names {
    fn read(folder: &Path) -> io::Result<Self> {
        let mut arena = Vec::new();
        let mut ends = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let start = arena.len();
            arena.extend_from_slice(entry?.file_name().as_encoded_bytes());
            let too_large = |_| io::Error::other("its names take more than 4 GiB");
            let end = u32::try_from(arena.len()).map_err(too_large)?;
            ends.push((start as u32, end));
        }
        let name = |(start, end): (u32, u32)| &arena[start as usize..end as usize];
        ends.sort_unstable_by(|a, b| name(*a).cmp(name(*b)));
        Ok(Self { arena, ends: ends.into_iter() })
    }
}

impl Iterator for Names {
    type Item = OsString;

    #[cfg(unix)]
    fn next(&mut self) -> Option<OsString> {
        let (start, end) = self.ends.next()?;
        Some(std::os::unix::ffi::OsStringExt::from_vec(self.arena[start as usize..end as usize].to_vec()))
    }

    #[cfg(windows)]
    #[expect(unsafe_code, reason = "the only way back from encoded bytes")]
    fn next(&mut self) -> Option<OsString> {
        let (start, end) = self.ends.next()?;
        // SAFETY: the stretch is exactly what `OsStr::as_encoded_bytes` gave for one whole name, in this process.
        Some(unsafe { OsString::from_encoded_bytes_unchecked(self.arena[start as usize..end as usize].to_vec()) })
    }
}

/// A name's bytes as they go into an archive.
pub(super) fn bytes_of(name: &OsStr) -> Cow<'_, [u8]> {
    if cfg!(unix) {
        Cow::Borrowed(name.as_encoded_bytes())
    } else {
        Cow::Owned(name.to_string_lossy().replace('\\', "/").into_bytes())
    }
}

fn problem(relative_path: String, reason: String) -> Walked {
    Walked::Problem(Problem { relative_path, kind: ProblemKind::Skipped, reason })
}

fn told(action: &str, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "it vanished during the scan".to_owned(),
        _ => format!("cannot {action}: {e}"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::make_roots;
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    fn walk(paths: &[PathBuf], exclude: &[&str]) -> Vec<Walked> {
        let exclude: Vec<_> = exclude.iter().map(|e| (*e).to_owned()).collect();
        Walk::new(make_roots(paths), Excludes::new(&exclude).unwrap()).collect()
    }

    fn paths(walked: &[Walked]) -> Vec<String> {
        let path = |w: &Walked| match w {
            Walked::Entry(entry) => String::from_utf8_lossy(&entry.relative_path).into_owned(),
            Walked::Problem(problem) => format!("! {}: {}", problem.relative_path, problem.reason),
        };
        walked.iter().map(path).collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    #[test]
    fn folders_come_before_their_content_in_the_order_of_bytes() {
        let dir = tree(&["b/z", "b/a/x", "a", "b.txt", "Ç"]);
        assert_eq!(
            paths(&walk(&[dir.path().into()], &[])),
            [".", "a", "b", "b/a", "b/a/x", "b/z", "b.txt", "Ç"]
        );
    }

    #[test]
    fn an_excluded_folder_is_left_out_whole() {
        let dir = tree(&["keep/a", "Co\u{301}pia/b", "x.tmp", "d/x.tmp"]);
        assert_eq!(paths(&walk(&[dir.path().into()], &["C\u{f3}pia", "*.tmp"])), [".", "d", "keep", "keep/a"]);
    }

    #[test]
    fn several_roots_have_prefixes_and_a_file_can_be_a_root() {
        let dir = tree(&["a/docs/x", "b/docs/y", "c.txt"]);
        let at = |p: &str| dir.path().join(p);
        assert_eq!(
            paths(&walk(&[at("a/docs"), at("b/docs"), at("c.txt"), at("none")], &[]))[..5],
            ["docs", "docs/x", "docs-2", "docs-2/y", "c.txt"]
        );
        assert_eq!(paths(&walk(&[at("c.txt")], &[])), ["c.txt"]);
        let missing = paths(&walk(&[at("none")], &[]));
        assert!(missing[0].starts_with("! ") && missing[0].contains("none"), "{missing:?}");
    }

    #[test]
    fn sockets_and_pipes_are_told_and_odd_names_survive() {
        let dir = tree(&["f"]);
        let odd = dir.path().join(OsStr::from_bytes(b"n\xff\xfe\n"));
        fs::write(&odd, b"").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("l")).unwrap();
        let walked = walk(&[dir.path().into()], &[]);
        assert_eq!(paths(&walked)[1..3], ["f", "l"]);
        assert!(matches!(&walked[3], Walked::Entry(e) if e.relative_path == b"n\xff\xfe\n"));
        assert_eq!(paths(&walked)[4], "! s: a socket is not backed up");
    }

    #[test]
    fn depth_beyond_the_longest_path_is_told_and_does_not_crash() {
        let dir = tempfile::tempdir().unwrap();
        let mut here = rustix::fs::open(dir.path(), rustix::fs::OFlags::DIRECTORY, 0.into()).unwrap();
        for _ in 0..2_500 {
            rustix::fs::mkdirat(&here, "dd", 0o700.into()).unwrap();
            here = rustix::fs::openat(&here, "dd", rustix::fs::OFlags::DIRECTORY, 0.into()).unwrap();
        }
        let walked = paths(&walk(&[dir.path().into()], &[]));
        assert!(walked.len() > 1_000);
        let last = walked.last().unwrap();
        assert!(last.starts_with("! ") && last.contains("too long"), "{last}");
        // The temporary folder's own removal cannot reach that deep either.
        std::process::Command::new("rm").arg("-rf").arg(dir.path()).status().unwrap();
    }

    fn naive(folder: &Path, relative: &str, found: &mut Vec<String>) {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let below = format!("{relative}{}", name.to_str().unwrap());
            found.push(below.clone());
            if path.is_dir() {
                naive(&path, &format!("{below}/"), found);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_finds_what_a_naive_listing_finds(files in proptest::collection::vec("[a-cÃ.]{1,2}(/[a-c -]{1,2}){0,3}x", 0..12)) {
            let dir = tempfile::tempdir().unwrap();
            for file in &files {
                let path = dir.path().join(file);
                // A file of that name may stand where a folder should.
                if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                    let _ = fs::write(path, b"");
                }
            }
            let mut expected = vec![".".to_owned()];
            naive(dir.path(), "", &mut expected);
            prop_assert_eq!(paths(&walk(&[dir.path().into()], &[])), expected);
        }
    }
}
