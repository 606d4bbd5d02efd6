//! This machine's files.
//!
//! | file | holds |
//! | --- | --- |
//! | `private_folder` | folders of this user alone |
//! | [`trust`] | who else can write a path |
//! | [`leftovers`] | temporary files of processes that were killed |
//! | `spool` | bytes that go to a temporary file once they are many |
//! | [`whole_file`] | small files that are replaced whole |
//! | [`shortage`] | file handles and memory that run out |

pub mod leftovers;
pub(crate) mod private_folder;
pub mod shortage;
pub(crate) mod spool;
pub mod trust;
pub mod whole_file;
