//! Lists the alternate data streams of an open file, and opens them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};

use windows::Win32::Foundation::{
    ERROR_HANDLE_EOF, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_FUNCTION, ERROR_INVALID_LEVEL,
    ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, ERROR_NOT_SUPPORTED, HANDLE,
};
use windows::Win32::Storage::FileSystem::{FileStreamInfo, GetFileInformationByHandleEx};

use super::volume::keeps_streams;
use crate::source::metadata::FileMetadata;
use crate::source::raw_name;
use crate::source::streams::{FoundStream, parse};

/// Eight bytes each; the list of most files fits.
const USUAL_WORDS: usize = 64;
/// Some 64,000 streams: NTFS has no room for more in the records of one file.
const MOST_WORDS: usize = 1 << 20;

/// Volumes that were asked whether their files can have streams. Each is asked once.
#[derive(Debug, Default)]
pub(super) struct StreamKeepers(HashMap<u64, bool>);

impl StreamKeepers {
    /// The streams of an open file. Any right to the file will do.
    ///
    /// # Errors
    /// The system's; or that it gave what is no list.
    pub(super) fn streams_of(
        &mut self,
        file: &File,
        metadata: &FileMetadata,
    ) -> io::Result<Vec<FoundStream>> {
        let keeps = match metadata.identity {
            Some(identity) => *self.0.entry(identity.device).or_insert_with(|| keeps_streams(file)),
            None => keeps_streams(file),
        };
        if keeps { list(file) } else { Ok(Vec::new()) }
    }
}

fn list(file: &File) -> io::Result<Vec<FoundStream>> {
    // Words, since the records begin at multiples of eight bytes.
    let mut words = vec![0_u64; USUAL_WORDS];
    loop {
        let Err(e) = query(file, &mut words) else { break };
        let is = |wanted: &[windows::Win32::Foundation::WIN32_ERROR]| {
            wanted.iter().any(|error| e.code() == error.to_hresult())
        };
        if is(&[ERROR_MORE_DATA, ERROR_INSUFFICIENT_BUFFER]) && words.len() < MOST_WORDS {
            words = vec![0; words.len() * 8];
        } else if is(&[ERROR_HANDLE_EOF]) {
            // A folder without streams.
            return Ok(Vec::new());
        } else if is(&[
            ERROR_INVALID_FUNCTION,
            ERROR_INVALID_LEVEL,
            ERROR_INVALID_PARAMETER,
            ERROR_NOT_SUPPORTED,
        ]) {
            // A file system that does not know the question has none.
            return Ok(Vec::new());
        } else {
            return Err(e.into());
        }
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    parse(&bytes)
}

#[expect(unsafe_code, reason = "std does not know streams")]
fn query(file: &File, words: &mut [u64]) -> windows::core::Result<()> {
    // SAFETY: the handle is open for as long as `file` is borrowed; the buffer is that of `words`, aligned for the records of the class,
    // with its length in bytes, which the system does not exceed; it is not kept, and any bytes are valid numbers.
    unsafe {
        GetFileInformationByHandleEx(
            HANDLE(file.as_raw_handle()),
            FileStreamInfo,
            words.as_mut_ptr().cast(),
            size_of_val(words) as u32,
        )
    }
}

/// The path that opens a stream of a file, and nothing else: the name was [checked](intellistor_storage::manifest::streams::check_name), and
/// the type is said.
pub(crate) fn stream_path(file: &Path, name: &[u8]) -> PathBuf {
    let mut path = OsString::from(file);
    path.push(":");
    path.push(raw_name::from_bytes(name));
    path.push(":$DATA");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::windows::metadata_of;

    #[test]
    fn the_path_of_a_stream_says_its_type() {
        let path = stream_path(Path::new(r"\\?\C:\a\b.txt"), b"Zone.Identifier");
        assert_eq!(path, Path::new(r"\\?\C:\a\b.txt:Zone.Identifier:$DATA"));
    }

    /// Wine's volumes say that they have no streams, and answer the question with an error that means the same.
    #[test]
    fn a_file_without_streams_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        let file = File::open(&path).unwrap();
        let metadata = metadata_of(&file).unwrap();
        assert_eq!(StreamKeepers::default().streams_of(&file, &metadata).unwrap(), []);
        assert_eq!(list(&file).unwrap(), []);
    }

    #[test]
    fn streams_of_a_volume_that_has_them_are_listed_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        let file = File::open(&path).unwrap();
        if !keeps_streams(&file) {
            return;
        }
        std::fs::write(stream_path(&path, b"b"), b"12345").unwrap();
        std::fs::write(stream_path(&path, b"a"), b"").unwrap();
        let streams = list(&file).unwrap();
        let found: Vec<_> = streams.iter().map(|stream| (&stream.name[..], stream.size)).collect();
        assert_eq!(found, [(&b"a"[..], 0), (b"b", 5)]);
    }
}
