//! COM on the thread that talks to VSS.

use std::marker::PhantomData;

use windows::Win32::Foundation::RPC_E_TOO_LATE;
use windows::Win32::System::Com::{
    COINIT_MULTITHREADED, CoInitializeEx, CoInitializeSecurity, CoUninitialize, EOAC_STATIC_CLOAKING,
    RPC_C_AUTHN_LEVEL_PKT_PRIVACY, RPC_C_IMP_LEVEL_IMPERSONATE,
};

/// The multithreaded apartment, until it is dropped. It must outlive every interface of its thread.
pub(super) struct Apartment {
    /// It is left on the thread that entered it.
    not_send: PhantomData<*const ()>,
}

impl Apartment {
    /// Call it on a new thread: one that is in another apartment cannot enter this one.
    #[expect(unsafe_code)]
    pub(super) fn enter() -> windows::core::Result<Self> {
        // SAFETY: no pointer is passed. It is balanced by exactly one CoUninitialize on the same thread, because the
        // value that makes it is not Send.
        unsafe { CoInitializeEx(None, COINIT_MULTITHREADED) }.ok()?;
        let apartment = Self { not_send: PhantomData };
        allow_writers()?;
        Ok(apartment)
    }
}

impl Drop for Apartment {
    #[expect(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it balances the CoInitializeEx of `enter`, on the same thread. Its owner drops every interface first.
        unsafe { CoUninitialize() }
    }
}

/// Lets writers, which run as other accounts, call back: without it each logs event 8194. The levels are those of
/// Microsoft's "Security Considerations for Requesters".
///
/// The setting is the process's, and made once. Whoever used COM before, as the schedule does, has made it already:
/// `RPC_E_TOO_LATE`, with which VSS works all the same.
#[expect(unsafe_code)]
fn allow_writers() -> windows::core::Result<()> {
    // SAFETY: this thread has entered COM. Every pointer is null, which the call takes as its defaults; -1 says that
    // COM chooses the services of the missing list.
    let set = unsafe {
        CoInitializeSecurity(
            None,
            -1,
            None,
            None,
            RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
            RPC_C_IMP_LEVEL_IMPERSONATE,
            None,
            EOAC_STATIC_CLOAKING,
            None,
        )
    };
    match set {
        Err(error) if error.code() == RPC_E_TOO_LATE => {
            tracing::debug!("COM's security was set before: writers that may not call back log event 8194");
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use windows::Win32::System::Com::COINIT_APARTMENTTHREADED;

    use super::*;

    #[test]
    #[expect(unsafe_code)]
    fn a_process_that_uses_com_otherwise_can_enter_and_more_than_once() {
        // SAFETY: no pointer is passed; it is balanced below.
        unsafe { CoInitializeEx(None, COINIT_APARTMENTTHREADED) }.ok().expect("a single-threaded apartment");
        for _ in 0..2 {
            let entered = std::thread::spawn(|| Apartment::enter().map(drop)).join();
            entered.expect("no panic").expect("the thread enters COM");
        }
        assert!(Apartment::enter().is_err(), "this thread is in another apartment");
        // SAFETY: it balances the call above; no interface was made.
        unsafe { CoUninitialize() }
    }
}
