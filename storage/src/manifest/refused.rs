//! The error of a manifest that is not used.

use crate::error::Error;

pub(super) fn refused(reason: impl Into<String>) -> Error {
    Error::integrity("the manifest", reason)
}
