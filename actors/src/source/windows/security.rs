//! Reads the security descriptor of an open file: owner, group and access list.

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;

use intellistor_storage::manifest::security::{Security, SecurityDescriptor};
use windows::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, HANDLE,
};
use windows::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, GetKernelObjectSecurity,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
};

/// Most descriptors fit in it.
const USUAL_BYTES: usize = 1 << 10;

/// The descriptor of a file that was opened to be read, or with the right to read it. `None` where the file system has none, as
/// FAT.
///
/// # Errors
/// The system's; or that it gave what is no descriptor.
pub(in crate::source) fn security_of(file: &File) -> io::Result<Option<Security>> {
    let mut bytes = vec![0; USUAL_BYTES];
    let length = loop {
        match read(file, &mut bytes) {
            Ok(length) => break length,
            Err((e, needed))
                if e.code() == ERROR_INSUFFICIENT_BUFFER.to_hresult() && needed > bytes.len() =>
            {
                bytes.resize(needed, 0);
            }
            Err((e, _))
                if [ERROR_NOT_SUPPORTED, ERROR_INVALID_FUNCTION]
                    .iter()
                    .any(|none| e.code() == none.to_hresult()) =>
            {
                return Ok(None);
            }
            Err((e, _)) => return Err(e.into()),
        }
    };
    bytes.truncate(length);
    let descriptor = SecurityDescriptor::parse(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("its security descriptor: {e}")))?;
    Ok(Some(descriptor.normalized().into()))
}

/// Fills the buffer, and returns how much of it; an error with the bytes that it takes.
#[expect(unsafe_code, reason = "std does not know access lists")]
fn read(file: &File, bytes: &mut [u8]) -> Result<usize, (windows::core::Error, usize)> {
    let wanted = OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut needed = 0;
    // SAFETY: the handle is open for as long as `file` is borrowed; the buffer is that of `bytes`, with its length, which the
    // system does not exceed; neither it nor `needed` is kept. What is written is plain bytes.
    let found = unsafe {
        GetKernelObjectSecurity(
            HANDLE(file.as_raw_handle()),
            wanted.0,
            Some(PSECURITY_DESCRIPTOR(bytes.as_mut_ptr().cast())),
            bytes.len() as u32,
            &raw mut needed,
        )
    };
    let needed = needed as usize;
    found.map(|()| needed.min(bytes.len())).map_err(|e| (e, needed))
}
