//! Everything at rest: what a store holds, how an archive is built, who can open it, what the agent remembers.
//!
//! | module | holds |
//! | --- | --- |
//! | [`objects`] | the store trait, its implementations and decorators |
//! | [`archive`] | `backup.tar.gz.enc`, byte for byte |
//! | [`manifest`] | `manifest.json`: entries, extents, authentication |
//! | [`keys`] | user keys, wrapping, derivation |
//! | [`catalog`] | what is in a store: its keys, and which machine owns a policy |
//! | [`state`] | the agent's job, ledger and outbox on this machine; the only module that uses sled |
//! | [`disk`] | this machine's files: private folders, who can write them, temporary files, file handles |
//! | [`memory`] | buffers that are reused, and many small records in little memory |
//! | [`uptime`] | time that neither a wall clock that is set nor suspension hides |
//! | [`failpoint`] | where tests make the process die, or stop |
//!
//! This crate knows no actors, starts no threads (sled has its own), and reads no environment variables (the AWS SDK reads
//! its own; test builds read the one that arms a failpoint).

pub mod archive;
pub mod catalog;
pub mod disk;
mod error;
pub mod failpoint;
pub mod keys;
pub mod manifest;
pub mod memory;
pub mod objects;
pub mod state;
mod text;
pub mod uptime;

pub use disk::private_folder::create_private_folder;
pub use disk::spool::{Spool, SpoolReader, read_at};
pub use error::{Error, QueueErrorKind, Result};
pub use manifest::content_digest::{ContentDigest, MOST_HASHED_HOLES};
pub use memory::spooled_records::SpooledRecords;
pub use objects::error::{RetryAdvice, RetryClass, StoreError, StoreErrorKind};
pub use objects::hashed::Hashed;
