//! An open folder, and what is done to the names in it.
//!
//! `cap-std` opens folders and files beneath a handle. Ours is what it does not do on Windows: its calls that change a name
//! fail on a share, so here they take the verbatim path that the handles led along. A folder keeps those above it open, and
//! `cap-std` opens each without permission to delete: no folder on the path can be renamed or replaced meanwhile.

use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
#[cfg(unix)]
use cap_std::fs::DirBuilder;
use intellistor_storage::disk::shortage::wait_out;

use super::error::TargetError;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: Dir,
    #[cfg(windows)]
    path: std::path::PathBuf,
    #[cfg(windows)]
    _above: Option<Arc<Self>>,
}

impl Deref for Folder {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Folder {
    /// The folder that everything else is in.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let dir = |path: &Path| Dir::open_ambient_dir(path, ambient_authority());
        #[cfg(windows)]
        return crate::verbatim::verbatim(path)
            .and_then(|path| Ok(Self { dir: dir(&path)?, path, _above: None }));
        #[cfg(unix)]
        Ok(Self { dir: dir(path)? })
    }

    /// As [`root`](Self::root), for an absolute path that no link may be on: who may write to a folder above it could lead this
    /// restore to any other one. What is missing is made if `create` says so.
    pub(super) fn root_without_links(place: &Path, create: bool) -> io::Result<Self> {
        let (mut start, mut names) = (PathBuf::new(), Vec::new());
        for component in place.components() {
            match component {
                Component::Prefix(_) | Component::RootDir => start.push(component),
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                Component::ParentDir => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "its path contains .."));
                }
            }
        }
        if !start.has_root() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not absolute"));
        }
        let mut folder = Self::root(&start)?;
        for name in names {
            let above = Arc::new(folder);
            // Most are there, and systems differ in what they say then.
            let made = if create { above.create(name, false) } else { Ok(()) };
            folder = match (above.open(name), made) {
                (Ok(folder), _) => folder,
                (Err(e), Err(making)) if e.kind() == io::ErrorKind::NotFound => return Err(making),
                (Err(_), _) if above.symlink_metadata(name).is_ok_and(|found| found.is_symlink()) => {
                    let name = name.display();
                    return Err(io::Error::other(format!("{name} in its path is a symbolic link")));
                }
                (Err(e), _) => return Err(e),
            };
        }
        Ok(folder)
    }

    /// A folder in it; a link is not followed.
    pub(super) fn open(self: &Arc<Self>, name: &OsStr) -> io::Result<Self> {
        Ok(Self {
            dir: wait_out(|| self.dir.open_dir_nofollow(name))?,
            #[cfg(windows)]
            path: self.path.join(name),
            #[cfg(windows)]
            _above: Some(self.clone()),
        })
    }
}

impl Folder {
    /// Renames a complete file or link; on failure nothing is left of it.
    pub(super) fn give_name(&self, temporary: &OsStr, name: &OsStr) -> Result<(), TargetError> {
        self.rename(temporary, name).map_err(|e| {
            // The rename's own error says more.
            let _ = self.remove_file(temporary);
            TargetError::from_io("give it its name", e)
        })
    }
}

impl Folder {
    /// As [`give_name`](Self::give_name), unless something has that name: whether it was free is the answer.
    pub(super) fn give_free_name(&self, temporary: &OsStr, name: &OsStr) -> Result<bool, TargetError> {
        let taken = || {
            let _ = self.remove_file(temporary);
            Ok(false)
        };
        match self.rename_without_replacing(temporary, name) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => taken(),
            // The file system does not know how: between this look and the rename is the shortest moment.
            Err(e) if is_unknown(&e) => match self.symlink_metadata(name) {
                Ok(_) => taken(),
                Err(_) => self.give_name(temporary, name).map(|()| true),
            },
            Err(e) => {
                let _ = self.remove_file(temporary);
                Err(TargetError::from_io("give it its name", e))
            }
        }
    }
}

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(unix)]
impl Folder {
    fn rename_without_replacing(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE).map_err(|e| match e {
                rustix::io::Errno::NOSYS => io::ErrorKind::Unsupported.into(),
                e => e.into(),
            })
        }
        #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
        {
            let _ = (from, to);
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    pub(super) fn create(&self, name: &OsStr, private: bool) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        if private {
            // Until its own mode is applied, no other user may look into what may be secret.
            cap_std::fs::DirBuilderExt::mode(&mut builder, 0o700);
        }
        self.dir.create_dir_with(name, &builder)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.dir.rename(from, &self.dir, to)
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.dir.remove_file(name)
    }

    pub(super) fn hard_link(&self, name: &OsStr, into: &Self, new: &OsStr) -> io::Result<()> {
        self.dir.hard_link(name, &into.dir, new)
    }
}

#[cfg(windows)]
impl Folder {
    fn rename_without_replacing(&self, _: &OsStr, _: &OsStr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The path of a name in it.
    pub(super) fn path_of(&self, name: &OsStr) -> std::path::PathBuf {
        self.path.join(name)
    }

    /// Its own path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self, name: &OsStr, private: bool) -> io::Result<()> {
        let path = self.path_of(name);
        // Until it has its own list, no one else may look into what may be secret, nor into what is made in it.
        if private { super::private_folder::create_private_folder(&path) } else { std::fs::create_dir(path) }
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (from, to) = (self.path_of(from), self.path_of(to));
        match std::fs::rename(&from, &to) {
            // What is read-only is not replaced either; elsewhere that is up to the folder.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && make_writable(&to) => {
                std::fs::rename(&from, &to)
            }
            renamed => renamed,
        }
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        let path = self.path_of(name);
        match std::fs::remove_file(&path) {
            // A link to a folder is a folder here.
            Err(_) if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) => {
                std::fs::remove_dir(&path)
            }
            removed => removed,
        }
    }

    pub(super) fn hard_link(&self, name: &OsStr, into: &Self, new: &OsStr) -> io::Result<()> {
        std::fs::hard_link(self.path_of(name), into.path_of(new))
    }
}

/// A file that is read-only cannot be replaced, though elsewhere that is up to its folder.
#[cfg(windows)]
fn make_writable(path: &Path) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else { return false };
    let mut permissions = found.permissions();
    if !found.is_file() || !permissions.readonly() {
        return false;
    }
    permissions.set_readonly(false);
    std::fs::set_permissions(path, permissions).is_ok()
}
