//! Errors of all operations, and their kinds.
//!
//! Texts say what happened. What to set or run next is the program's to say: see [`advice`](crate::advice).

mod category;

use std::path::PathBuf;

use intellistor_actors::link::Failure;
use intellistor_storage::StoreErrorKind;
use intellistor_storage::catalog::layout::BackupName;

pub use self::category::Category;
use self::category::of_storage;
use crate::operations::selection::error::SelectionError;
use crate::policy::PolicyError;
use crate::snapshots::{LiveReason, SnapshotError};

/// The result of every operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Occurs when a store, a key, an archive or a manifest fails.
    #[error(transparent)]
    Storage(intellistor_storage::Error),
    /// Occurs when the policy is not usable.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Occurs when a pattern is no glob.
    #[error(
        "{0}. A glob may contain `*`, `?`, `[...]` and `{{a,b}}`; put a backslash before a character that is meant literally"
    )]
    Pattern(#[from] intellistor_actors::globs::BadGlob),
    /// Occurs when what a person says names no backup, or several.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// Occurs when the store has no backup of the policy.
    #[error("{store} has no backup of policy {policy_id}{}", and_archives(*orphans))]
    NoBackup {
        policy_id: String,
        /// The store's URL.
        store: String,
        /// Archives without a manifest.
        orphans: usize,
    },
    /// Occurs when a backup's manifest is missing or was altered, and its archive exists.
    #[error("{source}. The archive exists, and can be restored without its manifest")]
    ManifestLost {
        name: BackupName,
        /// What is wrong with the manifest.
        #[source]
        source: Box<intellistor_storage::Error>,
    },
    /// Occurs when `--only` matches nothing: nothing was restored.
    #[error(
        "nothing in backup {backup_id} matches {patterns}. Patterns are matched against the whole relative path, `*` \
         also matches `/`, and a folder includes its contents"
    )]
    NothingMatches {
        backup_id: String,
        /// The patterns, quoted.
        patterns: String,
    },
    /// Occurs when what was put into the store is not what the store says it has.
    #[error(
        "the store does not have what was sent: {0}. No manifest was written, so this backup does not exist; run it again"
    )]
    NotAsSent(String),
    /// Occurs when an object in the store has the name of what this job has sent, and another sender.
    #[error(
        "{key} in {store} is not what this job sent: the agent's home was copied (was a snapshot restored or started \
         twice?), and the other copy continued the same job. The other copy's data was not touched. Give each machine \
         its own home and policy_id"
    )]
    Overtaken {
        /// The object's key.
        key: String,
        /// The store's URL.
        store: String,
    },
    /// Occurs when the policy asks for what the store cannot keep.
    #[error("the policy has `{field}`, but {store} cannot keep it: {reason}. Nothing was written there")]
    StoreLacks {
        /// The store's URL.
        store: String,
        /// The policy's field.
        field: &'static str,
        reason: String,
    },
    /// Occurs when an archive that was put with a retention shows none.
    #[error(
        "{store} does not show that {key} is locked, as the policy's `lock` asks{}: either it ignored the lock that the \
         archive was created with, or these credentials lack s3:GetObjectRetention. The archive is complete, and no \
         manifest was put: an unlocked backup would look like a locked one",
        refusal.as_ref().map_or(String::new(), |why| format!(" ({why})"))
    )]
    NotLocked {
        /// The archive's key.
        key: String,
        /// The store's URL.
        store: String,
        /// What it said when it was asked to lock it now.
        refusal: Option<String>,
    },
    /// Occurs when archives that are to be read are in a storage class from which they are not read at once.
    #[error("{store}: {} cannot be read now: {reason}:\n{}", count_archives(keys), keys.join("\n"))]
    ColdArchives {
        /// The store's URL.
        store: String,
        /// What the store said of the first.
        reason: String,
        /// All that the backup needs of this kind.
        keys: Vec<String>,
    },
    /// Occurs when the copy of a backup would be written into the store itself.
    #[error(
        "the copy in {} would overwrite the contents of the store {}. Name another folder, preferably on another disk",
        copy.display(), store.display()
    )]
    CopyInStore {
        /// The folder for the copy.
        copy: PathBuf,
        /// The store's folder.
        store: PathBuf,
    },
    /// Occurs when a copy, which must be a store of its own, lacks an archive that the backup depends on.
    #[error("the folder lacks {key}, which this backup depends on; the next backup will be a full one")]
    CopyLacks {
        /// The archive's key.
        key: String,
    },
    /// Occurs when backups would be copied into the store that they are in.
    #[error("{to} is the store {from} itself: a copy needs another bucket, prefix or folder")]
    SameStore {
        /// The URL of the source.
        from: String,
        /// The URL of the target.
        to: String,
    },
    /// Occurs when the policy belongs to another machine in the store that backups are copied to.
    #[error(
        "policy {policy_id} in {store} belongs to the machine {host} since {since}, and the backups to be copied are those of \
         {source_host}: backups of two machines would be mixed. Copy them to another bucket, prefix or folder"
    )]
    CopyOfAnother {
        policy_id: String,
        /// The URL of the target.
        store: String,
        /// The machine that owns it there.
        host: Box<str>,
        since: Box<str>,
        /// The machine that owns it in the source.
        source_host: Box<str>,
    },
    /// Occurs when the target of a copy has another object under a key.
    #[error(
        "{key} in {to} is not that of {from}, and was not replaced: compare both, and remove the one that is wrong, or copy to \
         another bucket, prefix or folder"
    )]
    CopyDiffers {
        /// The object's key.
        key: String,
        /// The URL of the source.
        from: String,
        /// The URL of the target.
        to: String,
    },
    /// Occurs when the folder to restore into cannot be used.
    #[error("cannot restore into {}: {reason}", out.display())]
    Target { out: PathBuf, reason: String },
    /// Occurs when a path that the backup came from cannot be restored into.
    #[error("cannot restore into {}: {reason}", place.display())]
    Place { place: PathBuf, reason: String },
    /// Occurs when a backup cannot be restored to the paths that it came from, since they are not this machine's.
    #[error("backup {backup_id} is not restored in place: {reason}. Nothing was written")]
    NotInPlace { backup_id: String, reason: String },
    /// Occurs when others can write to the agent's settings or state.
    #[error(
        "{what} is not used, because others can write to it: {others}. Make it and its parent folders writable only \
         by the account that runs this (`chown`, `chmod go-w`)"
    )]
    Untrusted {
        /// What it is for.
        what: &'static str,
        /// Which component, and who they are.
        others: intellistor_storage::disk::trust::Untrusted,
    },
    /// Occurs when the backup that an unfinished job is based on is not what it was.
    #[error("the backup that this job is based on cannot be used any more: {key}: {why}")]
    BaseLost {
        /// Its manifest's key.
        key: String,
        why: String,
    },
    /// Occurs when an archive that a backup depends on is gone right before the manifest would name it.
    #[error("{key}, with files of this backup, {what} since the backup began; no manifest was written")]
    DependencyLost {
        /// The archive's key.
        key: String,
        what: String,
    },
    /// Occurs when something is to be said about a backup that is not in the store, or not any more.
    #[error("{store} has no backup {key}: {why}. Nothing was changed")]
    NoSuchBackup {
        /// The archive's key.
        key: String,
        /// The store's URL.
        store: String,
        why: &'static str,
    },
    /// Occurs when a backup is named that belongs to another policy than the one at hand.
    #[error("{key} is a backup of the policy {found}, and this is the policy {policy_id}")]
    OtherPolicy {
        /// The archive's key.
        key: String,
        /// Whose it is.
        found: String,
        policy_id: String,
    },
    /// Occurs when the newest backup, or the newest without problems, is to be forgotten without a confirmation.
    #[error("{key} is {what}, and was not forgotten")]
    Precious {
        /// The archive's key.
        key: String,
        what: &'static str,
    },
    /// Occurs when a backup is to be forgotten that is held.
    #[error("{key} is held, and was not forgotten. It is held because: {why}")]
    OnHold {
        /// The archive's key.
        key: String,
        /// The reason of the hold.
        why: String,
    },
    /// Occurs when a backup is to be held or unforgotten that is being deleted.
    #[error(
        "{key} is being deleted: it was forgotten ({why}), and a sweep has begun to delete it, which cannot be taken back"
    )]
    BeingSwept {
        /// The archive's key.
        key: String,
        /// Why it was forgotten.
        why: String,
    },
    /// Occurs when a policy's retention is to be applied, and it has none.
    #[error("the policy {policy_id} has no `retention`, so all of its backups are kept")]
    NoRetention { policy_id: String },
    /// Occurs when a legal hold is wanted and the store knows none.
    #[error("{store} cannot keep the legal hold that `--legal` asks for: {reason}. Nothing was changed")]
    NoLegalHold {
        /// The store's URL.
        store: String,
        reason: String,
    },
    /// Occurs when a sweep cannot read a manifest: it does not know which archives that one needs.
    #[error(
        "{key} cannot be read: {source}. Nothing is deleted while it is not known which archives it needs"
    )]
    SweepStopped {
        /// The manifest's key.
        key: String,
        #[source]
        source: Box<intellistor_storage::Error>,
    },
    /// Occurs when the backup of an unfinished job was forgotten, by a person or since what it depends on may be gone.
    #[error("the backup that this job has made was forgotten: {key}: {why}")]
    Forgotten {
        /// Its manifest's key.
        key: String,
        why: String,
    },
    /// Occurs when a command of the policy's `hooks` failed, took too long or could not be started.
    #[error("the hook `{hook}` failed: {program}: {reason}. What it wrote is in the run's log")]
    Hook {
        /// Its name in the policy.
        hook: &'static str,
        program: String,
        reason: String,
    },
    /// Occurs when a policy asks for snapshots, and none can be made.
    #[error("the policy has `vss: required`, and {0}")]
    NoSnapshot(Box<SnapshotError>),
    /// Occurs when a policy asks for snapshots, and names a path that can be in none.
    #[error(
        "the policy has `vss: required`, and {path} cannot be read in a snapshot: {reason}. Set `vss: try`, or give the path a \
         policy of its own"
    )]
    NotInSnapshot { path: String, reason: LiveReason },
    /// Occurs when a stage panicked: a defect of this program.
    #[error("{0}")]
    Defect(String),
    /// Occurs when the job was cancelled while a run worked on it.
    #[error("the job was cancelled; the next run starts a new one")]
    Cancelled,
    /// Occurs when the operation was cancelled; a job can be resumed.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the policy is another machine's, so that this one may write nothing of it.
    pub(crate) fn is_refusal(&self) -> bool {
        use intellistor_storage::Error as Storage;
        matches!(self, Self::Storage(Storage::NotOwner { .. } | Storage::UnreadableOwner { .. }))
    }

    /// Whether the store cannot be used at all as configured, so that another request would fail in the same way.
    pub(crate) fn is_unusable_store(&self) -> bool {
        match self {
            Self::StoreLacks { .. } => true,
            Self::Storage(intellistor_storage::Error::Store(error)) => error.kind.is_of_the_store(),
            _ => false,
        }
    }

    /// Whether the store wants all parts of an upload to be equally large.
    pub(crate) fn is_of_unequal_parts(&self) -> bool {
        use intellistor_storage::Error as Storage;
        matches!(self, Self::Storage(Storage::Store(error)) if error.kind == StoreErrorKind::UnequalParts)
    }

    pub fn category(&self) -> Category {
        use intellistor_storage::Error as Storage;
        match self {
            Self::ManifestLost { source, .. } => match &**source {
                Storage::Store(error) if error.kind == StoreErrorKind::NotFound => Category::Failed,
                _ => Category::Integrity,
            },
            Self::Storage(error) => of_storage(error),
            Self::SweepStopped { source, .. } => of_storage(source),
            Self::NotAsSent(_) | Self::CopyDiffers { .. } => Category::Integrity,
            Self::Policy(_)
            | Self::Selection(_)
            | Self::Untrusted { .. }
            | Self::CopyInStore { .. }
            | Self::StoreLacks { .. }
            | Self::OtherPolicy { .. }
            | Self::Precious { .. }
            | Self::NotInPlace { .. }
            | Self::OnHold { .. }
            | Self::NoRetention { .. }
            | Self::NotInSnapshot { .. }
            | Self::NoLegalHold { .. }
            | Self::SameStore { .. }
            | Self::CopyOfAnother { .. }
            | Self::Pattern(_) => Category::Configuration,
            Self::NoSnapshot(error) if error.is_of_the_system() => Category::Configuration,
            Self::Interrupted => Category::Interrupted,
            _ => Category::Failed,
        }
    }
}

impl From<intellistor_storage::Error> for Error {
    fn from(error: intellistor_storage::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(error) => Self::Storage(error),
            panic @ Failure::Panic { .. } => Self::Defect(panic.to_string()),
        }
    }
}

fn count_archives(keys: &[String]) -> String {
    match keys.len() {
        1 => "an archive that this backup needs".to_owned(),
        n => format!("{n} archives that this backup needs"),
    }
}

fn and_archives(orphans: usize) -> String {
    match orphans {
        0 => String::new(),
        1 => ", but 1 archive without a manifest".to_owned(),
        _ => format!(", but {orphans} archives without a manifest"),
    }
}
