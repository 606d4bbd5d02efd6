//! Lists what is on the disk of a folder that a cloud has part of.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use windows::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_FILES, HANDLE};
use windows::Win32::Storage::FileSystem::{
    FIND_FIRST_EX_LARGE_FETCH, FIND_FIRST_EX_ON_DISK_ENTRIES_ONLY, FindClose, FindExInfoBasic,
    FindExSearchNameMatch, FindFirstFileExW, FindNextFileW, WIN32_FIND_DATAW,
};
use windows::core::PCWSTR;

/// A search that is ended when it is dropped.
struct Search(HANDLE);

impl Drop for Search {
    #[expect(unsafe_code, reason = "std's listing may fetch what it lists")]
    fn drop(&mut self) {
        // SAFETY: the handle is the one that `FindFirstFileExW` gave, and nothing uses it afterwards. An error changes nothing.
        let _ = unsafe { FindClose(self.0) };
    }
}

/// The names in a folder that are on its disk: no provider is asked for more.
///
/// # Errors
/// The system's.
#[expect(unsafe_code, reason = "std's listing may fetch what it lists")]
pub(in crate::source) fn names_on_disk(folder: &Path) -> io::Result<Vec<OsString>> {
    let pattern: Vec<u16> = folder.join("*").as_os_str().encode_wide().chain([0]).collect();
    let mut found = WIN32_FIND_DATAW::default();
    // SAFETY: `pattern` ends with a zero and outlives the call; `found` is the structure that belongs to the level, which the call
    // fills; neither is kept.
    let first = unsafe {
        FindFirstFileExW(
            PCWSTR(pattern.as_ptr()),
            FindExInfoBasic,
            (&raw mut found).cast(),
            FindExSearchNameMatch,
            None,
            FIND_FIRST_EX_LARGE_FETCH | FIND_FIRST_EX_ON_DISK_ENTRIES_ONLY,
        )
    };
    let search = match first {
        Ok(handle) => Search(handle),
        // A drive's root has not even `.`.
        Err(e) if e.code() == ERROR_FILE_NOT_FOUND.to_hresult() => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut names = Vec::new();
    loop {
        let length = found.cFileName.iter().position(|n| *n == 0).unwrap_or(found.cFileName.len());
        let name = OsString::from_wide(&found.cFileName[..length]);
        if name != "." && name != ".." {
            names.push(name);
        }
        // SAFETY: the search is open; `found` is a structure of the kind that the call fills, and is not kept.
        match unsafe { FindNextFileW(search.0, &raw mut found) } {
            Ok(()) => {}
            Err(e) if e.code() == ERROR_NO_MORE_FILES.to_hresult() => return Ok(names),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_disk_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(names_on_disk(dir.path()).unwrap().is_empty());
        for name in ["a", "\u{e9}"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("b")).unwrap();
        let mut names = names_on_disk(dir.path()).unwrap();
        names.sort();
        assert_eq!(names, ["a", "b", "\u{e9}"]);
        assert!(names_on_disk(&dir.path().join("absent")).is_err());
    }
}
