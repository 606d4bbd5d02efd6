//! What is in a store.
//!
//! | file | holds |
//! | --- | --- |
//! | [`contents`] | backups, and archives without a manifest |
//! | [`layout`] | the keys of a backup's objects and of logs |
//! | [`ownership`] | which machine a policy belongs to |

pub mod contents;
pub mod layout;
pub mod ownership;
