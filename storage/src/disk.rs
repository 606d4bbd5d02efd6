//! This machine's files.
//!
//! | file | holds |
//! | --- | --- |
//! | `private_folder` | folders of this user alone |
//! | [`trust`] | who else can write a path |
//! | [`leftovers`] | temporary files of processes that were killed |
//! | `spool` | bytes that go to a temporary file once they are many |
//! | `json_file` | small files of JSON |
//! | [`shortage`] | file handles and memory that run out |

pub(crate) mod json_file;
pub mod leftovers;
pub(crate) mod private_folder;
pub mod shortage;
pub(crate) mod spool;
pub mod trust;
