//! Windows paths in the form that the system accepts verbatim.

/// An absolute Windows path as a verbatim one (`\\?\`): up to 32,767 units long instead of 260, and no name in it is
/// read as a device or loses a dot or blank at its end.
#[cfg(any(windows, test))]
fn verbatim_text(path: &str) -> String {
    let path = path.replace('/', r"\");
    if path.starts_with(r"\\?\") || path.starts_with(r"\\.\") {
        path
    } else if let Some(share) = path.strip_prefix(r"\\") {
        format!(r"\\?\UNC\{share}")
    } else {
        format!(r"\\?\{path}")
    }
}

/// A path's verbatim form; relative ones begin at the current folder.
///
/// # Errors
/// The system's, when there is no current folder.
#[cfg(windows)]
pub(crate) fn verbatim(path: &std::path::Path) -> std::io::Result<std::path::PathBuf> {
    let absolute = std::path::absolute(path)?;
    // No caller's path has a lone surrogate; the system would answer that it is not found.
    Ok(verbatim_text(&absolute.to_string_lossy()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_shares_and_devices_keep_their_meaning() {
        for (path, expected) in [
            (r"C:\a b\c", r"\\?\C:\a b\c"),
            (r"C:/a/b", r"\\?\C:\a\b"),
            (r"D:\", r"\\?\D:\"),
            (r"\\server\share\a", r"\\?\UNC\server\share\a"),
            (r"\\?\C:\a", r"\\?\C:\a"),
            (r"\\?\UNC\server\share", r"\\?\UNC\server\share"),
            (r"\\.\pipe\a", r"\\.\pipe\a"),
        ] {
            assert_eq!(verbatim_text(path), expected);
        }
    }
}
