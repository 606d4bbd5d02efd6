//! What a process or the system may run out of for a moment: file handles, memory. The file that was to be opened is not at
//! fault, so no file is skipped because of it: the work waits, and if that does not help, it fails and says what it needs.

use std::io;
use std::thread;
use std::time::Duration;

/// The files that a backup or a restore has to have open at once: the queue, the logs, connections, and what is read and
/// written.
pub const LEAST_OPEN_FILES: u64 = 48;

/// The waits for other work of this process, or of others, to give back what it holds: 30 s in all.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const MOST_WAITS: u32 = 66;

/// How many files this process may have open at once; `None` where there is no limit.
#[must_use]
pub fn open_files_limit() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

/// How many file handles one use may take: one of `parts` equal parts of what this process may have, at most `most`, and
/// at least two.
#[must_use]
pub fn share_of_handles(parts: u64, most: usize) -> usize {
    match open_files_limit() {
        Some(limit) => usize::try_from(limit / parts).unwrap_or(most).clamp(2, most.max(2)),
        None => most,
    }
}

/// Whether an error says that this process or the system has run out of something.
#[must_use]
pub fn is_shortage(e: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
        short.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
    }
    #[cfg(windows)]
    {
        // ERROR_TOO_MANY_OPEN_FILES, ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_NO_SYSTEM_RESOURCES.
        matches!(e.raw_os_error(), Some(4 | 8 | 14 | 1450))
    }
}

/// What a person can do about a shortage that lasts; a sentence to go behind the error.
pub(crate) fn advice(e: &io::Error) -> String {
    #[cfg(unix)]
    if e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
        return format!(
            ". {}",
            too_few_open_files(open_files_limit().unwrap_or_default(), 4 * LEAST_OPEN_FILES)
        );
    }
    if is_shortage(e) {
        return ". The system is short of this resource; run again when it is less busy".to_owned();
    }
    String::new()
}

/// That a limit is too low, and how it is raised.
#[must_use]
pub fn too_few_open_files(limit: u64, needed: u64) -> String {
    format!(
        "This process may have {limit} files open at once, but needs {needed}. Raise the limit, for example with \
         `ulimit -n 1024`, or LimitNOFILE=1024 in a systemd unit, then run again"
    )
}

/// Does `work`, again and again while the system is short of something or is interrupted.
///
/// # Errors
/// Those of `work`; one that [`is_shortage`] has lasted for half a minute.
pub fn wait_out<T>(work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    with_waits(work, thread::sleep)
}

fn with_waits<T>(mut work: impl FnMut() -> io::Result<T>, mut sleep: impl FnMut(Duration)) -> io::Result<T> {
    let (mut wait, mut waits) = (FIRST_WAIT, 0);
    loop {
        match work() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Another program has a lease on the file, and is being asked to give it up.
            Err(e) if waits < MOST_WAITS && (is_shortage(&e) || e.kind() == io::ErrorKind::WouldBlock) => {
                sleep(wait);
                waits += 1;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            done => return done,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_shortage_is_waited_for_and_other_errors_are_not() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN] {
            let (mut tries, mut slept) = (0, Duration::ZERO);
            let done = with_waits(
                || {
                    tries += 1;
                    if tries < 20 { Err(errno.into()) } else { Ok(tries) }
                },
                |wait| slept += wait,
            );
            assert_eq!(done.unwrap(), 20, "{errno}");
            assert!(slept > Duration::from_secs(5), "{errno}: {slept:?}");
        }
        let refused = with_waits(|| Err::<(), _>(Errno::ACCESS.into()), |_| panic!("no wait helps"));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_shortage_that_lasts_comes_out_after_half_a_minute() {
        let mut slept = Duration::ZERO;
        let refused = with_waits(|| Err::<(), _>(Errno::MFILE.into()), |wait| slept += wait).unwrap_err();
        assert!(is_shortage(&refused));
        assert!((25..35).contains(&slept.as_secs()), "{slept:?}");
    }
}
