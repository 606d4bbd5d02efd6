//! Windows' errors, with what to do about them.

use windows::Win32::Foundation::{E_ACCESSDENIED, E_NOTIMPL};
use windows::core::HRESULT;

use crate::schedule::error::ScheduleError;

const FILE_NOT_FOUND: HRESULT = HRESULT::from_win32(2);
const PATH_NOT_FOUND: HRESULT = HRESULT::from_win32(3);
/// SCHED_E_SERVICE_NOT_RUNNING.
const NOT_RUNNING: HRESULT = HRESULT(0x8004_1315_u32.cast_signed());
const LOGON_FAILURE: HRESULT = HRESULT::from_win32(1326);
const NONE_MAPPED: HRESULT = HRESULT::from_win32(1332);
const LOGON_TYPE_NOT_GRANTED: HRESULT = HRESULT::from_win32(1385);

/// Windows' own message, and what to do about it.
pub(super) fn windows_error(action: impl Into<String>, error: &windows::core::Error) -> ScheduleError {
    let hint = match error.code() {
        E_ACCESSDENIED => "Open the console with \"Run as administrator\" and run it again",
        LOGON_FAILURE => {
            "The account's name or password is wrong; a PIN is not a password. A managed service account (name$) must be installed on this machine: Test-ADServiceAccount"
        }
        NONE_MAPPED => "There is no such account. Write it as DOMAIN\\name or .\\name",
        LOGON_TYPE_NOT_GRANTED => {
            "The account may not \"log on as a batch job\". Grant it in secpol.msc, Local Policies, User Rights Assignment, or schedule for SYSTEM"
        }
        NOT_RUNNING => "The service \"Task Scheduler\" is not running. Start it: net start Schedule",
        E_NOTIMPL => "The Task Scheduler of this system does not support this",
        _ => "Check the service \"Task Scheduler\" (services.msc) and its history (taskschd.msc)",
    };
    let message = error.message();
    let message = message.trim_end_matches(['.', '\r', '\n', ' ']);
    ScheduleError::Windows {
        action: action.into(),
        message: if message.is_empty() { "Windows gave no reason".to_owned() } else { message.to_owned() },
        code: error.code().0.cast_unsigned(),
        hint,
    }
}

/// Whether there is no such task.
pub(super) fn is_missing(error: &windows::core::Error) -> bool {
    [FILE_NOT_FOUND, PATH_NOT_FOUND].contains(&error.code())
}
