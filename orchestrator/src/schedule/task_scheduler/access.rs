//! Access lists of the agent's folder on Windows: only SYSTEM and administrators may write.
//!
//! A wrapper that others can edit is a way to become SYSTEM. `C:\ProgramData` lets every user make folders, so an
//! inherited access list is not enough: the list here is protected from inheritance, and the owner, who could always
//! change it, becomes the administrators' group. A folder that is a link is refused: it could point anywhere.
//!
//! Users may not read the folder either: the queue and the logs contain file names. A wrapper contains paths and no secret:
//! users may read and run one that runs as a named account, and not SYSTEM's.

use std::fs;
use std::path::Path;

use windows::Win32::Foundation::{HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetNamedSecurityInfoW,
};
use windows::Win32::Security::{
    ACL, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetSecurityDescriptorOwner,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
};
use windows::core::{BOOL, HSTRING};

use super::windows_error::windows_error;
use crate::schedule::error::{Result, ScheduleError};

const FOLDER: &str = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
const FILE: &str = "O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)";
const FILE_THAT_USERS_RUN: &str = "O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;GRGX;;;BU)";

/// Makes the agent's folder and the vendor's folder above it, for SYSTEM and administrators only.
///
/// # Errors
/// [`ScheduleError`]; "access is denied" without an administrator's console.
pub(crate) fn protected_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(ScheduleError::file("create", folder))?;
    let vendor =
        folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "Intellistor"));
    for folder in vendor.into_iter().chain([folder]) {
        let found = fs::symlink_metadata(folder).map_err(ScheduleError::file("read", folder))?;
        if found.file_type().is_symlink() {
            return Err(ScheduleError::Unusable {
                what: "the folder",
                text: folder.display().to_string(),
                reason: "it is a link, which could point anywhere. Remove the link".to_owned(),
            });
        }
        set(folder, FOLDER)?;
    }
    Ok(())
}

/// Sets a file's access list.
///
/// # Errors
/// [`ScheduleError::Windows`].
pub(crate) fn protect_file(file: &Path, users_run_it: bool) -> Result<()> {
    set(file, if users_run_it { FILE_THAT_USERS_RUN } else { FILE })
}

/// A security descriptor that Windows allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Drop for Descriptor {
    #[expect(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the pointer came from ConvertStringSecurityDescriptorToSecurityDescriptorW, which allocates with
        // LocalAlloc, was not freed before, and nothing borrowed from it outlives `self`.
        unsafe { LocalFree(Some(HLOCAL(self.0.0))) };
    }
}

fn set(path: &Path, sddl: &str) -> Result<()> {
    apply(path, sddl).map_err(|error| windows_error(format!("protect {}", path.display()), &error))
}

#[expect(unsafe_code)]
fn apply(path: &Path, sddl: &str) -> windows::core::Result<()> {
    let mut raw = PSECURITY_DESCRIPTOR::default();
    // SAFETY: the string is NUL-terminated and outlives the call; `raw` is a valid place for one pointer.
    unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            &HSTRING::from(sddl),
            SDDL_REVISION_1,
            &mut raw,
            None,
        )
    }?;
    let descriptor = Descriptor(raw);
    let (mut owner, mut acl) = (PSID::default(), std::ptr::null_mut::<ACL>());
    let (mut present, mut defaulted) = (BOOL::default(), BOOL::default());
    // SAFETY: `descriptor` holds a valid self-relative descriptor; all places are valid for writes. The pointers that
    // come back lie inside it, and it lives until the end of this function.
    unsafe {
        GetSecurityDescriptorOwner(descriptor.0, &mut owner, &mut defaulted)?;
        GetSecurityDescriptorDacl(descriptor.0, &mut present, &mut acl, &mut defaulted)?;
    }
    // A list that is missing would mean access for everyone.
    if !present.as_bool() || acl.is_null() {
        return Err(windows::Win32::Foundation::E_UNEXPECTED.into());
    }
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the name is NUL-terminated; owner and list point into `descriptor`, which is alive.
    unsafe {
        SetNamedSecurityInfoW(&HSTRING::from(path), SE_FILE_OBJECT, what, Some(owner), None, Some(acl), None)
    }
    .ok()
}
