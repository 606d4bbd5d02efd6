//! Small files that are replaced whole: a reader sees the old content or the new, never a part.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a file, or makes it; flushed to the disk before it gets its name.
///
/// # Errors
/// The system's; the old file is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, File::sync_all)
}

/// Replaces a file of JSON, which need not survive a crash of the machine.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace_with(path, &serde_json::to_vec(value)?, |_| Ok(()))
}

fn replace_with(path: &Path, bytes: &[u8], sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(".new");
    let new = Path::new(&name);
    let written = File::create(new).and_then(|mut file| {
        file.write_all(bytes)?;
        sync(&file)?;
        drop(file);
        fs::rename(new, path)
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(new);
    }
    written
}

/// What a file of JSON says; `None` where there is none, or it has another form.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_refusal_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view.json");
        replace(&path, b"old").unwrap();
        assert_eq!(read_json::<u32>(&path), None, "no JSON");
        replace_json(&path, &7).unwrap();
        assert_eq!(read_json::<u32>(&path), Some(7));
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("inside")).unwrap();
        assert!(replace(&folder, b"new").is_err());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["folder", "view.json"]);
    }
}
