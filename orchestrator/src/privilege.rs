//! The rights of this process: to read everything it backs up, and to keep others from reading its memory.

/// Keeps keys in this process: no core dump, no heap in a crash report, and no other process of this account may read
/// its memory or its environment. To be called before anything else.
pub fn keep_memory_private() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // A process may always lower its limits. Its children inherit them.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // A core_pattern with a pipe ignores the limit, but not this.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    #[cfg(windows)]
    windows_api::report_no_memory();
}

/// Enables what lets this process read, write and give away every file whatever its access list says, as far as the account
/// has it: Windows grants it to SYSTEM, administrators and in part to backup operators, disabled by default. Returns whether
/// every file can be read; always false on other systems, where root needs none.
///
/// To be called before a backup or a restore. Without it, files that the account may not read are skipped, and owners are not
/// restored.
pub fn reach_all_files() -> bool {
    intellistor_actors::privileges::enable().backup
}

/// Whether this process has an administrator's rights on Windows, as SYSTEM does and a console that was opened with "Run
/// as administrator". Always false on other systems.
pub fn is_elevated() -> bool {
    #[cfg(windows)]
    return windows_api::is_elevated().unwrap_or(false);
    #[cfg(not(windows))]
    false
}

#[cfg(windows)]
mod windows_api {
    use windows::Win32::Foundation::HANDLE;
    use windows::Win32::Security::{GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation};
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
            // A crash report would contain the heap.
            let _ = WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP);
            SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
        }
    }

    #[expect(unsafe_code)]
    pub(super) fn is_elevated() -> windows::core::Result<bool> {
        let mut raw = HANDLE::default();
        // SAFETY: the pseudo handle of this process needs no closing; `raw` is a valid place for one handle.
        unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut raw) }?;
        // SAFETY: the handle was just opened, is valid, and is closed only by `Owned`.
        let token = unsafe { Owned::new(raw) };
        let (mut elevation, mut returned) = (TOKEN_ELEVATION::default(), 0);
        let bytes = size_of::<TOKEN_ELEVATION>() as u32;
        // SAFETY: the token is open with the access that this needs; `elevation` is the structure of this class, of one
        // integer, and the call writes at most `bytes`, its size, into it.
        unsafe {
            GetTokenInformation(
                *token,
                TokenElevation,
                Some((&raw mut elevation).cast()),
                bytes,
                &mut returned,
            )
        }?;
        Ok(elevation.TokenIsElevated != 0)
    }
}

#[cfg(all(test, windows))]
mod tests {
    #[test]
    fn administrators_have_the_privilege() {
        assert!(super::reach_all_files(), "under Wine everyone is an administrator");
        assert!(super::is_elevated());
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
