//! Structures that keep much in little memory.
//!
//! | file | holds |
//! | --- | --- |
//! | [`buffers`] | buffers that are reused |
//! | [`content_index`] | where known content is, for any number of keys |
//! | `key_filter` | which keys are surely not in a set |
//! | [`packed`] | many small records, packed |
//! | [`similarity_index`] | where files are that have much in common with a file |
//! | `spooled_records` | records that are set aside in a temporary file |

pub mod buffers;
pub mod content_index;
pub(crate) mod key_filter;
pub mod packed;
pub mod similarity_index;
pub(crate) mod spooled_records;
