//! Reads the security descriptor of an open file: owner, group and access list, and what is audited where this process may see
//! that.

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;

use intellistor_storage::manifest::security::{Security, SecurityDescriptor};
use windows::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED,
    ERROR_PRIVILEGE_NOT_HELD, ERROR_WRITE_PROTECT, HANDLE, WIN32_ERROR,
};
use windows::Win32::Security::{
    ATTRIBUTE_SECURITY_INFORMATION, DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION,
    GetKernelObjectSecurity, LABEL_SECURITY_INFORMATION, OBJECT_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, SACL_SECURITY_INFORMATION, SCOPE_SECURITY_INFORMATION,
};

use super::volume::keeps_lists;
use crate::privileges;

/// The right to read owner, group and access list, which the right to read the content includes.
pub(crate) const READ_CONTROL: u32 = 0x2_0000;
/// The right to read and set what is audited. Without `SeSecurityPrivilege` whoever asks for it opens nothing.
pub(crate) const ACCESS_SYSTEM_SECURITY: u32 = 0x100_0000;
/// Most descriptors fit in it.
const USUAL_BYTES: usize = 1 << 10;

/// Owner, group and access list.
const WITHOUT_AUDIT: OBJECT_SECURITY_INFORMATION = OBJECT_SECURITY_INFORMATION(
    OWNER_SECURITY_INFORMATION.0 | GROUP_SECURITY_INFORMATION.0 | DACL_SECURITY_INFORMATION.0,
);
/// Everything in the other list: what is audited, the integrity label, claims, the central policy. `BACKUP_SECURITY_INFORMATION`
/// is not among them: it means the access list and the owner, too.
pub(crate) const AUDIT: OBJECT_SECURITY_INFORMATION = OBJECT_SECURITY_INFORMATION(
    SACL_SECURITY_INFORMATION.0
        | LABEL_SECURITY_INFORMATION.0
        | ATTRIBUTE_SECURITY_INFORMATION.0
        | SCOPE_SECURITY_INFORMATION.0,
);

/// What was read of a file's descriptor.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) descriptor: SecurityDescriptor,
    /// Whether what is audited is in it, if there is any.
    pub(crate) has_audit: bool,
}

/// The descriptor of a file that was opened to be read, or with the right to read it. `None` where the file system keeps none, as
/// FAT: the system makes one up there.
///
/// # Errors
/// The system's; or that it gave what is no descriptor.
pub(in crate::source) fn security_of(file: &File) -> io::Result<Option<Security>> {
    Ok(descriptor_of(file)?.map(|read| read.descriptor.normalized().into()))
}

/// As [`security_of`], as the system gave it.
///
/// # Errors
/// As for [`security_of`].
pub(crate) fn descriptor_of(file: &File) -> io::Result<Option<Read>> {
    if !keeps_lists(file) {
        return Ok(None);
    }
    if privileges::held().security {
        let all = OBJECT_SECURITY_INFORMATION(WITHOUT_AUDIT.0 | AUDIT.0);
        match read_all(file, all) {
            // It was opened without the right: a server has other privileges.
            Err(e) if is_denied(&e) => {}
            read => return Ok(read?.map(|descriptor| Read { descriptor, has_audit: true })),
        }
    }
    Ok(read_all(file, WITHOUT_AUDIT)?.map(|descriptor| Read { descriptor, has_audit: false }))
}

/// Opens a file with `access`, and with the right to what is audited where this process has it.
pub(super) fn with_audit(access: u32, open: impl Fn(u32) -> io::Result<File>) -> io::Result<File> {
    if privileges::held().security {
        match open(access | ACCESS_SYSTEM_SECURITY) {
            // The right is to set, too, which a snapshot might refuse.
            Err(e) if is_denied(&e) || is(&e, ERROR_WRITE_PROTECT) => {}
            opened => return opened,
        }
    }
    open(access)
}

/// Whether an error says that this account may not.
pub(crate) fn is_denied(e: &io::Error) -> bool {
    [ERROR_ACCESS_DENIED, ERROR_PRIVILEGE_NOT_HELD].iter().any(|denied| is(e, *denied))
}

fn is(e: &io::Error, wanted: WIN32_ERROR) -> bool {
    e.raw_os_error().is_some_and(|code| code as u32 == wanted.0)
}

fn read_all(file: &File, wanted: OBJECT_SECURITY_INFORMATION) -> io::Result<Option<SecurityDescriptor>> {
    let mut bytes = vec![0; USUAL_BYTES];
    let length = loop {
        match read(file, wanted, &mut bytes) {
            Ok(length) => break length,
            Err((e, needed)) if is(&e, ERROR_INSUFFICIENT_BUFFER) && needed > bytes.len() => {
                bytes.resize(needed, 0);
            }
            Err((e, _)) if is(&e, ERROR_NOT_SUPPORTED) || is(&e, ERROR_INVALID_FUNCTION) => return Ok(None),
            Err((e, _)) => return Err(e),
        }
    };
    bytes.truncate(length);
    let descriptor = SecurityDescriptor::parse(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("its security descriptor: {e}")))?;
    Ok(Some(descriptor))
}

/// Fills the buffer, and returns how much of it; an error with the bytes that it takes.
#[expect(unsafe_code, reason = "std does not know access lists")]
fn read(
    file: &File,
    wanted: OBJECT_SECURITY_INFORMATION,
    bytes: &mut [u8],
) -> Result<usize, (io::Error, usize)> {
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
    found.map(|()| needed.min(bytes.len())).map_err(|_| (io::Error::last_os_error(), needed))
}
