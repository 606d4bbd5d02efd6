//! What the system keeps of a file besides its content and its metadata.

use std::fs::File;
use std::io;

use intellistor_storage::manifest::Xattr;
use intellistor_storage::manifest::security::Security;

use super::attributes::xattrs_of;

/// Extended attributes, and on Windows owner and access list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extended {
    /// In the order of their names.
    pub xattrs: Vec<Xattr>,
    pub security: Option<Security>,
}

/// Those of an open file.
///
/// # Errors
/// The system's.
pub fn extended_of(file: &File) -> io::Result<Extended> {
    Ok(Extended { xattrs: xattrs_of(file)?, security: security_of(file)? })
}

#[cfg(windows)]
use super::windows::security_of;

#[cfg(unix)]
fn security_of(_: &File) -> io::Result<Option<Security>> {
    Ok(None)
}
