//! What is below a folder.

use std::fs;
use std::path::{Path, PathBuf};

/// All paths below a folder, sorted; symbolic links are not followed.
///
/// # Panics
/// When the folder cannot be read.
pub fn paths_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            all.append(&mut paths_below(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

/// All files below a folder, sorted.
///
/// # Panics
/// When the folder cannot be read.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = paths_below(folder);
    all.retain(|path| path.is_file());
    all
}
