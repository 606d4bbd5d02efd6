//! Reads from open files, and what to expect of them.

use std::fs::File;
use std::io;

use intellistor_storage::read_at;

/// Asks the system to read the beginning of a file in the background.
pub fn read_soon(file: &File, bytes: u64) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, 0, std::num::NonZeroU64::new(bytes), Advice::WillNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, bytes);
}

/// Whether a file has content beyond `size`, which the system gives as its size: files of `/proc`, `/sys` and some file
/// systems in user space do, and files that grow.
///
/// # Errors
/// The system's.
pub fn has_content_beyond(file: &File, size: u64) -> io::Result<bool> {
    Ok(read_on(file, &mut [0; 1], size)? > 0)
}

/// All of a file, whatever its stated size; `None` where it has more than `max` bytes.
///
/// # Errors
/// The system's.
pub fn read_whole(file: &File, max: usize) -> io::Result<Option<Vec<u8>>> {
    const STEP_BYTES: usize = 64 << 10;
    let (mut read, mut filled) = (Vec::new(), 0);
    loop {
        read.resize(filled + STEP_BYTES, 0);
        match read_on(file, &mut read[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
        if filled > max {
            return Ok(None);
        }
    }
    read.truncate(filled);
    Ok(Some(read))
}

fn read_on(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match read_at(file, buffer, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Whether an error of [`open_file`](super::Beneath::open_file) may pass by itself: a network folder that comes back.
pub fn is_transient(e: &io::Error) -> bool {
    #[cfg(windows)]
    if super::windows::is_in_use(e) {
        return false;
    }
    !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_beyond_the_size_is_found_and_a_whole_file_is_read_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let content: Vec<u8> = (0..200_000).map(|i| i as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        assert!(has_content_beyond(&file, 0).unwrap() && has_content_beyond(&file, 199_999).unwrap());
        assert!(!has_content_beyond(&file, 200_000).unwrap());
        assert_eq!(read_whole(&file, 200_000).unwrap().unwrap(), content);
        assert_eq!(read_whole(&file, 199_999).unwrap(), None);
    }
}
