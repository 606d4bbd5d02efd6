//! Attributes on Windows: owner and access list, the attribute bits, and the times of creation and of last modification.
//!
//! The list is set before bits and times: setting it is a change, though none of these. A file or folder that is read-only still
//! takes a list.

pub(super) mod security;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::windows::fs::{OpenOptionsExt as _, symlink_dir, symlink_file};
use std::os::windows::io::AsRawHandle as _;
use std::path::{Component, Path};

use cap_std::fs::Dir;
use intellistor_storage::manifest::WindowsAttributes;
use windows::Win32::Foundation::HANDLE;
use windows::Win32::Storage::FileSystem::{
    FILE_BASIC_INFO, FileBasicInfo, GetFileInformationByHandleEx, SetFileInformationByHandle,
};

use self::security::{BACKUP_SEMANTICS, Lifted, Listed, OPEN_REPARSE_POINT};
use super::reparse_point;
use super::values::Attributes;
use crate::privileges;
use crate::target::folder::Folder;

pub(in crate::target) const NORMAL: u32 = 0x80;
const WRITE_ATTRIBUTES: u32 = 0x100;
/// Links may be made by administrators, and by everyone in developer mode.
const PRIVILEGE_NOT_HELD: i32 = 1314;
/// 1601 to 1970 in units of 100 ns.
const EPOCH: i128 = 116_444_736_000_000_000;

impl Attributes {
    /// Only the time, of a folder that is about to be written into.
    pub(in crate::target) fn of_dir(dir: &Folder) -> Option<Self> {
        use std::os::windows::fs::MetadataExt as _;
        let ticks = fs::symlink_metadata(dir.path()).ok()?.last_write_time();
        let mtime_ns = (i128::from(ticks) - EPOCH) * 100;
        Some(Self { unix: None, windows: None, xattrs: Vec::new(), security: None, mtime_ns })
    }

    /// Applies all to a file that has no name of its own yet, only a temporary one. Gives what [`let_rename`](Self::let_rename)
    /// needs.
    pub(in crate::target) fn apply_to_file(
        &self,
        file: &File,
        path: &Path,
        problems: &mut Vec<String>,
    ) -> Option<Listed> {
        let listed = self.apply_list(path, problems);
        problems.extend(self.apply(Ok(file), 0));
        listed
    }

    /// Where the list that a file was just given does not let this account rename it, lifts the list until it has its name. To be
    /// called when the file is not open any more. Who may write whatever a list says needs none of this.
    pub(in crate::target) fn let_rename(&self, path: &Path, listed: Option<Listed>) -> Option<Lifted> {
        let wanted = self.security.as_ref()?.descriptor()?;
        listed.filter(|_| !privileges::held().restore).and_then(|listed| Lifted::of(path, listed, wanted))
    }

    fn apply_list(&self, path: &Path, problems: &mut Vec<String>) -> Option<Listed> {
        let wanted = self.security.as_ref()?.descriptor()?;
        security::apply(path, wanted, problems)
    }

    /// Whether a link has the owner and the access list that it should have.
    pub(in crate::target) fn has_link_list(&self, dir: &Folder, name: &OsStr) -> bool {
        let wanted = self.security.as_ref().and_then(|security| security.descriptor());
        wanted.is_none_or(|wanted| security::is_that_of_link(&dir.path_of(name), wanted))
    }

    /// Whether a file has all of them. Extended attributes have no place here.
    pub(in crate::target) fn are_those_of(&self, file: &File) -> bool {
        use std::os::windows::fs::MetadataExt as _;
        let Ok(found) = file.metadata() else { return false };
        let is_time = |wanted: i128, found: u64| ticks(wanted) == i64::try_from(found).ok();
        is_time(self.mtime_ns, found.last_write_time())
            && self.windows.is_none_or(|windows| {
                let kept = WindowsAttributes::KEPT;
                windows.attributes & kept == found.file_attributes() & kept
                    && (ticks(windows.created_ns).is_none()
                        || is_time(windows.created_ns, found.creation_time()))
            })
            && self
                .security
                .as_ref()
                .and_then(|security| security.descriptor())
                .is_none_or(|wanted| security::is_that_of(file, wanted))
    }

    /// Applies all to a folder.
    pub(in crate::target) fn apply_to_dir(&self, dir: &Folder, _: &mut dyn FnMut(u32)) -> Vec<String> {
        self.apply_by_path(dir.path(), WindowsAttributes::DIRECTORY)
    }

    /// Applies all to a link itself.
    pub(in crate::target) fn apply_to_symlink(&self, dir: &Folder, name: &OsStr) -> Vec<String> {
        self.apply_by_path(&dir.path_of(name), 0)
    }

    /// The handle for bits and times comes first: the list may deny it.
    fn apply_by_path(&self, path: &Path, kind: u32) -> Vec<String> {
        let file = to_write_attributes(path);
        let mut problems = Vec::new();
        self.apply_list(path, &mut problems);
        problems.extend(self.apply(file.as_ref(), kind));
        problems
    }

    /// Makes a link with any text. The system wants to know what it leads to: where the backup does not say so, what is
    /// there now.
    pub(in crate::target) fn symlink(&self, dir: &Folder, text: &OsStr, name: &OsStr) -> io::Result<()> {
        let (text, to_folder) = match self.windows {
            Some(windows) => (text.to_owned(), windows.attributes & WindowsAttributes::DIRECTORY != 0),
            None => {
                let text = OsString::from(text.to_string_lossy().replace('/', r"\"));
                let to_folder = leads_to_folder(dir.path(), Path::new(&text));
                (text, to_folder)
            }
        };
        let link = dir.path_of(name);
        if let Some(made) =
            self.windows.and_then(|windows| reparse_point::make(windows.reparse_tag?, &text, &link))
        {
            return made;
        }
        let made = if to_folder { symlink_dir(text, link) } else { symlink_file(text, link) };
        made.map_err(|e| match e.raw_os_error() {
            Some(PRIVILEGE_NOT_HELD) => {
                io::Error::other(format!("{e}. Restore as administrator, or turn on developer mode"))
            }
            _ => e,
        })
    }

    fn apply(&self, file: Result<&File, &io::Error>, kind: u32) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.xattrs.is_empty() {
            problems
                .push("its extended attributes were not applied: this system does not have any".to_owned());
        }
        let Some(modified) = ticks(self.mtime_ns) else {
            problems.push("its time was not applied: this system cannot represent it".to_owned());
            return problems;
        };
        // A zero leaves what is there.
        let mut basic = FILE_BASIC_INFO { LastWriteTime: modified, ..Default::default() };
        if let Some(windows) = self.windows {
            basic.CreationTime = ticks(windows.created_ns).unwrap_or_default();
            basic.FileAttributes = match windows.attributes & WindowsAttributes::KEPT | kind {
                0 => NORMAL,
                some => some,
            };
        }
        let applied = match file {
            Ok(file) => set_basic_info(file, &basic).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        if let Err(e) = applied {
            problems.push(format!("its time and attributes were not applied: {e}"));
        }
        problems
    }
}

/// The system's form of a time. There is none before 1601, and 0 has another meaning.
fn ticks(ns: i128) -> Option<i64> {
    i64::try_from(ns.div_euclid(100) + EPOCH).ok().filter(|ticks| *ticks > 0)
}

/// Times and attributes of an open file.
#[expect(unsafe_code, reason = "std has them, and sets them one by one")]
pub(in crate::target) fn basic_info(file: &File) -> io::Result<FILE_BASIC_INFO> {
    let mut info = FILE_BASIC_INFO::default();
    let bytes = size_of::<FILE_BASIC_INFO>() as u32;
    // SAFETY: the handle is open for as long as `file` is borrowed; `info` is the structure that belongs to the class, of
    // integers alone; the system writes at most `bytes`, its size, into it, and keeps no pointer to it.
    unsafe {
        GetFileInformationByHandleEx(
            HANDLE(file.as_raw_handle()),
            FileBasicInfo,
            (&raw mut info).cast(),
            bytes,
        )
    }?;
    Ok(info)
}

/// Sets times and attributes; what is zero stays.
#[allow(unsafe_code)]
pub(in crate::target) fn set_basic_info(file: &File, basic: &FILE_BASIC_INFO) -> io::Result<()> {
    let (class, bytes) = (FileBasicInfo, size_of::<FILE_BASIC_INFO>() as u32);
    // SAFETY: the handle is open for as long as `file` is borrowed; `basic` is the structure that belongs to the class,
    // is initialised, has the given size, and is only read during the call.
    unsafe {
        SetFileInformationByHandle(
            HANDLE(file.as_raw_handle()),
            class,
            std::ptr::from_ref(basic).cast(),
            bytes,
        )
    }
    .map_err(io::Error::from)
}

/// Opens a folder or a link itself. No folder on the path can be replaced meanwhile: see [`Folder`].
fn to_write_attributes(path: &Path) -> io::Result<File> {
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
    File::options().access_mode(WRITE_ATTRIBUTES).custom_flags(flags).open(path)
}

/// Nothing depends on it but the kind of the link, so that it may look where the link leads.
fn leads_to_folder(folder: &Path, text: &Path) -> bool {
    let mut at = folder.to_owned();
    for component in text.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(at.pop()),
            Component::Normal(name) => at.push(name),
            Component::Prefix(_) | Component::RootDir => return false,
        }
    }
    at.is_dir()
}

/// There is no mode here.
pub(in crate::target) fn unlock(_: &Dir) {}

/// There is no mode here.
pub(in crate::target) fn set_mode(_: &Dir, _: u32) -> io::Result<()> {
    Ok(())
}

/// A handle for [`sync`].
pub(in crate::target) fn open_whole(root: &Dir) -> io::Result<File> {
    Ok(root.try_clone()?.into_std_file())
}

/// There is no such call for a whole folder here.
pub(in crate::target) fn sync(_: &File) -> io::Result<()> {
    Ok(())
}
