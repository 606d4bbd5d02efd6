//! Extended attributes.

#[cfg(unix)]
use std::ffi::OsStr;
use std::fs::File;
use std::io;
#[cfg(unix)]
use std::path::Path;

use intellistor_storage::manifest::Xattr;

/// The extended attributes of a path, links not followed, in the order of their names.
#[cfg(unix)]
pub(super) fn xattrs_at(path: &Path) -> io::Result<Vec<Xattr>> {
    gather(xattr::list(path), |name| xattr::get(path, name))
}

/// The extended attributes of an open file, in the order of their names.
///
/// # Errors
/// The system's, except that there are none.
#[cfg(unix)]
pub fn xattrs_of(file: &File) -> io::Result<Vec<Xattr>> {
    use xattr::FileExt as _;
    gather(file.list_xattr(), |name| file.get_xattr(name))
}

#[cfg(unix)]
fn gather(
    names: io::Result<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<Xattr>> {
    use std::os::unix::ffi::OsStringExt as _;
    let names = match names {
        Err(e) if is_unsupported(&e) => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names {
        match get(&name) {
            Ok(Some(value)) => found.push(Xattr { name: name.into_vec(), value }),
            // It was removed meanwhile.
            Ok(None) => {}
            // Some file systems list names of which they give no values.
            Err(e) if is_unsupported(&e) => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(unix)]
fn is_unsupported(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::Unsupported
        || e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

/// Windows has no extended attributes of this kind.
///
/// # Errors
/// None.
#[cfg(windows)]
pub fn xattrs_of(_: &File) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"").unwrap();
        xattr::set(&path, "user.b", b"2").unwrap();
        xattr::set(&path, "user.a", &[0, 255]).unwrap();
        let expected = [("user.a", vec![0, 255]), ("user.b", b"2".to_vec())]
            .map(|(name, value)| Xattr { name: name.as_bytes().to_vec(), value });
        assert_eq!(xattrs_at(&path).unwrap(), expected);
        assert_eq!(xattrs_of(&std::fs::File::open(&path).unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_file_system_without_attributes_has_none() {
        assert_eq!(xattrs_at(Path::new("/proc/self/status")).unwrap(), []);
    }
}
