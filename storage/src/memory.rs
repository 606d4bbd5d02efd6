//! Structures that keep much in little memory.
//!
//! | file | holds |
//! | --- | --- |
//! | [`buffers`] | buffers that are reused |
//! | [`packed`] | many small records, packed |
//! | `spooled_records` | records that are set aside in a temporary file |

pub mod buffers;
pub mod packed;
pub(crate) mod spooled_records;
