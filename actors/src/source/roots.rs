//! The folders that a policy names, and how their entries' paths begin.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A folder or file that the policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Where it is.
    pub path: PathBuf,
    /// What its entries' relative paths begin with; empty when it is the only root.
    pub prefix: String,
}

/// Gives each root a prefix of its own when there are several: its name, with a number where two have the same.
pub fn make_roots(paths: &[PathBuf]) -> Vec<Root> {
    if let [path] = paths {
        return vec![Root { path: path.clone(), prefix: String::new() }];
    }
    let mut taken = HashSet::new();
    paths
        .iter()
        .map(|path| {
            let name = name_of(path);
            let numbered = (2..).map(|n| format!("{name}-{n}"));
            let prefix = std::iter::once(name.clone()).chain(numbered).find(|p| !taken.contains(p));
            let prefix = prefix.unwrap_or(name);
            taken.insert(prefix.clone());
            Root { path: path.clone(), prefix }
        })
        .collect()
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

    #[test]
    fn prefixes_are_unique_and_a_single_root_has_none() {
        let roots = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
            make_roots(&paths).into_iter().map(|r| r.prefix).collect::<Vec<_>>()
        };
        assert_eq!(roots(&["/home/ana/fotos"]), [""]);
        assert_eq!(roots(&["/a/fotos", "/b/fotos", "/c/fotos-2", "/"]), ["fotos", "fotos-2", "fotos-2-2", "root"]);
    }
}
