//! Rights of this process that go beyond the access lists of Windows: to read and write every file, to give it to anyone, and
//! to see what is audited.
//!
//! They are enabled once, before anything is opened; every other question is what was obtained then. Windows grants them to SYSTEM,
//! administrators (elevated) and in part to backup operators, and has them disabled until a program asks.

use std::sync::OnceLock;

/// Which of them this process has. None on other systems, where root needs none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privileges {
    /// `SeBackupPrivilege`: files are read whatever their access lists say.
    pub backup: bool,
    /// `SeRestorePrivilege`: files are written whatever their access lists say, and may belong to anyone.
    pub restore: bool,
    /// `SeSecurityPrivilege`: lists of what is audited are read and set.
    pub security: bool,
    /// `SeTakeOwnershipPrivilege`: files may be taken from anyone.
    pub take_ownership: bool,
}

static HELD: OnceLock<Privileges> = OnceLock::new();

/// Enables those that the account has; the first call does, and all say which were obtained.
pub fn enable() -> Privileges {
    *HELD.get_or_init(|| {
        #[cfg(windows)]
        let held = {
            use windows::Win32::Security::{
                SE_BACKUP_NAME, SE_RESTORE_NAME, SE_SECURITY_NAME, SE_TAKE_OWNERSHIP_NAME,
            };
            let has = |name| windows_api::enable(name).is_ok();
            Privileges {
                backup: has(SE_BACKUP_NAME),
                restore: has(SE_RESTORE_NAME),
                security: has(SE_SECURITY_NAME),
                take_ownership: has(SE_TAKE_OWNERSHIP_NAME),
            }
        };
        #[cfg(not(windows))]
        let held = Privileges::default();
        let Privileges { backup, restore, security, take_ownership } = held;
        tracing::debug!(backup, restore, security, take_ownership, "privileges beyond access lists");
        held
    })
}

/// Those that [`enable`] has obtained; none where it was not called.
pub fn held() -> Privileges {
    HELD.get().copied().unwrap_or_default()
}

#[cfg(windows)]
mod windows_api {
    use windows::Win32::Foundation::{ERROR_SUCCESS, GetLastError, HANDLE, LUID};
    use windows::Win32::Security::{
        AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED,
        TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES,
    };
    use windows::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
    use windows::core::{Owned, PCWSTR};

    /// `name` is one of the system's constants.
    #[expect(unsafe_code, reason = "std does not know privileges")]
    pub(super) fn enable(name: PCWSTR) -> windows::core::Result<()> {
        let (mut raw, mut luid) = (HANDLE::default(), LUID::default());
        // SAFETY: the pseudo handle of this process needs no closing; `raw` is a valid place for one handle.
        unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, &mut raw) }?;
        // SAFETY: the handle was just opened, is valid, and is closed only by `Owned`.
        let token = unsafe { Owned::new(raw) };
        // SAFETY: the name is NUL-terminated and static; `luid` is valid for writes.
        unsafe { LookupPrivilegeValueW(None, name, &mut luid) }?;
        let privileges = TOKEN_PRIVILEGES {
            PrivilegeCount: 1,
            Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
        };
        // SAFETY: the token is open with the access that this needs; the structure has the one member that it declares,
        // and is only read; no previous state is requested. `GetLastError` comes right after, on the same thread.
        let outcome = unsafe {
            AdjustTokenPrivileges(*token, false, Some(&privileges), 0, None, None)?;
            GetLastError()
        };
        // The call also succeeds when the account does not have the privilege.
        if outcome == ERROR_SUCCESS { Ok(()) } else { Err(outcome.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_of_windows_have_all_of_them_and_other_systems_have_none() {
        // Under Wine everyone is an administrator.
        let has = cfg!(windows);
        let expected = Privileges { backup: has, restore: has, security: has, take_ownership: has };
        assert_eq!((enable(), held()), (expected, expected));
    }
}
