//! Everything at rest: what a store holds, how an archive is built, who can open it, what a run remembers.
//!
//! | room | holds |
//! | --- | --- |
//! | [`objects`] | the store trait, its implementations and decorators |
//! | [`archive`] | `backup.tar.gz.enc`, byte for byte |
//! | [`keys`] | user keys, wrapping, derivation |
//! | [`manifest`] | `manifest.json`: entries, extents, authentication |
//! | [`buffers`] | memory that is used again |
//! | [`packed`] | many small records in little memory |
//! | `spooled_records` | records that are set aside in a temporary file |
//! | `cipher` | AES-256-GCM |
//! | [`layout`] | the keys under which a store holds all that |
//! | [`ownership`] | which machine a policy belongs to in a store |
//! | [`job`] | the states of a job, and the one function that changes them |
//! | [`queue`] | what a run remembers on this machine, so that a crash costs little; knows sled |
//! | [`shortage`] | file handles and memory that run out, and how they are shared out |
//! | `folder` | folders that are this user's alone |
//! | [`leftovers`] | temporary files of processes that died |
//! | [`trust`] | who else can write what decides what runs |
//! | [`failpoint`] | where tests make the process die |
//!
//! No actor is known here, no thread is started (sled has its own), and no environment variable is read
//! (the AWS SDK reads its own; test builds read the one that arms a failpoint).

pub mod archive;
pub mod buffers;
mod cipher;
mod error;
pub mod failpoint;
mod folder;
mod hashed;
mod holes;
pub mod job;
pub mod keys;
pub mod layout;
pub mod leftovers;
pub mod manifest;
pub mod objects;
pub mod ownership;
pub mod packed;
pub mod queue;
pub mod shortage;
mod spool;
mod spooled_records;
mod text;
pub mod trust;

pub use error::{Error, QueueErrorKind, Result, RetryAdvice, RetryClass, StoreError, StoreErrorKind};
pub use folder::create_private_folder;
pub use hashed::Hashed;
pub use holes::{ContentDigest, MOST_HASHED_HOLES};
pub use spool::{Spool, SpoolReader, read_at};
pub use spooled_records::SpooledRecords;
