//! What hangs on a path besides facts and content: extended attributes, and a link's text.

#[cfg(unix)]
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use intellistor_storage::manifest::Xattr;

use super::raw_name;
use super::reach::Reach;

/// The extended attributes of a path, links not followed, in the order of their names.
///
/// # Errors
/// The system's, except where there are none to be had.
#[cfg(unix)]
pub fn xattrs(path: &Path) -> io::Result<Vec<Xattr>> {
    let reach = Reach::to(path)?;
    gather(xattr::list(reach.path()), |name| xattr::get(reach.path(), name))
}

/// Those of an open file.
///
/// # Errors
/// As [`xattrs`].
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
pub fn xattrs(_: &Path) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

/// As [`xattrs`].
///
/// # Errors
/// None.
#[cfg(windows)]
pub fn xattrs_of(_: &File) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

/// The text of a symbolic link as it was found.
///
/// # Errors
/// The system's.
pub fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    let target = std::fs::read_link(Reach::to(path)?.path())?;
    Ok(raw_name::to_bytes(target.as_os_str()).into_owned())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn attributes_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"").unwrap();
        xattr::set(&path, "user.b", b"2").unwrap();
        xattr::set(&path, "user.a", &[0, 255]).unwrap();
        let expected = [("user.a", vec![0, 255]), ("user.b", b"2".to_vec())]
            .map(|(name, value)| Xattr { name: name.as_bytes().to_vec(), value });
        assert_eq!(xattrs(&path).unwrap(), expected);
        assert_eq!(xattrs_of(&std::fs::File::open(&path).unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_link_gives_its_own_text_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        std::fs::write(&file, b"").unwrap();
        xattr::set(&file, "user.a", b"1").unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        assert_eq!(xattrs(&link).unwrap(), []);
        assert_eq!(read_link(&link).unwrap(), b"f");
        let odd = dir.path().join("odd");
        std::os::unix::fs::symlink(OsStr::from_bytes(b"../\xff\\"), &odd).unwrap();
        assert_eq!(read_link(&odd).unwrap(), b"../\xff\\");
    }

    #[test]
    fn where_there_are_none_to_be_had_there_are_none() {
        assert_eq!(xattrs(Path::new("/proc/self/status")).unwrap(), []);
    }
}
