//! Open files: what to expect of them.

use std::fs::File;
use std::io;

/// Has the system read the beginning of a file meanwhile. Where it does not, the file is read when it is read.
pub fn read_soon(file: &File, bytes: u64) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, 0, std::num::NonZeroU64::new(bytes), Advice::WillNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, bytes);
}

/// Whether an error of [`open_file`](super::Beneath::open_file) may pass by itself: a network folder that comes back.
pub fn is_worth_another_try(e: &io::Error) -> bool {
    #[cfg(windows)]
    if super::windows::is_held(e) {
        return false;
    }
    !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}
