//! What is in a store.
//!
//! | file | holds |
//! | --- | --- |
//! | [`contents`] | backups, and archives without a manifest |
//! | [`statements`] | what was said about a backup after it was made: forgotten, held, confirmed |
//! | [`standing`] | what follows from them: whether a backup is listed |
//! | [`layout`] | the keys of a backup's objects and of logs |
//! | [`ownership`] | which machine a policy belongs to |

pub mod contents;
pub mod layout;
pub mod ownership;
pub mod standing;
pub mod statements;
