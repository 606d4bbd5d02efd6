//! What the system keeps of a file besides its content and its metadata.

use std::fs::File;
use std::io;

use intellistor_storage::manifest::Xattr;
use intellistor_storage::manifest::security::Security;
#[cfg(unix)]
use intellistor_storage::manifest::streams::simulated;

use super::attributes::xattrs_of;
#[cfg(windows)]
use super::windows::security::security_of;

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
    #[cfg(windows)]
    return Ok(Extended { xattrs: xattrs_of(file)?, security: security_of(file)? });
    #[cfg(unix)]
    Ok(Extended::of_unix(xattrs_of(file)?))
}

#[cfg(unix)]
impl Extended {
    /// There are no security descriptors here, nor streams, other than those of tests.
    pub(super) fn of_unix(mut xattrs: Vec<Xattr>) -> Self {
        simulated::take(&mut xattrs);
        let security = intellistor_storage::manifest::security::simulated(&mut xattrs);
        Self { xattrs, security }
    }
}
