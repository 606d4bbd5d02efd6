//! Everything at rest: what a store holds, how an archive is built, who can open it.
//!
//! | room | holds |
//! | --- | --- |
//! | [`objects`] | the store trait, its implementations and decorators |
//! | [`archive`] | `backup.tar.gz.enc`, byte for byte |
//! | [`keys`] | user keys, wrapping, derivation |
//! | [`manifest`] | `manifest.json`: entries, extents, authentication |
//! | [`layout`] | the keys under which a store holds all that |
//!
//! No actor is known here, no thread is started, and no environment variable is read
//! (the AWS SDK reads its own).

pub mod archive;
mod error;
pub mod failpoint;
mod holes;
pub mod keys;
pub mod layout;
pub mod manifest;
pub mod objects;
pub mod queue;
mod spool;
mod text;

pub use error::{Error, Result, RetryClass, StoreError, StoreErrorKind};
pub use holes::hash_hole;
pub use spool::{Spool, SpoolReader};
