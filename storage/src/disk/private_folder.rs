//! Folders that are this user's alone.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;

/// Makes a folder and those above it, for this user alone where the system knows modes. One that is there stays as it
/// is.
///
/// # Errors
/// Those of the file system.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    private().recursive(true).create(folder)
}

/// Makes folders for this user alone.
pub(crate) fn private() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has a mode to set"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
