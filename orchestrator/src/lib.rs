//! Intellistor as a library: encrypted backups of folders, restored whole or in part.
//!
//! A [`Catalog`] is a store; a [`Policy`] says what to back up, [`Recipients`] can open it, an [`Identity`] opens it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # std::fs::create_dir(dir.path().join("documents"))?;
//! # std::fs::write(dir.path().join("documents/Relatório.txt"), "olá")?;
//! # let (documents, store, out) = (dir.path().join("documents"), dir.path().join("store"), dir.path().join("out"));
//! use intellistor::{BackupOptions, Catalog, Policy, RestoreOptions, StoreUrl, UserKey, backup, restore};
//!
//! let policy = Policy::new("documents", vec![documents])?;
//! let key = UserKey::generate();
//! let catalog = Catalog::open(&StoreUrl::local(&store)).await?;
//! let report = backup(&catalog, &key.clone().into(), &policy, BackupOptions::default()).await?;
//! let options = RestoreOptions::to(&out).only(["*.txt"]);
//! let restored = restore(&catalog, &key.into(), &report.name, options).await?;
//! assert_eq!(restored.restored, 1);
//! # assert_eq!(std::fs::read_to_string(out.join("Relatório.txt"))?, "olá");
//! # Ok(()) }
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`policy`] | what to back up, as a person writes it |
//! | `catalog` | what a store holds; needs no key |
//! | `operations` | backup, restore, verify, decrypt, show, list, find, diff, stats: each from its options to its report |
//! | `lifecycle` | what becomes of backups: kept, forgotten, held, swept, locked, copied |
//! | [`agent`] | runs of policies: jobs that are resumed, logs of each run |
//! | `alerts`, `clock`, `calendar`, `machine` | reasons for exit code 3; timestamps and wrong clocks; days of a time zone; which machine this is |
//! | `notify`, `hooks` | who is notified of a run; commands around it |
//! | `cron`, `missed` | cron expressions; starts that no run answered |
//! | [`doctor`] | tries everything that a run needs, and says what to do |
//! | [`schedule`], [`serve`] | the system's schedulers; a scheduler of our own |
//! | `pipeline` | the stages of both directions, wired from one list, on a thread of their own |
//! | [`privilege`] | the rights of this process |
//! | `error`, [`advice`] | what can go wrong, by kind; what a person can do about it, in the program's words |

pub mod advice;
pub mod agent;
mod alerts;
mod calendar;
mod catalog;
mod clock;
pub mod cron;
pub mod doctor;
mod error;
mod hooks;
mod lifecycle;
mod machine;
pub mod missed;
mod nearest;
mod notify;
mod operations;
mod pipeline;
pub mod policy;
pub mod privilege;
pub mod schedule;
pub mod serve;
pub mod snapshots;
mod system_files;
pub mod zone;

pub use agent::{Agent, AgentOptions, AgentReport};
pub use calendar::Period;
pub use catalog::Catalog;
pub use error::{Category, Error, Result};
pub use intellistor_actors::globs;
pub use intellistor_actors::progress::{Progress, ProgressSnapshot};
pub use intellistor_actors::shown::NameList;
pub use intellistor_actors::target::Overwrite;
pub use intellistor_storage::archive::Compression;
pub use intellistor_storage::catalog::contents::{ListedBackup, OrphanArchive};
pub use intellistor_storage::catalog::layout::{BackupName, is_policy_id};
pub use intellistor_storage::catalog::ownership::Machine;
pub use intellistor_storage::catalog::statements::Forgotten;
pub use intellistor_storage::disk::{leftovers, shortage, trust};
pub use intellistor_storage::keys::{Identity, OpensBackups, Recipients, UserKey};
pub use intellistor_storage::manifest::security::SecurityDescriptor;
pub use intellistor_storage::manifest::streams::{owner as selected_path, shown as shown_path};
pub use intellistor_storage::manifest::{
    BaseRecord, Changes, Entry, EntryKind, Head, Note, Problem, ProblemKind, SnapshotRecord, Totals,
    VerifiedManifest, WriterRecord,
};
pub use intellistor_storage::objects::error::{StoreError, StoreErrorKind};
pub use intellistor_storage::objects::{
    Addressing, OpenOptions, RetryPolicy, S3Options, SharedStore, StoreUrl, Throttle, TransferLimits,
    UnfinishedUpload, Variables,
};
pub use intellistor_storage::{Error as StorageError, QueueErrorKind};
pub use lifecycle::{ArchiveKept, SweepReport, SweptBackup, UnsweptBackup, WaitingBackup, prune};
pub use lifecycle::{
    BackupReference, BackupState, ForgetOptions, ForgetReport, ForgottenBackup, HoldOptions, HoldReport,
    KeepReason, KeptBackup, Reason, RetentionOptions, RetentionOutlook, apply_retention, forget, hold,
    release, unforget,
};
pub use lifecycle::{CopiedBackup, CopyOptions, CopyReport, CopySelection, UncopiedBackup, copy};
pub use machine::this_machine;
pub use notify::NotifySettings;
pub use operations::backup::{BackupOptions, backup};
pub use operations::backup_document::{BackupDocument, RestoreLines};
pub use operations::decrypt::decrypt;
pub use operations::diff::diff;
pub use operations::diff::report::{
    ChangedEntry, DiffEntry, DiffOptions, DiffReport, DiffSide, DiffSum, DiffTotals, FolderDiff,
    MetadataEntry, MovedEntry,
};
pub use operations::find::report::{FindReport, FoundFile, FoundVersion};
pub use operations::find::{FindOptions, find};
pub use operations::list::{BackupRow, ForgottenDetails, ForgottenRow, ListReport, OwnerRow, list};
pub use operations::named_backup::NamedBackup;
pub use operations::policies::{PoliciesReport, PolicyRow, policies};
pub use operations::report::{
    AccessLists, BackupReport, DecryptReport, Integrity, RestoreReport, VerifiedArchive, VerifyReport,
};
pub use operations::restore::options::{Destination, RestoreOptions};
pub use operations::restore::places::{Place, restore_places};
pub use operations::restore::plan::{NeededArchive, RestorePlan, plan_restore};
pub use operations::restore::restore;
pub use operations::run_options::RunOptions;
pub use operations::selection::error::{BadSelector, SelectionError};
pub use operations::selection::{BackupSelector, check_policy, parse_time};
pub use operations::show::show;
pub use operations::stats::report::{BackupStats, FolderStats, MonthStats, StatsReport, StatsTotals};
pub use operations::stats::{StatsOptions, stats};
pub use operations::unread::UnreadBackup;
pub use operations::verify::verify;
pub use policy::{
    CloudFiles, DetectChanges, LockMode, LockPolicy, ManifestForm, Policy, PolicyError, RetentionRules,
    VssMode,
};
pub use tokio_util::sync::CancellationToken;
