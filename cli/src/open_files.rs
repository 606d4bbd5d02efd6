//! How many files this process may have open. The soft limit is low for programs that wait with `select`, which this is
//! not; the hard one is what the administrator allows.

use intellistor::shortage::{LEAST_OPEN_FILES, open_files_limit, too_few_open_files};

use crate::exit::Exit;
use crate::failure::Failure;

/// Beyond this there is nothing to gain, and children that close all they might have open would take long.
#[cfg(unix)]
const ENOUGH: u64 = 65_536;

/// Raises the limit as far as this process may.
pub(crate) fn raise() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current: Some(current), maximum } = getrlimit(Resource::Nofile) else { return };
        let allowed = maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
        if current < allowed {
            // Where it is refused the limit stays, and work is bounded by it.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
        }
    }
}

/// That the limit is not too low for any backup or restore.
pub(crate) fn check() -> Result<(), Failure> {
    match open_files_limit() {
        Some(limit) if limit < LEAST_OPEN_FILES => {
            Err(Failure::new(Exit::Failed, too_few_open_files(limit, LEAST_OPEN_FILES)))
        }
        _ => Ok(()),
    }
}
