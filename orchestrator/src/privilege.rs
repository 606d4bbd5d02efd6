//! What a program asks of the system for its process: the right to read whatever is to be backed up, and that nobody reads
//! what it has in memory.

/// Keeps keys out of what is left of a process that crashes: no core dump, no heap in a report, and no other process of
/// this account may read its memory or its environment. A program calls it first of all.
pub fn keep_memory_private() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // A process may always lower its limits. What it starts inherits them.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // The limit means nothing to a program that takes dumps through a pipe; this does.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    #[cfg(windows)]
    windows_api::report_no_memory();
}

/// Takes the right to read every file, whatever its access list says, for this process: `SeBackupPrivilege`, which
/// Windows gives to SYSTEM, administrators and backup operators, and leaves switched off. Answers whether the account
/// has it. Elsewhere root needs no such thing, and others have none.
///
/// A program calls it before it backs up. Without it, what the account may not read is listed as skipped.
pub fn read_everything() -> bool {
    #[cfg(windows)]
    return windows_api::enable().is_ok();
    #[cfg(not(windows))]
    false
}

#[cfg(windows)]
mod windows_api {
    use windows::Win32::Foundation::{ERROR_SUCCESS, GetLastError, HANDLE, LUID};
    use windows::Win32::Security::{
        AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_BACKUP_NAME,
        SE_PRIVILEGE_ENABLED, TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES,
    };
    use windows::Win32::System::Diagnostics::Debug::{
        SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
    };
    use windows::Win32::System::ErrorReporting::{WER_FAULT_REPORTING_FLAG_NOHEAP, WerSetFlags};
    use windows::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
    use windows::core::Owned;

    #[expect(unsafe_code)]
    pub(super) fn report_no_memory() {
        // SAFETY: both only set flags of this process, and take no pointer.
        unsafe {
            // The report of a crash would hold what the heap had.
            let _ = WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP);
            SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
        }
    }

    #[expect(unsafe_code)]
    pub(super) fn enable() -> windows::core::Result<()> {
        let (mut raw, mut luid) = (HANDLE::default(), LUID::default());
        // SAFETY: the pseudo handle of this process needs no closing; `raw` is a valid place for one handle.
        unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, &mut raw) }?;
        // SAFETY: the handle was just opened, is valid, and nobody else closes it.
        let token = unsafe { Owned::new(raw) };
        // SAFETY: the name is NUL-terminated and static; `luid` is a valid place for what is answered.
        unsafe { LookupPrivilegeValueW(None, SE_BACKUP_NAME, &mut luid) }?;
        let privileges = TOKEN_PRIVILEGES {
            PrivilegeCount: 1,
            Privileges: [LUID_AND_ATTRIBUTES { Luid: luid, Attributes: SE_PRIVILEGE_ENABLED }],
        };
        // SAFETY: the token is open with the access that this needs; the structure says truly that it has one member,
        // and is only read; no former state is asked for. `GetLastError` comes right after, on the same thread.
        let outcome = unsafe {
            AdjustTokenPrivileges(*token, false, Some(&privileges), 0, None, None)?;
            GetLastError()
        };
        // The call succeeds also when the account does not have the privilege.
        if outcome == ERROR_SUCCESS { Ok(()) } else { Err(outcome.into()) }
    }
}

#[cfg(all(test, windows))]
mod tests {
    #[test]
    fn an_administrator_has_it() {
        assert!(super::read_everything(), "under Wine everyone is an administrator");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_crash_leaves_no_memory_behind() {
        super::keep_memory_private();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
