//! The caller's account, and drives that only its logon has.

use windows::Win32::Security::Authentication::Identity::{GetUserNameExW, NameSamCompatible};
use windows::Win32::Storage::FileSystem::GetDriveTypeW;
use windows::Win32::System::WindowsProgramming::DRIVE_REMOTE;
use windows::core::{HSTRING, PWSTR};

use super::windows_error::windows_error;
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::spec::{RunAs, ScheduleSpec};

/// The caller's account by name, for [`RunAs::Caller`].
pub(super) fn caller_of(spec: &ScheduleSpec) -> Result<Option<RunAs>> {
    if !matches!(spec.run_as, RunAs::Caller) {
        return Ok(None);
    }
    let name = user_name().map_err(|error| windows_error("find the name of this account", &error))?;
    Ok(Some(RunAs::User { name, password: None }))
}

/// # Errors
/// [`ScheduleError::Unusable`] for a path on a network drive.
pub(super) fn check_drives(spec: &ScheduleSpec) -> Result<()> {
    let arguments = spec.path_arguments().map(|(_, what, path)| (what, path));
    for (what, path) in std::iter::once(("the agent", spec.program.as_path())).chain(arguments) {
        let text = path.display().to_string();
        if text.as_bytes().get(1) == Some(&b':') && is_remote(&text[..1]) {
            return Err(ScheduleError::Unusable {
                what,
                text,
                reason: "network drive letters exist only in the logon that mapped them. Use a local disk, or the \\\\server\\share path (for files other than the agent)"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

#[expect(unsafe_code)]
fn user_name() -> windows::core::Result<String> {
    let mut buffer = vec![0u16; 1024];
    let mut length = buffer.len() as u32;
    // SAFETY: the buffer is valid for `length` UTF-16 units, which the call does not exceed.
    if unsafe { GetUserNameExW(NameSamCompatible, Some(PWSTR(buffer.as_mut_ptr())), &mut length) } {
        buffer.truncate(length as usize);
        Ok(String::from_utf16_lossy(&buffer))
    } else {
        Err(windows::core::Error::from_thread())
    }
}

#[expect(unsafe_code)]
fn is_remote(drive: &str) -> bool {
    let root = HSTRING::from(format!("{drive}:\\"));
    // SAFETY: the string is NUL-terminated and outlives the call.
    unsafe { GetDriveTypeW(&root) == DRIVE_REMOTE }
}
