//! Intellistor as a library: encrypted backups of folders, restored whole or in part.
//!
//! A [`Vault`] is a store and the key to the backups in it; a [`Policy`] says what to back up.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # std::fs::create_dir(dir.path().join("documents"))?;
//! # std::fs::write(dir.path().join("documents/Relatório.txt"), "olá")?;
//! # let (documents, store, out) = (dir.path().join("documents"), dir.path().join("store"), dir.path().join("out"));
//! use intellistor::{BackupOptions, Policy, RestoreOptions, StoreUrl, UserKey, Vault};
//!
//! let policy = Policy::new("documents", vec![documents])?;
//! let key = UserKey::generate();
//! let vault = Vault::open(&StoreUrl::local(&store), key).await?;
//! let backup = vault.backup(&policy, BackupOptions::default()).await?;
//! let restored = vault.restore(&backup.name, RestoreOptions::to(&out).only(["*.txt"])).await?;
//! assert_eq!(restored.restored, 1);
//! # assert_eq!(std::fs::read_to_string(out.join("Relatório.txt"))?, "olá");
//! # Ok(()) }
//! ```
//!
//! | room | holds |
//! | --- | --- |
//! | [`policy`] | what to back up, as a person writes it |
//! | `vault` | the door: every operation begins here |
//! | `backup`, `restore`, `salvage`, `verify` | one operation each, from its options to its report |
//! | [`agent`] | the governed layer: jobs that survive anything, logs that are evidence |
//! | `operation` | each of them as the root of a trace, and as what it is counted as |
//! | `machine` | which machine this is |
//! | `alerts`, `clock` | what a person has to look at after a backup; timestamps, and clocks that are wrong |
//! | `holdings` | what a store holds of a policy |
//! | `sources` | a policy's folders as a run finds them |
//! | `publish` | the last steps of a backup: archive, then manifest |
//! | `identity` | whether what has a backup's name in a store is what this job has sent |
//! | `copy` | the copy that `--out` asks for, and what becomes of it |
//! | [`schedule`] | when to run: cron onto Task Scheduler, systemd or a crontab |
//! | [`serve`] | many policies on their own schedules, in one process |
//! | `pipeline` | the stages of both directions, wired from one list, on a thread of their own |
//! | `stream` | an archive as one stream of bytes, for what reads all of it |
//! | `error` | what can go wrong, and of what kind it is |

pub mod agent;
mod alerts;
mod backup;
mod changed;
mod clock;
mod copy;
mod error;
mod holdings;
mod identity;
mod machine;
mod operation;
mod pipeline;
pub mod policy;
pub mod privilege;
mod publish;
mod restore;
mod salvage;
pub mod schedule;
pub mod serve;
mod sources;
mod stream;
mod vault;
mod verify;

pub use agent::{Agent, AgentOptions, AgentReport};
pub use backup::{BackupOptions, BackupReport};
pub use error::{Category, Error, Result};
pub use holdings::{BackupListing, Holdings, OrphanArchive};
pub use intellistor_actors::globs;
pub use intellistor_actors::progress::Progress;
pub use intellistor_storage::archive::Compression;
pub use intellistor_storage::keys::UserKey;
pub use intellistor_storage::layout::{BackupName, is_policy_id};
pub use intellistor_storage::manifest::{
    Entry, EntryKind, Head, Note, Problem, ProblemKind, Totals, VerifiedManifest,
};
pub use intellistor_storage::objects::{
    Addressing, OpenOptions, RetryPolicy, S3Options, SharedStore, StoreUrl, UnfinishedUpload,
};
pub use intellistor_storage::ownership::{Machine, Owner};
pub use intellistor_storage::{leftovers, queue, shortage, trust};
pub use machine::this_machine;
pub use policy::{Policy, PolicyError};
pub use restore::{RestoreOptions, RestoreReport};
pub use tokio_util::sync::CancellationToken;
pub use vault::{DecryptReport, RunOptions, Vault};
pub use verify::VerifyReport;
