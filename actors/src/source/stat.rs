//! Asks the system for the metadata of a path or an open file.

#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use super::metadata::FileMetadata;
#[cfg(windows)]
pub(super) use super::windows::metadata_at;
#[cfg(windows)]
pub use super::windows::metadata_of;

/// The metadata of an open file.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn metadata_of(file: &File) -> io::Result<FileMetadata> {
    Ok(FileMetadata::from(&rustix::fs::fstat(file)?))
}

/// The metadata of a path, links not followed at its end.
#[cfg(unix)]
pub(super) fn metadata_at(path: &Path) -> io::Result<FileMetadata> {
    Ok(FileMetadata::from(&rustix::fs::lstat(path)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::metadata::SourceKind;
    use super::*;

    #[test]
    fn two_names_of_a_file_have_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), b"12345").unwrap();
        fs::hard_link(at("a"), at("b")).unwrap();
        fs::write(at("c"), b"12345").unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| metadata_at(&at(name)).unwrap());
        assert_eq!(a, b);
        assert_eq!((a.kind, a.size, a.links), (SourceKind::File, 5, 2));
        assert_eq!(c.links, 1);
        assert_ne!(a.identity, c.identity);
        assert_eq!(metadata_at(dir.path()).unwrap().kind, SourceKind::Directory);
    }

    #[cfg(unix)]
    #[test]
    fn times_and_modes_are_the_files_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::new(1, 1);
        file.set_modified(before_1970).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4751);
        fs::set_permissions(&path, mode).unwrap();
        let metadata = metadata_of(&file).unwrap();
        assert_eq!(metadata.mtime_ns, -1_000_000_001);
        assert!(metadata.ctime_ns > Some(0), "the mode was changed just now");
        assert_eq!(metadata.unix.map(|unix| unix.mode), Some(0o4751));
    }

    #[cfg(unix)]
    #[test]
    fn each_kind_is_recognized_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("/", at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert_eq!(metadata_at(dir.path()).unwrap().kind, SourceKind::Directory);
        assert_eq!(metadata_at(&at("link")).unwrap().kind, SourceKind::Symlink);
        assert_eq!(metadata_at(&at("socket")).unwrap().kind, SourceKind::Other("socket"));
        assert_eq!(metadata_at(Path::new("/dev/null")).unwrap().kind, SourceKind::Other("character device"));
    }
}
