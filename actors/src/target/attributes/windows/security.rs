//! Applies owner, group and access lists.
//!
//! Lists are set as they were backed up, inherited entries included, by `SetKernelObjectSecurity`: `SetNamedSecurityInfo` would
//! work out anew what a folder passes on, and write to everything below it. So a file in another folder than before keeps the
//! entries that it had inherited, until someone changes the list of a folder above it.
//!
//! Each file is opened once more by its path for that, with the rights that take privileges only where this process has these.
//! No folder on the path, and no file that this restore is writing, can be replaced meanwhile: see [`Folder`](super::super::Folder).
//! Such a handle reads, writes and removes nothing, and so is compatible with one that is not shared.

use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use intellistor_storage::manifest::security::{Parts, SecurityDescriptor};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, OBJECT_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, SetKernelObjectSecurity,
};

use crate::privileges;
use crate::source::windows::{ACCESS_SYSTEM_SECURITY, AUDIT, READ_CONTROL, descriptor_of, is_denied};
use crate::target::private_folder::{aligned, from_windows};

pub(in crate::target) const BACKUP_SEMANTICS: u32 = 0x0200_0000;
pub(in crate::target) const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const DELETE: u32 = 0x1_0000;
const WRITE_DAC: u32 = 0x4_0000;
const WRITE_OWNER: u32 = 0x8_0000;

const ADVICE: &str = "restore as administrator, or with --no-acl";

/// A file, folder or link whose list can be set.
#[derive(Debug)]
pub(in crate::target) struct Listed {
    file: File,
    /// The rights that the handle has.
    access: u32,
}

/// What is said of one that was not set, and why.
type Unset = (&'static str, io::Error);

impl Listed {
    /// Opens what is at a path itself, with as many of the rights as this account has.
    fn open(path: &Path) -> io::Result<Self> {
        let most = READ_CONTROL | WRITE_DAC | WRITE_OWNER;
        let audit = if privileges::held().security { ACCESS_SYSTEM_SECURITY } else { 0 };
        let mut refused = None;
        for access in [most | audit, most, READ_CONTROL | WRITE_DAC] {
            let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
            match File::options().access_mode(access).custom_flags(flags).open(path) {
                Ok(file) => return Ok(Self { file, access }),
                Err(e) if is_denied(&e) => refused = Some(e),
                Err(e) => return Err(e),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::PermissionDenied.into()))
    }

    /// Sets what is not as it should be, all of it at once or as much as possible.
    fn apply(&self, wanted: &SecurityDescriptor) -> Result<(), Vec<Unset>> {
        let whole = |e| vec![("owner and access list", e)];
        let Some(found) = descriptor_of(&self.file).map_err(whole)? else {
            let none = "this file system keeps none; NTFS and ReFS do";
            return Err(whole(io::Error::other(none)));
        };
        let parts = wanted.differing(&found.descriptor);
        if parts == (Parts { owner: false, group: false, sacl: false, dacl: false }) {
            return Ok(());
        }
        let wanted = wanted.to_set();
        let is_allowed = |part: u32, right: u32| part == 0 || self.access & right != 0;
        let [owner, group, dacl, sacl] = information(parts);
        let can = is_allowed(owner | group, WRITE_OWNER) && is_allowed(sacl, ACCESS_SYSTEM_SECURITY);
        if can && set(&self.file, owner | group | dacl | sacl, &wanted).is_ok() {
            return Ok(());
        }
        // The access list last: with it this account may lose the right to do the rest.
        let one_by_one = [
            ("owner", owner, WRITE_OWNER),
            ("group", group, WRITE_OWNER),
            ("list of what is audited", sacl, ACCESS_SYSTEM_SECURITY),
            ("access list", dacl, WRITE_DAC),
        ];
        let mut unset = Vec::new();
        for (name, part, right) in one_by_one.into_iter().filter(|(_, part, _)| *part != 0) {
            let done = match self.access & right {
                0 => Err(io::Error::from_raw_os_error(5)),
                _ => set(&self.file, part, &wanted),
            };
            unset.extend(done.err().map(|e| (name, e)));
        }
        if unset.is_empty() { Ok(()) } else { Err(unset) }
    }
}

/// Applies a descriptor to what is at a path. Gives the handle that it took, and adds at most one problem.
pub(super) fn apply(path: &Path, wanted: &SecurityDescriptor, problems: &mut Vec<String>) -> Option<Listed> {
    let listed = match Listed::open(path) {
        Ok(listed) => listed,
        Err(e) => {
            problems.push(format!("its owner and access list were not applied: {e}; {ADVICE}"));
            return None;
        }
    };
    if let Err(unset) = listed.apply(wanted) {
        let names: Vec<_> = unset.iter().map(|(name, _)| *name).collect();
        let was = if names.len() == 1 { "was" } else { "were" };
        let error = unset.first().map(|(_, e)| e.to_string()).unwrap_or_default();
        problems.push(format!("its {} {was} not applied: {error}; {ADVICE}", names.join(" and ")));
    }
    Some(listed)
}

/// Whether a file has a descriptor, as far as this account could have set and can see it.
pub(super) fn is_that_of(file: &File, wanted: &SecurityDescriptor) -> bool {
    match descriptor_of(file) {
        // Where no list can be kept, none is missed.
        Ok(None) => true,
        Ok(Some(found)) => {
            let held = privileges::held();
            let Parts { owner, group, sacl, dacl } = wanted.differing(&found.descriptor);
            !(dacl || held.restore && (owner || group) || found.has_audit && held.security && sacl)
        }
        Err(_) => false,
    }
}

/// As [`is_that_of`], for a link itself.
pub(super) fn is_that_of_link(path: &Path, wanted: &SecurityDescriptor) -> bool {
    let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
    let link = File::options().access_mode(READ_CONTROL).custom_flags(flags).open(path);
    link.is_ok_and(|link| is_that_of(&link, wanted))
}

/// A file whose own list forbids this account to rename it, or to write its streams, and has given way to a private one until that is done.
#[derive(Debug)]
pub(in crate::target) struct Lifted {
    listed: Listed,
    wanted: SecurityDescriptor,
}

impl Lifted {
    /// Looks whether a complete file at a path, which is not open any more, can be renamed; `None` where it can.
    pub(super) fn of(path: &Path, listed: Listed, wanted: &SecurityDescriptor) -> Option<Self> {
        let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
        match File::options().access_mode(DELETE).custom_flags(flags).open(path) {
            Err(e) if is_denied(&e) => {}
            _ => return None,
        }
        set(&listed.file, DACL_SECURITY_INFORMATION.0, &SecurityDescriptor::private()).ok()?;
        Some(Self { listed, wanted: wanted.clone() })
    }

    /// Lifts the list of a file or folder to which this account may not write; `None` where it may, or where it may not change that
    /// either. It must not be read-only.
    pub(in crate::target) fn to_write(path: &Path) -> Option<Self> {
        let flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT;
        match File::options().read(true).write(true).custom_flags(flags).open(path) {
            Err(e) if is_denied(&e) => {}
            _ => return None,
        }
        let listed = Listed::open(path).ok()?;
        let wanted = descriptor_of(&listed.file).ok()??.descriptor;
        set(&listed.file, DACL_SECURITY_INFORMATION.0, &SecurityDescriptor::private()).ok()?;
        Some(Self { listed, wanted })
    }

    /// Gives it its own list again, by the handle: it may have its name by now.
    pub(in crate::target) fn put_back(self) -> Result<(), String> {
        set(&self.listed.file, DACL_SECURITY_INFORMATION.0, &self.wanted.to_set())
            .map_err(|e| format!("its access list was not applied: {e}; {ADVICE}"))
    }
}

/// The flags of the parts that are there: owner, group, access list, audit.
fn information(parts: Parts) -> [u32; 4] {
    let of = |has: bool, flags: OBJECT_SECURITY_INFORMATION| if has { flags.0 } else { 0 };
    [
        of(parts.owner, OWNER_SECURITY_INFORMATION),
        of(parts.group, GROUP_SECURITY_INFORMATION),
        of(parts.dacl, DACL_SECURITY_INFORMATION),
        of(parts.sacl, AUDIT),
    ]
}

#[expect(unsafe_code, reason = "std does not know access lists")]
fn set(file: &File, parts: u32, descriptor: &SecurityDescriptor) -> io::Result<()> {
    let mut bytes = aligned(descriptor);
    let parts = OBJECT_SECURITY_INFORMATION(parts);
    // SAFETY: the handle is open for as long as `file` is borrowed; the descriptor is self-relative and valid, checked by
    // `SecurityDescriptor`, in memory that is aligned, lives until the end of this function, and is only read.
    unsafe {
        SetKernelObjectSecurity(
            HANDLE(file.as_raw_handle()),
            parts,
            PSECURITY_DESCRIPTOR(bytes.as_mut_ptr().cast()),
        )
    }
    .map_err(from_windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file, what it is, and its descriptor.
    fn file(name: &str) -> (tempfile::TempDir, std::path::PathBuf, SecurityDescriptor) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, b"abc").unwrap();
        let found = descriptor_of(&File::open(&path).unwrap()).unwrap().unwrap();
        (dir, path, found.descriptor)
    }

    #[test]
    fn what_a_file_has_already_is_not_set_and_no_problem() {
        let (_dir, path, own) = file("f");
        assert!(own.parts().owner && own.parts().dacl, "{}", own.sddl());
        let mut problems = Vec::new();
        // Also while it is open and shared with no one, as a file that is being restored is.
        let held = File::options().read(true).share_mode(0).open(&path).unwrap();
        assert!(apply(&path, &own, &mut problems).is_some());
        assert!(is_that_of(&held, &own));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_list_is_set_and_a_file_that_may_not_be_renamed_gets_its_own_back() {
        let (_dir, path, before) = file("f");
        let private = SecurityDescriptor::private();
        let mut problems = Vec::new();
        let listed = apply(&path, &private, &mut problems).unwrap();
        assert_eq!(problems, Vec::<String>::new());
        // Another one, at least: Wine keeps the mode of Unix that comes nearest.
        let found = descriptor_of(&File::open(&path).unwrap()).unwrap().unwrap();
        assert!(found.descriptor.differing(&before).dacl, "{}", found.descriptor.sddl());
        assert!(Lifted::of(&path, listed, &private).is_none(), "its owner may do everything");
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn what_is_not_there_has_a_problem_that_says_what_to_do() {
        let (dir, _, own) = file("f");
        let mut problems = Vec::new();
        assert!(apply(&dir.path().join("gone"), &own, &mut problems).is_none());
        assert!(problems[0].contains("--no-acl"), "{problems:?}");
    }
}
