//! Folders of Windows that only who made them may use, and administrators, until they have their own list.

use std::io;
use std::path::Path;

use intellistor_storage::manifest::security::SecurityDescriptor;
use windows::Win32::Security::SECURITY_ATTRIBUTES;
use windows::Win32::Storage::FileSystem::CreateDirectoryW;
use windows::core::HSTRING;

/// Makes a folder that its owner and administrators alone may use.
#[expect(unsafe_code, reason = "std makes folders with the list that they inherit")]
pub(super) fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut descriptor = aligned(&SecurityDescriptor::private());
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.as_mut_ptr().cast(),
        bInheritHandle: false.into(),
    };
    // SAFETY: `attributes` has the size that it states, and points to a valid self-relative descriptor, checked by
    // `SecurityDescriptor`, in memory that is aligned and lives until the end of this function; both are only read.
    // The path is NUL-terminated.
    unsafe { CreateDirectoryW(&HSTRING::from(path), Some(&raw const attributes)) }.map_err(from_windows)
}

/// The bytes, aligned as the system asks for.
pub(super) fn aligned(descriptor: &SecurityDescriptor) -> Vec<u32> {
    let words = descriptor.as_bytes().chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_ne_bytes(word)
    });
    words.collect()
}

/// With the code that std knows.
pub(super) fn from_windows(e: windows::core::Error) -> io::Error {
    let code = e.code().0;
    // `HRESULT_FROM_WIN32`.
    if code as u32 & 0xFFFF_0000 == 0x8007_0000 {
        io::Error::from_raw_os_error(code & 0xFFFF)
    } else {
        e.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_folder_is_for_those_who_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("private");
        create_private_folder(&folder).unwrap();
        std::fs::write(folder.join("f"), b"abc").unwrap();
        assert_eq!(std::fs::read(folder.join("f")).unwrap(), b"abc");
        let again = create_private_folder(&folder).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
