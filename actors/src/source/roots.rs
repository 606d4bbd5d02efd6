//! The folders that a policy names, and how their entries' paths begin.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::metadata::{FileMetadata, SourceKind};
use super::stat::metadata_at;

/// A folder or file that the policy names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Root {
    /// Where it is.
    pub path: PathBuf,
    /// What its entries' relative paths begin with; empty when it is the only root.
    pub prefix: String,
    /// Where its files are read instead, by a path without links: in a snapshot of its volume.
    pub snapshot: Option<PathBuf>,
}

/// Gives each root a prefix of its own when there are several: its name, with a number where two have the
/// same.
pub fn make_roots(paths: &[PathBuf]) -> Vec<Root> {
    if let [path] = paths {
        return vec![Root { path: path.clone(), ..Root::default() }];
    }
    let mut taken = HashSet::new();
    let root = |path: &PathBuf| {
        let name = name_of(path);
        let mut prefix = name.clone();
        let mut number = 1;
        while !taken.insert(folded(&prefix)) {
            number += 1;
            prefix = format!("{name}-{number}");
        }
        Root { path: path.clone(), prefix, snapshot: None }
    };
    paths.iter().map(root).collect()
}

/// Two paths that a walk would come to twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlap {
    /// Both are the same folder or file.
    Same(PathBuf, PathBuf),
    /// The first is in the second.
    Within(PathBuf, PathBuf),
}

/// Finds two paths of which one leads to the other or into it, whatever they are called. A missing path overlaps
/// nothing; nor does one on another file system, where the walk stays on one.
pub fn find_overlap(paths: &[PathBuf], one_file_system: bool) -> Option<Overlap> {
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        if let Ok(resolved) = resolve(path)
            && let Ok(metadata) = metadata_at(&resolved)
        {
            all.push((path, resolved, metadata));
        }
    }
    for (i, (path, resolved, metadata)) in all.iter().enumerate() {
        // A second name of a file is a file of its own; a folder has no second name but by a mount.
        let is_folder = metadata.kind == SourceKind::Directory;
        let is_same = |other: &FileMetadata| {
            is_folder && metadata.identity.is_some() && other.identity == metadata.identity
        };
        for (other, other_resolved, other_metadata) in &all[i + 1..] {
            if resolved == other_resolved || is_same(other_metadata) {
                return Some(Overlap::Same((*path).clone(), (*other).clone()));
            }
        }
        let device = metadata.identity.map(|identity| identity.device);
        for (other, other_resolved, other_metadata) in all.iter().filter(|_| is_folder) {
            if one_file_system && other_metadata.identity.map(|identity| identity.device) != device {
                continue;
            }
            let above = other_resolved.ancestors().skip(1);
            if above
                .into_iter()
                .any(|above| above == resolved || metadata_at(above).is_ok_and(|f| is_same(&f)))
            {
                return Some(Overlap::Within((*other).clone(), (*path).clone()));
            }
        }
    }
    None
}

/// Where a root leads to: it may be a link, and the user named what is behind it.
///
/// # Errors
/// The system's.
pub fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        // Some drives, of memory or of a network's own client, cannot say what their files are called.
        #[cfg(windows)]
        Err(_) if path.symlink_metadata().is_ok_and(|found| !found.is_symlink()) => {
            crate::verbatim::verbatim(path)
        }
        resolved => resolved,
    }
}

/// What a system sees of a name that tells neither case nor composition apart: a backup of `Fotos` and
/// `fotos` is to be restored there too.
fn folded(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).collect()
}

fn name_of(path: &Path) -> String {
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // `.` and `..` have no name of their own, but the folder that they lead to has.
    named(path).or_else(|| named(&path.canonicalize().ok()?)).unwrap_or_else(|| {
        let letters: String = path.to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
        if letters.is_empty() { "root".to_owned() } else { letters }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        make_roots(&paths).into_iter().map(|root| root.prefix).collect()
    }

    #[test]
    fn a_single_root_has_none() {
        assert_eq!(prefixes(&["/home/ana/fotos"]), [""]);
        assert!(prefixes(&[]).is_empty());
    }

    #[test]
    fn several_have_their_names_made_unique() {
        let roots = ["/a/fotos", "/b/fotos", "/c/fotos-2", "/d/fotos", "/"];
        assert_eq!(prefixes(&roots), ["fotos", "fotos-2", "fotos-2-2", "fotos-3", "root"]);
        assert_eq!(prefixes(&["/a/Fotos", "/b/fotos"]), ["Fotos", "fotos-2"]);
        assert_eq!(prefixes(&["/a/C\u{f3}pia", "/b/Co\u{301}pia"]), ["C\u{f3}pia", "Co\u{301}pia-2"]);
    }

    #[test]
    fn a_path_without_a_name_takes_that_of_its_folder() {
        let here = std::env::current_dir().unwrap();
        let name = here.file_name().unwrap().to_str().unwrap();
        assert_eq!(prefixes(&[".", "/"]), [name, "root"]);
    }

    #[cfg(unix)]
    #[test]
    fn paths_that_lead_to_the_same_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::create_dir(at("a-b")).unwrap();
        std::fs::write(at("a/f"), "").unwrap();
        std::fs::hard_link(at("a/f"), at("g")).unwrap();
        std::os::unix::fs::symlink(at("a/b"), at("link")).unwrap();
        let overlap =
            |names: &[&str]| find_overlap(&names.iter().map(|name| at(name)).collect::<Vec<_>>(), false);
        for (one, other) in [("a", "a/"), ("a", "a/b/.."), ("link", "a/b"), ("a/f", "a/../a/f")] {
            assert_eq!(overlap(&[one, other]), Some(Overlap::Same(at(one), at(other))), "{one} {other}");
        }
        for (inner, outer) in [("a/b", "a"), ("link", "a"), ("a/f", "a"), ("a/b", "a-b/../a")] {
            let expected = Some(Overlap::Within(at(inner), at(outer)));
            assert_eq!(overlap(&[inner, "a-b", outer]), expected, "{inner} {outer}");
            assert_eq!(overlap(&[outer, inner]), expected, "{inner} {outer}");
        }
        for apart in [&["a", "a-b", "g"][..], &["a/f", "g"], &["a/b", "a/f"], &["none", "none", "a"], &["a"]]
        {
            assert_eq!(overlap(apart), None, "{apart:?}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn a_drive_is_named_by_its_letter() {
        assert_eq!(prefixes(&["C:\\", "D:\\"]), ["C", "D"]);
    }
}
